"""One run of all stages in this process, which several tests look at."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deepssim.images.packs import ImagePack, read_pack, write_pack
from tests.stages.jobs import run_job
from tests.workflow.plans import CHAIN, Job

NOISE = (0.01, 0.12, 0.5)  # duplicates, similar and different images, as fractions of the grey values' range


@dataclass(frozen=True)
class Chain:
    """A folder in which every rule but `audit` has run once, and the synthetic images as the model made them."""

    folder: Path
    jobs: list[Job]
    generated: ImagePack

    @property
    def results(self) -> Path:
        return self.folder / "results"


@pytest.fixture(scope="session")
def chain(plans, tmp_path_factory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    config = CHAIN | {"tracking": CHAIN["tracking"] if importlib.util.find_spec("wandb") else {}}
    assert plans["chain"].error == ""
    left, done = list(plans["chain"].jobs), []
    generated: ImagePack | None = None
    while left:
        ready = next(job for job in left if all((folder / path).exists() for path in job.files))
        run_job(folder, ready, config)
        left.remove(ready)
        done.append(ready)
        if ready.rule == "generate":
            generated = copies_in_place(folder / ready.outputs["pack"], folder / "results" / "dataset" / "real.h5")
    assert generated is not None
    return Chain(folder, done, generated)


def copies_in_place(pack: Path, real: Path) -> ImagePack:
    """Put noisy copies of the real images into the pack of synthetic ones; return what was in it."""
    generated, originals, random = read_pack(pack), read_pack(real), np.random.default_rng(0)
    images = []
    for number, key in enumerate(generated.keys):
        original = originals.images[originals.index[f"{key.split('___')[0]}___training"]].astype(float)
        images.append(original + np.ptp(original) * NOISE[number % len(NOISE)] * random.normal(size=original.shape))
    write_pack(pack, ImagePack(np.clip(images, 0, 255).astype(np.uint8), generated.keys))
    return generated
