"""A study outside of the repository: its files, and how its settings reach Snakemake."""

import pytest
import yaml

from deepssim.config.settings import load_settings
from deepssim.errors import ConfigError, DataError
from deepssim.study import EXAMPLES, create_study, library_path, pipeline_folder, run_study
from tests.conftest import ROOT


def test_a_checkout_uses_its_own_workflow(tmp_path):
    assert pipeline_folder() == ROOT
    assert library_path(tmp_path) == ROOT / "src"
    assert list(tmp_path.iterdir()) == []


def test_every_shipped_config_is_an_example():
    assert sorted(EXAMPLES.values()) == sorted(path.name for path in (ROOT / "config").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_study_has_the_settings_of_its_example(example, tmp_path):
    written = create_study(tmp_path / "study", example)
    config = tmp_path / "study" / "config" / "config.yaml"
    assert written[0] == config
    assert load_settings(config) == load_settings(ROOT / "config" / EXAMPLES[example])
    text = config.read_text()
    assert "snakemake --" not in text
    assert "src/deepssim" not in text
    assert (config.with_name("defaults.yaml") in written) == (example != "demo")
    for path in written:
        assert yaml.safe_load(path.read_text())


def test_nothing_is_overwritten(tmp_path):
    kept = tmp_path / "profiles" / "slurm" / "config.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(DataError, match="1 of 3 files exist already, first profiles/slurm/config.yaml"):
        create_study(tmp_path)
    assert kept.read_text() == "mine"
    assert not (tmp_path / "config").exists()


def test_a_study_without_settings_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file; `deepssim init"):
        run_study(tmp_path, [])


@pytest.mark.parametrize(
    ("words", "config"),
    [(["results/a", "--cores", "2"], "config/config.yaml"), (["--configfile", "my.yaml"], "my.yaml")],
)
@pytest.mark.parametrize("code", [0, 1])
def test_words_reach_snakemake_and_its_exit_code_comes_back(words, config, code, tmp_path, monkeypatch):
    import snakemake.cli

    create_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("seed: 1")
    given = []

    def main(arguments):
        given.extend(arguments)
        raise SystemExit(code)

    monkeypatch.setattr(snakemake.cli, "main", main)
    monkeypatch.setattr("deepssim.study._leave_signals_to_snakemake", lambda: None)
    assert run_study(".", words) == code
    _, options = snakemake.cli.parse_args(given)
    assert list(options.targets) == [word for word in words if word == "results/a"]
    assert [str(path) for path in options.configfile] == [config]
    assert str(options.snakefile) == str(ROOT / "Snakefile")
