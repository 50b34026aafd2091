"""Every shipped config, and every kind of own data, gives a complete plan before any job runs."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from benchmarks.scaling import dry_run
from tests.conftest import ROOT
from tests.workflow.running import snakemake

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
OWN = {
    "folder": {"dataset": {"kind": "folder", "path": "images"}},
    "table": {"dataset": {"kind": "table", "path": "own.csv"}},
    "volumes": {"dataset": {"kind": "volumes", "path": "volumes"}},
    "shards": {"shards": 3},
    "one metric": {"evaluation": {"metrics": ["ssim"]}},
    "no gpu": {"device": "cpu"},
    "published": {
        "published": {
            "chen": "sscd.pt",
            "deepssim": "deepssim.pt",
            "dar": "dar.pth",
            "semdedup": "openai/clip-vit-base-patch32",
        }
    },
}


@pytest.fixture
def folder(tmp_path):
    """Empty stand-ins for the data that configs name."""
    for path in ("data/brain/dataset.csv", "data/chest/dataset.csv", "own.csv", "images/a.png", "volumes/a.nii.gz",
                 "sscd.pt", "deepssim.pt", "dar.pth"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def assert_complete(run, *rules):
    assert run.returncode == 0, run.stdout
    assert "This was a dry-run" in run.stdout
    for rule in ("prepare_dataset", "evaluate", "report", *rules):
        assert rule in run.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.stem != "audit"))
def test_shipped_configs(folder, name):
    run = snakemake(folder, "--dry-run", "--configfile", str(ROOT / "config" / name))
    assert_complete(run, "train_vae", "train_ldm", "generate", "train_deepssim", "embed")


def test_an_audit_trains_no_generator(folder):
    for name in ("real", "synthetic", "holdout"):
        (folder / "data" / name).mkdir(parents=True)
    arguments = ("--dry-run", "--configfile", str(ROOT / "config" / "audit.yaml"))
    for targets in ((), ("results/report/index.html",)):
        run = snakemake(folder, *targets, *arguments)
        assert run.returncode == 0, run.stdout
        assert "rule audit:" in run.stdout
        for rule in ("train_vae", "prepare_dataset", "report", "train_deepssim"):
            assert f"rule {rule}:" not in run.stdout


@pytest.mark.parametrize("name", OWN)
def test_own_configs(folder, name):
    config = folder / "own.json"
    config.write_text(json.dumps(OWN[name]))
    run = snakemake(folder, "--dry-run", "--configfile", str(config))
    assert_complete(run)
    trained = name not in ("one metric", "published")
    assert ("train_deepssim" in run.stdout) is trained
    assert ("train_dar" in run.stdout) is trained
    for metric in ("chen", "semdedup"):  # which join when their weights are named
        assert (f"results/eval/{metric}_misaligned.json" in run.stdout) is (name == "published")
    # Dar's published weights have published thresholds; FSIM never has.
    assert ("results/eval/thresholds/dar.json" in run.stdout) is trained
    assert ("results/eval/thresholds/fsim.json" in run.stdout) is (name != "one metric")
    if name == "shards":
        assert "results/synthetic/002.h5" in run.stdout


def test_one_result_needs_only_its_part(folder):
    run = snakemake(folder, "results/eval/deepssim.json", "--dry-run")
    assert run.returncode == 0
    assert "train_deepssim" in run.stdout
    for rule in ("report", "plot_metric", "export_images", "misalign"):
        assert f"rule {rule}:" not in run.stdout


def test_a_metric_without_its_weights_stops_before_any_job(folder):
    config = folder / "own.json"
    config.write_text(json.dumps({"evaluation": {"metrics": ["chen"]}}))
    run = snakemake(folder, "--dry-run", "--configfile", str(config))
    assert run.returncode != 0
    assert "metric 'chen' needs published weights; download a TorchScript file of SSCD" in run.stdout
    config.write_text(json.dumps({"published": {"chen": "none.pt"}}))
    run = snakemake(folder, "--dry-run", "--configfile", str(config))
    assert run.returncode != 0
    assert "none.pt: no such weights for metric 'chen'; download a TorchScript file of SSCD" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_misspelt_key_stops_before_any_job(folder):
    config = folder / "own.json"
    config.write_text('{"encoder": {"epoch": 3}}')
    run = snakemake(folder, "--configfile", str(config))
    assert run.returncode != 0
    assert "'epoch' is not a setting of section 'encoder'; did you mean 'epochs'?" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (folder / "results").exists()


def test_a_job_that_is_tried_again_gets_more_memory_and_time(folder):
    asked = []
    for attempt in ("1", "3"):
        run = snakemake(folder, "results/vae/autoencoder.safetensors", "--dry-run", "--attempt", attempt)
        training = run.stdout[run.stdout.index("rule train_vae:") :]
        asked.append([int(re.search(rf"{name}=(\d+)", training)[1]) for name in ("mem_mb", "runtime")])
    assert asked == [[16000, 1440], [48000, 3 * 1440]]


def test_a_training_of_several_processes_asks_for_all_of_them(folder):
    config = folder / "own.json"
    config.write_text(json.dumps({"devices": 4, "nodes": 2}))
    run = snakemake(folder, "results/vae/autoencoder.safetensors", "--dry-run", "--configfile", str(config))
    training = run.stdout[run.stdout.index("rule train_vae:") :]
    for resource in ("gpu=8", "nodes=2", "tasks=8", "tasks_per_gpu=1", "mpi=srun"):
        assert resource in training


@pytest.mark.skipif(find_spec("snakemake_executor_plugin_slurm") is None, reason="needs deepssim[slurm]")
@pytest.mark.parametrize(("profile", "resources"), [("slurm", ("gpu=1",)), ("slurm-gres", ("gpu=0", "gres=gpu:1"))])
def test_profiles_of_clusters(folder, profile, resources):
    run = snakemake(folder, "--dry-run", "--profile", str(ROOT / "profiles" / profile))
    assert_complete(run, "train_vae")
    training = run.stdout[run.stdout.index("rule train_vae:") :]
    for resource in resources:
        assert resource in training


def test_a_thousand_shards_are_planned_in_a_minute():
    jobs, seconds, memory_gb = dry_run(1000)
    assert jobs > 8000
    assert seconds < 60  # of a processor, whatever else the machine does
    assert memory_gb < 1


def test_every_rule_with_a_gpu_asks_for_it_as_a_generic_resource():
    rules = re.findall(r"^rule (\w+):(.*?)(?=^rule|\Z)", "".join(map(Path.read_text, RULES)), re.MULTILINE | re.DOTALL)
    profile = yaml.safe_load((ROOT / "profiles" / "slurm-gres" / "config.yaml").read_text())
    assert set(profile["set-resources"]) == {name for name, text in rules if "gpu=GPU" in text or "**TOGETHER" in text}
