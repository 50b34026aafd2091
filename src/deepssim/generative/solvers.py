"""Deterministic solvers of the reverse diffusion process: at which time steps the network is asked, and how a step moves.

Both must agree: a network that is asked about another noise level than the one its latents have makes the result worse.

Not here: the loop over the time steps, guidance (sampling.py).
"""

from collections.abc import Callable

import numpy as np
from monai.networks.schedulers import DDIMScheduler, PNDMScheduler, Scheduler
from torch import Tensor

from deepssim.config.choices import Sampler
from deepssim.config.generative import LdmConfig, SynthesisConfig
from deepssim.errors import ConfigError
from deepssim.generative.diffusion import schedule_arguments

Step = Callable[[Tensor, int, Tensor], Tensor]


def solver(ldm: LdmConfig, options: SynthesisConfig) -> tuple[list[int], Step]:
    """Return the solver of section `synthesis`.

    Args:
        ldm: section `ldm` with the noise schedule, T `timesteps`.
        options: section `synthesis`.

    Returns:
        The time steps at which the noise is to be predicted, 0 to T - 1, and the function that takes a prediction, its
        time step and the latents at that time, and returns the latents of the next time step. It keeps a state, so it is
        to be called once for each time step, in their order.

    Raises:
        ConfigError: if the solver needs a package that is not installed.

    Source: Song et al., arXiv:2010.02502, eq. 12 with eta 0 (DDIM); Liu et al., arXiv:2202.09778 (PNDM, the linear
    multi-step method); Lu et al., arXiv:2211.01095 (DPM-Solver++, multi-step).
    """
    steps = min(options.sampler_steps, ldm.timesteps)
    if options.sampler is Sampler.DPM_SOLVER:
        # The order that the solver's documentation recommends: the third is unstable with guidance.
        return _dpm_solver(ldm, steps, order=3 if options.guidance_scale == 1 else 2)
    # A step of MONAI goes back by this number. Its own list of time steps fits only until MONAI 1.5.
    times = [number * (ldm.timesteps // steps) for number in reversed(range(steps))]
    arguments = schedule_arguments(ldm)
    if options.sampler is Sampler.PNDM:
        del arguments["clip_sample"]
        schedule: Scheduler = PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=True, **arguments)
        # The first step is taken twice, the second time with the slope at its end. MONAI's `step` expects the time step
        # of this end again.
        times = [*times[:2], *times[1:]]
    else:
        schedule = DDIMScheduler(**arguments)
    schedule.set_timesteps(steps)
    return times, lambda predicted, time, latents: schedule.step(predicted, time, latents)[0]


def _dpm_solver(ldm: LdmConfig, steps: int, order: int) -> tuple[list[int], Step]:
    try:
        from diffusers import DPMSolverMultistepScheduler
    except (ImportError, RuntimeError) as error:  # diffusers raises RuntimeError if a package that it needs is broken
        raise ConfigError(
            f"synthesis.sampler 'dpm_solver' needs diffusers ({' '.join(str(error).split())}); install 'deepssim[dpm]', or "
            "set it to 'ddim'"
        ) from None
    noise = DDIMScheduler(**schedule_arguments(ldm))
    times = _uniform_in_noise(noise.alphas_cumprod.double().numpy(), steps)
    schedule = DPMSolverMultistepScheduler(
        num_train_timesteps=ldm.timesteps,
        trained_betas=noise.betas.numpy(),
        algorithm_type="dpmsolver++",
        solver_order=order,
    )
    schedule.set_timesteps(timesteps=times)
    schedule.set_begin_index(0)  # steps are counted, not searched for
    return times, lambda predicted, time, latents: schedule.step(predicted, time, latents, return_dict=False)[0]


def _uniform_in_noise(alphas: np.ndarray, steps: int) -> list[int]:
    """Choose distinct time steps nearly uniform in the logarithm of the signal-to-noise ratio.

    Source: arXiv:2206.00927, section 3.3. diffusers has this choice too, but rounds the time steps for the network and
    not the noise levels of the steps.

    Args:
        alphas: cumulative products of the noise schedule, float64 (T,), falling.
        steps: number of time steps, at most T.

    Returns:
        Falling time steps from T - 1 to 0.
    """
    noise = np.log((1 - alphas) / alphas)
    times = np.interp(np.linspace(noise[-1], noise[0], steps), noise, np.arange(len(noise))).round().astype(int)
    order = np.arange(steps)
    times = np.minimum.accumulate(times + order) - order  # each at least one below the one before
    return np.maximum(times, order[::-1]).tolist()
