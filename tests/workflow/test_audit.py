"""The audit as a workflow: folders in, the report out, nothing trained."""

import json
import shutil

import yaml

from tests.audit.folders import make_folders, tiny_encoder
from tests.conftest import ROOT
from tests.workflow.running import snakemake


def test_folders_to_the_report(tmp_path):
    make_folders(tmp_path / "data")
    tiny_encoder(tmp_path / "e.safetensors")
    settings = yaml.safe_load((ROOT / "config" / "audit.yaml").read_text())
    settings["audit"] |= {
        "subject_pattern": r"^([a-z]\d+)", "encoder": "e.safetensors", "image_size": [32, 32], "controls": 1,
        "compared_at": 64, "gallery": 4, "bootstrap": 20,
    }  # fmt: skip
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(settings | {"device": "cpu"}))
    arguments = ("results/report/index.html", "--configfile", str(config))
    run = snakemake(tmp_path, *arguments)
    assert run.returncode == 0, run.stdout[-3000:]
    found = json.loads((tmp_path / "results" / "report" / "summary.json").read_text())
    assert found["figures"]["identical"] == 3
    assert "Nothing to be done" in snakemake(tmp_path, *arguments, "--dry-run").stdout
    shutil.rmtree(tmp_path / "data" / "synthetic")
    (tmp_path / "data" / "synthetic").mkdir()
    failed = snakemake(tmp_path, *arguments, "--forcerun", "audit")
    assert failed.returncode != 0
    assert "data/synthetic: is empty" in failed.stdout
    assert "Traceback" not in failed.stdout
