"""Training, sampling, embedding and SSIM on a GPU give what the processor gives; each test runs on the processor, too."""

import numpy as np
import pytest
import torch

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.generative import MemorizationConfig, SynthesisConfig
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.extraction import extract
from deepssim.encoders.families import Families
from deepssim.encoders.recipes import PairImages, train_deepssim
from deepssim.generative.autoencoder import build_autoencoder, encode
from deepssim.generative.autoencoder_training import train_autoencoder
from deepssim.generative.diffusion import build_unet
from deepssim.generative.diffusion_training import train_diffusion
from deepssim.generative.latents import Latents
from deepssim.generative.monitoring import memorization_inspection
from deepssim.generative.sampling import generate
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.metrics import METRICS
from deepssim.similarity.tiles import all_scores, pair_scores
from tests.test_one_device import ENCODER, LDM, VAE

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> Device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    return Device(request.param)


@pytest.fixture
def images(random) -> ImagePack:
    keys = [real_key(f"r{number}") for number in range(6)]
    return ImagePack(random.integers(0, 256, (6, 32, 32), dtype=np.uint8), keys)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_autoencoder_is_trained(device, tmp_path, random, spatial_dims):
    values = random.integers(0, 256, (4, *(16,) * spatial_dims), dtype=np.uint8)
    pack = ImagePack(values, [real_key(f"r{number}") for number in range(4)])
    options = VAE.with_changes(epochs=2, passes=1, validate_every=1, batch_size=2)
    network, trained = train_autoencoder(pack, pack.select([]), options, seed=0, device=device, state=tmp_path)
    assert {value.device.type for value in network.parameters()} == {"cpu"}
    assert all(np.isfinite(list(row.values())).all() for row in trained.history)


def test_the_diffusion_model_is_trained_and_resumed(device, tmp_path, images):
    torch.manual_seed(0)
    autoencoder = build_autoencoder(VAE)
    target = torch.device(device.value)
    latents = Latents(encode(autoencoder, images, device=target), images.keys, 1.0)
    options = LDM.with_changes(
        epochs=1,
        passes=1,
        validate_every=1,
        batch_size=2,
        ema_decay=0.9,
        memorization=MemorizationConfig(every=1, images=8),
    )
    arguments = {"seed": 0, "device": device, "state": tmp_path}
    for epochs in (1, 2):
        inspection = memorization_inspection(images, latents, autoencoder, options, seed=0, device=target)
        options = options.with_changes(epochs=epochs)
        _, trained = train_diffusion(latents, latents, options, inspection=inspection, **arguments)
    assert [row["epoch"] for row in trained.history] == [1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in trained.history)


def test_the_encoder_is_trained_in_batches_of_families(device, tmp_path, images):
    import pandas as pd

    table = pd.DataFrame({"real_key": images.keys[:3], "synth_key": images.keys[3:], "ssim": [0.1, 0.2, 0.3]})
    options = ENCODER.with_changes(epochs=1, passes=2, batch_size=8)
    network, trained = train_deepssim(
        Families(images), PairImages(table, images, images), options, seed=0, device=device, state=tmp_path
    )
    assert np.isfinite(trained.history[-1]["train_loss"])
    assert not network.training


def test_embeddings_are_those_of_the_processor(device, images):
    torch.manual_seed(0)
    network = DeepSSIM(ENCODER.with_changes(canonicalize=False)).eval()
    options = {"batch_size": 4, "precision": Precision.FLOAT32}
    expected = extract(network, images, device=torch.device("cpu"), **options)
    found = extract(network, images, device=torch.device(device.value), **options)
    cosines = torch.cosine_similarity(torch.from_numpy(found), torch.from_numpy(expected))
    assert (1 - cosines).abs().max() < 1e-5
    narrow = extract(network, images, device=torch.device(device.value), batch_size=4, precision=Precision.BFLOAT16)
    assert narrow.dtype == np.float32


def test_generated_images_are_those_of_the_processor(device):
    torch.manual_seed(0)
    latents = Latents(np.zeros((1, 2, 8, 8), np.float32), [real_key("r0")], 1.0)
    drawn = [
        generate(
            [synthetic_key("r0", number) for number in range(3)], build_unet(LDM, 2), build_autoencoder(VAE),
            latents=latents, ldm=LDM, options=SynthesisConfig(sampler_steps=5, batch_size=4), seed=0,
            device=torch.device(place), bit_depth=8,
        )
        for place in ("cpu", device.value) if torch.manual_seed(0)
    ]  # fmt: skip
    assert np.abs(drawn[0].images.astype(int) - drawn[1].images).max() <= 4


def test_ssim_of_matrices_and_pairs_is_that_of_the_processor(device, random):
    packs = [
        ImagePack(random.integers(0, 256, (count, 19, 23), dtype=np.uint8), [str(n) for n in range(count)])
        for count in (70, 300)
    ]
    expected, found = (METRICS[MetricName.SSIM].compare(*packs, 2, place) for place in (Device.CPU, device))
    matrix = all_scores(found, max_memory_gb=0.53)  # several tiles
    np.testing.assert_allclose(matrix, all_scores(expected), rtol=0, atol=1e-6)
    rows, columns = random.integers(0, 70, 40), random.integers(0, 300, 40)
    np.testing.assert_array_equal(pair_scores(found, rows, columns), matrix[rows, columns])
