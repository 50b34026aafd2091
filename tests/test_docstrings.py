"""Public functions say what they take and give: arguments, and shapes and dtypes of arrays."""

import ast
import re
from collections.abc import Iterator

from tests.test_rooms import modules

LEAST = 0.9  # fraction of the functions that need it
# Their arguments are those of Lightning and PyTorch; a class says what its network takes and gives.
HOOKS = re.compile(r"^(training_step|validation_step|configure_\w+|on_\w+|forward)$")
ARRAYS = re.compile(r"ndarray|Tensor\b")
SHAPE = re.compile(r"\((\w+|\d+)(, ?[\w.* +-]+)*,?\)|\bshape\b|\bscalar\b|\bsame as\b|\bsee `")
DTYPE = re.compile(r"\b(u?int\d*|float\d*|bool|floating|integer|numeric|dtype|shape of|same as)\b|\bsee `")


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield public functions and methods with their places."""
    for module, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}", node
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                for part in node.body:
                    if (
                        isinstance(part, ast.FunctionDef)
                        and not part.name.startswith("_")
                        and not HOOKS.match(part.name)
                    ):
                        yield f"{module}.{node.name}.{part.name}", part


def arguments(node: ast.FunctionDef) -> list[str]:
    found = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in found if argument.arg not in ("self", "cls")]


def undescribed(node: ast.FunctionDef) -> list[str]:
    """Return the arguments that the section `Args` of the docstring does not name; `a, b: text` names both."""
    text = ast.get_docstring(node) or ""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    named = {
        name.strip(" *`")
        for line in (section[1] if section else "").splitlines()
        if (match := re.match(r"\s+([\w*, `]+?)(?: \(.*\))?:", line))
        for name in match[1].split(",")
    }
    return [name for name in arguments(node) if name not in named]


def report(missing: list[str], needed: int) -> str:
    return f"{len(missing)} of {needed} lack it: " + ", ".join(missing)


def test_arguments_are_described():
    needed = [(place, node) for place, node in functions() if len(arguments(node)) > 1]
    missing = [f"{place} ({', '.join(names)})" for place, node in needed if (names := undescribed(node))]
    assert len(missing) <= (1 - LEAST) * len(needed), report(missing, len(needed))


def test_arrays_have_shapes_and_dtypes():
    needed, missing = 0, []
    for place, node in functions():
        if ARRAYS.search(ast.unparse(node.args)) or (node.returns and ARRAYS.search(ast.unparse(node.returns))):
            needed += 1
            text = ast.get_docstring(node) or ""
            if not (SHAPE.search(text) and DTYPE.search(text)):
                missing.append(place)
    assert len(missing) <= (1 - LEAST) * needed, report(missing, needed)


def test_a_group_of_arguments_may_share_a_description():
    source = 'def f(a, b, c):\n    """Do.\n\n    Args:\n        a, b: numbers.\n        *c: more.\n    """\n'
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert undescribed(node) == []
    assert undescribed(ast.parse('def f(a, b):\n    """Do.\n\n    Args:\n        a: it.\n    """\n').body[0]) == ["b"]
