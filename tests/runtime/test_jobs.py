"""A job of the workflow: what its stage is given, and what is left when it fails."""

import contextlib

import pytest

from deepssim.config.choices import MetricName
from deepssim.config.evaluation import SimilarityConfig
from deepssim.config.training import TrackingConfig
from deepssim.errors import DataError
from deepssim.runtime.jobs import job
from tests.stages.jobs import as_snakemake

CONFIG = {"tracking": {"wandb_project": "x"}, "similarity": {"top_k": 7}}


@pytest.fixture(autouse=True)
def folder(tmp_path):
    with contextlib.chdir(tmp_path):
        yield tmp_path


def snakemake(**changes):
    given = {
        "settings": ("seed", "similarity", "synthesis.images_per_record"), "inputs": {"real": "real.h5", "pairs": ["a", "b"]},
        "outputs": {"matrix": "results/m.h5"}, "wildcards": {"metric": "ssim", "variant": "_misaligned", "shard": "003"},
        "params": {"cache": "results/audit"},
    }  # fmt: skip
    return as_snakemake("score_images", CONFIG, **given | changes)


def test_a_stage_is_given_typed_values_of_what_its_rule_declares():
    with job(snakemake()) as run:
        open(run.files["matrix"], "w").close()
    expected = {"metric": MetricName.SSIM, "misaligned": True, "shard": 3, "seed": 0, "images_per_record": 16, "threads": 1,
                "similarity": SimilarityConfig(top_k=7), "cache": "results/audit"}  # fmt: skip
    assert {name: run.values[name] for name in expected} == expected
    assert set(run.values) == {*expected, "tracking"}  # not `vae`, say, which the rule does not declare
    assert run.files["pairs"] == ["a", "b"]


def test_tracking_is_given_though_no_rule_declares_it():
    with job(snakemake(settings=())) as run:
        open(run.files["matrix"], "w").close()
    assert run.values["tracking"] == TrackingConfig(wandb_project="x")


def test_a_variant_without_suffix_is_aligned():
    with job(snakemake(wildcards={"variant": ""})) as run:
        open(run.files["matrix"], "w").close()
    assert run.values["misaligned"] is False


def test_what_a_killed_attempt_left_is_removed(folder):
    (folder / "results").mkdir()
    (folder / "results" / ".part-1-m.h5").touch()
    (folder / "results" / ".part-1-other.h5").touch()
    with job(snakemake()) as run:
        assert not (folder / "results" / ".part-1-m.h5").exists()
        open(run.files["matrix"], "w").close()
    assert (folder / "results" / "m.h5").exists()
    assert (folder / "results" / ".part-1-other.h5").exists()  # of another job


def test_a_failed_job_leaves_its_log_only(folder):
    def fail():
        with job(snakemake()) as run:
            open(run.files["matrix"], "w").close()
            raise DataError("a.png: is not an image")

    with pytest.raises(SystemExit) as stop:
        fail()
    assert stop.value.code == 1
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["score_images.log"]
    assert "a.png: is not an image" in (folder / "results" / "logs" / "score_images.log").read_text()
