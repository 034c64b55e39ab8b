"""The tables of the README, made from what was measured.

    python benchmarks/readme_tables.py [--check]

Every table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``, and is written
anew from ``benchmarks/results``; ``--check`` writes nothing and fails if one would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = Path(__file__).with_name("results")
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

TRAININGS = {
    "none": "untrained",
    "`O2CAP`": "O2CAP",
    "`O2CAP` without its online loss": "O2CAP without online loss",
    "`O2CAP` without its offline loss": "O2CAP without offline loss",
    "`CAP`": "CAP",
    "`CALR`": "CALR",
    "`CALR` without refinement": "CALR without refinement",
    "`CALR` without camera alignment": "CALR without alignment",
    "none (model of other people)": "source model, not trained here",
    "`ReliableSoftLabels` from that model": "reliable and soft labels",
    "`ReliableSoftLabels`, reliable labels only": "reliable labels only",
    "`PCSL`, with labels within each camera": "PCSL",
    "`PCSL` without its losses across cameras": "PCSL, within cameras only",
    "`Supervised`, with all identities": "full supervision",
}
CHOICES = {
    "the defaults: Gaussian kernel, `k` 3, `bandwidth` 0.2, mutual pairs, camera-normalised": (
        "default"
    ),
    "`k` 1": "k = 1",
    "`k` 5": "k = 5",
    "`k` 10": "k = 10",
    "`bandwidth` 0.1": "bandwidth 0.1",
    "`bandwidth` 0.5": "bandwidth 0.5",
    "`bandwidth` 1": "bandwidth 1",
    "cosine kernel": "cosine kernel",
    "Jaccard kernel": "Jaccard kernel",
    "pairs need not be mutual": "not mutual",
    "with `confidence`": "with confidence",
    "pairs need not be mutual, with `confidence`": "not mutual, with confidence",
    "not camera-normalised": "not camera-normalised",
    "without the weighted cross-entropy": "without weighted cross-entropy",
    "without the weighted triplet loss": "without weighted triplets",
    "within cameras only": "within cameras only",
}


def main() -> None:
    """Write the tables, or tell whether they are as they would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    before = README.read_text()
    after = with_tables(before)
    if not parser.parse_args().check:
        README.write_text(after)
    elif before != after:
        sys.exit("the README's tables are not those of benchmarks/results")


def with_tables(text: str) -> str:
    """The text with every table made anew."""
    return _PLACE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def learning() -> str:
    """What each method reaches on real and on drawn people."""
    columns = [
        _percents(kind, measure)
        for kind in ("learning_real", "learning_drawn")
        for measure in ("mAP", "camera_normalized/mAP")
    ]
    rows = [
        (shown, *(column.get(name, "") for column in columns)) for shown, name in TRAININGS.items()
    ]
    head = ("training", "PKU-Reid, plain", "normalised", "drawn, plain", "normalised")
    return _table(head, rows)


def pcsl() -> str:
    """What each choice in PCSL is worth."""
    measured = _percents("pcsl_drawn", "mAP")
    rows = [(shown, measured[name]) for shown, name in CHOICES.items() if name in measured]
    return _table(("changed", "mAP"), rows)


def clustering() -> str:
    """From features to labels."""
    head = (
        "images x dimensions",
        "neighbours",
        "Jaccard and DBSCAN",
        "most memory beside the features",
    )
    rows = []
    for file, dimensions, name in (
        ("clustering_market", 2048, " (Market-1501)"),
        ("clustering_100k", 512, ""),
        ("clustering_table", 128, ""),
    ):
        for row in _rows(file):
            if file == "clustering_table" and row["images"] < 200_000:
                continue
            rows.append(
                (
                    f"{row['images']:,} x {dimensions}{name}",
                    _duration(row["neighbours"]),
                    _duration(row["after neighbours"]),
                    f"{row['peak GB']:.1f} GB",
                )
            )
    search, rest = _rows("clustering_compare")
    peak = max(search["peak GB"], rest["peak GB"])
    both = _duration(search["seconds"]), _duration(rest["seconds"]), f"{peak:.1f} GB"
    rows.insert(1, ("32,621 x 2048 (MSMT17)", *both))
    return _table(head, rows)


