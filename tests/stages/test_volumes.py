"""All stages one after the other on volumes, in this process; a run by Snakemake is in tests/workflow/test_volumes.py."""

import json
import re

import nibabel
import numpy as np
import pandas as pd
import pytest
from skimage.metrics import structural_similarity

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.dataset import VolumesConfig
from deepssim.config.encoders import PublishedConfig
from deepssim.config.evaluation import SimilarityConfig
from deepssim.errors import ConfigError
from deepssim.images.packs import ImagePack, read_pack
from deepssim.images.scans import decode_scan, find_scans
from deepssim.similarity.embeddings import read_embeddings
from deepssim.similarity.matrices import read_scores
from deepssim.stages.embeddings import embed
from deepssim.stages.matrices import score_images
from tests.stages.conftest import Chain, copies_in_place
from tests.stages.jobs import run_job, run_rule
from tests.workflow.plans import VOLUMES

SIZE = (8, 12, 10)


@pytest.fixture(scope="module")
def chain(plans, tmp_path_factory) -> Chain:
    folder = tmp_path_factory.mktemp("volumes")
    assert plans["chain of volumes"].error == ""
    left, done = list(plans["chain of volumes"].jobs), []
    generated: ImagePack | None = None
    while left:
        ready = next(job for job in left if all((folder / path).exists() for path in job.files))
        run_job(folder, ready, VOLUMES | {"tracking": {}})
        left.remove(ready)
        done.append(ready)
        if ready.rule == "generate":
            generated = copies_in_place(folder / ready.outputs["pack"], folder / "results" / "dataset" / "real.h5")
    assert generated is not None
    return Chain(folder, done, generated)


def test_every_job_writes_its_files(chain):
    rules = {job.rule for job in chain.jobs}
    assert {"train_vae", "train_ldm", "export_images", "train_deepssim", "plot_copies", "report", "misalign"} <= rules
    assert not rules & {"train_dar", "verify_copies", "plant_copies"}
    for job in chain.jobs:
        for path in job.outputs.values():
            assert (chain.folder / path).exists(), path


def test_packs_hold_volumes_and_the_model_made_them(chain):
    real = read_pack(chain.results / "dataset" / "real.h5")
    assert real.images.shape == (6, *SIZE)
    assert chain.generated.images.shape == (12, *SIZE)
    assert len({volume.tobytes() for volume in chain.generated.images}) == 12
    misaligned = read_pack(chain.results / "dataset" / "real_misaligned.h5")
    assert misaligned.keys == real.keys
    assert (misaligned.images != real.images).any(axis=(1, 2, 3)).sum() >= 4


def test_volumes_are_exported_as_nifti_in_their_orientation(chain):
    tree = chain.results / "synthetic" / "images"
    real, synthetic = (
        read_pack(chain.results / "dataset" / "real.h5"),
        read_pack(chain.results / "synthetic" / "000.h5"),
    )
    assert len(list(tree.rglob("gen-*.nii.gz"))) == len(synthetic.keys)
    for pack, key in ((real, real.keys[0]), (synthetic, synthetic.keys[-1])):
        record, name = key.split("___")
        path = tree / record / f"{name}.nii.gz"
        image = nibabel.load(path)
        assert "".join(nibabel.aff2axcodes(image.affine)) == "RAS"
        assert image.shape == SIZE[::-1]
        volume = pack.images[pack.index[key]]
        np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1], volume)
        read = decode_scan(find_scans([path])[0], SIZE, (0, 100), VolumesConfig()).images[0][:, ::-1]
        assert np.corrcoef(read.ravel(), volume.ravel())[0, 1] > 0.999


def test_scores_are_the_ssim_of_scikit_image_and_the_truth(chain):
    real, synthetic = (
        read_pack(chain.results / "dataset" / "real.h5"),
        read_pack(chain.results / "synthetic" / "000.h5"),
    )
    scores = read_scores(chain.results / "matrices" / "ssim.h5")
    first, second = (pack.images[2].astype(float) for pack in (real, synthetic))
    first, second = ((values - values.mean()) / values.std() for values in (first, second))
    expected = structural_similarity(first, second, data_range=np.ptp(first))
    assert scores.pair_scores([real.keys[2]], [synthetic.keys[2]])[0] == pytest.approx(expected, abs=1e-6)
    evaluation = json.loads((chain.results / "eval" / "ssim.json").read_text())
    assert evaluation["copies"]["synthetic_copies"] > 0
    assert evaluation["per_class"]["duplicate"]["pairs"] > 0


def test_deepssim_ranks_volumes_as_ssim_does(chain):
    found = read_embeddings(chain.results / "embeddings" / "deepssim" / "real.h5")
    assert found.values.shape[0] == 6
    assert found.values.shape[1] % VOLUMES["encoder"]["embedding_features"] == 0
    ssim, deepssim = (read_scores(chain.results / "matrices" / f"{name}.h5") for name in ("ssim", "deepssim"))
    assert np.corrcoef(ssim.scores.ravel(), deepssim.scores.ravel())[0, 1] > 0.7


def test_pairs_and_tables_name_volumes(chain):
    pairs = pd.read_csv(chain.results / "pairs" / "train.csv")
    assert pairs["real_key"].str.fullmatch(r"patient-\d+_t[12]_visit0___training").all()
    table = pd.read_csv(chain.results / "dataset" / "images.csv")
    assert {"visit", "age", "sequence"} <= set(table.columns)


def test_the_report_says_what_it_does_not_show(chain):
    page = (chain.results / "report" / "index.html").read_text()
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    assert "Images are volumes here" in text
    assert "not the other planes" in text
    assert "Registration and planted copies are not part of a run on volumes" in text
    assert page.count('<th scope="row">deepssim</th>') == 2


def test_three_shards_are_the_same_volumes(chain, plans, tmp_path):
    inputs = {
        "train_used": "ldm/train_used.csv", "latents": "vae/latents.h5", "autoencoder": "vae/autoencoder.safetensors",
        "unet": "ldm/unet.safetensors",
    }  # fmt: skip
    parts = []
    assert len(plans["shards of volumes"].of("generate")) == 3
    for shard in range(3):
        run_rule(
            tmp_path, "generate", VOLUMES | {"shards": 3}, outputs={"pack": f"{shard:03d}.h5"},
            inputs={name: str(chain.results / path) for name, path in inputs.items()},
            settings=("seed", "device", "shards", "synthesis", "dataset.bit_depth"), wildcards={"shard": f"{shard:03d}"},
        )  # fmt: skip
        parts.append(read_pack(tmp_path / f"{shard:03d}.h5").images)
    np.testing.assert_array_equal(np.concatenate(parts), chain.generated.images)


def test_stages_by_hand_refuse_metrics_of_images(chain, tmp_path):
    pack, weights = (str(chain.results / path) for path in ("dataset/real.h5", "encoders/deepssim.safetensors"))
    with pytest.raises(ConfigError, match="fsim compares images only, and the pack holds volumes"):
        score_images(
            real=pack, synthetic=pack, matrix=str(tmp_path / "x.h5"), metric=MetricName.FSIM, device=Device.CPU,
            similarity=SimilarityConfig(), seed=0, images_per_record=1,
        )  # fmt: skip
    with pytest.raises(ConfigError, match="dar compares images only, and the pack holds volumes"):
        embed(
            pack=pack, embeddings=str(tmp_path / "x.h5"), metric=MetricName.DAR, device=Device.CPU, embedding_batch_size=8,
            embedding_precision=Precision.FLOAT32, published=PublishedConfig(), weights=weights,
        )  # fmt: skip
