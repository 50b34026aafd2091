"""The package's rooms: what may import what, what may lie loose, and how long a file or function may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "deepssim"
# A room imports only rooms above it. The reference's commands run stages, so they come after these.
ROOMS = (
    "errors", "seeds", "config", "runtime", "images", "training", "datasets", "similarity", "registration", "detection",
    "ground_truth", "encoders", "metrics", "evaluation", "generative", "reporting", "audit", "stages", "reference", "study", "notebook",
    "cli",
)  # fmt: skip
LOOSE = {"__init__", "errors", "seeds", "metrics", "study", "notebook", "cli"}
MOST_LINES, MOST_LINES_OF_FUNCTION, MOST_ROOMS = 350, 60, 24


def modules() -> dict[str, Path]:
    """Return every module by its dotted name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(source: str, known: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a module imports, anywhere in it, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "deepssim":
            base = node.module.removeprefix("deepssim").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix(".")
                yield full if full in known else base
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("deepssim.") for alias in node.names if alias.name.startswith("deepssim.")
            )


def room(module: str) -> str:
    return module.split(".")[0]


def test_rooms_import_only_rooms_above_them():
    known = set(modules())
    wrong = [
        f"{module} imports {target}"
        for module, path in modules().items()
        if module != "__init__"  # which hands out the calls for a notebook
        for target in imports(path.read_text(encoding="utf-8"), known)
        if room(target) != room(module) and ROOMS.index(room(target)) > ROOMS.index(room(module))
    ]
    assert wrong == []


def test_no_two_modules_import_each_other():
    known = set(modules())
    graph = {
        module: set(imports(path.read_text(encoding="utf-8"), known)) & known
        for module, path in modules().items()
        if module != "__init__"
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_check_sees_imports_inside_functions():
    source = "def stage():\n    from deepssim.config import choices\n    import deepssim.metrics\n"
    assert list(imports(source, {"config", "config.choices", "metrics"})) == ["config.choices", "metrics"]


def test_every_file_is_in_a_known_room():
    assert {room(module) for module in modules()} == {*ROOMS, "__init__"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    assert len([path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]) <= MOST_ROOMS


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "workflow"])
def test_files_and_functions_can_be_read_at_once(folder):
    long = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > MOST_LINES:
            long.append(f"{path.relative_to(ROOT)}: {source.count(chr(10))} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_LINES_OF_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []
