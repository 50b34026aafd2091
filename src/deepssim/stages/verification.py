"""The stage that registers synthetic images to training images, verifies the pairs by exact SSIM, and judges."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepssim.audit.controls import choose_controls
from deepssim.config.evaluation import VerificationConfig
from deepssim.datasets.tables import Split, keys_of, read_images, read_train_used, write_csv
from deepssim.evaluation.classification import registered_copy_rates, synthetic_subjects
from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import HELD_OUT, OTHER_SUBJECTS, Judged, judge
from deepssim.evaluation.verification import judged_images, verified_pairs
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.ground_truth.planted import MILD
from deepssim.ground_truth.tables import read_planted
from deepssim.images.packs import ImagePack, open_packs, read_pack
from deepssim.runtime.json_files import as_json, write_json
from deepssim.similarity.embeddings import Embeddings, join_embeddings, read_embeddings
from deepssim.similarity.matrices import read_scores
from deepssim.similarity.scores import Scores

logger = logging.getLogger(__name__)

_MOST_CONTROLS = 500  # real images that are judged as if they were synthetic


@dataclass(frozen=True)
class _Compared:
    """What images are compared with, and how."""

    train: ImagePack
    subject_of: Mapping[str, str]
    candidates: int
    seed: int
    threads: int
    embeddings: Embeddings | None

    def with_others(self, others: Embeddings | None) -> tuple[Embeddings, Embeddings] | None:
        return None if self.embeddings is None or others is None else (self.embeddings, others)


def verify_copies(
    *,
    matrix: str,
    train_used: str,
    images: str,
    real: str,
    synthetic: Sequence[str],
    verified: str,
    copies: str,
    verification: VerificationConfig,
    seed: int,
    real_embeddings: str | None = None,
    synthetic_embeddings: Sequence[str] = (),
    planted: str | None = None,
    planted_pairs: str | None = None,
    planted_embeddings: str | None = None,
    threads: int = 1,
) -> None:
    """Register each synthetic image to the training image that it resembles most, count copies by exact SSIM, and judge.

    Args:
        matrix: SSIM of images as they are.
        train_used: CSV with the keys of the generator's training images.
        images: image table, which names subject and split of every real image.
        real, synthetic: image packs.
        verified: CSV to write, one row per synthetic image.
        copies: JSON to write: copy rates as in an evaluation, but also of flipped, rotated and shifted copies; the same of images
            that cannot be copies; which planted copies were found; the verdict.
        verification: settings.
        seed: of the vocabulary of keypoints, the choice of controls, and intervals.
        real_embeddings, synthetic_embeddings: of DeepSSIM, a further source of candidates.
        planted, planted_pairs, planted_embeddings: copies planted as controls, misaligned, their table and embeddings.
        threads: processor threads.
    """
    train_keys, scores, table = read_train_used(train_used), read_scores(matrix), read_images(images)
    pack, subject_of = read_pack(real), table.set_index("key")["subject"].astype(str).to_dict()
    embeddings = read_embeddings(real_embeddings) if real_embeddings else None
    compared = _Compared(pack.select(train_keys), subject_of, verification.candidates, seed, threads, embeddings)
    with open_packs(synthetic) as generated:
        pairs = verified_pairs(
            compared.train, generated, verification.candidates, seed=seed, threads=threads,
            embeddings=compared.with_others(join_embeddings(synthetic_embeddings) if real_embeddings else None),
        )  # fmt: skip
    write_csv(verified, pairs)
    controls = _negative_controls(compared, pack, keys_of(table, Split.HOLDOUT, Split.VALID))
    judged = _judged_synthetic(scores, train_keys, pairs, subject_of)
    found = {}
    if planted and planted_pairs:
        found = _planted_found(compared, planted, planted_pairs, planted_embeddings)
    verdict = judge(judged, controls, found, encoder=embeddings is not None, seed=seed)
    rates = registered_copy_rates(scores, train_keys, pairs, subject_of)
    content = {
        "ssim_above": SSIM_THRESHOLDS.high, "copies": rates, "controls": _described(controls), "planted": found,
        "verdict": as_json(verdict), "highest_ssim": float(judged.scores.max()),
    }  # fmt: skip
    write_json(copies, content, sort_keys=True)
    logger.info("%s", verdict.sentence)


def _judged_synthetic(
    scores: Scores, train_keys: list[str], pairs: pd.DataFrame, subject_of: Mapping[str, str]
) -> Judged:
    aligned = scores.best(train_keys)[1].scores[:, 0].astype(np.float64)
    registered = pairs.set_index("synth_key")["registered_ssim"].loc[scores.synth_keys].to_numpy(np.float64)
    return Judged(np.maximum(aligned, registered), synthetic_subjects(scores.synth_keys, subject_of))


def _negative_controls(compared: _Compared, pack: ImagePack, held_out: Sequence[str]) -> Judged | None:
    """Judge real images that the model was not trained on or, without any, training images among those of other subjects.

    Those of the valid split may have chosen among epochs, which copies nothing of them.
    """
    keys, kind = (held_out, HELD_OUT) if held_out else (compared.train.keys, OTHER_SUBJECTS)
    subjects = [compared.subject_of[key] for key in keys]
    train_subjects = [compared.subject_of[key] for key in compared.train.keys]
    if len({*subjects, *train_subjects}) < 2:
        return None
    rows = choose_controls(subjects, _MOST_CONTROLS, compared.seed)
    return judged_images(
        compared.train, train_subjects, pack.select([keys[row] for row in rows]), [subjects[row] for row in rows],
        compared.candidates, kind=kind, seed=compared.seed, embeddings=compared.with_others(compared.embeddings),
        threads=compared.threads,
    )  # fmt: skip


def _planted_found(
    compared: _Compared, planted: str, planted_pairs: str, planted_embeddings: str | None
) -> dict[str, Interval]:
    """Return the fraction of planted copies that are found and traced to their subject, by change."""
    table, pack = read_planted(planted_pairs), read_pack(planted)
    table = table[table["change"].isin(MILD)]
    embeddings = read_embeddings(planted_embeddings) if planted_embeddings else None
    pairs = verified_pairs(
        compared.train, pack.select(table["synth_key"].tolist()), compared.candidates, seed=compared.seed,
        embeddings=compared.with_others(embeddings), threads=compared.threads, progress="comparing planted copies",
    )  # fmt: skip
    pairs = pairs.merge(table[["synth_key", "real_key", "change"]], on="synth_key", suffixes=("", "_planted"))
    subjects = pairs["real_key_planted"].map(compared.subject_of)
    found = (pairs["registered_ssim"] > SSIM_THRESHOLDS.high) & (pairs["real_key"].map(compared.subject_of) == subjects)
    by_change = {}
    for change in table["change"].unique():
        rows = (pairs["change"] == change).to_numpy()
        by_change[change] = rate_by_group(found.to_numpy()[rows], subjects[rows].tolist())
    return by_change


def _described(controls: Judged | None) -> dict[str, object] | None:
    if controls is None:
        return None
    return {
        "kind": controls.kind,
        "images": len(controls.scores),
        "subjects": len(set(controls.subjects)),
        "copies": int(controls.copies.sum()),
        "interval": rate_by_group(controls.copies, controls.subjects),
        "highest_ssim": float(controls.scores.max()),
    }
