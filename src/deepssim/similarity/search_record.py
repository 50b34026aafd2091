"""How the scores of a file were found: by comparing all pairs, or those that an estimate chose.

Not here: the search (screening.py), the file (matrices.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PROMISE = 0.01
"""Most missed scores that are expected in a file, or a shard, whose pairs were not all compared."""


@dataclass(frozen=True)
class SearchRecord:
    """How scores were found; also the attributes of a file of top-k lists.

    Attributes:
        pairs, computed: number of all pairs, and of those whose exact score was computed.
        deviation: root mean square error of the estimates, of pairs of which both are known.
        margin: the largest margin, in units of the root mean square error of an image.
        missed: expected number of missed scores.
        promise: the most that was allowed; 0 if all pairs were computed.
    """

    pairs: int
    computed: int
    deviation: float = 0.0
    margin: float = 0.0
    missed: float = 0.0
    promise: float = 0.0

    def __str__(self) -> str:
        if self.computed == self.pairs:
            return f"exact scores of all {self.pairs:,} pairs"
        return (
            f"exact scores of {self.computed:,} of {self.pairs:,} pairs ({self.computed / self.pairs:.2%}), chosen by an estimate "
            f"with a standard deviation of {self.deviation:.4f}; expected number of missed scores {self.missed:.2g}, allowed "
            f"{self.promise:g}"
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a file."""
        return {f"search_{name}": value for name, value in asdict(self).items()}

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> "SearchRecord | None":
        """Read the attributes of a file; None if it was written before they were."""
        names = cls.__dataclass_fields__
        if any(f"search_{name}" not in attributes for name in names):
            return None
        values = [attributes[f"search_{name}"] for name in names]
        return cls(int(values[0]), int(values[1]), *(float(value) for value in values[2:]))

    @classmethod
    def joined(cls, shards: "Sequence[SearchRecord | None]") -> "SearchRecord | None":
        """Return the record of all shards together; None if one has none."""
        known = [one for one in shards if one is not None]
        if len(known) < len(shards):
            return None
        computed = sum(one.computed for one in known)
        squares = sum(one.computed * one.deviation**2 for one in known)
        return cls(
            sum(one.pairs for one in known), computed, (squares / max(1, computed)) ** 0.5, max(one.margin for one in known),
            sum(one.missed for one in known), sum(one.promise for one in known),
        )  # fmt: skip
