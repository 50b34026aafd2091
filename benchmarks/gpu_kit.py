"""Collect what benchmarks/gpu.sh needs on a machine without a network: `python -m benchmarks.gpu_kit`.

Wheels of the packages that the machine lacks go into gpu-kit/wheels, 24 real slices into gpu-kit/images.npz; git ignores the
folder. Never torch or what comes with it: the machine's own is the one to measure. `--present FILE` names what the machine has
(`python3 -m pip list --format freeze` there); without it only torch, numpy and what comes with them are taken for present.
"""

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import ROOT

KIT = ROOT / "gpu-kit"
LIMIT_MB = 60.0  # of the wheels: a machine takes 64 MB beside the repository, which has six
IMAGES = 24
_WITH_TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*|torchvision|torchaudio)$")
_ALWAYS_PRESENT = {
    "pip",
    "setuptools",
    "wheel",
    "numpy",
    "typing-extensions",
    "filelock",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "fsspec",
}
_EXTRA = ("pytest", "diffusers")  # for the tests marked gpu, and for generation
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (39, 35, 34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64"]


def normal(name: str) -> str:
    """Return the name of a distribution as indices write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def present(lines: Iterable[str]) -> set[str]:
    """Return the names in the output of `pip list --format freeze`."""
    return {normal(re.split(r"[=@ ]", line, maxsplit=1)[0]) for line in lines if line.strip() and line[0] != "#"}


def needs() -> list[str]:
    """Return the requirements of this package, which travels as source, and of the benchmarks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *_EXTRA]


def missing(there: set[str], requirements: Sequence[str]) -> dict[str, str]:
    """Return name and version, here, of every distribution that is needed and not there.

    Args:
        there: normalised names of what the machine has. What these need is taken for present, too.
        requirements: whose needs are followed.
    """
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        name = normal(waiting.pop().name)
        if name in found or name in there or _WITH_TORCH.match(name):
            continue
        here = importlib.metadata.distribution(name)
        found[name] = here.version
        further = map(Requirement, here.requires or ())
        waiting += [need for need in further if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def download(packages: dict[str, str], folder: Path, python: str) -> None:
    """Download a wheel of each package without its needs, or build it if there is only source without compiled parts.

    Raises:
        SystemExit: if a package has neither for the machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [part for platform in _PLATFORMS for part in ("--platform", platform)]
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    for name, version in sorted(packages.items()):
        if list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
            continue
        pip = [sys.executable, "-m", "pip"]
        options = ["--quiet", "--no-deps", f"{name}=={version}"]
        got = subprocess.run([*pip, "download", *target, "--dest", folder, *options], capture_output=True, check=False)
        if got.returncode:
            built = subprocess.run([*pip, "wheel", "--wheel-dir", folder, *options], capture_output=True, check=False)
            if built.returncode or not list(folder.glob(f"{name.replace('-', '_')}-{version}-*-none-any.whl")):
                raise SystemExit(
                    f"{name}=={version} has no wheel for Python {python} on Linux; install it there, or add --without {name}"
                )


def write_images(path: Path) -> str:
    """Write real slices, or those of virtual patients where no real ones are at hand, and return their source."""
    from benchmarks.gpu_parts import real_slices

    images, source = real_slices(IMAGES)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, images=images)
    return source


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect wheels and images, and say how large they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--present", type=Path, help="what the machine has: names, one a line, versions after == ignored"
    )
    parser.add_argument("--python", default="3.12", help="version on the machine; default: %(default)s")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="packages to leave out")
    parser.add_argument("--out", type=Path, default=KIT, help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="print what is missing and download nothing")
    options = parser.parse_args(arguments)
    there = _ALWAYS_PRESENT | {normal(name) for name in options.without}
    if options.present:
        there |= present(options.present.read_text(encoding="utf-8").splitlines())
    packages = missing(there, needs())
    print("\n".join(f"{name}=={version}" for name, version in sorted(packages.items())))
    if options.list:
        return 0
    (options.out / "images.npz").unlink(missing_ok=True)  # else they would be read again
    print(f"images: {write_images(options.out / 'images.npz')}")
    download(packages, options.out / "wheels", options.python)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file()) / 1e6
    print(f"{options.out}: {size:.1f} MB")
    if size > LIMIT_MB:
        largest = sorted((options.out / "wheels").glob("*.whl"), key=lambda path: -path.stat().st_size)[:3]
        names = ", ".join(f"{path.name} ({path.stat().st_size / 1e6:.0f} MB)" for path in largest)
        raise SystemExit(
            f"{size:.0f} MB are more than {LIMIT_MB:g}; install the largest there, or leave them out: {names}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
