"""Solvers agree with monai-generative's, with DDIM's formula, and with exact solutions; errors fall with the steps."""

import math
import sys
import warnings
from types import SimpleNamespace

import monai.config
import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

from deepssim.config.choices import Sampler
from deepssim.config.generative import LdmConfig, SynthesisConfig
from deepssim.errors import ConfigError
from deepssim.generative.diffusion import schedule_arguments
from deepssim.generative.sampling import denoise
from deepssim.generative.solvers import _uniform_in_noise, solver

LDM = LdmConfig()
STEPS = (4, 5, 7, 10, 20, 50, 100, 500, 1000)


@pytest.fixture(params=Sampler)
def sampler(request) -> Sampler:
    if request.param is Sampler.DPM_SOLVER:
        pytest.importorskip("diffusers")
    return request.param


@pytest.fixture
def their_schedulers(monkeypatch):
    """monai-generative's own schedulers, which need a name that MONAI has moved since."""
    monkeypatch.setattr(monai.config, "IgniteInfo", SimpleNamespace(OPT_IMPORT_VERSION="0.4.11"), raising=False)
    before = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedulers = pytest.importorskip("generative.networks.schedulers")
    yield schedulers
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "generative":
            del sys.modules[name]


def alphas_of(ldm: LdmConfig) -> torch.Tensor:
    """Scaled linear schedule: the square roots of the variances lie on a line."""
    betas = torch.linspace(math.sqrt(ldm.beta_start), math.sqrt(ldm.beta_end), ldm.timesteps) ** 2
    return torch.cumprod(1 - betas, dim=0)


def waves(latents, timesteps, context=None):
    """A prediction that depends on latents and time, and on neither linearly."""
    return torch.sin(3 * latents) + latents * torch.cos(timesteps / 100)[:, None, None, None]


def two_groups(latents, timesteps, context=None):
    """The best prediction for latents of which half are normal around -1 and half around 1, deviation 0.3."""
    alpha = alphas_of(LDM)[timesteps][:, None, None, None].double()
    variance = alpha * 0.3**2 + 1 - alpha
    mean = alpha.sqrt() * torch.tanh(alpha.sqrt() * latents / variance)
    return (1 - alpha).sqrt() * (latents - mean) / variance


