"""Split images by subject, so that no patient is in two splits.

Not here: splitting pairs (ground_truth/pairs.py).
"""

from collections.abc import Sequence

import pandas as pd

from deepssim.datasets.tables import Split
from deepssim.errors import DataError
from deepssim.seeds import numpy_generator

CANARY_LEFT_OUT = 0.5  # probability that a canary is held out
MIN_SUBJECTS = 2  # per split: the images of a single subject do not represent a group


def split_by_subject(
    subjects: Sequence[str], *, valid_fraction: float, holdout_fraction: float, seed: int
) -> list[Split]:
    """Assign every image to train, valid or holdout; all images of a subject go together.

    Args:
        subjects: subject of each of N images.
        valid_fraction: fraction of subjects for validation, 0 for none.
        holdout_fraction: fraction of subjects that are excluded from all training, 0 for none.
        seed: the config's seed; the result does not depend on the order of images.

    Returns:
        N splits.

    Raises:
        DataError: if a requested split gets fewer than two subjects.
    """
    names = sorted(set(subjects))
    numpy_generator(seed, "split").shuffle(names)
    valid, holdout = round(valid_fraction * len(names)), round(holdout_fraction * len(names))
    split_of = dict.fromkeys(names, Split.TRAIN)
    split_of |= dict.fromkeys(names[:valid], Split.VALID)
    split_of |= dict.fromkeys(names[valid : valid + holdout], Split.HOLDOUT)
    splits = [split_of[subject] for subject in subjects]
    wanted = [Split.TRAIN]
    wanted += [Split.VALID] if valid_fraction else []
    wanted += [Split.HOLDOUT] if holdout_fraction else []
    advice = "add subjects or change dataset.valid_fraction and holdout_fraction (0 for no such split)"
    require_subjects(subjects, splits, wanted, source="dataset", advice=advice)
    return splits


def draw_canaries(
    subjects: Sequence[str], splits: Sequence[Split], *, fraction: float, seed: int, source: str = "dataset"
) -> tuple[list[Split], list[bool]]:
    """Hold out some training subjects at random, so that members and non-members differ in nothing but training.

    Canaries are drawn among the training subjects; each of them stays or is held out by the toss of a coin of its own.
    About half of them stay: a fixed half would not be a draw of independent subjects, on which the bound of
    `evaluation.one_run` rests.

    Args:
        subjects: subject of each of N images.
        splits: split of each image.
        fraction: of the training subjects that become canaries, 0 for none.
        seed: the config's seed; the result does not depend on the order of images.
        source: name of the table, for messages.

    Returns:
        N splits and whether each image is of a canary. A canary of the split train is a member, one of the split
        holdout is not.

    Raises:
        DataError: if there are fewer than two canaries, or fewer than two training subjects are left.
    """
    if not fraction:
        return list(splits), [False] * len(splits)
    people = sorted({subject for subject, split in zip(subjects, splits, strict=True) if split is Split.TRAIN})
    random = numpy_generator(seed, "canaries")
    count = round(fraction * len(people))
    if count < MIN_SUBJECTS:
        raise DataError(
            f"{source}: dataset.canaries of {fraction:g} makes {count} of {len(people)} training subjects canaries but "
            f"{MIN_SUBJECTS} are needed; raise it, or set it to 0"
        )
    canaries = random.permutation(people)[:count].tolist()
    left_out = {name for name, out in zip(canaries, random.random(count) < CANARY_LEFT_OUT, strict=True) if out}
    drawn = [Split.HOLDOUT if subject in left_out else split for subject, split in zip(subjects, splits, strict=True)]
    advice = "lower dataset.canaries, or add subjects"
    require_subjects(subjects, drawn, [Split.TRAIN], source=source, advice=advice)
    chosen = set(canaries)
    return drawn, [subject in chosen for subject in subjects]


def require_subjects(
    subjects: Sequence[str], splits: Sequence[Split], wanted: Sequence[Split], *, source: str, advice: str
) -> None:
    """Check that no subject is in two splits and that every wanted split has at least two subjects.

    Args:
        subjects: subject of each of N images.
        splits: split of each image.
        wanted: splits that must not be empty.
        source: name of the table, for messages.
        advice: what to change if there are too few subjects, for messages.

    Raises:
        DataError: if they do not.
    """
    table = pd.DataFrame({"subject": subjects, "split": [str(split) for split in splits]}).drop_duplicates()
    twice = table["subject"][table["subject"].duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{source}: {len(twice)} of {table['subject'].nunique()} subjects are in more than one split, "
            f"first {twice[0]!r}; give all images of a subject the same split"
        )
    counts = table["split"].value_counts()
    for split in wanted:
        if counts.get(str(split), 0) < MIN_SUBJECTS:
            raise DataError(
                f"{source}: split {str(split)!r} has {counts.get(str(split), 0)} of {len(table)} subjects but needs "
                f"{MIN_SUBJECTS}; {advice}"
            )
