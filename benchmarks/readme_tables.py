"""Tables of all measurements, written into ``benchmarks/README.md`` and the README.

    python benchmarks/readme_tables.py [--check]

``benchmarks/README.md`` is generated as a whole from ``benchmarks/results``. In the README, the
lines between ``<!-- measured -->`` and ``<!-- end of measured -->`` are. ``--check`` writes nothing
and fails if either file would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TABLES = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).with_name("results")
_PLACE = re.compile(r"(<!-- measured -->\n).*?(<!-- end of measured -->)", re.DOTALL)

TRAININGS = {
    "none": "untrained",
    "`O2CAP`": "O2CAP",
    "`O2CAP` without its online loss": "O2CAP without online loss",
    "`O2CAP` without its offline loss": "O2CAP without offline loss",
    "`CAP`": "CAP",
    "`CALR`": "CALR",
    "`CALR` without refinement": "CALR without refinement",
    "`CALR` without camera alignment": "CALR without alignment",
    "none (a model of other people)": "source model, not trained here",
    "`ReliableSoftLabels`, from that model": "reliable and soft labels",
    "`ReliableSoftLabels`, reliable labels only": "reliable labels only",
    "`PCSL`, with labels within each camera": "PCSL",
    "`PCSL` without its losses across cameras": "PCSL, within cameras only",
    "`Supervised`, with all identities": "full supervision",
}
CHOICES = {
    "the defaults: Gaussian kernel, `k` 3, `bandwidth` 0.2, mutual pairs, camera-normalized": (
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
    "not camera-normalized": "not camera-normalised",
    "without the weighted cross-entropy": "without weighted cross-entropy",
    "without the weighted triplet loss": "without weighted triplets",
    "within cameras only": "within cameras only",
}


def main() -> None:
    """Write both files, or compare them with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    summary = _PLACE.sub(lambda place: place[1] + in_short() + place[2], README.read_text())
    for file, text in ((TABLES, page()), (README, summary)):
        if not check:
            file.write_text(text)
        elif not file.is_file() or file.read_text() != text:
            name = file.relative_to(ROOT)
            sys.exit(f"{name} differs from benchmarks/results: run benchmarks/readme_tables.py")


@dataclass(frozen=True)
class Section:
    """A benchmark on the page.

    Args:
        heading: Heading of the section.
        commands: Command lines that repeat the measurement, without ``python benchmarks/``.
        results: Names of its files in ``benchmarks/results``, without ``.json``.
        text: What was measured.
        table: Returns the table.
        findings: Returns what follows from the table; empty by default.
    """

    heading: str
    commands: Sequence[str]
    results: Sequence[str]
    text: str
    table: Callable[[], str]
    findings: Callable[[], str] = str

    def markdown(self) -> str:
        """Return the section as Markdown."""
        commands = "".join(f"python benchmarks/{command}\n" for command in self.commands)
        machines = dict.fromkeys(_machine(name) for name in self.results)
        parts = (self.text, self.table(), self.findings(), f"Machine: {'; '.join(machines)}.")
        body = "\n\n".join(part.strip() for part in parts if part)
        return f"## {self.heading}\n\n```bash\n{commands}```\n\n{body}\n"


def page() -> str:
    """Return the text of ``benchmarks/README.md``."""
    return "\n".join([_INTRODUCTION, *(section.markdown() for section in SECTIONS)])


def in_short() -> str:
    """Return the lines of the README: one number each for quality, labels and evaluation."""
    real = {shown: _percents("learning_real", "mAP")[name] for shown, name in TRAININGS.items()}
    pcsl = real["`PCSL`, with labels within each camera"].split(" ")[0]
    labels = max(_rows("clustering_table"), key=lambda row: row["images"])
    test = next(
        row for row in _rows("evaluation") if (row["test set"], row["what"]) == ("msmt17", "a test")
    )
    return (
        f"- mAP on PKU-Reid (74 real people, two cameras): {real['none']} % without training,"
        f" {real['`O2CAP`']} % with\n"
        f"  `O2CAP`, {pcsl} % with `PCSL` and labels within each camera,"
        f" {real['`Supervised`, with all identities']} % with all identities.\n"
        f"- Labels for {labels['images']:,} images of 128 dimensions:"
        f" {_duration(labels['whole refresh'])}, {labels['peak GB']:.1f} GB of memory.\n"
        f"- A test of MSMT17's size ({_TEST_SETS['msmt17'][0]} images):"
        f" {_duration(test['CPU seconds'])} of CPU time,"
        f" {test['peak GB']:.2f} GB beyond the embeddings.\n"
    )


