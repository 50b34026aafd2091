"""Run Snakemake as a user does: a process of its own, in a folder of its own."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def snakemake(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the workflow with its results in `folder`; standard error comes with the output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    # Networks this small lose more by two threads waiting for each other than they gain.
    return subprocess.run(
        [*command, "--cores", "2", "--max-threads", "1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


def step(rule: str) -> str:
    """Return how a rule is announced on the terminal, without the number of the step."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        found = re.search(rf'^rule {rule}:\n    """(.+?)\.?"""', path.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return f": {found[1][0].lower()}{found[1][1:]}"
    raise AssertionError(f"there is no rule {rule}")
