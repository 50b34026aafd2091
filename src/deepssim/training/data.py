"""Training data in memory, their shuffling and batches.

Not here: the run itself (driver.py).
"""

from collections.abc import Iterator, Sequence

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from deepssim.config.training import TrainingConfig
from deepssim.seeds import torch_generator

_MAX_GPU_FRACTION = 0.25  # of a GPU's free memory that training data may take


class Batched(Dataset):
    """Tensors in memory, indexed by a whole batch at once, which avoids collation and Python code per item.

    Args:
        tensors: tensors with N rows each.
        copies: N numbers, how often each row occurs in a pass over the data; once unless given.
    """

    def __init__(self, *tensors: torch.Tensor, copies: Sequence[int] | None = None) -> None:
        self.tensors = tensors
        self.rows = None if copies is None else np.repeat(np.arange(len(tensors[0])), copies)

    def __len__(self) -> int:
        return len(self.tensors[0]) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: Sequence[int]) -> tuple[torch.Tensor, ...]:
        chosen = rows if self.rows is None else self.rows[list(rows)].tolist()
        return tuple(tensor[chosen] for tensor in self.tensors)

    def rows_for(self, batch_size: int) -> int:
        """Return the number of rows per batch; subclasses may have several images per row."""
        return batch_size

    @property
    def bytes_held(self) -> int:
        """Memory of the tensors, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def move(self, target: torch.device) -> None:
        """Move the tensors to the target GPU if they leave most of its memory free, so that batches need no transfer."""
        if target.type == "cuda" and self.bytes_held < _MAX_GPU_FRACTION * torch.cuda.mem_get_info(target)[0]:
            self.tensors = tuple(tensor.to(target) for tensor in self.tensors)


def train_loader(data: Batched, options: TrainingConfig, seed: int, trainer: lightning.Trainer) -> DataLoader:
    """Return shuffled batches; with several processes, each gets its part of every batch.

    Args:
        data: training data.
        options: batch size and passes per epoch.
        seed: the config's seed; the order depends on it, the epoch and the pass only.
        trainer: trainer of the run, which knows the epoch and the process.
    """
    order = _Shuffled(data, options.passes, seed, trainer)
    batches = BatchSampler(order, data.rows_for(options.batch_size), drop_last=False)
    return DataLoader(data, sampler=_Part(batches, trainer), batch_size=None)


def valid_loader(data: Batched, options: TrainingConfig) -> DataLoader:
    """Return batches in order; every process gets all of them, so that they agree on the best epoch.

    Args:
        data: validation data.
        options: batch size.
    """
    batches = BatchSampler(SequentialSampler(data), data.rows_for(options.batch_size), drop_last=False)
    return DataLoader(data, sampler=batches, batch_size=None)


class _Part(Sampler):
    """The part of every batch that belongs to the current process."""

    def __init__(self, batches: BatchSampler, trainer: lightning.Trainer) -> None:
        self.batches = batches
        self.trainer = trainer

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            # The last batch may have fewer images than there are processes, but all must take the same number of steps.
            yield batch[self.trainer.global_rank :: self.trainer.world_size] or batch[:1]


class _Shuffled(Sampler):
    """A new order in every pass over the data, the same if an epoch is repeated after an interruption."""

    def __init__(self, data: Batched, passes: int, seed: int, trainer: lightning.Trainer) -> None:
        self.count = len(data)
        self.passes = passes
        self.seed = seed
        self.trainer = trainer

    def __len__(self) -> int:
        return self.count * self.passes

    def __iter__(self) -> Iterator[int]:
        for number in range(self.passes):
            generator = torch_generator(self.seed, "shuffle", self.trainer.current_epoch, number)
            yield from torch.randperm(self.count, generator=generator).tolist()