def learning() -> str:
    """Return what each method reaches on real and on synthetic people."""
    columns = [
        _percents(kind, measure)
        for kind in ("learning_real", "learning_drawn")
        for measure in ("mAP", "camera_normalized/mAP")
    ]
    rows = [
        (shown, *(column.get(name, "") for column in columns)) for shown, name in TRAININGS.items()
    ]
    head = ("training", "PKU-Reid, plain", "normalized", "synthetic, plain", "normalized")
    return _table(head, rows)


def pcsl() -> str:
    """Return what each choice in PCSL is worth."""
    measured = _percents("pcsl_drawn", "mAP")
    rows = [(shown, measured[name]) for shown, name in CHOICES.items() if name in measured]
    return _table(("changed", "mAP"), rows)


def clustering() -> str:
    """Return what it takes to get from features to labels."""
    head = (
        "images x dimensions",
        "neighbors",
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


def other_clustering() -> str:
    """Return what the usual code takes at MSMT17's size."""
    search, rest = _rows("clustering_compare")
    return (
        f"At MSMT17's size faiss's flat index takes {_duration(search['other seconds'])} for the"
        " neighbors, in the same run. The usual dense\n"
        f"matrices and loops take {_duration(rest['other seconds'])} and"
        f" {rest['other peak GB']:.1f} GB for the rest, with the same labels."
    )


def overhead() -> str:
    """Return what a training step costs beyond the network and the images."""
    rows = [(f"`{r['method']}`", f"{r['milliseconds']:.0f} ms") for r in _rows("method_overhead")]
    return _table(("method", "beyond the network"), rows)


_TEST_SETS = {
    "market": ("3,368 x 15,913", "Market-1501"),
    "msmt17": ("11,659 x 82,161", "MSMT17"),
}


def evaluation() -> str:
    """Return what evaluation takes beyond its matrix product."""
    kinds = {"plain": "plain", "a test": "plain and camera-normalized", "reranked": "re-ranked"}
    head = (
        "queries x gallery",
        "embeddings",
        "CPU time",
        "of it beyond the product",
        "memory beyond the embeddings",
        "restated in NumPy",
        "in Python, as often seen",
    )
    rows = []
    for row in _rows("evaluation"):
        size, name = _TEST_SETS[row["test set"]]
        beyond, one_by_one = row["CPU beyond it"], ("one by one, NumPy", "one by one, Python")
        rows.append(
            (
                f"{size} ({name})",
                kinds[row["what"]],
                _duration(row["CPU seconds"]),
                "" if beyond == "" else _duration(beyond),
                f"{row['peak GB']:.2f} GB",
                *("" if row[kind] == "" else _duration(row[kind]) for kind in one_by_one),
            )
        )
    return _table(head, rows)


def processes() -> str:
    """Return the throughput of several processes on one machine."""
    head = ("processes", "trained images per second", "embedded images per second", "labels")
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
    """Return the computed times of more GPUs and images."""
    head = ("images", "GPUs", "an epoch", "the longest part of it", "what does not fit")
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
    """Return estimated durations of the published schedules."""
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


def rows_of(name: str, headings: Mapping[str, str] | None = None) -> Callable[[], str]:
    """Return a function that makes a table of all rows of a results file.

    Args:
        name: Name of the file in ``benchmarks/results``, without ``.json``.
        headings: Headings of columns that the file names otherwise; none by default.
    """

    def table() -> str:
        rows = _rows(name)
        head = [(headings or {}).get(column, column) for column in rows[0]]
        return _table(head, (map(_number, row.values()) for row in rows))

    return table


_PKU, _REAL = "../shared/data/pku_reid", "benchmarks/results/learning_real.json"
_INTRODUCTION = """# Measurements

Generated by `python benchmarks/readme_tables.py` from `benchmarks/results`: change the results or
that program, not this page. Every section names the command that repeats its measurement (each
takes `--json FILE`), and the machine. Nothing was measured on a GPU.
"""

SECTIONS = (
    Section(
        "Does each method learn?",
        (
            f"learning.py real --root {_PKU} --torch-home ../shared/weights --json {_REAL}",
            "learning.py drawn --seeds 0 1 2 --json benchmarks/results/learning_drawn.json",
        ),
        ("learning_real", "learning_drawn"),
        """
mAP in % of plain embeddings, and of embeddings from which the mean and the spread of each camera
were removed ("normalized").

- *PKU-Reid*: 74 real people, two cameras, 50 people to train on; an ImageNet MobileNetV2 at
  128 x 64, 30 epochs of 25 batches of 32; seed 0, or the mean of several seeds with the lowest and
  the highest.
- *Synthetic*: 60 `SyntheticPersons` in five cameras, a ResNet-18 from random weights at 48 x 24, 16
  epochs of 25 batches; mean of seeds 0, 1 and 2 with the lowest and the highest.
""",
        learning,
        lambda: (
            """
Labels are made from camera-normalized features throughout, CALR clusters with DBSCAN, and schedules
are shortened. These choices were made without identities. Seeds of one row differ by up to six
points, so differences of one or two points mean nothing. Where a part of a method does not help
here, this is the reason:

- CALR's refinement needs labels within cameras that are purer than the clusters over all cameras.
  On real people it is worth nine points. The network for synthetic people starts from random
  weights: after its one epoch in each camera, pairs with the same local label are one person in 35
  to 49 % of cases, against 87 % for the clusters of stage 2, so they cannot refine them. Alignment
  has little to align where features are camera-normalized before clustering.
- O2CAP's offline loss is worth 13 points on real people and nothing on synthetic ones, where the
  online association finds the same partners. It associates by camera-normalized similarities here;
  by plain ones (as published) it ended 11 points lower on real people.
- Soft labels change little, and `ReliableSoftLabels` stays below the other methods: it starts from
  a model of synthetic people, which knows little about real ones, and k-means in its features is
  right too rarely.
"""
        ),
    ),
    Section(
        "Choices in PCSL",
        ("learning.py drawn --table pcsl --json benchmarks/results/pcsl_drawn.json",),
        ("pcsl_drawn",),
        """
What each choice is worth on synthetic people: plain mAP in %, seed 0. Only the rows shown were run.
""",
        pcsl,
        lambda: (
            """
The seed alone changes these numbers by one or two points: `k`, a narrower kernel, mutual pairs and
the triplet loss make no difference here. The weighted cross-entropy, the narrow Gaussian kernel,
camera-normalized features and full confidence do.
"""
        ),
    ),
    Section(
        "Synthetic people",
        ("synthetic.py --train-minutes 8",),
        ("synthetic",),
        """
How hard the people of `SyntheticPersons` are: mAP in % of nearest neighbors on simple features, and
of the demo's network without training and with all identities.
""",
        rows_of("synthetic"),
    ),
    Section(
        "From features to labels",
        (
            "clustering.py compare",
            "clustering.py table --sizes 12936 --dimensions 2048",
            "clustering.py table --sizes 100000 --dimensions 512",
            "clustering.py table",
        ),
        ("clustering_compare", "clustering_market", "clustering_100k", "clustering_table"),
        """
`DensityClusterer` on two cores. Neighbors are exact.
""",
        clustering,
        other_clustering,
    ),
    Section(
        "k-means",
        ("kmeans.py",),
        ("kmeans",),
        """
12,936 features of 2048 dimensions, 750 clusters. "inertia" is the sum of squared distances to the
centers, "ARI" the agreement with the identities.
""",
        rows_of("kmeans"),
    ),
    Section(
        "Evaluation",
        ("evaluation.py --sizes market msmt17",),
        ("evaluation",),
        """
2048 dimensions on two cores; the restatements go query by query, as most projects do.
""",
        evaluation,
    ),
    Section(
        "A training step",
        ("method_overhead.py",),
        ("method_overhead",),
        """
What a step takes beyond the network: batch 64, 3,000 proxies, 2048 dimensions.
""",
        overhead,
    ),
    Section(
        "O2CAP's loss",
        ("training_step.py",),
        ("training_step",),
        """
Forward and backward, batch 256, 3,000 proxies, 2048 dimensions, six cameras. "image by image" is
the definition; "shared product" forms all similarities in one matrix product.
""",
        rows_of("training_step"),
    ),
    Section(
        "Processes on one machine",
        ("scaling.py processes",),
        ("scaling_processes",),
        """
O2CAP with a global batch of 64 and one thread per process, so that four processes share two cores.
Other work took a part of one core.
""",
        processes,
    ),
    Section(
        "More GPUs and images (computed)",
        ("scaling.py worksheet",),
        ("scaling_worksheet",),
        """
**Computed, not run**, from what was measured per image here, counted operations, and stated speeds
of an H100-like GPU and its network.
""",
        worksheet,
        lambda: (
            """
Memory for features runs out first: every process holds the features of all images, in float32. GPUs
of 80 GB have room for some four million images of 2048 dimensions by the same computation, and for
four times as many of 512 dimensions.
"""
        ),
    ),
    Section(
        "Published schedules (estimated)",
        ("scaling.py schedules",),
        ("schedules",),
        """
**Estimated from operation counts, not run**: training on the GPU alone, at a stated share of its
peak, with images loaded fast enough.
""",
        schedules,
    ),
    Section(
        "Loading images",
        ("decoding.py",),
        ("decoding",),
        """
From 128 x 64 files to 256 x 128 images, in one process on one thread.
""",
        rows_of("decoding", {"microseconds": "microseconds per image"}),
    ),
    Section(
        "Extracting features",
        ("loading.py",),
        ("loading",),
        """
ResNet-50 at 256 x 128, over files as in a run, against the bare network on loaded batches.
""",
        rows_of("loading"),
    ),
    Section(
        "Reading published data sets",
        ("parsing.py",),
        ("parsing",),
        """
From lists or folders to numbered images and cameras. "index" includes splits and the comparison
with the published counts.
""",
        rows_of("parsing"),
    ),
    Section(
        "Manifests of a million rows",
        ("manifest.py",),
        ("manifest",),
        """
`ManifestData(...).setup("fit")` in a fresh process, median of three; gigabytes of memory.
""",
        rows_of(
            "manifest",
            {"GB beyond at most": "further GB at most", "GB kept": "further GB kept"},
        ),
    ),
    Section(
        "`lightning-reid check`",
        ("check.py",),
        ("check",),
        """
The whole command, and its search for near duplicates among hashes that are unrelated, or crowded as
those of a single scene.
""",
        rows_of("check"),
    ),
    Section(
        "`lightning-reid search`",
        ("search.py --sizes 1000000 --dimensions 512",),
        ("search",),
        """
Exact search in an index on disk, and what keeping the index up to date takes. The first search of a
process also verifies the checksums. A camera is one of eight; each query has a camera of its own.
""",
        rows_of("search", {"memory, GB": "GB of memory"}),
    ),
    Section(
        "Start-up",
        ("startup.py",),
        ("startup",),
        """
Import and help in a fresh process, against bare Lightning.
""",
        rows_of("startup"),
    ),
)


def _content(name: str) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _content(name)["rows"]
    return rows


def _machine(name: str) -> str:
    """Return processor, cores, threads, GPU and versions of a measurement."""
    given = _content(name)["environment"]
    threads = f"{given['threads']} thread{'s' if given['threads'] > 1 else ''}"
    return (
        f"{given['processor']}, {given['cores']} cores, {threads}, {given['gpu'] or 'no GPU'},"
        f" Python {given['python']}, torch {given['torch']} ({given['date'][:10]})"
    )


def _number(value: Any) -> str:
    """Return a value for a table: numbers with three digits, others as they are."""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return "0" if abs(value) < 5e-4 else f"{value:.3g}"


def _percents(name: str, measure: str) -> dict[str, str]:
    """Return means over seeds, with the lowest and the highest where there are several."""
    values: dict[str, list[float]] = {}
    for run in _content(name)["runs"]:
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


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
