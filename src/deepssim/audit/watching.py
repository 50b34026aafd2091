"""Watch a generator for memorization while it trains: a callback of Lightning, and a handler of Ignite, which MONAI's trainers use.

Both make images at regular intervals, audit them with the training images, log what was found, and may end the training.

Not here: the metric (metric.py), the count of copies inside our own diffusion training (generative/monitoring.py).
"""

import logging
from collections.abc import Callable
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback

from deepssim.audit.metric import MemorizationMetric

logger = logging.getLogger(__name__)

Sampler = Callable[[Any], torch.Tensor]
_PREFIX = "memorization/"


def _measure(metric: MemorizationMetric, sample: Sampler, generator: Any) -> dict[str, float]:
    metric.reset()
    with torch.no_grad():
        metric.update(synthetic=sample(generator))
    return {f"{_PREFIX}{name}": float(value) for name, value in metric.compute().items()}


def _too_many(found: dict[str, float], limit: float | None) -> bool:
    """Return whether the rate of copies is above the limit; one that is not known stops nothing."""
    above = limit is not None and found[f"{_PREFIX}copy_rate"] > limit
    if above:
        logger.warning(
            "training ends: %.1f %% of the generated images are copies, more than the %.1f %% allowed",
            100 * found[f"{_PREFIX}copy_rate"], 100 * float(limit or 0),
        )  # fmt: skip
    return above


class _Watching:
    def __init__(
        self, metric: MemorizationMetric, sample: Sampler, *, every_n_epochs: int = 1, stop_above: float | None = None
    ) -> None:
        self.metric, self.sample = metric, sample
        self.every_n_epochs, self.stop_above = every_n_epochs, stop_above


class MemorizationCallback(_Watching, Callback):
    """Count copies while a generator trains with Lightning, and log them as `memorization/copy_rate` and so on.

    Args:
        metric: that has been updated with the real images.
        sample: makes images with the module, (N, 1, H, W), on the scale of the real images; the module is in evaluation mode.
        every_n_epochs: how often.
        stop_above: fraction of copies, 0 to 1, above which the training ends.
    """

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Audit what the module generates, at the end of every n-th epoch."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        training = pl_module.training
        pl_module.eval()
        try:
            found = _measure(self.metric, self.sample, pl_module)
        finally:
            pl_module.train(training)
        pl_module.log_dict(found, rank_zero_only=True)
        if _too_many(found, self.stop_above):
            trainer.should_stop = True


class MemorizationHandler(_Watching):
    """Count copies while a generator trains with an engine of Ignite, such as MONAI's trainers; see `attach`.

    Args:
        metric: that has been updated with the real images.
        sample: makes images with the engine, (N, 1, H, W), on the scale of the real images.
        every_n_epochs: how often.
        stop_above: fraction of copies, 0 to 1, above which the training ends.
    """

    def attach(self, engine: Any) -> None:
        """Let an `ignite.engine.Engine` call this handler at the end of every n-th epoch."""
        from ignite.engine import Events

        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every_n_epochs), self)

    def __call__(self, engine: Any) -> None:
        """Audit what is generated, put the result into `engine.state.metrics`, and end the training if there are too many copies."""
        found = _measure(self.metric, self.sample, engine)
        engine.state.metrics.update(found)
        if _too_many(found, self.stop_above):
            engine.terminate()
