"""Commands of the reference code: from a dataset CSV to models and images, without a workflow.

Each makes the same files as the reference's script, and calls the stages that the workflow calls.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepssim.errors import ConfigError, DataError
from deepssim.jobs import whole_outputs
from deepssim.stages import generation

if TYPE_CHECKING:
    from deepssim.config import Config
    from deepssim.generative.latents import Latents

logger = logging.getLogger(__name__)

_RECORDS_AT_A_TIME = 16


def settings_for(config: str | None, dataset_csv: str, **changes: dict[str, Any]) -> Config:
    """Return the settings of a command: the config file's or the paper's, with what the command line says.

    Args:
        config: config file or None.
        dataset_csv: table with image_uid, image_path and split.
        changes: settings by section, the empty one for those outside of sections; None leaves a setting as it is.
    """
    from deepssim.choices import DatasetKind
    from deepssim.config import Config, DatasetConfig, load_config, parse_config
    from deepssim.generative.paper import PAPER_LDM, PAPER_VAE
    from deepssim.settings import as_settings

    base = load_config(config) if config else Config(vae=PAPER_VAE, ldm=PAPER_LDM)
    dataset = base.dataset if config else DatasetConfig(image_size=None)
    dataset = dataclasses.replace(
        dataset, kind=DatasetKind.TABLE, path=dataset_csv, valid_fraction=0.0, holdout_fraction=0.0
    )
    settings = as_settings(dataclasses.replace(base, dataset=dataset))
    for section, values in changes.items():
        place = settings[section] if section else settings
        place |= {name: value for name, value in values.items() if value is not None}
    return parse_config(settings)


def ldm_train_vae(*, dataset_csv: str, output_dir: str, config: Config, threads: int = 1) -> None:
    """Train the autoencoder: `models/autoencoder.pth` and `.safetensors`, `history.csv`, `plots/reconstructions.png`."""
    import torch

    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.interop import to_generative

    place = Path(output_dir)
    images, pack = _dataset(place, config, threads)
    outputs = {
        "weights": place / "models" / "autoencoder.safetensors",
        "history": place / "history.csv",
        "reconstructions": place / "plots" / "reconstructions.png",
        "exported": place / "models" / "autoencoder.pth",
    }
    with whole_outputs(outputs) as files:
        exported = files.pop("exported")
        generation.train_vae(images=images, pack=pack, config=config, **files)
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
    """Train the diffusion model: `models/unet.pth` and `.safetensors`, `history.csv`, `train-used.csv`, `plots/`."""
    import torch

    from deepssim.generative.diffusion import load_unet
    from deepssim.generative.interop import to_generative

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
    with whole_outputs(outputs) as files:
        exported = files.pop("exported")
        generation.train_ldm(
            images=images,
            pack=pack,
            latents=latents,
            autoencoder=autoencoder,
            initial=diff_ckpt,
            config=config,
            **files,
        )
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

    Records whose images are there already are left as they are, so an interrupted run goes on where it was.
    """
    from tqdm import tqdm

    from deepssim.devices import resolve_device
    from deepssim.generative import sampling
    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.diffusion import condition_features, trained_scale
    from deepssim.generative.interop import load_any_unet
    from deepssim.generative.latents import read_latents
    from deepssim.images.keys import split_key, synthetic_key
    from deepssim.images.packs import read_pack
    from deepssim.images.tree import image_path, write_tree

    place = Path(output_path)
    working = place / ".deepssim"  # a name that no record can have hidden files in
    images, pack = _dataset(working, config, threads)
    autoencoder, latents_file = _latents(working, images, pack, aekl_ckpt, config, latent_shape, vae_space_shape)
    latents, real = read_latents(latents_file), read_pack(pack)
    unet, options = load_any_unet(diff_ckpt, config.ldm, latents.shape[0], condition_features(latents, config.ldm))
    # Other images would give another scale; state dicts of other programs were trained without.
    latents = dataclasses.replace(latents, scale=trained_scale(diff_ckpt) or 1.0)
    condition_features(latents, options)  # weights of this program know their conditioning
    count = config.synthesis.images_per_record
    records = [split_key(key)[0] for key in real.keys]
    last = {record: image_path(place, synthetic_key(record, count - 1)) for record in records}
    wanted = [record for record in records if not last[record].exists()]
    if len(wanted) < len(records):
        logger.info("%d of %d records have their images already", len(records) - len(wanted), len(records))
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


