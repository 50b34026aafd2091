"""Time imagededup and fastdup on the images of `benchmarks.audit_size`: `python -m benchmarks.audit_rivals`.

Each needs an environment of its own, since their versions of PyTorch differ from ours:

    python -m venv imagededup && imagededup/bin/pip install imagededup
    python -m venv fastdup && fastdup/bin/pip install fastdup
    python -m benchmarks.audit_rivals --imagededup imagededup/bin/python --fastdup fastdup/bin/python

Both look for near duplicates among all images of one folder (perceptual hashes; embeddings of a small network). Neither registers
images, sets a limit on held-out patients or gives a rate with an interval, so this compares time and memory, not answers.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.audit_size import write_images
from benchmarks.measure import Used, run_measured

_IMAGEDEDUP = """
import sys
if __name__ == "__main__":
    from imagededup.methods import PHash
    method = PHash(verbose=False)
    codes = method.encode_images(image_dir=sys.argv[1], num_enc_workers=0)
    method.find_duplicates(encoding_map=codes, max_distance_threshold=10, num_dist_workers=0)
"""
_FASTDUP = """
import sys, fastdup
fastdup.create(work_dir=sys.argv[2], input_dir=sys.argv[1]).run(num_threads=1, overwrite=True, print_summary=False)
"""
PROGRAMS = {"imagededup": _IMAGEDEDUP, "fastdup": _FASTDUP}


def measure(name: str, python: Path, folder: Path, counts: Sequence[int]) -> list[Used]:
    """Run a rival on so many images, in a process of its own each time."""
    program = folder / f"{name}_program.py"
    program.write_text(PROGRAMS[name], encoding="utf-8")
    found = []
    for count in counts:
        with (folder / "printed.txt").open("w+", encoding="utf-8") as output:
            command = [str(python), str(program), str(folder / str(count)), str(folder / f"{name}-{count}")]
            used = run_measured(command, output)
            output.seek(0)
            if used.status:
                raise SystemExit(f"{name} ended with status {used.status}:\n{output.read()[-2000:]}")
        found.append(used)
    return found


def row(name: str, counts: Sequence[int], found: Sequence[Used]) -> str:
    """Return the row of a rival: time and memory of a further image are those between the two numbers of images."""
    between = counts[1] - counts[0]
    time = 1000 * (found[1].processor_seconds - found[0].processor_seconds) / between
    memory = 1e9 * (found[1].peak_gb - found[0].peak_gb) / between
    return f"| {name} | {time:.2f} | {memory:,.0f} | {found[1].processor_seconds:.0f} | {found[1].peak_gb:.2f} |"


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in PROGRAMS:
        parser.add_argument(f"--{name}", type=Path, help=f"interpreter of an environment with {name}")
    parser.add_argument("--counts", type=int, nargs=2, default=[5_000, 20_000], help="default: %(default)s")
    options = parser.parse_args()
    given = {name: path for name in PROGRAMS if (path := getattr(options, name))}
    if not given:
        parser.error("name the interpreter of at least one rival")
    with tempfile.TemporaryDirectory() as name:
        for count in options.counts:
            write_images(Path(name, str(count)), count, seed=2)
        print(f"| program | ms per further image | bytes per further image | s, {options.counts[1]:,} images | GB |")
        print("| --- | --- | --- | --- | --- |")
        for rival, python in given.items():
            print(row(rival, options.counts, measure(rival, python, Path(name), options.counts)))


if __name__ == "__main__":
    main()
