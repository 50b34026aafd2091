"""The audit as a workflow: folders in, the report out, nothing trained."""

import json
import os
import shutil

import yaml

from deepssim.audit.headline import audit_headline as headline_of
from deepssim.runtime.records import require_verified
from tests.audit.folders import make_folders, tiny_encoder
from tests.conftest import ROOT
from tests.workflow.running import snakemake

UMASK = os.umask(0)
os.umask(UMASK)


def test_folders_to_the_report(tmp_path):
    make_folders(tmp_path / "data")
    tiny_encoder(tmp_path / "e.safetensors")
    settings = yaml.safe_load((ROOT / "config" / "audit.yaml").read_text())
    settings["audit"] |= {
        "subject_pattern": r"^([a-z]\d+)", "encoder": "e.safetensors", "image_size": [32, 32], "controls": 1,
        "compared_at": 64, "gallery": 4, "bootstrap": 20, "rating": True,
    }  # fmt: skip
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(settings | {"device": "cpu"}))
    arguments = ("results/report/index.html", "--configfile", str(config))
    run = snakemake(tmp_path, *arguments)
    assert run.returncode == 0, run.stdout[-3000:]
    found = json.loads((tmp_path / "results" / "report" / "summary.json").read_text())
    assert found["figures"]["identical"] == 3
    assert require_verified(tmp_path / "results").endswith("all 9 results match their records")
    assert headline_of(tmp_path / "results").startswith("copies found: ")
    cached = [path for path in (tmp_path / "results" / "cache").rglob("*") if path.is_file()]
    assert cached
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "results" / "cache", *cached)} == {0}
    assert (tmp_path / "results" / "report").stat().st_mode & 0o777 == 0o777 & ~UMASK
    assert "Nothing to be done" in snakemake(tmp_path, *arguments, "--dry-run").stdout
    shutil.rmtree(tmp_path / "data" / "synthetic")
    (tmp_path / "data" / "synthetic").mkdir()
    failed = snakemake(tmp_path, *arguments, "--forcerun", "audit")
    assert failed.returncode != 0
    assert "data/synthetic: is empty" in failed.stdout
    assert "Traceback" not in failed.stdout
