"""Commands of the reference code: from a dataset CSV to models and images, without a workflow.

Each makes the same files as the reference's script, and calls the stages that the workflow calls.
"""

import dataclasses
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from tqdm import tqdm

from deepssim.config.base import as_settings
from deepssim.config.choices import DatasetKind, Orientation
from deepssim.config.dataset import DatasetConfig
from deepssim.config.generative import LdmConfig
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.config.settings import Config, load_config, parse_config
from deepssim.datasets import prepare
from deepssim.datasets.tables import Split, keys_of, read_images
from deepssim.errors import ConfigError, DataError
from deepssim.generative import sampling
from deepssim.generative.autoencoder import encode, load_autoencoder, save_autoencoder
from deepssim.generative.checkpoints import load_any_autoencoder, load_any_unet, to_generative
from deepssim.generative.conditioning import read_conditions
from deepssim.generative.diffusion import condition_features, load_unet, size_divisor, trained_scale
from deepssim.generative.latents import Latents, padding, read_latents
from deepssim.generative.losses import perceptual_loss
from deepssim.images.keys import split_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.tree import write_tree
from deepssim.reference.continued_tree import divide, is_complete
from deepssim.reference.orientation import following, other_orientation, require_same_images, turned
from deepssim.reference.training_files import AutoencoderFiles, DiffusionFiles, write_rows_used
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.outputs import atomic_outputs, require_writable
from deepssim.stages.dataset import prepare_dataset
from deepssim.stages.latents import encode_latents
from deepssim.stages.ldm import train_ldm
from deepssim.stages.vae import train_vae

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_MESSAGES = 60


def base_settings(config: str | None) -> Config:
    """Return the settings of a config file, or the paper's."""
    return load_config(config) if config else Config(vae=PAPER_VAE, ldm=PAPER_LDM)


def settings_for(config: str | None, dataset_csv: str, **changes: dict[str, Any]) -> Config:
    """Return the settings of a command: the config file's or the paper's, with what the command line says.

    Args:
        config: config file or None.
        dataset_csv: table with image_uid, image_path and split.
        changes: settings by section, the empty one for those outside of sections; None leaves a setting as it is.

    Returns:
        The settings; `dataset.orientation` is transposed, as in the reference, unless the config file or `changes` say otherwise.

    Raises:
        ConfigError: if the config file is one of volumes.
    """
    base = base_settings(config)
    if base.dataset.spatial_dims == 3:
        raise ConfigError(
            f"{config}: dataset.spatial_dims is 3, but the reference's commands train on images; run the workflow on volumes (snakemake)"
        )
    dataset = base.dataset if config else DatasetConfig(kind=DatasetKind.TABLE, path=dataset_csv, image_size=None)
    chosen = changes.get("dataset", {}).get("orientation")
    if chosen is None:  # the reference's, unless the file says otherwise
        chosen = dataset.orientation if "orientation" in dataset.model_fields_set else Orientation.TRANSPOSED
    dataset = turned(dataset, Orientation(chosen))
    dataset = dataset.with_changes(
        kind=DatasetKind.TABLE, path=dataset_csv, valid_fraction=0.0, holdout_fraction=0.0, canaries=0.0
    )
    settings = as_settings(base.with_changes(dataset=dataset))
    for section, values in changes.items():
        place = settings[section] if section else settings
        place |= {name: value for name, value in values.items() if value is not None}
    return parse_config(settings)


