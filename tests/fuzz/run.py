"""Try many spoiled files on every reader: `python -m tests.fuzz.run --count 100000`.

Each reader has a process of its own, so that a crash of a library is seen and blames the reader; the input that caused
it is kept. Prints a table of inputs, refusals, time and peak memory, and ends with 1 if anything went wrong.
"""

import argparse
import faulthandler
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.readers import READERS, attempt, spoiled, valid

_MOST_MEMORY_GB = 1.0  # that a reader may take beyond what its libraries take
_LIMIT_GB = 12  # of address space; what wants more fails in place of the machine


def peak_gb() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fuzz(name: str, count: int, number: int, folder: Path) -> None:
    """Try `count` inputs on one reader and print a line of the table."""
    reader, path = READERS[name], folder / f"input{READERS[name].suffix}"
    refused = tried = 0
    content = valid(reader)
    before, start = peak_gb(), time.perf_counter()

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content=spoiled(content))
    def try_one(content):
        nonlocal refused, tried
        tried += 1
        refused += attempt(reader, path, content)

    while tried < count:  # Hypothesis leaves inputs out that it has seen
        try_one()
        number += 1
    seconds, grown = time.perf_counter() - start, peak_gb() - before
    assert grown < _MOST_MEMORY_GB, f"{grown:.2f} GB more than before"
    print(f"| {name} | {tried:,} | {refused / tried:.1%} | {seconds:.0f} | {grown * 1000:.0f} |", flush=True)


def main() -> int:
    """Share the inputs among the readers and run one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, help="one reader, in this process")
    options = parser.parse_args()
    if options.reader:
        warnings.simplefilter("ignore")
        faulthandler.enable()
        resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_GB * 2**30, _LIMIT_GB * 2**30))
        folder = Path(tempfile.mkdtemp(prefix="fuzz"))
        try:
            fuzz(options.reader, options.count, options.seed, folder)
        except BaseException:
            traceback.print_exc()
            print(f"{options.reader}: the input is in {folder}")
            return 1
        return 0
    print("| reader | inputs | refused | seconds | memory, MB more |\n| --- | --- | --- | --- | --- |", flush=True)
    each = -(-options.count // len(READERS))
    command = [sys.executable, "-m", "tests.fuzz.run", "--count", str(each), "--seed", str(options.seed), "--reader"]
    codes = {name: subprocess.run([*command, name]).returncode for name in READERS}
    failed = [f"{name} (code {code})" for name, code in codes.items() if code]
    print(f"{each * len(READERS):,} inputs; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
