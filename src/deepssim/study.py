"""Start a study and run the workflow on it from an installed package, without a checkout of the repository.

Not here: the workflow itself (Snakefile, workflow/), checks of settings (stages/checks.py).
"""

import os
import re
import signal
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from deepssim.errors import ConfigError, DataError

CONFIG = Path("config", "config.yaml")  # of a study, relative to its folder
# Config files that a study can start from, by the name that users type.
EXAMPLES = {
    "demo": "config.yaml",
    "volumes": "volumes.yaml",
    "audit": "audit.yaml",
    "brain": "brain.yaml",
    "brain_deepssim": "brain_deepssim.yaml",
    "chest": "chest.yaml",
    "chest_deepssim": "chest_deepssim.yaml",
}
_DEFAULTS = "defaults.yaml"
# What comments of the shipped files say, and what is right in a study.
_COMMENTS = {
    r"snakemake --configfile config/\w+\.yaml": "deepssim run",
    r"(?m)(?<=^#     )snakemake --profile (\S+) .*": r"deepssim run --profile \1",
    r"(?m)(?<=^#     )snakemake ": "deepssim run ",
    r"#\n# This file is generated from the classes in .*\n": "",
}
_CLUSTERS = ("slurm", "slurm-gres")  # profiles that users adapt; profiles/default is read from beside the Snakefile


def pipeline_folder() -> Path:
    """Return the folder that holds the Snakefile, `workflow/`, `config/`, `profiles/` and `envs/`.

    A wheel carries them inside the package. In a checkout, also one that is installed as editable, they are in its root.

    Raises:
        DataError: if neither place has a Snakefile.
    """
    package = Path(str(files("deepssim")))
    for place in (package / "pipeline", package.parents[1]):
        if (place / "Snakefile").is_file():
            return place
    raise DataError(
        f"{package}: this installation has no Snakefile; install deepssim again, from a wheel or a checkout"
    )


def create_study(folder: str | Path, example: str = "demo") -> list[Path]:
    """Write the config of a new study, and the profiles for Slurm.

    Args:
        folder: folder of the study; it may exist.
        example: key of EXAMPLES: the settings to start from.

    Returns:
        The written files. Beside an example that is not the demo, `defaults.yaml` explains every setting.

    Raises:
        DataError: if one of the files exists already; nothing is then written.
    """
    source, target = pipeline_folder(), Path(folder)
    copies = {target / CONFIG: source / "config" / EXAMPLES[example]}
    if example != "demo":
        copies[target / "config" / _DEFAULTS] = source / "config" / EXAMPLES["demo"]
    for name in _CLUSTERS:
        copies[target / "profiles" / name / "config.yaml"] = source / "profiles" / name / "config.yaml"
    present = [path for path in copies if path.exists()]
    if present:
        raise DataError(
            f"{target}: {len(present)} of {len(copies)} files exist already, first {present[0].relative_to(target)}; "
            "name another folder or remove them"
        )
    for path, original in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_for_study(original.read_text(encoding="utf-8"), example), encoding="utf-8")
    return list(copies)


def _for_study(text: str, example: str) -> str:
    """Return a shipped config file or profile with comments that fit a study outside of the repository."""
    for pattern, comment in _COMMENTS.items():
        text = re.sub(pattern, comment, text)
    return text if example == "demo" else re.sub(r"(?<=[ (])config\.yaml\b", _DEFAULTS, text)


def run_study(folder: str | Path, arguments: Sequence[str]) -> int:
    """Run Snakemake in this process, with the workflow of this package and the config of a study.

    Args:
        folder: folder of the study; results are written to `results` inside.
        arguments: files to make and options, as Snakemake's command line takes them. `--configfile` replaces the config of
            the study.

    Returns:
        Snakemake's exit code: 0 if everything was made.

    Raises:
        ConfigError: if the study has no config and none is named.
    """
    from snakemake.cli import main, parse_args

    _, options = parse_args(list(arguments))
    # Behind the files to make, since `--configfile` takes every word up to the next option.
    words = [*arguments, "--snakefile", str(pipeline_folder() / "Snakefile"), "--directory", str(folder)]
    if not options.configfile:
        config = Path(folder, CONFIG)
        if not config.is_file():
            raise ConfigError(
                f"{config}: there is no such file; `deepssim init {folder}` writes one, and --configfile names another"
            )
        words += ["--configfile", str(config)]
    _leave_signals_to_snakemake()
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _leave_signals_to_snakemake() -> None:
    """Undo what `exit_on_signals` has set: Snakemake ends its jobs on a KeyboardInterrupt."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def library_path(scratch: str | Path) -> Path:
    """Return a folder with this library and no other package, for jobs that run in an environment of their own.

    In a checkout it is `src`. Beside an installed package there are packages that belong to another environment, so a link to
    the library is made in a folder of its own.

    Args:
        scratch: folder in which a link may be made.
    """
    package = Path(str(files("deepssim")))
    if not (package / "pipeline").is_dir():
        return package.parent
    link = Path(scratch, "library", "deepssim").absolute()
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.resolve() != package.resolve():  # by rename, since jobs may do the same at the same time
        new = link.with_name(f".{os.getpid()}")
        new.symlink_to(package, target_is_directory=True)
        new.replace(link)
    return link.parent
