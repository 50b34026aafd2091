"""The reference's commands that compute and evaluate scores, with its option names, underscores or dashes.

Argument parsing only; the functions are in scores.py and training.py.
"""

import argparse
import importlib
from dataclasses import dataclass
from typing import Any

from deepssim.config.choices import FsimVariant, MetricName
from deepssim.config.evaluation import SimilarityConfig
from deepssim.metrics import METRICS, InputKind
from deepssim.reference.options import DEFAULT_PATHS, Option, add_option, at_least, checked_path, positive
from deepssim.runtime.threads import available_threads, set_threads


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: what it is for, its options, and its function in a module of this room."""

    help: str
    function: str
    module: str = "scores"
    options: dict[str, Option]


_SEED = 42  # the reference's
_NOT_NEEDED = ("ssim_tmp_dir", "emb_dir")  # options that are accepted because the reference has them

_IMAGES = Option(
    help="folder of <image_uid>/training.png and <image_uid>/gen-<i>.png", default="data/images", reads=True
)
_MATRIX = Option(help="scores, npz with `data` [real, synthetic]", required=True)
_INDICES = {
    f"{side}_indices_path": Option(
        help=f"keys of the {what}, npz with `data`", default=f"data/indices/{side}.npz", reads=True
    )
    for side, what in (("real", "rows"), ("synth", "columns"))
}
_TEST = Option(
    help="CSV with real_key, synth_key, label (0 different, 1 duplicate, 2 similar)",
    default="data/test_set.csv",
    reads=True,
)
_SUBJECTS = Option(
    help="CSV with image_uid and subject, by which intervals are found (default: every record is a subject)"
)
_JSON = Option(help="file for the results, which are printed too", makes="file")
_WORKERS = Option(help="processor threads (default: all)", kind=at_least(0))
_GPU = Option(help="use a GPU if there is one", flag=True)
_AUGMENT = Option(help="misalign every image first", flag=True)
_SEED_OPTION = Option(help=f"of misalignment, fitting and intervals (default: {_SEED})", kind=int, default=_SEED)
_MEMORY = Option(
    help="memory limit in GB (default: 2); does not change the scores",
    kind=positive,
    default=SimilarityConfig().max_memory_gb,
)
_EMBEDDING_METRICS = tuple(name.value for name, metric in METRICS.items() if metric.input_kind is InputKind.EMBEDDINGS)


def _pixel_options(metric: MetricName) -> dict[str, Option]:
    """Return the options of a command that scores pixels."""
    return {
        "dataset_images_dir": _IMAGES,
        "output_matrix_path": Option(
            help="npz file to write", default=f"data/matrices/{metric.value}.npz", makes="file"
        ),
        **_INDICES,
        "ssim_tmp_dir": Option(help="not needed; the reference keeps rows of the matrix there"),
        "num_workers": _WORKERS,
        "max_memory_gb": _MEMORY,
    }


COMMANDS = {
    "compute-matrix": Command(
        help="embed an image tree and score its real against its synthetic images",
        function="compute_matrix",
        options={
            "metric_name": Option(help="metric", choices=_EMBEDDING_METRICS, required=True),
            "model_path": Option(help="weights of its encoder", required=True),
            "dataset_images_dir": _IMAGES,
            "embeddings_dir": Option(help="folder for <metric>/<key>.npz", default="data/embeddings", makes="folder"),
            "matrices_dir": Option(help="folder for <metric>.npz", default="data/matrices", makes="folder"),
            "indices_dir": Option(help="folder for real.npz and synth.npz", default="data/indices", makes="folder"),
            "augment": _AUGMENT,
            "batch_size": Option(help="images at a time (default: 32)", kind=at_least(1), default=32),
            "evaluation_mode": Option(
                help="with published weights of dar, normalise by the statistics of their training instead of those of each "
                "batch, which the reference uses and the published threshold needs", flag=True,
            ),
            "num_workers": _WORKERS,
            "max_memory_gb": _MEMORY,
            "use_gpu": _GPU,
            "trust": Option(help="SHA-256 of a file that may be loaded though it can run code", many=True),
            "seed": _SEED_OPTION,
        },
    ),
    "compute-ssim": Command(
        help="score an image tree by exact SSIM",
        function="compute_ssim",
        options=_pixel_options(MetricName.SSIM),
    ),
    "compute-fsim": Command(
        help="score an image tree by FSIM",
        function="compute_fsim",
        options=_pixel_options(MetricName.FSIM)
        | {
            "variant": Option(
                help="published FSIM (default), or the reference's simplification",
                choices=tuple(FsimVariant),
                default=FsimVariant.PHASE_CONGRUENCY,
            )
        },
    ),
    "eval": Command(
        help="evaluate a score matrix on a labelled test set",
        function="evaluate_matrix",
        options={
            "metric_name": Option(help="metric", choices=tuple(MetricName), required=True),
            "matrix_path": _MATRIX,
            **_INDICES,
            "testset_csv": _TEST,
            "low_threshold": Option(help="different up to this (default: published, or fitted on half of the subjects)",
                                    kind=float),
            "upper_threshold": Option(help="duplicate above this", kind=float),
            "subjects": _SUBJECTS,
            "json_path": _JSON,
            "seed": _SEED_OPTION,
        },
    ),
    "eval-ssim": Command(
        help="evaluate exact SSIM on a labelled test set",
        function="evaluate_ssim",
        options={
            "augment": _AUGMENT,
            "testset_csv": _TEST,
            "dataset_images_dir": _IMAGES,
            "subjects": _SUBJECTS,
            "json_path": _JSON,
            "num_workers": _WORKERS,
            "max_memory_gb": _MEMORY,
            "seed": _SEED_OPTION,
        },
    ),
    "plot-reports": Command(
        help="draw the histogram of a score matrix by class",
        function="plot_reports",
        options={
            "matrix_path": _MATRIX,
            "output_path": Option(help="PNG, SVG or PDF to write", required=True, makes="file"),
            "exp_title": Option(help="title of the figure", required=True),
            "low_threshold": Option(help="different up to this", kind=float, required=True),
            "upper_threshold": Option(help="duplicate above this", kind=float, required=True),
            "testset_csv": _TEST,
            **_INDICES,
        },
    ),
    "train": Command(
        help="train the DeepSSIM encoder on pairs with their SSIM",
        function="train",
        module="training",
        options={
            "exp_name": Option(help="the results go to logs/<exp_name>", required=True),
            "dataset_images_dir": _IMAGES,
            "dataset_csv": Option(
                help="pairs: real_key, synth_key, ssim, split (train or valid; other rows are ignored)",
                default="data/dataset.csv",
                reads=True,
                aliases=("testset_csv",),
            ),
            "emb_dir": Option(help="not needed; the first README names it"),
            "emb_dim": Option(help="length of an embedding", kind=at_least(2), setting="encoder.embedding_features"),
            "epochs": Option(help="epochs", kind=at_least(1), setting="encoder.epochs"),
            "batch_size": Option(help="pairs at a time", kind=at_least(2), setting="encoder.batch_size"),
            "learning_rate": Option(help="learning rate", kind=positive, setting="encoder.learning_rate"),
            "weight_decay": Option(help="weight decay", kind=float, setting="encoder.weight_decay"),
            "dropout_prob": Option(help="dropout", kind=float, setting="encoder.dropout"),
            "config": Option(help="config file; without one the network and schedule are those of the paper"),
            "num_workers": _WORKERS,
            "use_gpu": _GPU,
            "seed": _SEED_OPTION,
        },
    ),
}  # fmt: skip


def add_score_commands(commands: Any) -> None:
    """Add the subcommands to a parser."""
    for name, record in COMMANDS.items():
        command = commands.add_parser(
            name, help=record.help, description=f"{record.help[0].upper()}{record.help[1:]}. {DEFAULT_PATHS}"
        )
        for option, one in record.options.items():
            add_option(command, option, one)
        command.set_defaults(call=_run, command=name)


def _run(options: argparse.Namespace) -> None:
    record = COMMANDS[options.command]
    given = {name: checked_path(name, option, getattr(options, name)) for name, option in record.options.items()}
    if "num_workers" in given:
        given["threads"] = _threads(given.pop("num_workers"))
        set_threads(given["threads"])
    for name in _NOT_NEEDED:
        given.pop(name, None)
    settings = {}
    for name, option in record.options.items():
        if option.setting:
            settings[option.setting.split(".")[1]] = given.pop(name)
    module = importlib.import_module(f"deepssim.reference.{record.module}")
    getattr(module, record.function)(**given, **({"encoder": settings} if settings else {}))


def _threads(workers: int | None) -> int:
    """Return the number of threads; 0 means no worker beside the program itself, as in the reference."""
    return available_threads() if workers is None else min(max(1, workers), available_threads())
