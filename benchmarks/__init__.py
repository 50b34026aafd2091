"""Measurements of speed, memory and accuracy; each module is a command."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("DEEPSSIM_REAL_DATA", ROOT.parent / "shared" / "data"))  # real images, if at hand
