"""The recipes of containers take from the checkout what the package is built from, and install the same."""

import re
import tomllib

from tests.conftest import ROOT

DOCKERFILE = (ROOT / "envs" / "Dockerfile").read_text(encoding="utf-8")
DEFINITION = (ROOT / "envs" / "deepssim.def").read_text(encoding="utf-8")


def section(name):
    """Return the lines of a section of the definition."""
    return re.search(rf"^%{name}\n((?: .*\n|\n)+)", DEFINITION, re.MULTILINE)[1].strip().splitlines()


def test_both_copy_what_the_package_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    wanted = {*carried, "src", "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    copied = [line.split()[1:] for line in re.findall(r"^COPY .+$", DOCKERFILE, re.MULTILINE)]
    assert {name for *names, _ in copied for name in names} == wanted
    # Apptainer reads two words of a line, what to copy and where to, and passes over all others.
    assert sorted(map(str.split, section("files"))) == sorted([name, f"/opt/deepssim/{name}"] for name in wanted)
    assert all((ROOT / name).exists() for name in wanted)


def test_both_start_from_the_same_and_install_the_same():
    base = re.search(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert f"Bootstrap: docker\nFrom: {base}\n" in DEFINITION
    packages = [re.findall(r'"(\.\[[^"]+\])"', text) for text in (DOCKERFILE, DEFINITION)]
    assert packages == [[".[dicom,nrrd]"]] * 2
    assert all("--constraint envs/constraints.txt" in text for text in (DOCKERFILE, DEFINITION))


def test_a_job_can_be_run_in_either():
    """Snakemake calls `python` and `bash` of an image, which Debian's have; the definition sets no environment that hides them."""
    assert "slim-bookworm" in DOCKERFILE
    assert "%environment" not in DEFINITION
