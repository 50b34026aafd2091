"""What would stop a run, found before its first job.

Snakemake imports this module before any job, so that functions import what they need.

Not here: settings that cannot be used whatever the data (config/).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepssim.config.choices import Conditioning, DatasetKind, MetricName, Perceptual, Sampler
from deepssim.config.dataset import DatasetConfig
from deepssim.config.reading import read_usable
from deepssim.config.settings import Config
from deepssim.errors import ConfigError, DataError, DeepssimError, joined
from deepssim.metrics import unusable_metrics
from deepssim.runtime.hub import on_hub


def require_runnable(settings: Mapping[str, Any], name: str) -> None:
    """Check all that a run would stop at; paths are relative to the working directory.

    Lists the files of the dataset and decodes one of them. What needs all images, such as one that is damaged, is found by
    the run itself.

    Args:
        settings: plain, as a config file holds them.
        name: of the file, for messages.

    Raises:
        ConfigError: listing everything that was found.
    """
    config, found = read_usable(Config, settings)
    found += [problem for problem in problems(config) if problem not in found]
    if found:
        raise ConfigError(f"{name}: {joined(found, 'things would stop a run')}")


def require_startable(config: Config) -> None:
    """Check what takes no time: that the data are where the settings say.

    Args:
        config: all settings.

    Raises:
        ConfigError: listing what is missing.
    """
    found = list(_audit_problems(config)) if config.audit.real is not None else []
    if config.audit.real is None and config.dataset.path is not None and not Path(config.dataset.path).exists():
        what = "CSV file" if config.dataset.kind is DatasetKind.TABLE else "folder"
        found.append(
            f"{config.dataset.path}: does not exist (dataset.path); name the {what} relative to {Path.cwd()}, or by its full path"
        )
    if found:
        raise ConfigError(joined(found, "things would stop this run"))


def require_container(image: str) -> None:
    """Check that the image in which jobs are to run is there; only a file can be checked.

    Args:
        image: setting `container`, a file or a URL.

    Raises:
        ConfigError: if it is a file and does not exist.
    """
    if "://" not in image and not Path(image).is_file():
        raise ConfigError(
            f"{image}: does not exist (container), and jobs are to run in it; build it with `apptainer build {image} "
            f"envs/deepssim.def` (docs/containers.md), or name the image relative to {Path.cwd()}, by its full path or by its URL"
        )


def problems(config: Config) -> Iterator[str]:
    """Yield a sentence for everything that would stop a run.

    Args:
        config: all settings.
    """
    if not os.access(Path.cwd(), os.W_OK):
        yield f"{Path.cwd()}: is not writable, and results are written there; name another folder with --directory"
    if config.audit.real is not None:
        yield from _audit_problems(config)
        return
    yield from unusable_metrics(config)
    yield from _dataset_problems(config)
    yield from _missing_packages(config)
    yield from _first_error(lambda: _require_backbone(config))


def _audit_problems(config: Config) -> Iterator[str]:
    from deepssim.audit.requirements import unusable

    return unusable(config.audit, config.published.trust)


def _dataset_problems(config: Config) -> Iterator[str]:
    from deepssim.datasets.prepare import splits_of
    from deepssim.datasets.sources import Record, find_sources

    options = config.dataset
    try:
        require_startable(config)
        sources = find_sources(options, config.seed)
    except DeepssimError as error:
        yield str(error)
        return
    yield from _first_error(lambda: splits_of(options, sources, config.seed, options.path or "dataset"))
    yield from _first_error(lambda: _require_conditions(config))
    if options.kind is DatasetKind.VIRTUAL_PATIENTS:
        return
    try:
        records: list[Record] = []
        for source in sources:
            records = source.read().records
            if records:
                break
    except DeepssimError as error:
        yield str(error)
        return
    if records and options.image_size is None:
        yield from config.vae.refusals(records[0].pixels.shape)


def _require_conditions(config: Config) -> None:
    from deepssim.datasets.tables import CAPTION_COLUMN

    conditioning = config.ldm.conditioning
    if conditioning is Conditioning.NONE:
        return
    wanted = (CAPTION_COLUMN,) if conditioning is Conditioning.TEXT else config.ldm.condition_columns
    present = _covariates(config.dataset)
    absent = [name for name in wanted if name not in present]
    if absent:
        raise ConfigError(
            f"{config.dataset.path or 'dataset'}: has no column {absent[0]!r}, which ldm.conditioning {conditioning.value!r} needs "
            f"({len(absent)} of {len(wanted)} are missing); use a table that has them (dataset.kind table)"
        )


def _covariates(options: DatasetConfig) -> set[str]:
    from deepssim.datasets.sources import find_sources
    from deepssim.datasets.tables import read_csv

    if options.kind is DatasetKind.TABLE:
        return set(map(str, read_csv(str(options.path), needs=("image_uid", "image_path")).columns))
    if options.kind is DatasetKind.VIRTUAL_PATIENTS:
        return set(find_sources(options, 0)[0].read().records[0].covariates)
    return {"slice"}


def _missing_packages(config: Config) -> Iterator[str]:
    needed = (
        (config.vae.perceptual is Perceptual.SQUEEZE, ("torchvision", "lpips"), "vae.perceptual 'squeeze'",
         "pip install 'deepssim[lpips]', or set it to 'gradient'"),
        (config.synthesis.sampler is Sampler.DPM_SOLVER, ("diffusers",), "synthesis.sampler 'dpm_solver'",
         "pip install 'deepssim[dpm]', or set it to 'ddim'"),
        (config.tracking.wandb_project is not None, ("wandb",), "tracking.wandb_project", "pip install wandb, or set it to null"),
    )  # fmt: skip
    for used, packages, setting, advice in needed:
        absent = [name for name in packages if find_spec(name) is None]
        if used and absent:
            yield f"{setting} needs {' and '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed; {advice}"


def _require_backbone(config: Config) -> None:
    backbone = config.encoder.backbone
    trained = MetricName.DEEPSSIM in config.evaluation.metrics and config.published.deepssim is None
    if trained and backbone is not None and not Path(backbone).is_dir() and not on_hub(backbone):
        raise DataError(
            f"encoder.backbone {backbone!r} does not exist; name a folder with config.json and weights of a vision model of "
            "transformers, or a model on the hub"
        )


def _first_error(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except DeepssimError as error:
        yield str(error)
