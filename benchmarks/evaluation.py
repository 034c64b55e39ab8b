"""Cost of evaluation beyond the matrix product, and the same done query by query.

    python benchmarks/evaluation.py [--sizes market msmt17] [--threads N] [--json FILE]

At the size of each test set three things are measured, each in a process of its own:

- ``plain``: ``retrieval_metrics``; what of it goes into the product of all queries with the whole
  gallery; and, in turn with it, what ranking query by query takes beyond that product, as in the
  code that most projects copy: NumPy sorts the row, and average precision is computed in NumPy or,
  as there, by a comprehension over the whole gallery. A sample of the queries is ranked one by one,
  and scaled to all. At most 2 s and 0.5 GB are asked for at Market-1501's size, 1 GB at MSMT17's,
  and a twentieth of the time of the comprehension.
- ``a test``: ``compute`` of the metric as a module has it by default, which ranks camera-normalised
  embeddings as well; its product is both products.
- ``reranked``: ``retrieval_metrics`` with re-ranking, as a whole; at most 4 GB are asked for.

Memory is the most that is in use beyond the embeddings. Times are medians; "CPU" is the time of all
threads, which other work on the machine changes little. Features are drawn: as many identities,
cameras and images as the test set has, noise around a direction for each identity.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measurement import peak_memory, report

from lightning_reid.metrics import Evaluation, RetrievalMetrics, retrieval_metrics

Sides = tuple[torch.Tensor, ...]


class TestSet(NamedTuple):
    """Numbers of images, identities and cameras."""

    queries: int
    gallery: int
    identities: int
    cameras: int


TEST_SETS = {
    "tiny": TestSet(300, 2000, 100, 6),
    "market": TestSet(3_368, 15_913, 750, 6),
    "msmt17": TestSet(11_659, 82_161, 3_060, 15),
}
SAMPLE = 400  # queries that are ranked one by one
REPEATS = 3
COLUMNS = (
    "test set",
    "what",
    "seconds",
    "CPU seconds",
    "CPU of the product",
    "CPU beyond it",
    "peak GB",
    "one by one, NumPy",
    "ratio",
    "one by one, Python",
    "ratio to that",
    "mAP",
)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("table", *MEASURED), default="table")
    parser.add_argument("--sizes", nargs="+", choices=list(TEST_SETS), default=["market"])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what != "table":
        print(json.dumps(MEASURED[arguments.what](drawn(arguments))))
        return
    measured = [
        in_new_process(what, name, arguments) for name in arguments.sizes for what in MEASURED
    ]
    rows = [[row.get(column, "") for column in COLUMNS] for row in measured]
    title = f"Evaluation, {arguments.dimensions} dimensions, {arguments.threads} threads"
    report(title, COLUMNS, rows, arguments.json)


def plain(sides: Sides) -> dict[str, float]:
    """The Euclidean ranking, and queries one by one, in turn."""
    others = {"NumPy": numpy_precision, "Python": python_precision}
    own, theirs = [], []
    warm_up(sides)
    for _ in range(REPEATS):
        own.append(watched(lambda: retrieval_metrics(*sides)))
        theirs.append({name: one_by_one(sides, precision) for name, precision in others.items()})
    measured, slow = medians(own) | {"peak GB": own[0]["peak GB"]}, medians(theirs)
    for name, ratio in (("NumPy", "ratio"), ("Python", "ratio to that")):
        measured[f"one by one, {name}"] = slow[name]
        measured[ratio] = slow[name] / measured["CPU beyond it"]
    return measured


def tested(sides: Sides) -> dict[str, float]:
    """What a test computes by default, from batches as it leaves them."""
    metric = RetrievalMetrics(**vars(Evaluation()))
    warm_up(sides)
    start = 0
    for is_query in (True, False):
        rows, identities, cameras = sides[not is_query :: 2]
        for batch in torch.arange(len(rows)).split(128):
            flags = torch.full((len(batch),), is_query)
            metric.update(rows[batch], identities[batch], cameras[batch], flags, start + batch)
        start += len(rows)
    return watched(metric.compute)


def reranked(sides: Sides) -> dict[str, float]:
    """The re-ranked ranking, once."""
    warm_up(sides, rerank=True)
    measured = watched(lambda: retrieval_metrics(*sides, rerank=True))
    del measured["CPU of the product"], measured["CPU beyond it"]  # only a part of its products
    return measured


MEASURED = {"plain": plain, "a test": tested, "reranked": reranked}


def drawn(arguments: argparse.Namespace, noise: float = 3.2) -> Sides:
    """Embeddings, identities and cameras of query and gallery; unit rows."""
    sizes = TEST_SETS[arguments.sizes[0]]
    generator = torch.Generator().manual_seed(0)
    count, split = sizes.queries + sizes.gallery, [sizes.queries, sizes.gallery]
    identities = torch.randint(sizes.identities, (count,), generator=generator)
    cameras = torch.randint(sizes.cameras, (count,), generator=generator)
    centers = torch.randn(sizes.identities, arguments.dimensions, generator=generator)
    rows = torch.randn(count, arguments.dimensions, generator=generator).mul_(noise)
    for part, people in zip(rows.split(1024), identities.split(1024), strict=True):
        part += centers[people]
        part /= part.norm(dim=1, keepdim=True)
    columns = (rows, identities, cameras)
    return tuple(part for column in columns for part in column.split(split))


def warm_up(sides: Sides, **options: Any) -> None:
    """Compile and load."""
    retrieval_metrics(*(side[:300] for side in sides), **options)


def watched(evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Time, peak memory, and what went into products in place, as that of the distances is."""
    product, multiply = 0.0, torch.Tensor.addmm_

    def timed(*arguments: Any, **options: Any) -> torch.Tensor:
        nonlocal product
        start = time.process_time()
        result = multiply(*arguments, **options)
        product += time.process_time() - start
        return result

    torch.Tensor.addmm_ = timed
    with peak_memory() as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        numbers = evaluate()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    torch.Tensor.addmm_ = multiply
    return {
        "seconds": wall,
        "CPU seconds": cpu,
        "CPU of the product": product,
        "CPU beyond it": cpu - product,
        "peak GB": peak.gigabytes,
        "mAP": numbers["mAP"],
    }


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number."""
    return {name: statistics.median(row[name] for row in measured) for name in measured[0]}


def one_by_one(sides: Sides, average_precision: Callable[[np.ndarray[Any, Any]], float]) -> float:
    """CPU seconds to rank all queries one after the other, from their distances."""
    query, gallery, *rest = sides
    identities, gallery_ids, cameras, gallery_cameras = (side.numpy() for side in rest)
    rows = torch.linspace(0, len(query) - 1, min(SAMPLE, len(query))).long()
    distances = (2 - 2 * query[rows] @ gallery.T).numpy()
    start = time.process_time()
    for distance, row in zip(distances, rows.tolist(), strict=True):
        order = np.argsort(distance)
        same = gallery_ids[order] == identities[row]
        match = same[~(same & (gallery_cameras[order] == cameras[row]))]
        if match.any():
            average_precision(match)
    return (time.process_time() - start) * len(query) / len(rows)


def numpy_precision(match: np.ndarray[Any, Any]) -> float:
    """Average precision, with mINP and CMC on the way."""
    ranks = np.flatnonzero(match) + 1
    found = np.arange(1, len(ranks) + 1)
    np.minimum(match.cumsum(), 1)
    return float((found / ranks).mean() + found[-1] / ranks[-1])


def python_precision(match: np.ndarray[Any, Any]) -> float:
    """The same with the comprehension over the whole gallery that is copied everywhere."""
    cumulative = match.cumsum()
    np.minimum(cumulative, 1)
    precisions = np.asarray([count / (i + 1.0) for i, count in enumerate(cumulative)])
    last = np.flatnonzero(match)[-1]
    return float((precisions * match).sum() / match.sum() + cumulative[last] / (last + 1))


def in_new_process(what: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one thing in a process of its own."""
    settings = {"--dimensions": arguments.dimensions, "--threads": arguments.threads}
    words = [str(word) for pair in settings.items() for word in pair]
    command = [sys.executable, __file__, what, "--sizes", name, *words]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return {"test set": name, "what": what, **measured}


if __name__ == "__main__":
    main()
