"""Commands of the reference code: from a dataset CSV to models and images, without a workflow.

Each makes the same files as the reference's script, and calls the stages that the workflow calls.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from deepssim.config.base import as_settings
from deepssim.config.choices import DatasetKind
from deepssim.config.dataset import DatasetConfig
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.config.settings import Config, load_config, parse_config
from deepssim.errors import ConfigError
from deepssim.generative import sampling
from deepssim.generative.autoencoder import load_autoencoder, save_autoencoder
from deepssim.generative.checkpoints import load_any_autoencoder, load_any_unet, to_generative
from deepssim.generative.diffusion import condition_features, load_unet, size_divisor, trained_scale
from deepssim.generative.latents import Latents, padding, read_latents
from deepssim.images.keys import split_key, synthetic_key
from deepssim.images.packs import read_pack
from deepssim.images.tree import image_path, write_tree
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.outputs import atomic_outputs
from deepssim.stages.dataset import prepare_dataset
from deepssim.stages.latents import encode_latents
from deepssim.stages.ldm import train_ldm
from deepssim.stages.vae import train_vae

logger = logging.getLogger(__name__)

_RECORDS_AT_A_TIME = 16


def settings_for(config: str | None, dataset_csv: str, **changes: dict[str, Any]) -> Config:
    """Return the settings of a command: the config file's or the paper's, with what the command line says.

    Args:
        config: config file or None.
        dataset_csv: table with image_uid, image_path and split.
        changes: settings by section, the empty one for those outside of sections; None leaves a setting as it is.
    """
    base = load_config(config) if config else Config(vae=PAPER_VAE, ldm=PAPER_LDM)
    dataset = base.dataset if config else DatasetConfig(image_size=None)
    dataset = dataset.with_changes(
        kind=DatasetKind.TABLE, path=dataset_csv, valid_fraction=0.0, holdout_fraction=0.0, canaries=0.0
    )
    settings = as_settings(base.with_changes(dataset=dataset))
    for section, values in changes.items():
        place = settings[section] if section else settings
        place |= {name: value for name, value in values.items() if value is not None}
    return parse_config(settings)


def ldm_train_vae(*, dataset_csv: str, output_dir: str, config: Config, threads: int = 1) -> None:
    """Train the autoencoder.

    Args:
        dataset_csv: table with `image_uid`, `image_path` and `split`; the settings name it too.
        output_dir: folder for `models/autoencoder.pth` and `.safetensors`, `history.csv`, `plots/reconstructions.png`.
        config: all settings.
        threads: processor threads.
    """
    place = Path(output_dir)
    images, pack = _dataset(place, config, threads)
    outputs = {
        "weights": place / "models" / "autoencoder.safetensors",
        "history": place / "history.csv",
        "reconstructions": place / "plots" / "reconstructions.png",
        "exported": place / "models" / "autoencoder.pth",
    }
    with atomic_outputs(outputs) as files:
        exported = files.pop("exported")
        arguments: dict[str, Any] = {"images": images, "pack": pack, "vae": config.vae, **files}
        train_vae(**arguments, **_hardware(config))
        torch.save(to_generative(load_autoencoder(files["weights"])), exported)


def ldm_train_diff(
    *,
    dataset_csv: str,
    output_dir: str,
    aekl_ckpt: str,
    diff_ckpt: str | None,
    latent_shape: str | None,
    vae_space_shape: str | None,
    config: Config,
    threads: int = 1,
) -> None:
    """Train the diffusion model.

    Args:
        dataset_csv: as for `ldm_train_vae`, with the columns that the conditioning needs.
        output_dir: folder for `models/unet.pth` and `.safetensors`, `history.csv`, `train-used.csv`, `plots/`.
        aekl_ckpt: autoencoder.
        diff_ckpt: diffusion model to start from, or None.
        latent_shape, vae_space_shape: expected shapes, which are checked; None to skip the check.
        config: all settings.
        threads: processor threads.
    """
    place = Path(output_dir)
    images, pack = _dataset(place, config, threads)
    autoencoder, latents = _latents(place, images, pack, aekl_ckpt, config, latent_shape, vae_space_shape)
    outputs = {
        "weights": place / "models" / "unet.safetensors",
        "history": place / "history.csv",
        "samples": place / "plots" / "samples.png",
        "train_used": place / "train-used.csv",
        "exported": place / "models" / "unet.pth",
    }
    with atomic_outputs(outputs) as files:
        exported = files.pop("exported")
        arguments: dict[str, Any] = {
            "images": images, "pack": pack, "latents": latents, "autoencoder": autoencoder, "initial": diff_ckpt,
            "ldm": config.ldm, **files,
        }  # fmt: skip
        train_ldm(**arguments, **_hardware(config))
        torch.save(to_generative(load_unet(files["weights"])[0]), exported)


def ldm_generate(
    *,
    dataset_csv: str,
    output_path: str,
    aekl_ckpt: str,
    diff_ckpt: str,
    latent_shape: str | None,
    vae_space_shape: str | None,
    config: Config,
    threads: int = 1,
) -> None:
    """Generate images for every record of the table: `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`.

    Records that have all their images are skipped, so an interrupted run continues where it stopped.

    Args:
        dataset_csv, aekl_ckpt, latent_shape, vae_space_shape, config, threads: see `ldm_train_diff`.
        output_path: folder of the image tree.
        diff_ckpt: diffusion model.
    """
    place = Path(output_path)
    working = place / ".deepssim"  # no record can have this name
    images, pack = _dataset(working, config, threads)
    autoencoder, latents_file = _latents(working, images, pack, aekl_ckpt, config, latent_shape, vae_space_shape)
    latents, real = read_latents(latents_file), read_pack(pack)
    unet, options = load_any_unet(diff_ckpt, config.ldm, latents.shape[0], condition_features(latents, config.ldm))
    # The scale belongs to the model's training images; state dicts of other programs were trained without one.
    latents = dataclasses.replace(latents, scale=trained_scale(diff_ckpt) or 1.0)
    condition_features(latents, options)  # weights of this program know their conditioning
    count = config.synthesis.images_per_record
    records = [split_key(key)[0] for key in real.keys]
    last = {record: image_path(place, synthetic_key(record, count - 1)) for record in records}
    wanted = [record for record in records if not last[record].exists()]
    if len(wanted) < len(records):
        logger.info("%d of %d records already have all their images", len(records) - len(wanted), len(records))
    decoder = load_autoencoder(autoencoder)
    for start in tqdm(range(0, len(wanted), _RECORDS_AT_A_TIME), desc="records", unit="part", disable=None):
        part = wanted[start : start + _RECORDS_AT_A_TIME]
        generated = sampling.generate(
            [synthetic_key(record, number) for record in part for number in range(count)],
            unet,
            decoder,
            latents=latents,
            ldm=options,
            options=config.synthesis,
            seed=config.seed,
            device=resolve_device(config.device),
            bit_depth=config.dataset.bit_depth,
        )
        write_tree(place, real, generated)


def _hardware(config: Config) -> dict[str, Any]:
    """Return what every training takes beside its own section."""
    return {name: getattr(config, name) for name in ("seed", "device", "devices", "nodes", "tracking")}


def _dataset(place: Path, config: Config, threads: int) -> tuple[str, str]:
    """Make image table and pack."""
    files = {"images": place / "images.csv", "pack": place / "real.h5"}
    with atomic_outputs(files) as outputs:
        prepare_dataset(**outputs, dataset=config.dataset, seed=config.seed, threads=threads)
    return str(files["images"]), str(files["pack"])


def _latents(
    place: Path,
    images: str,
    pack: str,
    checkpoint: str,
    config: Config,
    latent_shape: str | None,
    vae_space_shape: str | None,
) -> tuple[str, str]:
    """Convert an autoencoder and encode all images; return its file and that of the latents."""
    network, options = load_any_autoencoder(checkpoint, config.vae)
    files = {"weights": place / "models" / "autoencoder.safetensors", "latents": place / "latents.h5"}
    with atomic_outputs(files) as outputs:
        save_autoencoder(outputs["weights"], network, options)
        encode_latents(
            images=images,
            pack=pack,
            device=config.device,
            conditioning=config.ldm.conditioning,
            condition_columns=config.ldm.condition_columns,
            scale_latents=config.ldm.scale_latents,
            **outputs,
        )
        _check_shapes(read_latents(outputs["latents"]), config, latent_shape, vae_space_shape)
    return str(files["weights"]), str(files["latents"])


def _check_shapes(latents: Latents, config: Config, latent_shape: str | None, vae_space_shape: str | None) -> None:
    """Compare the shapes given on the command line with those that networks and images give."""
    left, right, top, bottom = padding(latents.shape[1:], size_divisor(config.ldm))
    channels, height, width = latents.shape
    found = {
        "vae_space_shape": (channels, height, width),
        "latent_shape": (channels, height + top + bottom, width + left + right),
    }
    for name, given in (("vae_space_shape", vae_space_shape), ("latent_shape", latent_shape)):
        text = "x".join(map(str, found[name]))
        if given is not None and given != text:
            raise ConfigError(
                f"--{name} is {given}, but these images and networks give {text}; leave the option out; it is computed"
            )
