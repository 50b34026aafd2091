"""Checkpoints of monai-generative 0.2.3 load unchanged and give equal outputs; ours load there."""

import warnings

import pytest
import torch

from deepssim.config.choices import Conditioning, Orientation
from deepssim.config.generative import LdmConfig, VaeConfig
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.errors import DataError
from deepssim.generative.autoencoder import build_autoencoder, require_orientation, save_autoencoder
from deepssim.generative.checkpoints import (
    export_weights,
    load_any_autoencoder,
    load_any_unet,
    read_state_dict,
    to_generative,
)
from deepssim.generative.diffusion import build_unet, save_unet
from deepssim.runtime.weights import recorded_orientation, save_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from generative.networks import nets as theirs

SMALL_LDM = LdmConfig(
    channels=(16, 32, 48), attention_levels=(False, True, True), head_channels=48, residual_blocks=2, norm_groups=8
)


def their_autoencoder(options):
    levels = len(options.channels)
    return theirs.AutoencoderKL(
        spatial_dims=2, in_channels=1, out_channels=1, num_channels=options.channels, num_res_blocks=options.residual_blocks,
        latent_channels=options.latent_channels, norm_num_groups=options.norm_groups, attention_levels=(False,) * levels,
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False,
    ).eval()  # fmt: skip


def their_unet(options, features):
    return theirs.DiffusionModelUNet(
        spatial_dims=2, in_channels=3, out_channels=3, num_channels=options.channels, num_res_blocks=options.residual_blocks,
        attention_levels=options.attention_levels, norm_num_groups=options.norm_groups, resblock_updown=True,
        num_head_channels=tuple(options.heads_at(level) for level in range(len(options.channels))),
        with_conditioning=features > 0, cross_attention_dim=features or None,
    ).eval()  # fmt: skip


def randomise(network):
    """Give every weight a value, also those that start at zero and would hide a wrong one."""
    torch.manual_seed(0)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return network


@torch.inference_mode()
def largest_difference(first, second, *arguments, **named):
    one, two = first(*arguments, **named), second(*arguments, **named)
    one, two = (value[0] if isinstance(value, tuple) else value for value in (one, two))
    assert one.abs().max() > 1e-3
    return float((one - two).abs().max())


def test_the_autoencoder_of_the_paper_loads_and_agrees(tmp_path):
    old = randomise(their_autoencoder(PAPER_VAE))
    torch.save(old.state_dict(), tmp_path / "autoencoder-ep-99.pth")
    ours, options = load_any_autoencoder(tmp_path / "autoencoder-ep-99.pth", PAPER_VAE)
    assert options == PAPER_VAE
    images = torch.rand(1, 1, 136, 112)
    assert largest_difference(ours.reconstruct, old.reconstruct, images) < 1e-5
    assert largest_difference(ours.encode, old.encode, images) < 1e-5
    again = their_autoencoder(PAPER_VAE)
    again.load_state_dict(to_generative(ours, Orientation.TRANSPOSED))
    assert largest_difference(again.reconstruct, old.reconstruct, images) == 0


@pytest.mark.parametrize(
    ("options", "features"), [(SMALL_LDM, 0), (SMALL_LDM, 6), (SMALL_LDM, 512), (PAPER_LDM, 0), (PAPER_LDM, 512)]
)
def test_the_noise_predictor_loads_and_agrees(tmp_path, options, features):
    """With the paper's widths, too: brain latents of 3x36x28, without condition values or with 512 of them."""
    with torch.device("meta"):  # weights are given below; the default ones of networks this large take seconds
        old, again = their_unet(options, features), their_unet(options, features)
    old = randomise(old.to_empty(device="cpu"))
    torch.save(old.state_dict(), tmp_path / "unet.pth")
    ours, _ = load_any_unet(tmp_path / "unet.pth", options, 3, features)
    latents, steps = torch.randn(1, 3, 36, 28), torch.tensor([700])
    context = torch.randn(1, 1, features) if features else None
    assert largest_difference(ours, old, latents, timesteps=steps, context=context) < 1e-5
    again.load_state_dict(to_generative(ours, Orientation.TRANSPOSED), assign=True)
    assert largest_difference(again, old, latents, timesteps=steps, context=context) < 1e-5


