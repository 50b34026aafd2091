"""Check the demo's results: enough test pairs, enough copies, an encoder that finds the classes, the report."""

import json
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def evaluation(name: str) -> dict:
    """Read one evaluation of the demo."""
    return json.loads((RESULTS / "eval" / f"{name}.json").read_text())


aligned, truth = evaluation("deepssim"), evaluation("ssim")
promises = {
    "at least 30 test pairs in each class": min(part["pairs"] for part in aligned["per_class"].values()) >= 30,
    "at least 10 % of synthetic images copy": truth["copies"]["share_of_synthetic_that_copy"] >= 0.10,
    "macro-F1 of DeepSSIM at least 0.80": aligned["macro_f1"] >= 0.80,
    "the report is there": (RESULTS / "report" / "index.html").stat().st_size > 100_000,
}
for promise, kept in promises.items():
    print(f"{'kept' if kept else 'BROKEN'}: {promise}")
print(f"{sum(promises.values())} passed, {len(promises) - sum(promises.values())} failed")
raise SystemExit(0 if all(promises.values()) else 1)
