"""The evidence of an audit: candidates of synthetic, held-out and training images, all found and proved in the same way.

Not here: how a pair is proved (detection/, registration/), the limit (calibration.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.scan_words import said
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.detection.score import Score
from deepssim.detection.search import Cosines, Found
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings

_TOGETHER = 2**14  # images whose candidates are scored together


@dataclass(frozen=True)
class Best:
    """The best candidate of each of N images.

    Attributes:
        scores: float64 (N,), minus infinity where an image has no candidate.
        partners: int64 (N,), training images; -1 where there is none.
        cues: float32 (N, C), of that pair.
        subjects: of the images, where they are known.
    """

    scores: np.ndarray
    partners: np.ndarray
    cues: np.ndarray
    subjects: list[str]

    def part(self, chosen: np.ndarray) -> "Best":
        """Return some of the images, bool (N,)."""
        subjects = [name for name, kept in zip(self.subjects, chosen, strict=True) if kept]
        return Best(self.scores[chosen], self.partners[chosen], self.cues[chosen], subjects)


def best_of(found: Found, scores: np.ndarray, subjects: Sequence[str]) -> Best:
    """Return the candidate of the highest score of each image.

    Args:
        found: candidates.
        scores: of each, float64 (N, K).
        subjects: of the images.
    """
    rows = np.arange(len(scores))
    if not scores.shape[1]:
        empty = np.zeros((len(scores), found.cues.shape[2]), np.float32)
        return Best(np.full(len(scores), -np.inf), np.full(len(scores), -1), empty, list(subjects))
    place = scores.argmax(axis=1)
    return Best(scores[rows, place], found.partners[rows, place], found.cues[rows, place], list(subjects))


def best_of_many(found: Found, score: Score) -> Best:
    """Return the same as `best_of`, without subjects, for candidates that stay in files, of which few are read at a time.

    Args:
        found: candidates of N images.
        score: of pairs.
    """
    count = len(found.partners)
    cues = np.zeros((count, found.cues.shape[2]), np.float32)
    best = Best(np.empty(count), np.empty(count, np.int64), cues, [])
    for start in range(0, count, _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        some = found.part(rows)
        part = best_of(some, score.of(some), ())
        best.scores[rows], best.partners[rows], best.cues[rows] = part.scores, part.partners, part.cues
    return best


class Detective:
    """Finds candidates among the training images; what an earlier audit found is taken from the cache.

    Args:
        sides: all images.
        tools: seed, threads and encoder.
        store: cache.
        candidates: of each source.
        among: what the images of `sides.train` are, for messages.
    """

    def __init__(
        self, sides: Sides, tools: AuditTools, store: AuditCache, candidates: int, among: str = "the training images"
    ) -> None:
        self._among = among
        self._train, self._tools, self._store, self._candidates = sides.train, tools, store, candidates
        encoder = sides.train.embeddings.checksum if tools.encoder else ""
        self._kind = [
            list(sides.train.pixel_hashes),
            encoder,
            tools.seed,
            candidates,
        ]  # hashes of volumes equal no image's

    @cached_property
    def gallery(self) -> Any:
        """The training images, prepared when they are first needed."""
        return self._tools.engine.build(self._train.pack, self._tools.seed, threads=self._tools.threads)

    def of_side(self, side: Side, name: str) -> Found:
        """Return the candidates of synthetic or held-out images."""
        return self.of_many(side, name).loaded()

    def of_many(self, side: Side, name: str) -> Found:
        """Return the candidates of synthetic images, which stay in the files of the cache and are read when they are used."""
        return self._search(
            side.pack, side.pixel_hashes, side.embeddings, f"{name} with {self._among}", self._kind, None
        )

    def of_other_subjects(self) -> Found:
        """Return the candidates of training images among those of other subjects that are not equal to them in every pixel."""
        contents = np.unique(np.asarray(list(self._train.pixel_hashes)), return_inverse=True)[1]
        names = np.unique(np.asarray(self._train.subjects, dtype=object).astype(str), return_inverse=True)[1]
        return self._search(
            self._train.pack,
            [f"{content} {subject}" for content, subject in zip(self._train.pixel_hashes, names, strict=True)],
            self._train.embeddings,
            "training images with each other",
            [*self._kind, names.tolist()],
            lambda rows: (names[rows][:, None] == names[None]) | (contents[rows][:, None] == contents[None]),
        ).loaded()

    def of_other_visits(
        self, chosen: np.ndarray, kind: list[object], excluded: Callable[[np.ndarray], np.ndarray]
    ) -> Found:
        """Return the candidates of some training images among all but those of their own visit.

        Args:
            chosen: bool (T,), the training images.
            kind: plain values that decide, beside the images themselves, what is excluded.
            excluded: maps training images, int64 (n,), to those that they are not compared with, bool (n, T).
        """
        rows, side = np.flatnonzero(chosen), self._train.part(chosen)
        return self._search(
            side.pack,
            [f"{content} {row}" for content, row in zip(side.pixel_hashes, rows.tolist(), strict=True)],
            side.embeddings,
            f"training images with {self._among} of other visits",
            [*self._kind, "other visits", *kind],
            lambda some: excluded(rows[some]),
        ).loaded()

    def of_pack(self, pack: ImagePack, hashes: Sequence[str], embeddings: Embeddings | None, name: str) -> Found:
        """Return the candidates of images.

        Args:
            pack: images.
            hashes: of their pixels.
            embeddings: of an encoder, where the audit has one; made if None.
            name: of the images, for messages.
        """
        return self._search(pack, hashes, embeddings, f"{name} with {self._among}", self._kind, None).loaded()

    def _search(
        self,
        pack: ImagePack,
        contents: Sequence[str],
        embeddings: Embeddings | None,
        name: str,
        kind: list[object],
        excluded: Callable[[np.ndarray], np.ndarray] | None,
    ) -> Found:
        steps, computed = self._tools.steps, 0
        name = said(name, self._tools.engine.unit)

        def find(rows: np.ndarray) -> Found:
            nonlocal computed
            if computed:
                steps.report(f"{computed:,} compared and kept for the next audit")
            part = ImagePack(pack.images[rows], [pack.keys[row] for row in rows])
            found = self._tools.engine.search(
                self.gallery,
                part,
                k=self._candidates,
                excluded=None if excluded is None else lambda some: excluded(rows[some]),
                cosines=self._cosines(part, None if embeddings is None else embeddings.values[rows]),
                threads=self._tools.threads,
                progress=f"comparing {name}",
            )
            computed += len(rows)
            steps.finish(len(rows), len(rows))
            return found

        steps.start(f"comparing {len(contents):,} {name}")
        found = self._store.candidates(kind, contents, pack.images, find)
        steps.finish(len(contents) - computed, 0)
        return found

    def _cosines(self, pack: ImagePack, values: np.ndarray | None) -> Cosines | None:
        if not self._tools.encoder:
            return None
        other = self._tools.embed(pack).values if values is None else values
        return Cosines(_unit(self._train.embeddings.values), _unit(other))


def _unit(values: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
