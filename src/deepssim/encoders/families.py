"""Families of similar images, from which the recipe `all_pairs` composes its batches.

In a batch of unrelated images nearly all pairs have a low SSIM. A family is a real image with copies of it, made by the
generator or its autoencoder, its nearest neighbours by SSIM and variations of all of these, so that the pairs of a batch
cover the whole range.

Not here: the variations (images/vary.py), the loss (recipes.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.keys import split_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.images.vary import vary_families
from deepssim.seeds import derive_seed, numpy_generator
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.topk import top_k
from deepssim.training.data import Batched

MEMBERS = 8  # images of a family in a batch

_COPY_FRACTION = 0.45  # of members that start from a copy, if the family has any
_NEIGHBOUR_FRACTION = 0.12  # of members that start from a neighbour
_MIN_COPY_SSIM = 0.5  # above which a synthetic image counts as an imperfect copy
_NEIGHBOURS = 16  # nearest neighbours to choose from
_PAIRS_PER_CLASS = 500  # example pairs
_ROUNDS = 4  # families drawn of every image for the example pairs
_MAX_CANDIDATES = 4096  # images among which neighbours are searched, which bounds the time for large data sets


class FamilyBatch(NamedTuple):
    """A batch of families.

    Attributes:
        images: float32 (N, 1, H, W), 0 to 1, rounded to 256 levels.
        ssim: float32 (N, N), exact, averaged over both directions, because a cosine is symmetric.
        first: bool (N,), true for the real image of each family, which may be deformed.
    """

    images: Tensor
    ssim: Tensor
    first: Tensor


class Families(Batched):
    """Real images with their copies and nearest neighbours; an item of the data set is the number of a family.

    Args:
        real: one image per family.
        copies: packs of copies, each with a list of the keys of the real images that they belong to.
        threads: processor threads.
    """

    def __init__(
        self, real: ImagePack, copies: Sequence[tuple[ImagePack, Sequence[str]]] = (), *, threads: int = 1
    ) -> None:
        super().__init__(torch.arange(len(real.keys)))
        self.pack, self.maximum = real, real.maximum
        self.images = np.concatenate([real.images, *(pack.images for pack, _ in copies)])
        copies_of: list[list[int]] = [[] for _ in real.keys]
        row = len(real.keys)
        for key in (key for _, keys in copies for key in keys):
            copies_of[real.index[key]].append(row)
            row += 1
        count = max(len(rows) for rows in copies_of)
        # Families with fewer copies repeat them; those without any use their real image.
        filled = [np.resize(rows or [number], max(count, 1)) for number, rows in enumerate(copies_of)]
        self.copies = torch.from_numpy(np.stack(filled).astype(np.int64))
        self.neighbours = torch.from_numpy(_neighbours(real, threads))

    def rows_for(self, batch_size: int) -> int:
        """Return the number of families with as many images as `batch_size` pairs."""
        return max(2, 2 * batch_size // MEMBERS)

    @property
    def bytes_held(self) -> int:
        """Memory of the images, in bytes."""
        return self.images.nbytes

    def draw(self, families: Tensor, device: torch.device | str = "cpu") -> FamilyBatch:
        """Compose a batch of `MEMBERS` images of each family, with torch's global random generator.

        Args:
            families: int64 (F,), numbers of families.
            device: where to compute the variations.

        Returns:
            F * `MEMBERS` images; those of a family are consecutive.
        """
        member_of = families.cpu().repeat_interleave(MEMBERS)
        first = torch.arange(len(member_of)) % MEMBERS == 0
        uniform = torch.rand(len(member_of))
        rows = member_of.clone()
        sources = ((0.0, _COPY_FRACTION, self.copies), (_COPY_FRACTION, _NEIGHBOUR_FRACTION, self.neighbours))
        for start, fraction, choices in sources:
            chosen = ~first & (uniform >= start) & (uniform < start + fraction)
            options = choices[member_of[chosen]]
            picked = torch.randint(options.shape[1], (len(options), 1))
            rows[chosen] = options.gather(1, picked)[:, 0]
        images = self._gather(rows.numpy()).to(device)
        with torch.autocast(images.device.type, enabled=False):
            levels = (vary_families(images, MEMBERS) * 255).round()
        # A deformation may move everything out of the frame, and a constant image has no SSIM.
        flat = levels.flatten(1).amax(1) == levels.flatten(1).amin(1)
        levels[flat] = (images[flat] * 255).round()
        ssim = exact_ssim(levels[:, 0].to(torch.uint8).cpu().numpy(), threads=torch.get_num_threads())
        return FamilyBatch(levels / 255, ssim.to(device), first.to(device))

    def _gather(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.images[rows].astype(np.float32) / np.float32(self.maximum))[:, None]


def copies_in_pairs(pairs: pd.DataFrame, synthetic: ImagePack) -> tuple[ImagePack, list[str]]:
    """Return the imperfect copies among the synthetic images of a table, each with the key of its most similar real image.

    Args:
        pairs: table with `real_key`, `synth_key` and `ssim`.
        synthetic: pack that holds the synthetic images.

    Returns:
        Pack of the M images whose SSIM with some real image is above 0.5, and M real keys.
    """
    near = pairs[pairs["ssim"] > _MIN_COPY_SSIM].sort_values("ssim", ascending=False, kind="stable")
    near = near.drop_duplicates("synth_key")
    return synthetic.select(near["synth_key"].tolist()), near["real_key"].tolist()


def exact_ssim(images: np.ndarray, *, threads: int) -> Tensor:
    """Compute the SSIM of all pairs of images, averaged over both directions.

    Args:
        images: uint8 (N, H, W), none of them constant.
        threads: processor threads.

    Returns:
        float32 (N, N), -1 to 1, symmetric.
    """
    pack = ImagePack(images, [str(number) for number in range(len(images))])
    comparison = SsimComparison(pack, pack, threads=threads)
    rows = comparison.prepare_rows(slice(None))
    scores = torch.from_numpy(comparison.compare(rows, rows).copy())
    return (scores + scores.T) / 2


def _neighbours(real: ImagePack, threads: int) -> np.ndarray:
    """Return the row numbers of each image's nearest neighbours by SSIM, int64 (N, k)."""
    count = len(real.keys)
    compared = np.unique(np.linspace(0, count - 1, min(count, _MAX_CANDIDATES)).astype(int))
    among = real.select([real.keys[row] for row in compared])
    best, _ = top_k(SsimComparison(real, among, threads=threads), _NEIGHBOURS + 1, threads=threads, columns=False)
    assert best is not None  # None only with `rows=False`
    found = compared[best.partners]
    own = found == np.arange(count)[:, None]
    # Nearly every image is its own nearest neighbour and removed; from other lists the last entry is removed.
    own[~own.any(axis=1), -1] = True
    return found[~own].reshape(count, -1) if found.shape[1] > 1 else found


