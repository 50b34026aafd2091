"""Choose the real-synthetic pairs that train and test the encoder.

Train, valid and test pairs have no subject, hence no real image, in common. Synthetic images are divided too: each goes to
the split of the real image it resembles most, since a copy of a test patient must not be trained on.

Not here: the SSIM of the pairs (similarity/ssim.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepssim.config.evaluation import PairsConfig
from deepssim.datasets.tables import Split
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label, absent_classes
from deepssim.ground_truth.tables import PAIR_COLUMNS, TEST_COLUMNS
from deepssim.seeds import numpy_generator
from deepssim.similarity.scores import PairBlock, Scores

PAIR_SPLITS = (Split.TRAIN, Split.VALID, Split.TEST)


@dataclass(frozen=True)
class SampledPairs:
    """Pair tables: `train` and `valid` with `PAIR_COLUMNS`, `test` with `TEST_COLUMNS`; any of them may be empty.

    Attributes:
        train, valid, test: pairs.
        split_of_subject: the pairs that each subject's real images belong to.
        missing: classes without a pair, by split.
    """

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame
    split_of_subject: dict[str, Split]
    missing: dict[Split, list[Label]]


def sample_pairs(
    scores: Scores, real_keys: list[str], subjects: list[str], options: PairsConfig, *, seed: int
) -> SampledPairs:
    """Sample pairs of all classes, as balanced as the data allows. A generator that copies nothing leaves no duplicates.

    Args:
        scores: SSIM of aligned images, either all scores or the best of each image and some others.
        real_keys: R images that the generator was trained on.
        subjects: subject of each of these images.
        options: section `pairs`.
        seed: the config's seed.
    """
    duplicates = np.zeros(len(real_keys), np.int64)
    for block in scores.blocks(real_keys):
        copied = block.rows[SSIM_THRESHOLDS.classify(block.scores) == Label.DUPLICATE]
        duplicates += np.bincount(copied, minlength=len(real_keys))
    split_of_subject = _divide_subjects(duplicates, subjects, options, seed)
    # Places in PAIR_SPLITS, one byte per synthetic image.
    row_split = np.array([PAIR_SPLITS.index(split_of_subject[subject]) for subject in subjects], np.uint8)
    column_split = np.concatenate([row_split[best.partners[:, 0]] for best in scores.best_of_columns(real_keys)])
    limits = (options.train_per_class, options.valid_per_class, options.test_per_class)
    chosen = _choose(scores.groups(real_keys), row_split, column_split, limits, seed)
    tables = {}
    for split, (rows, columns, values) in zip(PAIR_SPLITS, chosen, strict=True):
        tables[split] = pd.DataFrame(
            {
                "real_key": [real_keys[row] for row in rows],
                "synth_key": scores.keys_of_columns(columns),
                "ssim": values.astype(np.float64),
                "split": split.value,
                "label": SSIM_THRESHOLDS.classify(values),
            }
        )
    return SampledPairs(
        train=tables[Split.TRAIN][list(PAIR_COLUMNS)],
        valid=tables[Split.VALID][list(PAIR_COLUMNS)],
        test=tables[Split.TEST][list(TEST_COLUMNS)],
        split_of_subject=split_of_subject,
        missing={split: absent_classes(table["label"].to_numpy()) for split, table in tables.items()},
    )


def _divide_subjects(
    duplicates_of_image: np.ndarray, subjects: list[str], options: PairsConfig, seed: int
) -> dict[str, Split]:
    """Assign subjects to splits, each split getting its fraction of the copied subjects, which are rare.

    Subjects are assigned in order of their number of duplicates, each to the split that is furthest below its fraction. Of
    fewer than three subjects, the first goes to the test pairs, the second to the train pairs.
    """
    names = sorted(set(subjects))
    numpy_generator(seed, "pair subjects").shuffle(names)
    duplicates = dict.fromkeys(names, 0)
    for subject, count in zip(subjects, duplicates_of_image.tolist(), strict=True):
        duplicates[subject] += count
    names.sort(key=lambda name: -duplicates[name])  # stable: the shuffled order breaks ties
    fraction = {
        Split.TEST: options.test_fraction,
        Split.TRAIN: 1 - options.valid_fraction - options.test_fraction,
        Split.VALID: options.valid_fraction,
    }
    taken = dict.fromkeys(fraction, 0)
    split_of = {}
    for number, name in enumerate(names, start=1):
        split = max(fraction, key=lambda candidate: fraction[candidate] * number - taken[candidate])
        # The last subjects go to splits that are still empty, however small their fraction.
        empty = [candidate for candidate in fraction if not taken[candidate]]
        if empty and (len(names) < len(PAIR_SPLITS) or len(names) - number < len(empty)):
            split = empty[0]
        split_of[name] = split
        taken[split] += 1
    return split_of


def _choose(
    groups: Iterable[Iterable[PairBlock]],
    row_split: np.ndarray,
    column_split: np.ndarray,
    limits: Sequence[int],
    seed: int,
) -> list[PairBlock]:
    """Sample up to so many pairs of each class within each split; return those of each split in matrix order.

    Every pair gets a random number and the lowest numbers of each class are kept, so blocks can be processed one by one.
    Numbers are drawn group by group and, in a group, class by class, so they do not depend on the size of blocks.
    """
    drawn = [numpy_generator(seed, "pairs", split.value) for split in PAIR_SPLITS]
    kept: list[dict[Label, tuple[PairBlock, np.ndarray]]] = [{} for _ in PAIR_SPLITS]
    for group in groups:
        for label in Label:
            for block in group:
                inside = SSIM_THRESHOLDS.classify(block.scores) == label
                of_class = PairBlock(*(values[inside] for values in block))
                split = row_split[of_class.rows]
                split[split != column_split[of_class.columns]] = len(PAIR_SPLITS)  # in none
                for number, limit in enumerate(limits):
                    part = PairBlock(*(values[split == number] for values in of_class))
                    lots = drawn[number].random(len(part.scores))
                    kept[number][label] = _lowest(kept[number].get(label), part, lots, limit)
    return [_in_matrix_order([part for part, _ in of_split.values()]) for of_split in kept]


def _lowest(
    earlier: tuple[PairBlock, np.ndarray] | None, part: PairBlock, lots: np.ndarray, limit: int
) -> tuple[PairBlock, np.ndarray]:
    """Return those of the pairs kept so far and of some more that have the lowest numbers, and these numbers."""
    if earlier is not None:
        part = PairBlock(*(np.concatenate(both) for both in zip(earlier[0], part, strict=True)))
        lots = np.concatenate([earlier[1], lots])
    lowest = np.argsort(lots, kind="stable")[:limit]
    return PairBlock(*(values[lowest] for values in part)), lots[lowest]


def _in_matrix_order(parts: Sequence[PairBlock]) -> PairBlock:
    joined = PairBlock(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    order = np.lexsort((joined.columns, joined.rows))
    return PairBlock(*(values[order] for values in joined))
