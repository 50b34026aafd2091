"""Renew the results of tiny trainings after a stage's version was raised: `python -m tests.golden [NAME ...]`."""

import argparse
import tempfile
from pathlib import Path

from tests.golden.trainings import FILE, read_golden, renew

parser = argparse.ArgumentParser(prog="python -m tests.golden", description=(__doc__ or "").split(":")[0] + ".")
parser.add_argument("names", nargs="*", choices=[[], *read_golden()], metavar="NAME", help="trainings (default: all)")
options = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    renewed = renew(options.names, Path(folder))
print(f"{FILE}: {', '.join(renewed) + ' renewed' if renewed else 'nothing to renew'}")
