"""Measure training of the diffusion model and generation beside the plain way: `python -m benchmarks.generative`.

Plain training encodes every batch with the autoencoder at every step, in float32; plain generation takes one record after
the other. Writes docs/benchmarks-generative.md. `--quick` runs everything on tiny networks to see that it works; on a GPU
`--peak-tflops` (of the card in bfloat16) adds the share of it that training reaches.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.run import ROOT, THREADS, machine, table

from benchmarks.measure import Comparison, compare, replace_rows, seconds  # isort: skip

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from deepssim.config.choices import Device, Sampler
from deepssim.config.generative import LdmConfig, MemorizationConfig, SynthesisConfig, VaeConfig
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.config.settings import Config
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet, schedule_arguments, size_divisor
from deepssim.generative.diffusion_training import LdmTraining, train_diffusion
from deepssim.generative.latents import Latents, pad
from deepssim.generative.sampling import generate
from deepssim.images.keys import real_key, synthetic_key
from deepssim.runtime.devices import count_parameters, keep_freed_memory, resolve_device, training_precision


@dataclass(frozen=True)
class Size:
    """Networks and data of a measurement.

    Attributes:
        name: for the table.
        image: height and width.
        records: training images.
        steps: training steps to measure.
        per_record: images to generate for each record.
    """

    name: str
    image: tuple[int, int]
    vae: VaeConfig
    ldm: LdmConfig
    records: int
    steps: int
    per_record: int


DEMO = Size("demo, 48x48", (48, 48), Config().vae, Config().ldm, 24, 60, 16)
PAPER = Size("the paper's networks, 136x112", (136, 112), PAPER_VAE, PAPER_LDM, 8, 2, 30)
_NARROW_VAE = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
_NARROW_LDM = LdmConfig(channels=(16, 16), head_channels=16, norm_groups=4, batch_size=4)
QUICK = Size("tiny, 16x16", (16, 16), _NARROW_VAE, _NARROW_LDM, 4, 4, 2)


class Models:
    """Untrained networks of a size, images and their latents."""

    def __init__(self, size: Size, device: torch.device) -> None:
        torch.manual_seed(0)
        self.size, self.device = size, device
        self.autoencoder = build_autoencoder(size.vae).eval().to(device)
        self.images = torch.rand(size.records, 1, *size.image)
        with torch.inference_mode():
            values = self.autoencoder.encode(self.images.to(device))[0].cpu().numpy()
        self.keys = [real_key(f"r{number}") for number in range(size.records)]
        self.latents = Latents(values, self.keys, float(1 / values.std()))

    def train_plainly(self) -> None:
        """Make the steps as tutorials do: encode, add noise, predict, step."""
        options = self.size.ldm
        network = build_unet(options, self.latents.shape[0]).to(self.device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
        schedule = DDPMScheduler(**schedule_arguments(options))
        for _ in range(self.size.steps):
            images = self.images[torch.randint(len(self.images), (options.batch_size,))].to(self.device)
            with torch.no_grad():
                latents = pad(self.autoencoder.encode(images)[0] * self.latents.scale, size_divisor(options))
            noise, times = torch.randn_like(latents), torch.randint(options.timesteps, (len(latents),))
            times = times.to(self.device)
            loss = F.mse_loss(network(schedule.add_noise(latents, noise, times), timesteps=times), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def train(self) -> None:
        """Make the steps as the workflow does, with its logs and checkpoints."""
        options = self.size.ldm
        passes = -(-self.size.steps * options.batch_size // self.size.records)
        options = options.with_changes(
            epochs=1, passes=passes, validate_every=1, memorization=MemorizationConfig(every=0)
        )
        with tempfile.TemporaryDirectory() as state:
            train_diffusion(
                self.latents,
                self.latents.select([]),
                options,
                seed=0,
                device=Device(self.device.type),
                state=Path(state),
            )

    def stepper(self) -> Callable[[], None]:
        """Return a function that makes the steps alone: checkpoints of large networks take longer than a few steps."""
        options = self.size.ldm
        module = LdmTraining(options, self.latents.shape[0]).to(self.device)
        module.log = lambda *arguments, **named: None
        if self.device.type == "cuda":  # as training/driver.py
            module.to(memory_format=torch.channels_last)
        else:
            keep_freed_memory()
        optimizer = torch.optim.AdamW(module.parameters(), lr=options.learning_rate, fused=True)
        values = pad(torch.from_numpy(self.latents.values) * self.latents.scale, size_divisor(options)).to(self.device)
        narrow = training_precision(self.device, options.precision, count_parameters(module)) == "bf16-mixed"

        def step() -> None:
            for _ in range(self.size.steps):
                batch: tuple[Tensor] = (values[torch.randint(len(values), (options.batch_size,))],)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=narrow):
                    loss = module.training_step(batch, 0)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return step

    def generator(self, sampler: Sampler, steps: int, at_a_time: int, batch_size: int) -> Callable[[], None]:
        """Return a function that generates all images, `at_a_time` records in a call."""
        unet = build_unet(self.size.ldm, self.latents.shape[0])
        options = SynthesisConfig(sampler=sampler, sampler_steps=steps, batch_size=batch_size)
        records = [key.split("___")[0] for key in self.keys]

        def draw() -> None:
            for start in range(0, len(records), at_a_time):
                part = records[start : start + at_a_time]
                keys = [synthetic_key(record, number) for record in part for number in range(self.size.per_record)]
                generate(
                    keys, unet, self.autoencoder, latents=self.latents, ldm=self.size.ldm, options=options, seed=0,
                    device=self.device, bit_depth=8,
                )  # fmt: skip

        return draw


def comparisons(size: Size, device: torch.device, *, whole: bool) -> Iterator[Comparison]:
    """Yield training and generation; `whole` trains with logs and checkpoints."""
    models = Models(size, device)
    rival = "VAE at every step, float32"
    yield Comparison(
        f"{size.steps} training steps of {size.ldm.batch_size}, {size.name}", rival,
        models.train if whole else models.stepper(), models.train_plainly, 1, 2,
    )  # fmt: skip
    if not whole and device.type == "cpu":
        return  # hours on a processor
    count = f"{size.records} records, {size.name}"
    one = Models(replace(size, per_record=1), device)
    yield Comparison(
        f"1 image for each of {count}", "one record at a time, DDIM 50",
        one.generator(Sampler.DDIM, 50, size.records, min(64, size.records)), one.generator(Sampler.DDIM, 50, 1, 1), 1, 2,
    )  # fmt: skip
    few = Models(replace(size, records=min(8, size.records)), device)
    count = f"{few.size.records} records, {size.name}"
    plain = few.generator(Sampler.DDIM, 50, 1, size.per_record)
    for sampler, steps in ((Sampler.DDIM, 50), (Sampler.DPM_SOLVER, 20)):
        yield Comparison(
            f"{size.per_record} images for each of {count}, {sampler.value.upper()} {steps}",
            "one record at a time, DDIM 50", few.generator(sampler, steps, few.size.records, 64), plain, 1, 2,
        )  # fmt: skip


def share_of_peak(size: Size, device: torch.device, peak_tflops: float) -> str:
    """Return how much of a card's peak a training step reaches."""
    step = Models(size, device).stepper()
    with FlopCounterMode(display=False) as counter:
        step()
    step()
    reached = counter.get_total_flops() / float(np.median([seconds(step) for _ in range(5)])) / 1e12
    return (
        f"Training steps of {size.name} in batches of {size.ldm.batch_size} reach {reached:.1f} TFLOP/s, "
        f"{reached / peak_tflops:.1%} of the card's {peak_tflops:g} in bfloat16."
    )


