"""How well does the audit find copies of real images, whatever they went through, beside other copy detectors?

    python -m benchmarks.copies --train --memorized results

Chest X-rays and MR slices are divided by subject, see copies_data.py. No limit is fitted to copies: it is the
conformal quantile of a detector's scores of held-out images. Scores are kept in the work folder for each detector and collection, so that
one detector can be run again (`--detectors audit --data xrays`); the tables hold all detectors whose scores are of these images.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import REAL_DATA, ROOT
from benchmarks.audit import insert
from benchmarks.copies_audit import AUDIT
from benchmarks.copies_data import SOURCES, Trial, memorized_trial, real_trial
from benchmarks.copies_rivals import EMBEDDING_SIDE, RIVALS, Detector, embedding_detector, timed, trained
from deepssim.config.choices import MetricName
from deepssim.evaluation.groups import Limit, conformal_limit, rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.ranking import ranking_samples
from deepssim.runtime.json_files import write_json

RATE, STRICT = 0.01, 0.001  # false alarms for which recall is given
RECALL = 0.95  # at which precision and false positives are given
ALL_ROWS = "all rows"
NAMES = [AUDIT.name, *(rival.name for rival in RIVALS), MetricName.DAR.value, MetricName.DEEPSSIM.value]
TOLERANCE = 0.02  # by which the audit may fall short of the best rival


def judge(detector: Detector, trial: Trial, threads: int) -> dict[str, Any]:
    """Score all images of a trial; return what is kept of it."""
    scores, seconds = timed(detector, trial.train, trial.parts, threads)
    for (values, partners), part in zip(scores, trial.parts, strict=True):
        known = np.isfinite(values) | (np.isnan(values) if part is trial.held_out else False)
        if not len(values) == len(partners) == len(part.subjects) or not known.all():
            raise ValueError(
                f"{detector.name} scored {len(values)} of {len(part.subjects)} images, or not all are finite"
            )
    return {
        "detector": detector.name,
        "title": detector.title,
        "images": trial.fingerprint,
        "seconds_per_image": seconds,
        "scores": [[None if np.isnan(value) else value for value in values.tolist()] for values, _ in scores],
        "partners": [partners.tolist() for _, partners in scores],
    }


def statistics(trial: Trial, kept: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Compute the statistics of a detector.

    Args:
        trial: the images.
        kept: scores of `judge`.

    Returns:
        Limits, false alarms and the number of held-out images without a score; and one dict per row, the last of all rows together.
    """
    held_out, fresh, *rows = (np.asarray(values, np.float64) for values in kept["scores"])
    used = np.isfinite(held_out)
    held_out, whose = held_out[used], np.asarray(trial.held_out.subjects, dtype=object)[used].tolist()
    limit = conformal_limit(held_out, whose, RATE)
    # So low a rate needs all subjects: 999 for 1 in 1,000, else what can be promised.
    strict = conformal_limit(
        np.concatenate([held_out, fresh]), whose + trial.fresh.subjects, STRICT
    )  # fmt: skip
    alarms = rate_by_group(fresh > limit.value, trial.fresh.subjects)
    right = [
        np.array([trial.train.subjects[partner] for partner in partners], dtype=object)
        == np.array(part.subjects, dtype=object)
        for partners, part in zip(kept["partners"][2:], trial.copies.values(), strict=True)
    ]
    everything = (ALL_ROWS, np.concatenate(rows), np.concatenate(right))
    lines = [
        _row(name, values, fresh, same, limit, strict)
        for name, values, same in (*zip(trial.copies, rows, right, strict=True), everything)
    ]
    return {"limit": limit, "strict": strict, "alarms": alarms, "left_out": int((~used).sum())}, lines


def _row(
    name: str, copies: np.ndarray, fresh: np.ndarray, right: np.ndarray, limit: Limit, strict: Limit
) -> dict[str, Any]:
    scores, positives = np.concatenate([copies, fresh]), np.arange(len(copies) + len(fresh)) < len(copies)
    ranked = ranking_samples(scores, positives, np.ones((1, len(scores)), np.int64), recall=RECALL)
    return {
        "row": name,
        "copies": len(copies),
        "recall": float(np.mean(copies > limit.value)) if len(copies) else float("nan"),
        "strict_recall": float(np.mean(copies > strict.value)) if len(copies) else float("nan"),
        **{key: float(ranked[key][0]) for key in ("auroc", "precision", "fpr")},
        "right_subject": float(np.mean(right)) if len(copies) else float("nan"),
    }


