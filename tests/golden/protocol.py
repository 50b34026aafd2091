"""What the audit's protocol does to a test picture, stored for each row, so that no row changes under the same version.

    python -m tests.golden.protocol

writes the file of a new version. Stored are means and standard deviations of 8x8 blocks and not checksums, because OpenCV rounds
differently on different processors.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.images.distort import DISTORTIONS, PROTOCOL, PROTOCOL_COPIES, PROTOCOL_SEED, distort
from deepssim.images.packs import ImagePack

FILE = Path(__file__).with_name(f"{PROTOCOL}.json")
BLOCKS = 8  # along each side
TOLERANCE = 0.16  # grey levels of 256; OpenCV 4.10 and 5.0 differ by 0.13 at most


def pictures() -> ImagePack:
    """Draw two pictures of 192x256 pixels with coarse and fine detail: uint8."""
    y, x = np.mgrid[:192, :256]
    coarse = 60 * np.sin(x / 23 + 1) * np.cos(y / 31) + 0.2 * x
    fine = 25 * np.sin(x * y / 900) + 15 * np.cos(y / 3 + x / 7) + (31 * x * y + 7 * x * x + 3 * y) % 17 - 8
    return ImagePack(
        np.stack([90 + coarse + fine, 150 - coarse + fine]).clip(0, 255).round().astype(np.uint8), ["a", "b"]
    )


def row(name: str) -> dict[str, Any]:
    """Return what a change is and does: names, function with its parameters, blocks of the first picture."""
    change, images = DISTORTIONS[name], pictures()
    changed = distort(ImagePack(images.images[:1], ["a"]), name, PROTOCOL_SEED, others=images).images[0]
    blocks = changed.reshape(BLOCKS, changed.shape[0] // BLOCKS, BLOCKS, changed.shape[1] // BLOCKS)
    function: Any = change.apply
    parameters: dict[str, Any] = {}
    if isinstance(function, partial):
        function, parameters = function.func, function.keywords
    return {
        "family": change.family,
        "level": change.level,
        "function": function.__name__,
        "parameters": parameters,
        "means": blocks.mean(axis=(1, 3)).round(2).ravel().tolist(),
        "deviations": blocks.std(axis=(1, 3)).round(2).ravel().tolist(),
    }


def write(file: Path = FILE) -> None:
    """Write the rows of a new version; those of an old one never change."""
    if file.exists():
        raise SystemExit(f"{file.name} exists; give a changed protocol a new name in deepssim/images/distort.py")
    rows = ",\n".join(
        f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(row(name), ensure_ascii=False)}" for name in DISTORTIONS
    )
    head = f' "seed": {PROTOCOL_SEED},\n "copies": {PROTOCOL_COPIES},\n "rows": {{\n'
    file.write_text(f"{{\n{head}{rows}\n }}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