def ldm_train_vae(*, dataset_csv: str, output_dir: str, config: Config, threads: int = 1) -> None:
    """Train the autoencoder, on transposed images unless `dataset.orientation` says otherwise.

    Args:
        dataset_csv: table with `image_uid`, `image_path` and `split`; the settings name it too.
        output_dir: folder for `models/autoencoder.pth` and `.safetensors`, `training.csv`, `plots/reconstructions.png` and the
            reference's files (`AutoencoderFiles`).
        config: all settings.
        threads: processor threads.

    Raises:
        ConfigError: if the perceptual term lacks packages or weights, before any image is read.
    """
    require_writable(output_dir, "--output_dir")
    perceptual_loss(config.vae.perceptual)
    place = Path(output_dir)
    images, pack = _dataset(place, config, threads)
    outputs = {
        "weights": place / "models" / "autoencoder.safetensors",
        "history": place / "training.csv",
        "reconstructions": place / "plots" / "reconstructions.png",
        "exported": place / "models" / "autoencoder.pth",
    }
    with atomic_outputs(outputs) as files:
        exported = files.pop("exported")
        arguments: dict[str, Any] = {"images": images, "pack": pack, "vae": config.vae, **files}
        orientation = config.dataset.orientation
        convert = partial(to_generative, orientation=orientation)
        observers = [AutoencoderFiles(place, config.vae, convert)]
        train_vae(**arguments, orientation=orientation, observers=observers, **_hardware(config))
        torch.save(convert(load_autoencoder(files["weights"])), exported)


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
    """Train the diffusion model, on images of the orientation that the autoencoder was trained on (`orientation.following`).

    Args:
        dataset_csv: as for `ldm_train_vae`, with the columns that the conditioning needs.
        output_dir: folder for `models/unet.pth` and `.safetensors`, `training.csv`, `train-used.csv`, `copies.csv`, `plots/`
            and the reference's files (`DiffusionFiles`).
        aekl_ckpt: autoencoder.
        diff_ckpt: diffusion model to start from, or None.
        latent_shape, vae_space_shape: expected shapes, which are checked; None to skip the check.
        config: all settings.
        threads: processor threads.

    Raises:
        DataError: if the two checkpoints were trained on images of different orientations.
    """
    require_writable(output_dir, "--output_dir")
    place, config = Path(output_dir), following(config, aekl_ckpt, diff_ckpt)
    images, pack = _dataset(place, config, threads)
    autoencoder, latents = _latents(place, images, pack, aekl_ckpt, config, latent_shape, vae_space_shape)
    outputs = {
        "weights": place / "models" / "unet.safetensors",
        "history": place / "training.csv",
        "samples": place / "plots" / "samples.png",
        "train_used": place / "copies.csv",
        "rows_used": place / "train-used.csv",
        "exported": place / "models" / "unet.pth",
    }
    with atomic_outputs(outputs) as files:
        exported, rows_used = files.pop("exported"), files.pop("rows_used")
        arguments: dict[str, Any] = {
            "images": images, "pack": pack, "latents": latents, "autoencoder": autoencoder, "initial": diff_ckpt,
            "ldm": config.ldm, **files,
        }  # fmt: skip
        convert = partial(to_generative, orientation=config.dataset.orientation)
        observers = [DiffusionFiles(place, convert)]
        train_ldm(**arguments, observers=observers, **_hardware(config))
        write_rows_used(rows_used, dataset_csv, files["train_used"])
        scale = trained_scale(files["weights"]) or 1.0
        if scale != 1:
            logger.warning(
                "the model was trained on latents multiplied by %.6g (ldm.scale_latents), which no .pth file records; generate "
                "with %s", scale, outputs["weights"],
            )  # fmt: skip
        torch.save(convert(load_unet(files["weights"])[0]), exported)


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

    Records that have all their images are skipped, so an interrupted run continues where it stopped. All images have the
    orientation that the autoencoder was trained on (`orientation.following`): with the reference's checkpoints they are transposed,
    `training.png` too, as the reference writes them.

    Args:
        dataset_csv, aekl_ckpt, latent_shape, vae_space_shape, config, threads: see `ldm_train_diff`.
        output_path: folder of the image tree.
        diff_ckpt: diffusion model.

    Raises:
        DataError: if the two checkpoints were trained on images of different orientations, or the tree holds other real images.
    """
    require_writable(output_path, "--output_path")
    place, config = Path(output_path), following(config, aekl_ckpt, diff_ckpt)
    # In memory only: the reference takes every file of the tree for an image, and a killed run leaves no patients behind.
    table, real = prepare.prepare_dataset(config.dataset, seed=config.seed, threads=threads, splits_as_given=True)
    decoder = load_any_autoencoder(aekl_ckpt, config.vae)[0]
    conditions = read_conditions(table, config.ldm.conditioning, config.ldm.condition_columns, source=dataset_csv)
    latents = Latents(encode(decoder, real, device=resolve_device(config.device)), real.keys, 1.0, conditions)
    _check_shapes(latents, config, aekl_ckpt, latent_shape, vae_space_shape)
    unet, options = load_any_unet(diff_ckpt, config.ldm, latents.shape[0], condition_features(latents, config.ldm))
    # The scale belongs to the model's training images; state dicts of other programs were trained without one.
    latents = dataclasses.replace(latents, scale=trained_scale(diff_ckpt) or 1.0)
    condition_features(latents, options)  # weights of this program know their conditioning
    _fill_tree(place, real, unet, decoder, latents, options, config)


def _fill_tree(
    place: Path,
    real: ImagePack,
    unet: DiffusionModelUNet,
    decoder: AutoencoderKL,
    latents: Latents,
    options: LdmConfig,
    config: Config,
) -> None:
    """Generate the images of the records that do not have all of theirs yet."""
    count = config.synthesis.images_per_record
    records = [split_key(key)[0] for key in real.keys]
    wanted = [record for record in records if not is_complete(place, record, count)]
    done = len(records) - len(wanted)
    if done:
        logger.info("%d of %d records already have all their images", done, len(records))
        require_same_images(place, real, sorted(set(records) - set(wanted)))
    told = time.monotonic()
    at_a_time, options_of_batch = divide(len(records), count, config.synthesis)
    for start in tqdm(range(0, len(wanted), at_a_time), desc="records", unit="part", disable=None):
        part = wanted[start : start + at_a_time]
        generated = sampling.generate(
            [synthetic_key(record, number) for record in part for number in range(count)],
            unet,
            decoder,
            latents=latents,
            ldm=options,
            options=options_of_batch,
            seed=config.seed,
            device=resolve_device(config.device),
            bit_depth=config.dataset.bit_depth,
        )
        write_tree(place, real, generated)
        done += len(part)
        if done == len(records) or time.monotonic() - told > _SECONDS_BETWEEN_MESSAGES:
            told = time.monotonic()
            logger.info("%d of %d records have their images", done, len(records))


def _hardware(config: Config) -> dict[str, Any]:
    """Return what every training takes beside its own section."""
    return {name: getattr(config, name) for name in ("seed", "device", "devices", "nodes", "tracking")}


def _dataset(place: Path, config: Config, threads: int) -> tuple[str, str]:
    """Make image table and pack."""
    files = {"images": place / "images.csv", "pack": place / "real.h5"}
    with atomic_outputs(files) as outputs:
        prepare_dataset(**outputs, dataset=config.dataset, seed=config.seed, threads=threads, splits_as_given=True)
        table = read_images(outputs["images"])
        used = len(keys_of(table, Split.TRAIN, Split.VALID))
        if not keys_of(table, Split.TRAIN):
            raise DataError(f"{config.dataset.path}: no row has the split 'train'; give it to those to train on")
        if used < len(table):
            logger.info(
                "%d of %d images are of other splits than train and valid, and not used", len(table) - used, len(table)
            )
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
        save_autoencoder(outputs["weights"], network, options, config.dataset.orientation)
        encode_latents(
            images=images,
            pack=pack,
            orientation=config.dataset.orientation,
            device=config.device,
            conditioning=config.ldm.conditioning,
            condition_columns=config.ldm.condition_columns,
            scale_latents=config.ldm.scale_latents,
            **outputs,
        )
        _check_shapes(read_latents(outputs["latents"]), config, checkpoint, latent_shape, vae_space_shape)
    return str(files["weights"]), str(files["latents"])


def _check_shapes(
    latents: Latents, config: Config, checkpoint: str, latent_shape: str | None, vae_space_shape: str | None
) -> None:
    """Compare the shapes given on the command line with those that networks and images give."""
    left, right, top, bottom = padding(latents.shape[1:], size_divisor(config.ldm))
    channels, height, width = latents.shape
    found = {
        "vae_space_shape": (channels, height, width),
        "latent_shape": (channels, height + top + bottom, width + left + right),
    }
    for name, given in (("vae_space_shape", vae_space_shape), ("latent_shape", latent_shape)):
        text = "x".join(map(str, found[name]))
        if given is None or given == text:
            continue
        channels, height, width = found[name]
        if given == f"{channels}x{width}x{height}":
            raise ConfigError(other_orientation(name, given, text, checkpoint, config.dataset.orientation))
        raise ConfigError(
            f"--{name} is {given}, but these images and networks give {text}; leave the option out; it is computed"
        )
