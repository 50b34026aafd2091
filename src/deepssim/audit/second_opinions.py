"""What other seeds and readers add to a verdict: they can make it worse, and never better.

Not here: how seeds are compared (stability.py), how readers are (readers.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepssim.audit.examination import AuditFigures
from deepssim.audit.preflight import Finding
from deepssim.audit.stability import Repetition
from deepssim.evaluation.verdict import Verdict

READERS_DISAGREE = "readers see copies that the audit missed"  # kind of the finding
# The worst first. What cannot be told counts as worse than candidates, which may all be chance.
_WORST = (Verdict.COPIES, Verdict.CANNOT_TELL, Verdict.CANDIDATES, Verdict.NONE)


@dataclass(frozen=True)
class SecondOpinions:
    """Other opinions about the images of an audit.

    Attributes:
        repetitions: results of all seeds, the report's own first; empty for one seed.
        readers: what readers say, from `readers.compare_readers`; empty without ratings.
    """

    repetitions: tuple[Repetition, ...] = ()
    readers: Mapping[str, Any] = field(default_factory=dict)

    def verdict(self, own: Verdict) -> Verdict:
        """Return the verdict of the report, given that of its own seed."""
        worst = min([own, *(item.verdict for item in self.repetitions)], key=_WORST.index)
        # Readers see what the score does not; whoever they are, a verdict without proved copies no longer holds.
        return Verdict.CANNOT_TELL if worst in (Verdict.NONE, Verdict.CANDIDATES) and self.missed else worst

    @property
    def missed(self) -> int:
        """Pairs below the limit that at least one reader calls the same image."""
        return int(self.readers.get("missed", 0))

    def called(self, own: np.ndarray) -> np.ndarray:
        """Return which synthetic images any seed calls a copy, given those of the report's own seed, bool (S,)."""
        return np.any([own, *(item.flagged for item in self.repetitions)], axis=0)

    def opening(self) -> str:
        """Say what differs, before the sentence of the report's own seed; empty where nothing does."""
        text = ""
        if len({item.verdict for item in self.repetitions}) > 1:
            first = self.repetitions[0].seed
            text = f"Seeds disagree: {_by_seed(self.repetitions)}; the worst counts. With seed {first}, which this report shows: "
        if self.missed:
            pairs = "1 pair" if self.missed == 1 else f"{self.missed:,} pairs"
            text = f"Readers call {pairs} below the limit the same image, which this audit missed. {text}"
        return text

    def findings(self) -> list[Finding]:
        """Return the reservations that follow."""
        found = []
        if len({item.verdict for item in self.repetitions}) > 1:
            message = (
                f"the verdict depends on the seed, which is no property of the images: {_by_seed(self.repetitions)}; the worst "
                "counts, and every image that any seed calls a copy is in drop.txt"
            )
            found.append(Finding("seeds disagree", message, [], True))
        if self.missed:
            message = (
                f"readers call {self.missed:,} of {self.readers['below_rated']:,} rated pairs below the limit the same image, so that "
                "the audit misses copies; keep.txt can hold more of them"
            )
            found.append(Finding(READERS_DISAGREE, message, [], True))
        return found


def _by_seed(repetitions: Sequence[Repetition]) -> str:
    """Say which seeds reach which verdict, the worst first."""
    parts = []
    for verdict in _WORST:
        seeds = [str(item.seed) for item in repetitions if item.verdict is verdict]
        if seeds:
            parts.append(f"{verdict.value} with seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    return "; ".join(parts)


def with_opinions(figures: AuditFigures, opinions: SecondOpinions) -> AuditFigures:
    """Return the results with the verdict and the reservations that other opinions leave.

    Args:
        figures: of the report's own seed.
        opinions: of other seeds and readers.
    """
    return replace(
        figures,
        verdict=opinions.verdict(figures.verdict),
        own_verdict=figures.verdict,
        findings=[*figures.findings, *opinions.findings()],
    )