def overhead() -> str:
    """What a training step costs beyond network and images."""
    rows = [(f"`{r['method']}`", f"{r['milliseconds']:.0f} ms") for r in _rows("method_overhead")]
    return _table(("method", "beyond the network"), rows)


def evaluation() -> str:
    """What evaluation takes beyond its matrix product."""
    sizes = {"market": "3,368 x 15,913 (Market-1501)", "msmt17": "11,659 x 82,161 (MSMT17)"}
    kinds = {"plain": "plain", "a test": "plain and camera-normalised", "reranked": "re-ranked"}
    head = (
        "queries x gallery",
        "numbers",
        "CPU time",
        "of it beyond the product",
        "memory beyond the embeddings",
        "restated in NumPy",
        "in Python, as often seen",
    )
    rows = []
    for row in _rows("evaluation"):
        beyond, one_by_one = row["CPU beyond it"], ("one by one, NumPy", "one by one, Python")
        rows.append(
            (
                sizes[row["test set"]],
                kinds[row["what"]],
                _duration(row["CPU seconds"]),
                "" if beyond == "" else _duration(beyond),
                f"{row['peak GB']:.2f} GB",
                *("" if row[kind] == "" else _duration(row[kind]) for kind in one_by_one),
            )
        )
    return _table(head, rows)


def processes() -> str:
    """Processes on one machine."""
    head = ("processes", "trained images a second", "embedded images a second", "labels")
    rows = [
        (
            str(row["processes"]),
            f"{row['training images per second']:.0f}",
            f"{row['extracted images per second']:.0f}",
            _duration(row["seconds from features to labels"]),
        )
        for row in _rows("scaling_processes")
    ]
    return _table(head, rows)


def worksheet() -> str:
    """What more GPUs and images would meet."""
    head = ("images", "GPUs", "an epoch", "the longest part of it", "what has no room")
    rows = [
        (
            row["images"],
            str(row["GPUs"]),
            _duration(60 * row["minutes an epoch"]),
            f"{row['longest part']}, {100 * row['its share']:.0f} %",
            row["breaks first"],
        )
        for row in _rows("scaling_worksheet")
    ]
    return _table(head, rows)


def schedules() -> str:
    """How long the published schedules take."""
    rows = _rows("schedules")
    gpus = [name for name in rows[0] if name.startswith("hours on ")]
    head = ("data", "schedule", "epochs", *(name.replace("hours", "estimate") for name in gpus))
    return _table(
        head,
        (
            (
                f"`{row['data']}`",
                f"`{row['schedule']}`",
                str(row["epochs"]),
                *(_duration(3600 * row[name]) for name in gpus),
            )
            for row in rows
            if row["schedule"] in ("o2cap", "cap", "calr", "pcsl", "reliable_soft")
        ),
    )


TABLES = {
    "evaluation": evaluation,
    "processes": processes,
    "worksheet": worksheet,
    "schedules": schedules,
    "learning": learning,
    "pcsl": pcsl,
    "clustering": clustering,
    "overhead": overhead,
}


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def _percents(name: str, measure: str) -> dict[str, str]:
    """Means over seeds, with the lowest and the highest where there are several."""
    values: dict[str, list[float]] = {}
    for run in json.loads((RESULTS / f"{name}.json").read_text())["runs"]:
        values.setdefault(run["row"], []).append(100 * run[measure])
    return {row: _mean(seeds) for row, seeds in values.items()}


def _mean(values: Sequence[float]) -> str:
    lowest, highest = f"{min(values):.1f}", f"{max(values):.1f}"
    spread = "" if lowest == highest else f" ({lowest} to {highest})"
    return f"{mean(values):.1f}{spread}"


def _duration(seconds: float) -> str:
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.1f} days"
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 100:
        return f"{int(seconds) // 60} min {round(seconds) % 60} s"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
