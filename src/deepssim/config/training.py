"""Settings that all trainings have in common."""

from typing import Annotated

from pydantic import Field

from deepssim.config.base import Section, Text
from deepssim.config.choices import Decay, Keep, Precision, WandbMode

# Sections give some of these another default.
Epochs = Annotated[int, Field(ge=1, description="training epochs, rounded up to a multiple of validate_every")]
Passes = Annotated[
    int, Field(ge=1, description="passes over the training data per epoch; more than 1 for small data sets")
]
BatchSize = Annotated[int, Field(ge=1, description="images per batch")]
LearningRate = Annotated[float, Field(gt=0, description="highest learning rate of the Adam optimiser")]
KeepWhich = Annotated[
    Keep, Field(description="checkpoint that becomes the result: best (lowest validation loss) or last")
]


class TrainingConfig(Section):
    """Settings that all trainings have in common."""

    epochs: Epochs = 100
    passes: Passes = 1
    batch_size: BatchSize = 16
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged for one optimiser step")
    learning_rate: LearningRate = 1e-4
    decay: Decay = Field(
        Decay.COSINE, description="learning-rate schedule: cosine (short warm-up, then decay to zero) or constant"
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations, each followed by a checkpoint")
    keep: KeepWhich = Keep.BEST
    precision: Precision = Field(
        Precision.AUTO,
        description="Number format of the training: float32, bfloat16 (mixed precision) or auto, which takes bfloat16 "
        "on a GPU that supports it and, for networks of ten million weights or more, on a processor that does.",
    )
    compile: bool = Field(
        False, description="use torch.compile: takes a minute or more at the start, speeds up large networks"
    )


class TrackingConfig(Section):
    """Section `tracking`: where the course of a training is logged in addition; changes no result."""

    wandb_project: Text | None = Field(
        None, description="name of a Weights & Biases project, null for none; needs `pip install wandb`"
    )
    wandb_mode: WandbMode = Field(
        WandbMode.OFFLINE, description="offline (upload later with `wandb sync`) or online (needs WANDB_API_KEY)"
    )