def collect(trials: Sequence[Trial], work: Path, names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the scores that are kept and compute all statistics.

    Args:
        trials: collections.
        work: folder of `<collection>-<detector>.json`.
        names: detectors in the order of the tables; those without scores of these images are left out.

    Returns:
        One row for each collection and detector; one row for each of these and each row of copies.
    """
    summaries: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for trial in trials:
        for name in names:
            path = work / f"{trial.name}-{name}.json"
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if kept is None or kept["images"] != trial.fingerprint:
                print(f"{path}: no scores of these images; run --detectors {name} --data {trial.name}", file=sys.stderr)
                continue
            general, rows = statistics(trial, kept)
            both = {"collection": trial.name, "detector": kept["title"]}
            summaries.append({**both, **general, "seconds": kept["seconds_per_image"], **rows[-1]})
            lines += [{**both, **row} for row in rows]
    return pd.DataFrame(summaries), pd.DataFrame(lines)


# ---- page


def page(trials: Sequence[Trial], summary: pd.DataFrame, rows: pd.DataFrame, picture: str, csv: str) -> list[str]:
    """Return the tables in Markdown.

    Args:
        trials: collections.
        summary, rows: tables of `collect`.
        picture, csv: names of the figure and of the table of all statistics.
    """
    lines = [f"![Fraction of copies found, by change and detector]({picture})", ""]
    for trial in trials:
        chosen = summary[summary["collection"] == trial.name]
        if chosen.empty:
            continue
        lines += [*_described(trial, chosen), "", *_summary_table(chosen), ""]
        lines += [*_recall_table(rows[rows["collection"] == trial.name]), ""]
    shortfalls = [text for trial in trials for text in _shortfalls(trial, rows)]
    return [*lines, *shortfalls, f"All statistics of every row and detector: [{csv}]({csv})."]


def _described(trial: Trial, chosen: pd.DataFrame) -> list[str]:
    sizes = ", ".join(
        f"{len(part.pack.keys)} images of {len(set(part.subjects))} {name}"
        for part, name in ((trial.train, "to copy from"), (trial.held_out, "held out"), (trial.fresh, "fresh"))
    )
    height, width = trial.train.pack.images.shape[1:]
    count = max(len(part.pack.keys) for part in trial.copies.values())
    held_out, fresh = (len(set(part.subjects)) for part in (trial.held_out, trial.fresh))
    lines = [
        f"**{trial.title[0].upper()}{trial.title[1:]}**, {height}x{width} pixels, {trial.unit}: {sizes}; {count} copies of each row. "
        f"Rates of false alarms that the limits promise: {max(RATE, 1 / (held_out + 1)):.2%} "
        f"({held_out} {trial.unit} held out) and {max(STRICT, 1 / (held_out + fresh + 1)):.2%} "
        f"(the fresh ones too, {held_out + fresh}; {STRICT:.1%} needs {round(1 / STRICT) - 1})."
    ]
    for item in chosen[chosen["left_out"] > 0].to_dict("records"):
        limit: Limit = item["limit"]
        lines.append(
            f"{item['detector']} left {item['left_out']} held-out images out of its calibration, since they or another image of "
            f"their subject show a training image; the limit promises {limit.promised:.2%} ({limit.groups} {trial.unit})."
        )
    return lines


def _summary_table(chosen: pd.DataFrame) -> list[str]:
    lines = [
        "| detector | false alarms on fresh images (95 % interval by subject) | recall, all rows | AUROC "
        f"| precision at {RECALL:.0%} recall | false positives at {RECALL:.0%} recall | right subject | s per image |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for item in chosen.to_dict("records"):
        alarms: Interval = item["alarms"]
        lines.append(
            f"| {item['detector']} | {alarms.count} of {alarms.total}: {alarms.value:.1%} ({alarms.low:.1%} to {alarms.high:.1%}) "
            f"| {item['recall']:.2f} / {item['strict_recall']:.2f} | {item['auroc']:.3f} | {item['precision']:.2f} "
            f"| {item['fpr']:.2f} | {item['right_subject']:.2f} | {item['seconds']:.3f} |"
        )
    return lines


def _recall_table(rows: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(rows["detector"]))
    lines = ["| copy through | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for row, group in rows[rows["row"] != ALL_ROWS].groupby("row", sort=False):
        cells = group.set_index("detector").loc[names]
        found = [f"{one:.2f} / {two:.2f}" for one, two in zip(cells["recall"], cells["strict_recall"], strict=True)]
        lines.append(f"| {row} | " + " | ".join(found) + " |")
    return lines


def _shortfalls(trial: Trial, rows: pd.DataFrame) -> Iterator[str]:
    """Say where the audit finds less than the best of the others, and where it misses many copies."""
    here = rows[(rows["collection"] == trial.name) & (rows["row"] != ALL_ROWS)]
    own, others = here[here["detector"] == AUDIT.title], here[here["detector"] != AUDIT.title]
    if own.empty or others.empty:
        return
    found, best = own.set_index("row")["recall"], others.groupby("row")["recall"].max()
    gap = best - found.loc[best.index]
    short = gap[gap > TOLERANCE + 1e-9].sort_values(ascending=False)
    listed = ", ".join(f"{row} ({missing:.2f} less)" for row, missing in short.items()) or "none"
    low = found[found < RECALL - 1e-9].sort_values()
    few = ", ".join(f"{row} ({value:.2f})" for row, value in low.items()) or "none"
    yield (
        f"Rows of {trial.title} in which the audit finds less than the best of the others minus {TOLERANCE}: {listed}; in which it "
        f"finds less than {RECALL:.0%} of the copies: {few}."
    )
    yield ""


def plot(path: Path, trials: Sequence[Trial], rows: pd.DataFrame) -> None:
    """Draw recall by row and detector as one heat map per collection.

    Args:
        path: file to write.
        trials: collections.
        rows: table of `collect`.
    """
    from matplotlib.figure import Figure

    from deepssim.reporting.plots import save_figure

    tables = []
    for trial in trials:
        here = rows[(rows["collection"] == trial.name) & (rows["row"] != ALL_ROWS)]
        if not here.empty:
            names = list(dict.fromkeys(here["detector"]))
            tables.append(
                (trial, here.pivot(index="row", columns="detector", values="recall").loc[list(trial.copies), names])
            )
    most = max(len(table) for _, table in tables)
    figure = Figure(figsize=(3.4 + 2.4 * len(tables), 2 + 0.22 * most), layout="constrained")
    for panel, (trial, table) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables, strict=True):
        panel.imshow(table.to_numpy(), vmin=0, vmax=1, cmap="viridis", aspect="equal" if len(table) == 1 else "auto")
        panel.set_xticks(range(len(table.columns)), table.columns, rotation=90, fontsize=8)
        repeated = trial is not tables[0][0] and list(table.index) == list(tables[0][1].index)
        panel.set_yticks(range(len(table)), [""] * len(table) if repeated else table.index, fontsize=7)
        panel.set_anchor("N")
        panel.set_title(trial.title, fontsize=9)
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            colour = "black" if value > 0.6 else "white"
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5, color=colour)
    figure.suptitle(
        f"Fraction of copies found with a limit for {RATE:.0%} false alarms, or the lowest rate that can be promised",
        fontsize=10,
    )
    save_figure(figure, [path])


# ---- command


def detectors_of(trial: Trial, options: argparse.Namespace, work: Path) -> Iterator[Detector]:
    """Yield the detectors that are asked for; those with an encoder only if there is one for this collection."""
    yield from (detector for detector in (AUDIT, *RIVALS) if detector.name in options.detectors)
    for metric, given in ((MetricName.DAR, options.dar), (MetricName.DEEPSSIM, options.encoder)):
        if metric.value not in options.detectors:
            continue
        weights, side = dict(item.split("=", 1) for item in given).get(trial.name), EMBEDDING_SIDE
        if trial.name not in SOURCES:
            weights = weights or str(options.memorized / "encoders" / f"{metric.value}.safetensors")
            side = max(trial.train.pack.images.shape[1:])
        if weights is None and options.train:
            weights = trained(metric, trial.train.pack, work / "encoders")
        if weights is not None:
            yield embedding_detector(metric, weights, side)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=[*SOURCES, "memorized"], help="collections to score; default: all")
    parser.add_argument("--detectors", nargs="*", choices=NAMES, default=NAMES, help="to run; default: all")
    parser.add_argument(
        "--memorized", type=Path, help="results of a workflow whose diffusion model has memorized images"
    )
    for name, metric in (("encoder", "DeepSSIM"), ("dar", "dar")):
        parser.add_argument(
            f"--{name}", nargs="+", default=[], metavar="DATA=FILE", help=f"weights of {metric} for a collection"
        )
    parser.add_argument(
        "--train", action="store_true", help="train the encoders that are not given, on the training images"
    )
    parser.add_argument("--copies", type=int, default=20, help="training images that are copied (default: %(default)s)")
    parser.add_argument("--most", type=int, help="subjects of each part at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=Path, default=REAL_DATA, help="folder of real images (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("results/copies-benchmark"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    return parser.parse_args()


def main() -> None:
    """Parse the command line, score and write."""
    options = parse()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    trial_of = partial(real_trial, folder=options.images, work=work, copies=options.copies, most=options.most,
                       threads=options.threads)  # fmt: skip
    trials = [trial_of(name) for name in SOURCES] + ([memorized_trial(options.memorized)] if options.memorized else [])
    for trial in trials:
        if options.data and trial.name not in options.data:
            continue
        for detector in detectors_of(trial, options, work):
            print(f"{trial.title}: {detector.title}", file=sys.stderr, flush=True)
            write_json(work / f"{trial.name}-{detector.name}.json", judge(detector, trial, options.threads))
    summary, rows = collect(trials, work, NAMES)
    picture, csv = options.out.with_name("copies.svg"), options.out.with_name("copies.csv")
    plot(picture, trials, rows)
    rows.to_csv(csv, index=False, float_format="%.4f")
    insert(options.out, "copies", page(trials, summary, rows, picture.name, csv.name))
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
