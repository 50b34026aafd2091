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
from deepssim.reference.options import Option, add_option
from deepssim.runtime.threads import available_threads, set_threads


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: what it is for, its options, and its function in a module of this room."""

    help: str
    function: str
    module: str = "scores"
    options: dict[str, Option]


_SEED = 42  # the reference's

_IMAGES = Option(help="folder of <image_uid>/training.png and <image_uid>/gen-<i>.png", required=True)
_MATRIX = Option(help="scores, npz with `data` [real, synthetic]", required=True)
_INDICES = {
    "real_indices_path": Option(help="keys of the rows, npz with `data`", required=True),
    "synth_indices_path": Option(help="keys of the columns, npz with `data`", required=True),
}
_TEST = Option(help="CSV with real_key, synth_key, label (0 different, 1 duplicate, 2 similar)", required=True)
_SUBJECTS = Option(
    help="CSV with image_uid and subject, by which intervals are found (default: every record is a subject)"
)
_JSON = Option(help="file for the figures, which are printed too")
_WORKERS = Option(help="processor threads (default: all)", kind=int)
_GPU = Option(help="use a GPU if there is one", flag=True)
_AUGMENT = Option(help="misalign every image first", flag=True)
_SEED_OPTION = Option(help=f"of misalignment, fitting and intervals (default: {_SEED})", kind=int, default=_SEED)
_MEMORY = Option(
    help="memory limit in GB (default: 2); does not change the scores",
    kind=float,
    default=SimilarityConfig().max_memory_gb,
)
_EMBEDDING_METRICS = tuple(name.value for name, metric in METRICS.items() if metric.input_kind is InputKind.EMBEDDINGS)
_PIXELS = {
    "dataset_images_dir": _IMAGES,
    "output_matrix_path": Option(help="npz file to write", required=True),
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
            "embeddings_dir": Option(help="folder for <metric>/<key>.npz", required=True),
            "matrices_dir": Option(help="folder for <metric>.npz", required=True),
            "indices_dir": Option(help="folder for real.npz and synth.npz", required=True),
            "augment": _AUGMENT,
            "batch_size": Option(help="images at a time (default: 32)", kind=int, default=32),
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
    "compute-ssim": Command(help="score an image tree by exact SSIM", function="compute_ssim", options=_PIXELS),
    "compute-fsim": Command(
        help="score an image tree by FSIM",
        function="compute_fsim",
        options=_PIXELS
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
            "output_path": Option(help="PNG, SVG or PDF to write", required=True),
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
            "dataset_csv": Option(help="pairs: real_key, synth_key, ssim, split (train or valid)", required=True),
            "emb_dim": Option(help="numbers of an embedding", kind=int, setting="encoder.embedding_features"),
            "epochs": Option(help="epochs", kind=int, setting="encoder.epochs"),
            "batch_size": Option(help="pairs at a time", kind=int, setting="encoder.batch_size"),
            "learning_rate": Option(help="learning rate", kind=float, setting="encoder.learning_rate"),
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
        command = commands.add_parser(name, help=record.help, description=f"{record.help[0].upper()}{record.help[1:]}.")
        for option, one in record.options.items():
            add_option(command, option, one)
        command.set_defaults(call=_run, command=name)


def _run(options: argparse.Namespace) -> None:
    record = COMMANDS[options.command]
    given = {name: getattr(options, name) for name in record.options}
    if "num_workers" in given:
        given["threads"] = given.pop("num_workers") or available_threads()
        set_threads(given["threads"])
    given.pop("ssim_tmp_dir", None)
    settings = {}
    for name, option in record.options.items():
        if option.setting:
            settings[option.setting.split(".")[1]] = given.pop(name)
    module = importlib.import_module(f"deepssim.reference.{record.module}")
    getattr(module, record.function)(**given, **({"encoder": settings} if settings else {}))
