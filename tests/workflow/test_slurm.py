"""The same Snakefile on a real Slurm: the same figures, with a job cancelled and one short of memory on the way."""

import subprocess
import sys
import time

from benchmarks.faults import repeated_epochs
from tests.conftest import ROOT
from tests.workflow.conftest import TINY

# Few submissions, since Snakemake starts three times for each; the trainings stay jobs of their own.
GROUPS = {
    "model": "encode_latents train_ldm generate",
    "scores": "misalign score_images gather_matrix sample_pairs train_deepssim embed score_embeddings evaluate",
}
FIGURES = [f"results/eval/{name}.json" for name in ("deepssim", "deepssim_misaligned", "ssim", "ssim_misaligned")]


def submit(slurm, folder, *arguments, profile="slurm"):
    """Start the workflow as a user of a cluster does, with what this small one needs."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--profile", str(ROOT / "profiles" / profile), "--slurm-status-command", "squeue", "--max-threads", "1"]
    command += ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
    command += ["--latency-wait", "10", "--local-cores", "1", *arguments]
    log = (folder / "snakemake.log").open("a")
    return subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log, cwd=folder)


def wait_for(condition, run, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, "the run ended early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_the_tiny_run_gives_the_same_figures(slurm, results, tmp_path):
    """One job is cancelled while it trains, one gets too little memory at first; every figure is the same, byte for byte."""
    groups = [f"{rule}={group}" for group, rules in GROUPS.items() for rule in rules.split()]
    # A training takes 500 MB, so that the first of three attempts is killed by Slurm.
    run = submit(
        slurm, tmp_path, *FIGURES, "--configfile", str(TINY), "--groups", *groups, "--set-resources", "train_vae:gpu=1",
        "train_vae:mem_mb=300 * attempt ** 3", "train_vae:runtime=10",
    )  # fmt: skip
    try:
        checkpoints = tmp_path / "results" / "vae" / "state"
        wait_for(lambda: list(checkpoints.glob("*/last.ckpt")), run)
        (training,) = (number for number, rule in slurm.running().items() if "train_vae" in rule)
        slurm.run("scancel", training)
        assert run.wait(900) == 0, (tmp_path / "snakemake.log").read_text()[-4000:]
    finally:
        run.kill()
        slurm.run("scancel", "--user=root")
    ended = {job["JobId"]: job["JobState"] for job in slurm.ended()}
    killed = [int(number) for number, state in ended.items() if state in ("OUT_OF_MEMORY", "FAILED")]
    assert killed
    assert min(killed) < int(training)
    assert ended[training] == "CANCELLED"
    assert repeated_epochs(tmp_path)["vae"] == 0  # the training went on where it was
    for name in FIGURES:
        assert (tmp_path / name).read_bytes() == (results.parent / name).read_bytes()