def main() -> None:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "benchmarks-generative.md", help="default: %(default)s"
    )
    parser.add_argument("--repetitions", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="tiny networks, once, to see that it works")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16, to tell the share of it")
    parser.add_argument(
        "--only", metavar="TEXT", help="measure jobs whose name has this, and keep the page's other rows"
    )
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    device = resolve_device(Device.AUTO)
    repetitions = 1 if options.quick else options.repetitions
    outcomes = []
    for size, whole in [(QUICK, True), (QUICK, False)] if options.quick else [(DEMO, True), (PAPER, False)]:
        for comparison in comparisons(size, device, whole=whole):
            if options.only and options.only not in comparison.job:
                continue
            outcomes.append(compare(comparison, repetitions))
            print(table(outcomes)[-1], flush=True)
    if options.only:
        replace_rows(options.out, table(outcomes)[2:], machine())
        return
    lines = [
        "# Benchmarks of the generative model",
        "",
        "Speed of training and generation, compared with the usual ways of doing both on the same machine.",
        "",
        f"Written by `python -m benchmarks.generative`. {machine()}. Median (range) of {repetitions} repetitions; ours and "
        f"theirs were timed alternately, each on {THREADS} cores; the first run of each is excluded. Networks are untrained, "
        "which does not affect the time. For the demo, ours is the training of the workflow with logs and checkpoints; for the "
        "paper's networks only the optimiser steps are measured. Both sides train the same noise predictor, which takes most of "
        "a step of small networks; the rest is the autoencoder, which ours does not run at every step.",
        "",
        *table(outcomes),
        "",
    ]
    if options.peak_tflops and device.type == "cuda":
        lines += [share_of_peak(PAPER, device, options.peak_tflops), ""]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines), encoding="utf-8")
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
