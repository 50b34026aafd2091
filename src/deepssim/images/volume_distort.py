"""The positive controls of audits of volumes: what training scans go through before the audit has to recognise them.

Names, strengths and random numbers are frozen as `VOLUME_PROTOCOL`: whoever changes a row gives the protocol a new version.

Not here: the changes themselves (volume_changes.py), those of images and how they are applied (distort.py).
"""

from functools import partial

from deepssim.images import changes, volume_changes
from deepssim.images.distort import UNCHANGED, Change, family

VOLUME_PROTOCOL = "deepssim-audit-volumes-v1"

_CHANGES = (
    Change(UNCHANGED, "", changes.keep),
    Change("soft", "", volume_changes.soft),
    Change("flip", "left-right", partial(volume_changes.flip, axis=2)),
    Change("quarter turn", "", partial(volume_changes.quarter_turn, axes=(0, 1))),
    Change("axes in another order", "", volume_changes.reorder),
    *family("rotation", "°", volume_changes.rotate, "degrees", (12, 25)),
    *family("affine", " %", volume_changes.stretch, "strength", (10,), 0.01),
    *family("shift", " mm", volume_changes.shift, "mm", (10,)),
    *family("cut off", " %", volume_changes.cut, "fraction", (10, 20), 0.01),
    *family("warp", " mm", volume_changes.warp, "mm", (3, 6)),
    *family("gamma", "", changes.gamma, "exponent", (0.6, 1.6)),
    *family("bias field", "", volume_changes.bias_field, "strength", (0.4,)),
    *family("blur", " mm", volume_changes.blur, "mm", (2, 4)),
    *family("thick slices", " mm", volume_changes.thick_slices, "mm", (8,)),
    *family("noise", "", changes.noise, "deviation", (0.05, 0.1)),
    Change("an octant replaced", "", volume_changes.replace_octant, mixes=True),
    Change("flip, rotation 12°, warp 3 mm, gamma 0.8 and soft", "", volume_changes.combine),
)
VOLUME_DISTORTIONS: dict[str, Change] = {change.name: change for change in _CHANGES}
"""All positive controls of volumes by name, in the order in which they are shown, each family from mild to strong.

Lengths are those of a volume of 220 mm, see volume_changes.py."""