def example_pairs(real: ImagePack, *, seed: int, threads: int = 1) -> tuple[pd.DataFrame, ImagePack]:
    """Make pairs with known SSIM from real images alone, to validate an encoder without synthetic images.

    Args:
        real: at least two images.
        seed: the config's seed.
        threads: processor threads.

    Returns:
        A table with `real_key`, `synth_key` and `ssim`, at most 500 pairs per class, and the pack of the varied images.
    """
    varied = _varied(real, seed, threads)
    comparison = SsimComparison(real, varied, threads=threads)
    scores = comparison.compare(comparison.prepare_rows(slice(None)), comparison.prepare_columns(slice(None)))
    labels = SSIM_THRESHOLDS.classify(scores).ravel()
    random = numpy_generator(seed, "example pairs", "choice")
    chosen = [random.permutation(np.flatnonzero(labels == label))[:_PAIRS_PER_CLASS] for label in np.unique(labels)]
    rows, columns = np.divmod(np.sort(np.concatenate(chosen)), len(varied.keys))
    table = pd.DataFrame(
        {
            "real_key": [real.keys[row] for row in rows],
            "synth_key": [varied.keys[column] for column in columns],
            "ssim": scores[rows, columns].astype(np.float64),
        }
    )
    return table, varied


def _varied(real: ImagePack, seed: int, threads: int) -> ImagePack:
    """Return variations of every image, with keys as of synthetic images generated from it."""
    families = Families(real, threads=threads)
    count = len(real.keys)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "example pairs"))
        drawn = [families.draw(torch.arange(count)) for _ in range(_ROUNDS)]
    parts = [part.images[~part.first, 0].numpy().reshape(count, MEMBERS - 1, *real.images.shape[1:]) for part in drawn]
    images = np.concatenate(parts, axis=1)  # (N, rounds * (MEMBERS - 1), H, W)
    records = [split_key(key)[0] for key in real.keys]
    keys = [synthetic_key(record, number) for record in records for number in range(images.shape[1])]
    return ImagePack(quantise(images.reshape(-1, *images.shape[2:]), real.bit_depth), keys)
