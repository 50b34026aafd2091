"""The lock has what the package needs, in the versions of the constraints; `make lock` writes it anew."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

TEXT = (ROOT / "envs" / "lock.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("dicom", "nrrd")  # as in `make lock` and in the containers
NEEDED = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra])]


def locked():
    """Return what the lock has by name: versions with their hashes."""
    found = {}
    for entry in re.split(r"\n(?! )", TEXT.strip()):
        if not entry.startswith("#"):
            requirement = Requirement(entry.split("\\")[0])
            (version,) = (part.version for part in requirement.specifier)
            found.setdefault(canonicalize_name(requirement.name), []).append(
                (version, re.findall(r"sha256:([0-9a-f]+)", entry))
            )
    return found


LOCKED = locked()


@pytest.mark.parametrize("line", NEEDED)
def test_all_that_is_needed_is_locked(line):
    needed = Requirement(line)
    versions = [version for version, _ in LOCKED[canonicalize_name(needed.name)]]
    assert [version for version in versions if version not in needed.specifier] == [], "run `make lock`"


def test_versions_are_those_of_the_constraints():
    lines = (ROOT / "envs" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in tested.items()}
    wrong = {
        name: found for name, found in LOCKED.items() if name in tested and {tested[name]} != {one[0] for one in found}
    }
    assert wrong == {}, "run `make lock`"


def test_the_conda_environment_has_the_same_dependencies():
    """But Snakemake, which runs outside of it, and what comes with others."""
    environment = yaml.safe_load((ROOT / "envs" / "deepssim.yaml").read_text(encoding="utf-8"))
    (packages,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert [line for line in packages if line not in PROJECT["dependencies"]] == []
    left_out = {Requirement(line).name for line in PROJECT["dependencies"] if line not in packages}
    assert left_out == {"llvmlite", "snakemake", "torchmetrics"}


def test_every_file_has_a_hash_and_no_place():
    assert all(len(one) == 64 for found in LOCKED.values() for _, hashes in found for one in hashes)
    assert all(hashes for found in LOCKED.values() for _, hashes in found)
    assert re.findall(r"https?:|file:|--index-url|--find-links|^-[cref] | @ ", TEXT, re.MULTILINE) == []
