"""Commands with the option names of the reference code (arXiv:2509.16582), with underscores or dashes.

Argument parsing only; the functions are in generation.py.
"""

import argparse
import re
from typing import Any

from deepssim.config.choices import Conditioning, Device, Duplication, Orientation, Perceptual
from deepssim.errors import ConfigError
from deepssim.reference.options import Option, add_option, at_least
from deepssim.runtime.threads import available_threads, set_threads


def _shape(text: str) -> str:
    if not re.fullmatch(r"\d+x\d+x\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 3x36x28")
    return text


def _conditioning(text: str) -> str:
    """The reference's README calls the conditioning on captions by the name of the option."""
    return Conditioning.TEXT.value if text == "conditioning" else text


_CSV = Option(
    help="table with image_uid, image_path, split (train or valid) and what the conditioning needs", required=True
)
_OUTPUT = Option(help="folder for models, history and plots", required=True)
_AEKL = Option(
    help="autoencoder: safetensors of this program, or a state dict of MONAI or monai-generative", required=True
)
_CONDITIONING = Option(
    help="what the model is conditioned on; the README's `conditioning` means text",
    kind=_conditioning,
    choices=tuple(Conditioning),
    setting="ldm.conditioning",
)
_ORIENTATION = Option(
    help="of the images that networks are trained on, or were, where their files do not record it (default: transposed, as "
    "the reference's)",
    choices=tuple(Orientation),
    setting="dataset.orientation",
)
_SHAPES = {
    "vae_space_shape": Option(help="of latents, for example 3x34x28; computed unless given", kind=_shape),
    "latent_shape": Option(help="of padded latents, for example 3x36x28; computed unless given", kind=_shape),
}
_COMMON = {
    "orientation": _ORIENTATION,
    "config": Option(help="config file; without one, the paper's networks and schedules"),
    "seed": Option(help="of all random numbers", kind=int, setting=".seed"),
    "device": Option(help="where to compute", choices=tuple(Device), setting=".device"),
    "n_workers": Option(help="processor threads", kind=at_least(0), default=4),
}

COMMANDS: dict[str, tuple[str, dict[str, Option]]] = {
    "ldm-train-vae": (
        "train the autoencoder on a dataset CSV",
        {
            "dataset_csv": _CSV,
            "output_dir": _OUTPUT,
            "batch_size": Option(help="effective batch size", kind=at_least(1)),
            "max_batch_size": Option(help="images at a time; gradients are added up", kind=at_least(1)),
            "n_epochs": Option(help="epochs", kind=at_least(1), setting="vae.epochs"),
            "lr": Option(help="learning rate", kind=float, setting="vae.learning_rate"),
            "perceptual": Option(help="perceptual term", choices=tuple(Perceptual), setting="vae.perceptual"),
        },
    ),
    "ldm-train-diff": (
        "train the diffusion model on a dataset CSV",
        {
            "dataset_csv": _CSV,
            "output_dir": _OUTPUT,
            "aekl_ckpt": _AEKL,
            "diff_ckpt": Option(help="weights to start from"),
            "conditioning": _CONDITIONING,
            "duplication": Option(help="copies of training images in an epoch: none, low, high or a number"),
            **_SHAPES,
            "batch_size": Option(help="batch size", kind=at_least(1), setting="ldm.batch_size"),
            "n_epochs": Option(help="epochs", kind=at_least(1), setting="ldm.epochs"),
            "lr": Option(help="learning rate", kind=float, setting="ldm.learning_rate"),
        },
    ),
    "ldm-generate": (
        "generate images for every record of a dataset CSV",
        {
            "dataset_csv": _CSV,
            "output_path": Option(help="folder of the image tree", required=True),
            "aekl_ckpt": _AEKL,
            "diff_ckpt": Option(help="diffusion model: the same kinds of files", required=True),
            "conditioning": _CONDITIONING,
            **_SHAPES,
            "n_gen_per_record": Option(
                help="images per record (default: 30)",
                kind=at_least(1),
                setting="synthesis.images_per_record",
                default=30,
            ),
        },
    ),
}


def add_reference_commands(commands: Any) -> None:
    """Add the subcommands to a parser."""
    for name, (purpose, options) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        for option, record in (options | _COMMON).items():
            add_option(command, option, record)
        command.set_defaults(call=_run, command=name)


def _run(options: argparse.Namespace) -> None:
    # 0 means no worker beside the program itself, as in the reference; more than there are only wait.
    threads = min(max(1, options.n_workers), available_threads())
    set_threads(threads)
    from deepssim.reference import generation as reference

    given = {name: getattr(options, name) for name in COMMANDS[options.command][1]}
    changes = _changes(given, COMMANDS[options.command][1] | _COMMON, options)
    if "max_batch_size" in given:
        vae = reference.base_settings(options.config).vae
        changes["vae"] |= _batches(given["batch_size"] or vae.batch_size * vae.accumulate, given)
    if options.command == "ldm-train-diff" and options.config is None:
        changes["ldm"]["validate_every"] = 1  # as in the reference, whose history has both losses of every epoch
    config = reference.settings_for(options.config, given["dataset_csv"], **changes)
    used = {name: value for name, value in given.items() if COMMANDS[options.command][1][name].setting is None}
    for name in ("batch_size", "max_batch_size", "duplication"):
        used.pop(name, None)
    function = getattr(reference, options.command.replace("-", "_"))
    function(**used, config=config, threads=threads)


def _changes(
    given: dict[str, Any], records: dict[str, Option], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Return the settings that the command line changes, by section."""
    changes: dict[str, dict[str, Any]] = {}
    for name, record in records.items():
        if record.setting is not None:
            section, key = record.setting.split(".")
            changes.setdefault(section, {})[key] = getattr(options, name)
    if given.get("duplication") is not None:
        changes["ldm"] |= _duplication(given["duplication"])
    return changes


def _batches(effective: int, given: dict[str, Any]) -> dict[str, int]:
    """Return the settings that divide an effective batch into those of the given size."""
    if given["batch_size"] is None and given["max_batch_size"] is None:
        return {}
    at_a_time = min(given["max_batch_size"] or effective, effective)
    if effective % at_a_time:
        raise ConfigError(
            f"--max_batch_size {at_a_time} does not divide the batch size of {effective}; give a divisor of it"
        )
    return {"batch_size": at_a_time, "accumulate": effective // at_a_time}


def _duplication(text: str) -> dict[str, Any]:
    if text.isdigit() and int(text) > 0:
        return {"duplication": Duplication.FIXED, "duplication_factor": int(text)}
    if text not in (Duplication.NONE, Duplication.LOW, Duplication.HIGH):
        raise ConfigError(f"--duplication is {text!r}; give none, low, high or a number of copies")
    return {"duplication": text}


def options_of(command: str) -> dict[str, Option]:
    """Return all options of a command by name, with underscores."""
    return COMMANDS[command][1] | _COMMON