def test_own_files_and_monai_files_load_too(tmp_path):
    options = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    network = randomise(build_autoencoder(options)).eval()
    save_autoencoder(tmp_path / "own.safetensors", network, options)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "monai.pt")
    images = torch.rand(1, 1, 16, 16)
    for name in ("own.safetensors", "monai.pt"):
        loaded, found = load_any_autoencoder(tmp_path / name, options)
        assert largest_difference(loaded.reconstruct, network.reconstruct, images) == 0
        assert found == options
    unet = randomise(build_unet(SMALL_LDM, 3, 6))
    conditional = SMALL_LDM.with_changes(conditioning=Conditioning.VARIABLES)
    save_unet(tmp_path / "unet.safetensors", unet, conditional, 1.5)
    assert load_any_unet(tmp_path / "unet.safetensors", LdmConfig(), 3, 6)[1] == conditional


def test_a_checkpoint_of_another_config_is_one_sentence(tmp_path):
    torch.save(their_unet(SMALL_LDM, 0).state_dict(), tmp_path / "unet.pth")
    wider = SMALL_LDM.with_changes(channels=(16, 32, 96))
    with pytest.raises(
        DataError, match=r"unet\.pth: \d+ of \d+ entries do not fit the network of section 'ldm', first "
    ):
        load_any_unet(tmp_path / "unet.pth", wider, 3, 0)
    with pytest.raises(DataError, match="do not fit the network of section 'ldm'.*use the config of its training"):
        load_any_unet(tmp_path / "unet.pth", SMALL_LDM, 3, 6)
    with pytest.raises(DataError, match="do not fit the network of section 'vae'"):
        load_any_autoencoder(tmp_path / "unet.pth", VaeConfig())


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"no", "cannot be read"),
        ([1, 2], "does not hold a state dict"),
        (Evil(), "cannot be read"),
    ],
)
def test_unusable_files_are_one_sentence_and_run_no_code(tmp_path, content, message, capsys):
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(DataError, match=rf"x\.pth: {message}"):
        read_state_dict(path)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("orientation", [*Orientation, None])
def test_the_orientation_travels_with_the_state_dict_and_disturbs_nobody(tmp_path, orientation):
    options = VaeConfig(channels=(8, 8), latent_channels=3, residual_blocks=2, norm_groups=4)
    network = build_autoencoder(options).eval()
    path = tmp_path / "autoencoder.pth"
    torch.save(to_generative(network, orientation), path)
    assert recorded_orientation(path) is orientation
    theirs_again = their_autoencoder(options)
    theirs_again.load_state_dict(torch.load(path, weights_only=True), strict=True)
    images = torch.rand(1, 1, 16, 16)
    assert largest_difference(theirs_again.reconstruct, network.reconstruct, images) < 1e-6
    torch.save(theirs_again.state_dict(), path)  # their own files say nothing
    assert recorded_orientation(path) is None


def test_own_files_record_the_orientation_and_are_upright_if_they_are_older(tmp_path):
    path, options = tmp_path / "vae.safetensors", VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    network = build_autoencoder(options)
    for orientation in Orientation:
        save_autoencoder(path, network, options, orientation)
        assert recorded_orientation(path) is orientation
        export_weights(weights=str(path), output=str(tmp_path / "exported.pth"))
        assert recorded_orientation(tmp_path / "exported.pth") is orientation
        require_orientation(path, orientation)
    with pytest.raises(
        DataError, match=r"vae\.safetensors: was trained on transposed images, but dataset\.orientation is upright"
    ):
        require_orientation(path, Orientation.UPRIGHT)
    save_weights(path, network, "autoencoder", {})
    assert recorded_orientation(path) is Orientation.UPRIGHT


def test_an_unusable_record_is_one_sentence(tmp_path):
    weights = to_generative(build_autoencoder(VaeConfig(channels=(8, 8), norm_groups=4)), None)
    weights._metadata = {"deepssim": {"orientation": "sideways"}}
    torch.save(weights, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"x\.pth: records the orientation 'sideways'; expected upright or transposed"):
        recorded_orientation(tmp_path / "x.pth")
    weights._metadata = {"deepssim": 7}
    torch.save(weights, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"x\.pth: cannot be read as a state dict"):
        recorded_orientation(tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"none\.pth: does not exist"):
        recorded_orientation(tmp_path / "none.pth")
