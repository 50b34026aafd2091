"""The tiny run that several tests look at, and a Slurm to run it on."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.cluster import Slurm, why_no_slurm
from tests.workflow.running import snakemake

TINY = ROOT / "tests" / "workflow" / "tiny.yaml"


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Results of an undisturbed run of the tiny config on this machine."""
    folder = tmp_path_factory.mktemp("tiny")
    run = snakemake(folder, "--configfile", str(TINY))
    assert run.returncode == 0, run.stdout[-4000:]
    return folder / "results"


@pytest.fixture(scope="session")
def slurm():
    """A cluster of one node; tests that need it skip where it cannot run, unless that is declared a failure."""
    reason = why_no_slurm()
    if reason:
        if os.environ.get("DEEPSSIM_REQUIRE_SLURM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # pytest's own folders are too long for the name of a socket
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
