"""How the options of the commands relate to those of the reference's scripts, as the table docs/reference-options.md.

An option that is not named here is the reference's, with its meaning and its default.

Source: the scripts of the DeepSSIM reference code (arXiv:2509.16582).
"""

from deepssim.reference import generation_commands, score_commands
from deepssim.reference.options import Option

SCRIPTS = {
    "ldm-train-vae": "ldm_train_vae.py",
    "ldm-train-diff": "ldm_train_diff.py",
    "ldm-generate": "ldm_generate.py",
    "train": "deepssim_train.py",
    "compute-matrix": "compute_matrix.py",
    "compute-ssim": "compute_ssim.py",
    "compute-fsim": "compute_fsim.py",
    "eval": "eval.py",
    "eval-ssim": "eval_ssim.py",
    "plot-reports": "plot_reports.py",
}

# Options that the reference's script does not have.
ADDED = {
    "ldm-train-vae": ("perceptual", "orientation", "config", "seed", "device"),
    "ldm-train-diff": ("orientation", "config", "seed", "device"),
    "ldm-generate": ("orientation", "config", "seed", "device", "n_workers"),
    "train": ("config", "seed"),
    "compute-matrix": ("evaluation_mode", "max_memory_gb", "trust", "seed"),
    "compute-ssim": ("max_memory_gb",),
    "compute-fsim": ("max_memory_gb", "ssim_tmp_dir", "variant"),
    "eval": ("low_threshold", "upper_threshold", "subjects", "json_path", "seed"),
    "eval-ssim": ("subjects", "json_path", "num_workers", "max_memory_gb", "seed"),
    "plot-reports": (),
}

_THREADS = "threads of one process; there, processes that read images"
_CORES = "threads, as many as there are processors unless given; there processes, one per physical core"
_AUGMENT = "same kinds and ranges; drawn for each image by its key and the seed"
_CONDITIONING = (
    "`text` is accepted too, and what `conditioning` means; there, the scripts accept `conditioning` and stop at it"
)
_SHAPE = "computed unless given, and checked; there 3x36x28 and 3x34x28, the brain study's, unless given"

# Options that both have, but that do not act alike.
CHANGED = {
    "ldm-train-vae": {
        "n_workers": _THREADS,
        "batch_size": "images for one optimiser step; there, twice as many with the defaults",
        "max_batch_size": "images at a time; there, the loader yields --batch_size images at a time whatever is given, and "
        "--batch_size / --max_batch_size such batches make a step",
    },
    "ldm-train-diff": {
        "n_workers": _THREADS,
        "conditioning": _CONDITIONING,
        "duplication": "a number of copies is accepted too",
        "latent_shape": _SHAPE,
        "vae_space_shape": _SHAPE,
    },
    "ldm-generate": {"conditioning": _CONDITIONING, "latent_shape": _SHAPE, "vae_space_shape": _SHAPE},
    "train": {
        "num_workers": _CORES,
        "dataset_csv": "`--testset_csv`, its name in the first version, is accepted too",
        "emb_dir": "accepted and not needed; only the first README names it",
    },
    "compute-matrix": {
        "num_workers": _CORES,
        "augment": _AUGMENT,
        "batch_size": "256 at most, except for published weights of `dar`, whose scores depend on it",
        "model_path": "TorchScript and state dicts are loaded once --trust gives their SHA-256; safetensors of this program "
        "need none",
    },
    "compute-ssim": {"num_workers": _CORES, "ssim_tmp_dir": "accepted and not needed: no rows are kept on disk"},
    "compute-fsim": {"num_workers": _CORES},
    "eval": {"metric_name": "ssim and fsim are accepted too"},
    "eval-ssim": {"augment": _AUGMENT},
    "plot-reports": {},
}


def options_of(command: str) -> dict[str, Option]:
    """Return the options of a command by name, with underscores."""
    if command in score_commands.COMMANDS:
        return score_commands.COMMANDS[command].options
    return generation_commands.options_of(command)


def options_page() -> str:
    """Return the page docs/reference-options.md: one row per option of each command, same as in the reference or not."""
    rows = [
        f"| `{command}` | `--{name}` | {_state(command, name)} | {_remark(command, name, option)} |"
        for command in SCRIPTS
        for name, option in options_of(command).items()
    ]
    return "\n".join([*_HEAD, *rows, ""])


def _state(command: str, name: str) -> str:
    return "only here" if name in ADDED[command] else "differs" if name in CHANGED[command] else "yes"


def _remark(command: str, name: str, option: Option) -> str:
    text = option.help if name in ADDED[command] else CHANGED[command].get(name, "")
    return text.replace("|", "\\|")


_HEAD = (
    "# Options of the reference's commands",
    "",
    "Every option of the commands that [the reference code](from-the-reference.md) has too, and whether it is the same there:",
    "same name, meaning and default. Underscores may be dashes. An option that the reference's scripts require may have a",
    "default here.",
    "",
    "This page is generated from the records of the options; write it anew after changing one of them:",
    "",
    "```sh",
    "python -c 'from deepssim.reference.differences import options_page; print(options_page(), end=\"\")' "
    "> docs/reference-options.md",
    "```",
    "",
    "| command | option | same as the reference? | remark |",
    "| --- | --- | --- | --- |",
)
