"""The first hour of a new user: a fresh clone, own folders of images, and every mistake that is easily made.

Each step is a command as a user types it, in a shell, with its exit code and its last sentence; the golden texts are in
tests/golden/first_hour.txt and are renewed by `python -m tests.workflow.test_first_hour`.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import ROOT
from tests.audit.folders import make_folders, tiny_encoder

GOLDEN = ROOT / "tests" / "golden" / "first_hour.txt"
PATTERN = "--subject-pattern '^([a-z][0-9]+)'"
QUICK = "--config quick.yaml"
AUDIT = f"deepssim audit real synthetic --out report {PATTERN} {QUICK}"

RIGHT = (  # one after the other; each needs what the earlier ones wrote
    "deepssim --version",
    "deepssim check-config quick.yaml",
    f"{AUDIT} --holdout holdout",
    "deepssim show report",
    "deepssim verify report",
    f"{AUDIT} --holdout holdout",  # a second time
    f"{AUDIT} --holdout holdout --force --fail-above 0.9",
    "deepssim pack --folder real --role real --image-size 32 32 --pack real.h5 --images real.csv",
    "deepssim pack --folder synthetic --role synthetic --image-size 32 32 --pack synthetic.h5 --images synthetic.csv",
    "deepssim score_images --metric ssim --real real.h5 --synthetic synthetic.h5 --matrix scores.h5",
    "deepssim check-config my.yaml",
    "snakemake -s clone/Snakefile --configfile my.yaml --directory my_study --dry-run --quiet all",
)
WRONG = (
    "deepssim",
    "deepssim adit real synthetic --out other",
    "deepssim audit real synthetic",
    "deepssim audit real nowhere --out other",
    "deepssim audit real empty --out other",
    "deepssim audit real notes.txt --out other",
    "deepssim audit real real --out other",
    "deepssim audit real copy_of_real --out other",
    "deepssim audit real synthetic --holdout real --out other",
    "deepssim audit real synthetic --holdout copy_of_real --out other",
    "deepssim audit real synthetic --holdout synthetic --out other",
    "deepssim audit real synthetic --out real/report",
    "deepssim audit real synthetic --out notes.txt",
    "deepssim audit real synthetic --out other --subject-pattern '^([a-z])'",
    "deepssim audit real synthetic --out other --subject-pattern '^p'",
    r"deepssim audit real synthetic --out other --subject-pattern '^(sub-\d+)_'",
    "deepssim audit real synthetic --out other --subjects notes.txt",
    "deepssim audit real synthetic --out other --subjects one_patient.csv",
    "deepssim audit real synthetic --out other --encoder nowhere.safetensors",
    "deepssim audit real synthetic --out other --encoder encoder.safetensors --image-size 8 8",
    "deepssim audit real synthetic --out other --image-size 8 8",
    "deepssim audit real synthetic --out other --compared-at 100000",
    "deepssim audit real synthetic --out other --subjcts notes.txt",
    "deepssim audit real synthetic --out other --encoder notes.txt",
    "deepssim audit real synthetic --out other --autoencoder encoder.safetensors",
    "deepssim audit real synthetic --out other --false-positive-rate 2",
    "deepssim audit real synthetic --out other --threads 0",
    "deepssim audit real synthetic --out other --include '*.dcm'",
    "deepssim show nowhere",
    "deepssim verify real",
    "deepssim check-config nowhere.yaml",
    "deepssim check-config wrong.yaml",
    "deepssim score-images --metric deepssim --real real.h5 --synthetic synthetic.h5 --matrix scores.h5",
    "deepssim score-images --metric ssim --real nowhere.h5 --synthetic synthetic.h5 --matrix scores.h5",
    "deepssim score-images --metric ssim --real real --synthetic synthetic.h5 --matrix scores.h5",
    "deepssim compute-matrix --metric_name deepssim --model_path nowhere.pt",
    "deepssim eval --metric_name ssim --matrix_path scores.h5",
    "deepssim export real.h5 unet.pth",
    "snakemake -s clone/Snakefile --configfile wrong.yaml --directory my_study --dry-run",
)


def prepare(folder: Path) -> dict[str, str]:
    """Clone the repository, write images and files, and return the environment of the shell."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "clone")], check=True)
    make_folders(folder, real=16, synthetic=12, holdout=12, copies=2)
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no table\n")
    (folder / "copy_of_real").mkdir()
    for number, path in enumerate(sorted((folder / "real").iterdir())):
        (folder / "copy_of_real" / f"x{number}.png").write_bytes(path.read_bytes())
    rows = [
        f"{path.relative_to(folder)},p1" for side in ("real", "holdout") for path in sorted((folder / side).iterdir())
    ]
    (folder / "one_patient.csv").write_text("\n".join(["image_path,subject", *rows]) + "\n")
    (folder / "quick.yaml").write_text(
        "audit: {real: real, synthetic: synthetic, compared_at: 64, controls: 1, gallery: 3, bootstrap: 50}\n"
    )
    (folder / "my.yaml").write_text(
        "dataset: {kind: folder, path: ../real, image_size: [32, 32], subject_pattern: '^([a-z][0-9]+)', "
        "valid_fraction: 0.3, holdout_fraction: 0.3}\n"
    )
    (folder / "my_study").mkdir()
    (folder / "wrong.yaml").write_text(
        "dataset: {kind: folder, path: nowhere, image_size: [50, 50]}\nvae: {epoch: 3}\nevaluation: {metrics: [chen]}\n"
    )
    tiny_encoder(folder / "encoder.safetensors")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "clone" / "src"),
        "HOME": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "80",
    }  # fmt: skip