def export(*, weights: str, output: str) -> None:
    """Write weights of this project as a state dict that monai-generative 0.2.3 loads."""
    import torch

    from deepssim.generative import autoencoder, diffusion
    from deepssim.generative.interop import to_generative
    from deepssim.weights import about

    kind = about(weights).get("kind")
    if kind not in (autoencoder.KIND, diffusion.KIND):
        raise DataError(f"{weights}: is no autoencoder or diffusion model of this program; name its safetensors file")
    if kind == autoencoder.KIND:
        network: Any = autoencoder.load_autoencoder(weights)
    else:
        network, options = diffusion.load_unet(weights)
        if options.scale_latents:
            logger.warning(
                "%s was trained on latents times %.6g (ldm.scale_latents); other programs must scale theirs, too",
                weights,
                diffusion.trained_scale(weights),
            )
    with whole_outputs({"exported": output}) as files:
        torch.save(to_generative(network), files["exported"])


def embed_captions(*, dataset_csv: str, caption_column: str, model: str, output_dir: str) -> None:
    """Embed a column of captions: an npz per record, and the table with their paths, both in `output_dir`."""
    import numpy as np

    from deepssim.datasets.tables import CAPTION_COLUMN, read_csv, write_csv
    from deepssim.generative import conditioning
    from deepssim.images.keys import checked_uid

    table = read_csv(dataset_csv, needs=("image_uid", caption_column))
    names = [f"{checked_uid(str(uid))}.npz" for uid in table["image_uid"]]
    values = conditioning.embed_captions(table[caption_column].astype(str).tolist(), model)
    place = Path(output_dir)
    with whole_outputs({"captions": place / "captions"}) as files:
        Path(files["captions"]).mkdir()
        for name, row in zip(names, values, strict=True):
            np.savez(Path(files["captions"], name), data=row)
    table[CAPTION_COLUMN] = [str(Path("captions", name)) for name in names]
    if "image_path" in table:  # the new table lies elsewhere
        table["image_path"] = [str((Path(dataset_csv).parent / path).resolve()) for path in table["image_path"]]
    write_csv(place / "dataset.csv", table)
    logger.info("%d captions of %d numbers; use %s", len(values), values.shape[1], place / "dataset.csv")


def _dataset(place: Path, config: Config, threads: int) -> tuple[str, str]:
    """Make image table and pack."""
    files = {"images": place / "images.csv", "pack": place / "real.h5"}
    with whole_outputs(files) as outputs:
        generation.prepare_dataset(**outputs, config=config, threads=threads)
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
    """Take over an autoencoder and encode all images; return its file and that of the latents."""
    from deepssim.generative.autoencoder import save_autoencoder
    from deepssim.generative.interop import load_any_autoencoder
    from deepssim.generative.latents import read_latents

    network, options = load_any_autoencoder(checkpoint, config.vae)
    files = {"weights": place / "models" / "autoencoder.safetensors", "latents": place / "latents.h5"}
    with whole_outputs(files) as outputs:
        save_autoencoder(outputs["weights"], network, options)
        generation.encode_latents(images=images, pack=pack, config=config, **outputs)
        _check_shapes(read_latents(outputs["latents"]), config, latent_shape, vae_space_shape)
    return str(files["weights"]), str(files["latents"])


def _check_shapes(latents: Latents, config: Config, latent_shape: str | None, vae_space_shape: str | None) -> None:
    """Compare the shapes that the reference's scripts are told with what networks and images give."""
    from deepssim.generative.diffusion import size_divisor
    from deepssim.generative.latents import padding

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
                f"--{name} is {given}, but these images and networks give {text}; leave the option out, it is worked out"
            )