def solved(network, sampler, steps, ldm=LDM, shape=(3, 2, 4, 4), guidance=1.0):
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = SynthesisConfig(sampler=sampler, sampler_steps=steps, guidance_scale=guidance)
    return denoise(noise, network, ldm, options)


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_has_the_formula_of_its_paper(steps):
    """Song et al. 2021, eq. 12 without noise; after the last step the latents have no noise, alpha is 1."""
    noise = torch.randn((3, 2, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alphas, stride, latents = alphas_of(LDM), LDM.timesteps // steps, noise
    for time in range((steps - 1) * stride, -1, -stride):
        now, then = alphas[time], alphas[time - stride] if time >= stride else torch.tensor(1.0)
        epsilon = waves(latents, torch.full((3,), time))
        clean = (latents - (1 - now).sqrt() * epsilon) / now.sqrt()
        latents = then.sqrt() * clean + (1 - then).sqrt() * epsilon
    torch.testing.assert_close(solved(waves, Sampler.DDIM, steps), latents, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_gives_the_images_of_monai_generative(steps, their_schedulers):
    """The loop of the reference: same noise, same network, its own scheduler."""
    schedule = their_schedulers.DDIMScheduler(**schedule_arguments(LDM))
    schedule.set_timesteps(num_inference_steps=steps)
    latents = torch.randn((3, 2, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for time in schedule.timesteps:
        latents, _ = schedule.step(waves(latents, time.repeat(3)), time, latents)
    torch.testing.assert_close(solved(waves, Sampler.DDIM, steps), latents, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("of_monai", ["1.5", "1.6.1"])
def test_every_monai_gives_the_same_images(of_monai, monkeypatch):
    """MONAI's own list of time steps changed with 1.6; its step did not."""
    expected = solved(waves, Sampler.DDIM, 10)

    def set_timesteps(self, count, device=None):
        self.num_inference_steps = count
        multiples = torch.arange(count).flip(0) * (self.num_train_timesteps // count)
        spread = torch.linspace(self.num_train_timesteps - 1, 0, count).round().long()
        self.timesteps = multiples if of_monai == "1.5" else spread

    monkeypatch.setattr(DDIMScheduler, "set_timesteps", set_timesteps)
    torch.testing.assert_close(solved(waves, Sampler.DDIM, 10), expected, atol=0, rtol=0)


def test_more_steps_come_closer_to_a_fine_run(sampler):
    """Of DDIM with 500 steps, which has an error of 0.003 itself: the others cannot come closer than that."""
    fine = solved(two_groups, Sampler.DDIM, 500)
    counts = (5, 10, 20, 50, 100, 200) if sampler is Sampler.DDIM else (5, 10, 20, 50)
    errors = [float((solved(two_groups, sampler, steps) - fine).abs().mean()) for steps in counts]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


def test_dpm_solver_converges_fast():
    """Ten times the steps of 20 change less than a tenth of what they change for DDIM."""
    pytest.importorskip("diffusers")

    def change(sampler):
        return float((solved(two_groups, sampler, 20) - solved(two_groups, sampler, 200)).abs().mean())

    assert change(Sampler.DPM_SOLVER) < change(Sampler.DDIM) / 10


def test_dpm_solver_is_of_second_order_with_guidance():
    pytest.importorskip("diffusers")
    plain, guided = (solved(two_groups, Sampler.DPM_SOLVER, 10, guidance=scale) for scale in (1.0, 2.0))
    assert 0.001 < (plain - guided).abs().max() < 0.5


@pytest.mark.parametrize("deviation", [0.5, 1.5])
def test_dpm_solver_needs_fewer_steps_than_ddim(deviation):
    """For Gaussian latents the prediction is linear and the exact solution of the reverse process is known."""
    pytest.importorskip("diffusers")
    alphas = alphas_of(LDM).double()

    def perfect(latents, timesteps, context=None):
        alpha = alphas[timesteps][:, None, None, None]
        return (1 - alpha).sqrt() * latents / (alpha * deviation**2 + 1 - alpha)

    noise = torch.randn((3, 2, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = deviation * noise / (alphas[-1] * deviation**2 + 1 - alphas[-1]).sqrt()

    def error(sampler, steps):
        return float((solved(perfect, sampler, steps) - exact).abs().mean())

    assert error(Sampler.DPM_SOLVER, 20) < error(Sampler.DDIM, 50) < error(Sampler.DDIM, 20)
    assert error(Sampler.PNDM, 200) < 0.001
    # The last step, from the lowest noise level to none, is a single one of first order, whatever the number of steps.
    exact *= alphas[0].sqrt() * deviation / (alphas[0] * deviation**2 + 1 - alphas[0]).sqrt()
    assert error(Sampler.DPM_SOLVER, 200) < 1e-4


def test_a_perfect_noise_predictor_gives_the_image_back(sampler):
    """With one training latent the best prediction is known in closed form, and a solver must end at that latent."""
    target = torch.randn(1, 2, 4, 4)
    alphas = DDPMScheduler(**schedule_arguments(LDM)).alphas_cumprod

    def perfect(latents, timesteps, context=None):
        alpha = alphas[timesteps][:, None, None, None]
        return (latents - alpha.sqrt() * target) / (1 - alpha).sqrt()

    result = denoise(torch.randn(3, 2, 4, 4), perfect, LDM, SynthesisConfig(sampler=sampler))
    torch.testing.assert_close(result, target.expand(3, -1, -1, -1), atol=0.03, rtol=0)


@pytest.mark.parametrize(("timesteps", "steps"), [(1000, 4), (1000, 50), (1000, 600), (1000, 1000), (7, 7), (2, 50)])
def test_time_steps_fall_and_the_network_knows_them(sampler, timesteps, steps):
    ldm = LdmConfig(timesteps=timesteps)
    times, _ = solver(ldm, SynthesisConfig(sampler=sampler, sampler_steps=steps))
    distinct = sorted(set(times), reverse=True)
    assert len(distinct) == min(steps, timesteps)
    assert times == ([*distinct[:2], *distinct[1:]] if sampler is Sampler.PNDM else distinct)
    assert 0 <= min(times) <= max(times) < timesteps
    assert torch.isfinite(solved(waves, sampler, steps, ldm)).all()


def test_time_steps_are_uniform_in_the_signal_to_noise_ratio():
    alphas = alphas_of(LDM).double().numpy()
    times = _uniform_in_noise(alphas, 20)
    assert (times[0], times[-1]) == (999, 0)
    distances = np.diff(np.log((1 - alphas) / alphas)[times])[:14]  # those after them are less than a few time steps
    np.testing.assert_allclose(distances, distances.mean(), rtol=0.05)


def test_dpm_solver_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"'dpm_solver' needs diffusers .*deepssim\[dpm\].*'ddim'"):
        solved(waves, Sampler.DPM_SOLVER, 10)
