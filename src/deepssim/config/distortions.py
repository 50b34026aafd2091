"""Settings of random distortions, which several sections list.

Not here: applying them (images/augment.py).
"""

from collections.abc import Iterator

from pydantic import Field

from deepssim.config.base import Section
from deepssim.config.choices import Distortion

# An exponent of the intensities must stay positive, part of the image must remain, a blur has a window of bounded size.
MOST_STRENGTH = {
    Distortion.ROTATION: 180.0, Distortion.TRANSLATION: 1.0, Distortion.SCALE: 0.9, Distortion.CROP: 0.9,
    Distortion.GAMMA: 0.99, Distortion.BIAS_FIELD: 0.99, Distortion.BLUR: 5.0, Distortion.JPEG: 1.0,
}  # fmt: skip


class DistortionConfig(Section):
    """Entry of a list of random distortions; each is applied with its own probability."""

    kind: Distortion = Field(
        Distortion.FLIP,
        description="flip, rotation, translation, scale, crop, gamma, bias_field, blur, noise or jpeg",
    )
    probability: float = Field(
        0.5, ge=0, le=1, description="probability that an image is distorted; of a flip, for each axis on its own"
    )
    strength: float = Field(
        1.0,
        ge=0,
        description="""\
largest distortion s; what happens to an image is drawn uniformly:
- flip: no effect
- rotation: -s to s degrees
- translation: -s to s, as a fraction of each side
- scale: factor from 1 - s to 1 + s
- crop: 0 to s of each side is cut off and the rest enlarged
- gamma: exponent of the intensities from 1 - s to 1 + s
- bias_field: smooth factor between 1 - s and 1 + s
- blur: standard deviation from 0 to s pixels
- noise: standard deviation from 0 to s, as a fraction of the intensity range
- jpeg: quality from 100 down to 100 - 99 s""",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence if the strength is more than such a distortion can have."""
        most = MOST_STRENGTH.get(self.kind)
        if most is not None and self.strength > most:
            yield (
                f"strength {self.strength:g} of distortion {self.kind.value!r} is too large; it must be at most {most:g}"
            )


def distortions(**probability_and_strength: tuple[float, float]) -> tuple[DistortionConfig, ...]:
    """Return a list of distortions, each given as `kind=(probability, strength)`."""
    return tuple(
        DistortionConfig(kind=Distortion(kind), probability=probability, strength=strength)
        for kind, (probability, strength) in probability_and_strength.items()
    )
