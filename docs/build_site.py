"""Gather the pages of the documentation in build/docs, as the repository arranges them, and write those that code describes.

python docs/build_site.py     then `mkdocs build --strict`; `make docs` does both
"""

import argparse
import shutil
from pathlib import Path

from deepssim.cli import GROUPS, _parser
from deepssim.config.schema import commented_yaml

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "docs"
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CITATION.cff", "LICENSE")
FOLDERS = ("docs", "config")
# Modules whose functions are meant to be called from outside, in the order of the method.
MODULES = (
    "notebook",
    "audit.run",
    "audit.result",
    "audit.metric",
    "audit.watching",
    "study",
    "metrics",
    "similarity.ssim",
    "similarity.fsim",
    "evaluation.classification",
    "errors",
)


def command_line() -> str:
    """Return the help of every command as Markdown."""
    (found,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    parts = ["# Command line", "Printed by `deepssim COMMAND --help`."]
    for group, names in GROUPS.items():
        parts.append(f"## {group[0].upper()}{group[1:]}")
        for name in names:
            parts.append(f"### {name}\n\n````text\n{found.choices[name].format_help().rstrip()}\n````")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write everything that MkDocs reads."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, TARGET / folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in PAGES:
        shutil.copy(ROOT / name, TARGET / name)
    (TARGET / "results").mkdir()
    shutil.copy(ROOT / "results" / "README.md", TARGET / "results")
    reference = TARGET / "reference"
    reference.mkdir()
    (reference / "command-line.md").write_text(command_line(), encoding="utf-8")
    (reference / "settings.md").write_text(f"# Settings\n\n````yaml\n{commented_yaml()}````\n", encoding="utf-8")
    api = "\n\n".join(f"## deepssim.{name}\n\n::: deepssim.{name}" for name in MODULES)
    (reference / "api.md").write_text(f"# Library\n\n{api}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