def walk(folder: Path, environment: dict[str, str], commands: tuple[str, ...]) -> list[str]:
    """Return a line for each command: its exit code, itself, and the sentence with which it ended."""
    lines = []
    for command in commands:
        where = folder / "my_study" if command == "deepssim check-config my.yaml" else folder
        typed = command.replace("my.yaml", "../my.yaml") if where != folder else command
        words = shlex.split(typed)
        program = ["-m", "deepssim.cli"] if words[0] == "deepssim" else ["-m", "snakemake"]
        done = subprocess.run(
            [sys.executable, *program, *words[1:]], cwd=where, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, command
        lines.append(f"{done.returncode}  {command}\n    {ending(done, folder)}")
    return lines


def ending(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return the last sentence of a command, with lists, without times and the name of the folder."""
    text = (done.stdout if done.returncode in (0, 3, 4) else done.stderr).replace(str(folder), "HERE").rstrip()
    if "WorkflowError" in done.stdout:  # Snakemake's way to show an error
        text = (
            done.stdout.replace(str(folder), "HERE")
            .partition("WorkflowError")[2]
            .partition("\n")[2]
            .rpartition("\n  File")[0]
        )
    paragraphs = re.split(r"\n(?=\S)", text)
    last = re.sub(r"^\d\d:\d\d:\d\d [A-Z]+ ", "", paragraphs[-1])
    return re.sub(r"\b[0-9a-f]{12,}\b", "HASH", last).replace("\n", "\n    ")


def test_the_first_hour(tmp_path):
    environment = prepare(tmp_path)
    expected = GOLDEN.read_text(encoding="utf-8")
    for number, commands in enumerate((RIGHT, WRONG)):
        found = walk(tmp_path, environment, commands)
        assert "\n".join(found) == expected.split("\n\n")[number].strip()
    assert not (tmp_path / "other").exists()
    assert oct((tmp_path / ".cache" / "deepssim" / "audit").stat().st_mode)[-3:] == "700"


def test_an_interrupted_audit_ends_with_one_sentence_and_goes_on_later(tmp_path):
    environment = prepare(tmp_path)
    command = [sys.executable, "-m", "deepssim.cli", *shlex.split(AUDIT)[1:]]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "step 3 of " in line:
            break
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "report: another process is writing its results there; wait for it, or name another folder" in second.stderr
    first.send_signal(signal.SIGINT)
    rest = first.stderr.read()
    assert first.wait() == 130
    assert "Traceback" not in rest
    assert not (tmp_path / "report").exists()
    time.sleep(0.1)
    third = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert third.returncode in (0, 3, 4)
    assert "known from earlier audits" in third.stderr


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        shell = prepare(Path(place))
        parts = ["\n".join(walk(Path(place), shell, commands)) for commands in (RIGHT, WRONG)]
    GOLDEN.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
