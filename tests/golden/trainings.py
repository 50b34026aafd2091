"""Tiny trainings by the stages of the workflow, and the committed results that they are compared with.

The file has for each training its settings, the version of its stage, the logged losses and some outputs of the network.
Settings are complete there, since a changed default is a changed setting, which rules see, and needs no new version.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deepssim.config.choices import Device, Precision
from deepssim.config.settings import typed_settings
from deepssim.encoders import dar, deepssim
from deepssim.generative.autoencoder import load_autoencoder, reconstruct
from deepssim.generative.diffusion import load_unet
from deepssim.generative.latents import read_latents
from deepssim.images.packs import ImagePack, read_pack
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.stages import stage_function
from tests.golden.inputs import write_inputs

FILE = Path(__file__).with_name("trainings.json")
# Processors round differently and training amplifies that. With instruction sets from SSE4.1 to AVX-512, with and without
# oneDNN, and with one or two threads, values moved by a quarter of what is allowed here at most, losses by a tenth.
RELATIVE = 1e-3
LOSS_ABSOLUTE, OUTPUT_ABSOLUTE = 1e-5, 2e-4  # outputs and scores, about -1 to 1, may be near 0

_SEED = 7
_SHOWN = 4  # images whose outputs are compared

Golden = dict[str, Any]


def read_golden(path: Path = FILE) -> dict[str, Golden]:
    """Return the committed results by the name of the training, which begins with that of its stage."""
    return json.loads(path.read_text(encoding="utf-8"))


def stage_of(name: str) -> str:
    """Return the stage of a training."""
    return name.split(" ")[0]


def renew(names: Sequence[str], folder: Path, path: Path = FILE) -> list[str]:
    """Train again and write the results of stages whose version was raised.

    Args:
        names: of the trainings; all unless given.
        folder: empty folder for files of the trainings.
        path: file to renew.

    Returns:
        The names of the results that are new.

    Raises:
        SystemExit: if results differ although the version of the stage is the same; nothing is written then.
    """
    golden = read_golden(path)
    renewed = []
    for name in names or list(golden):
        found = train_again(name, golden[name], folder / name)
        same_version = golden[name].get("version") == found["version"]
        different = next(differences(golden[name], found), None) if same_version else None
        if different:
            raise SystemExit(f"{name}: {different}, and the version of its stage is the same; {advice(name)}")
        if not same_version:
            golden[name] = found
            renewed.append(name)
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    return renewed


def advice(name: str) -> str:
    """Say what to do if a training was changed on purpose."""
    return f"if that is meant, raise STAGE_VERSIONS[{stage_of(name)!r}] and run `python -m tests.golden` to renew {FILE.name}"


def train_again(name: str, golden: Golden, folder: Path) -> Golden:
    """Train with the settings of a committed result and return the new result in the same form."""
    folder.mkdir(parents=True)
    files = write_inputs(folder)
    training = _TRAININGS[stage_of(name)]
    written = {output: str(folder / output) for output in ("weights", "history", *training.outputs)}
    inputs: dict[str, Any] = {argument: files[argument.replace("pack", "real")] for argument in training.inputs}
    if "synthetic" in inputs:
        inputs["synthetic"] = [inputs["synthetic"]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = typed_settings({training.section: golden["settings"], **training.settings})
        stage_function(stage_of(name))(**inputs, **written, **settings, seed=_SEED, device=Device.CPU)
        outputs = training.probe(written["weights"], files)
    finally:
        torch.set_num_threads(threads)
    return {
        "settings": golden["settings"],
        "version": STAGE_VERSIONS[stage_of(name)],
        "history": pd.read_csv(written["history"]).to_dict("records"),
        "outputs": [round(value, 6) for value in np.ravel(outputs).tolist()],
    }


def differences(golden: Golden, found: Golden) -> Iterator[str]:
    """Describe where a result is not that of the file."""
    if len(golden["history"]) != len(found["history"]):
        yield f"{len(found['history'])} epochs are logged, not {len(golden['history'])}"
    if len(golden["outputs"]) != len(found["outputs"]):
        yield f"there are {len(found['outputs'])} outputs, not {len(golden['outputs'])}"
    for wanted, row in zip(golden["history"], found["history"], strict=False):
        if set(wanted) != set(row):
            yield f"epoch {row['epoch']} logs {', '.join(row)}, not {', '.join(wanted)}"
            continue
        for figure, value in wanted.items():
            absolute = LOSS_ABSOLUTE if "loss" in figure else OUTPUT_ABSOLUTE
            if not np.isclose(row[figure], value, rtol=RELATIVE, atol=absolute):
                yield f"{figure} of epoch {row['epoch']} is {row[figure]:.6g}, not {value:.6g}"
    for place, (value, output) in enumerate(zip(golden["outputs"], found["outputs"], strict=False)):
        if not np.isclose(output, value, rtol=RELATIVE, atol=OUTPUT_ABSOLUTE):
            yield f"output {place} is {output:.6g}, not {value:.6g}"


@dataclass(frozen=True)
class _Training:
    """A stage: its section of the config, inputs, what to compare of its network, outputs beside weights and history, and
    settings of other sections."""

    section: str
    inputs: tuple[str, ...]
    probe: Callable[[str, dict[str, str]], np.ndarray]
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def _shown(files: dict[str, str]) -> ImagePack:
    pack = read_pack(files["real"])
    return pack.select(pack.keys[-_SHOWN:])


def _cosines(weights: str, files: dict[str, str]) -> np.ndarray:
    values = deepssim.embed(weights, _shown(files), device=Device.CPU, precision=Precision.FLOAT32).values
    directions = values / np.linalg.norm(values, axis=1, keepdims=True)
    return (directions @ directions.T)[np.triu_indices(_SHOWN, 1)]


def _correlations(weights: str, files: dict[str, str]) -> np.ndarray:
    values = dar.embed(weights, _shown(files), Device.CPU, 8, Precision.FLOAT32).values
    return np.corrcoef(values)[np.triu_indices(_SHOWN, 1)]


def _reconstructions(weights: str, files: dict[str, str]) -> np.ndarray:
    return _quadrants(reconstruct(load_autoencoder(weights), _shown(files), device=torch.device("cpu")))


@torch.inference_mode()
def _noise(weights: str, files: dict[str, str]) -> np.ndarray:
    """Return the noise that is predicted in some latents, at an early and a late time step."""
    network, _ = load_unet(weights)
    latents = read_latents(files["latents"])
    assert latents.conditions is not None
    noisy, conditions = (torch.from_numpy(values[:_SHOWN]) for values in (latents.values, latents.conditions))
    predicted = network(noisy, timesteps=torch.tensor([50, 950]).repeat(_SHOWN // 2), context=conditions)
    return _quadrants(predicted[:, 0].numpy())


def _quadrants(maps: np.ndarray) -> np.ndarray:
    """Return the means of the four quarters of maps (N, H, W)."""
    rows, columns = (side // 2 for side in maps.shape[1:])
    return maps.reshape(len(maps), 2, rows, 2, columns).mean(axis=(2, 4))


_UPRIGHT = {"dataset.orientation": "upright"}
_TRAININGS = {
    "train_vae": _Training("vae", ("images", "pack"), _reconstructions, ("reconstructions",), _UPRIGHT),
    "train_ldm": _Training("ldm", ("images", "pack", "latents", "autoencoder"), _noise, ("samples", "train_used")),
    "train_dar": _Training("dar", ("images", "real"), _correlations),
    "train_deepssim": _Training(
        "encoder",
        ("images", "train", "valid", "split", "real", "synthetic", "autoencoder"),
        _cosines,
        settings=_UPRIGHT,
    ),
}
