"""Cost of the refresh of labels, from features to clusters, and the same done densely.

    python benchmarks/clustering.py compare [--json FILE]
    python benchmarks/clustering.py table [--sizes 12936 32621 ...] [--json FILE]

"compare" sets the neighbours against faiss's flat index and, after the neighbours, the Jaccard
distance and DBSCAN against a plain dense restatement (dense_clustering.py), at the size of
MSMT17's training set, in one run: seconds, peak memory beyond what stood before, and whether the
results are identical. "table" measures every step at growing sizes, and the exponent of growth.

Features are drawn: 17 images per identity around a random direction each. Every size runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from measurement import peak_memory, report

from lightning_reid.clustering import dbscan, jaccard_distance, nearest_neighbors

Result = TypeVar("Result")

K1, K2, EPS, MIN_SAMPLES = 20, 6, 0.5, 4
IMAGES_PER_IDENTITY = 17
SIZES = (12_936, 32_621, 100_000, 300_000, 1_000_000)
STEPS = ("neighbours", "jaccard", "dbscan")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("compare", "table", "one", "dense"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dimensions", type=int)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    {"compare": compare, "table": table, "one": one, "dense": dense}[arguments.what](arguments)


def draw_features(size: int, dimensions: int, noise: float = 0.6, seed: int = 0) -> torch.Tensor:
    """Draw unit rows ``(size, dimensions)`` around one direction per identity."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(size // IMAGES_PER_IDENTITY + 1, dimensions, generator=generator)
    identities = torch.randint(len(centers), (size,), generator=generator)
    rows = torch.randn(size, dimensions, generator=generator).mul_(noise).add_(centers[identities])
    return torch.nn.functional.normalize(rows)


def table(arguments: argparse.Namespace) -> None:
    """Every step at every size, and the exponents of growth from each size to the next."""
    dimensions = arguments.dimensions or 128
    rows: list[dict[str, Any]] = []
    for size in arguments.sizes:
        measured = in_new_process("one", arguments, size, dimensions)
        if rows:
            last, growth = rows[-1], math.log(size / rows[-1]["images"])
            measured |= {
                f"{step}: exponent": round(math.log(measured[step] / last[step]) / growth, 2)
                for step in (*STEPS, "after neighbours")
            }
        rows.append(measured)
    columns = list(rows[-1])
    cells = [[row.get(column, "") for column in columns] for row in rows]
    title = f"Seconds of a refresh, {dimensions} dimensions, backend {arguments.backend}"
    report(title, columns, cells, arguments.json)


def compare(arguments: argparse.Namespace) -> None:
    """The sparse engine against faiss and the dense restatement, in one run."""
    size, dimensions = arguments.sizes[0] if len(arguments.sizes) == 1 else 32_621, 2048
    dimensions = arguments.dimensions or dimensions
    measured = in_new_process("dense", arguments, size, dimensions)
    rows = [[name, *values] for name, values in measured["rows"].items()]
    columns = ("step", "seconds", "peak GB", "other", "other seconds", "other peak GB", "ratio")
    title = f"{size} x {dimensions}: this engine and the others"
    report(title, columns, rows, arguments.json, identical=measured["identical"])
    print(measured["identical"])


def one(arguments: argparse.Namespace) -> None:
    """Steps at one size; prints JSON."""
    size, dimensions = arguments.sizes[0], arguments.dimensions
    warm_up(arguments)
    features = draw_features(size, dimensions).to(arguments.device)
    best: dict[str, Any] = {}
    for _ in range(arguments.repeats):
        seconds, peaks, labels = refresh(features, arguments.backend)
        found: dict[str, Any] = {"images": size, **dict(zip(STEPS, seconds, strict=True))}
        found["after neighbours"] = seconds[1] + seconds[2]
        found["whole refresh"] = sum(seconds)
        found["peak GB"] = max(peaks)
        found["peak GB after neighbours"] = max(peaks[1:])
        found["clusters"] = int(labels.max()) + 1
        if not best or found["whole refresh"] < best["whole refresh"]:
            best = found
    print(json.dumps(best))


def dense(arguments: argparse.Namespace) -> None:
    """Both engines at one size; prints JSON."""
    from dense_clustering import dense_dbscan, dense_jaccard

    warm_up(arguments)
    features = draw_features(arguments.sizes[0], arguments.dimensions)
    array = features.numpy()
    flat, *flat_cost = costs(lambda: flat_search(array, K1))
    ours, *own_cost = costs(lambda: nearest_neighbors(array, K1))
    graph, *jaccard_cost = costs(lambda: jaccard_distance(array, K1, K2, neighbors=ours))
    labels, *dbscan_cost = costs(lambda: dbscan(graph, EPS, MIN_SAMPLES))
    full, *full_cost = costs(lambda: dense_jaccard(array, ours[1], K2))
    expected, *expected_cost = costs(lambda: dense_dbscan(full, EPS, MIN_SAMPLES))

    same = (flat[1] == ours[1]).all(axis=1)
    tied = np.abs(flat[0] - ours[0]).max(axis=1) < 1e-5
    pairs = graph.tocoo()
    after = [jaccard_cost[0] + dbscan_cost[0], max(jaccard_cost[1], dbscan_cost[1])]
    dense_after = [full_cost[0] + expected_cost[0], max(full_cost[1], expected_cost[1])]
    rows = {
        "neighbours": [*own_cost, "faiss flat", *flat_cost, flat_cost[0] / own_cost[0]],
        "after neighbours": [*after, "dense", *dense_after, dense_after[0] / after[0]],
    }
    identical = {
        "rows with the same neighbours as faiss": float(same.mean()),
        "rows with the same neighbours or near ties": float((same | tied).mean()),
        "same labels": bool((labels == expected).all()),
        "largest difference of a distance": float(
            np.abs(full[pairs.row, pairs.col] - pairs.data).max()
        ),
        "pairs kept": int(graph.nnz),
        "close pairs of the dense matrix": int((full <= 0.6 + 1e-6).sum()),
    }
    print(json.dumps({"rows": rows, "identical": identical}))


def refresh(
    features: torch.Tensor, backend: str
) -> tuple[list[float], list[float], np.ndarray[Any, Any]]:
    """Seconds and peak memory of each step, and the labels."""
    layout: Any = "scipy" if features.device.type == "cpu" else "torch"
    search: Any = backend
    found, *first = costs(lambda: nearest_neighbors(features, K1, search))
    graph, *second = costs(
        lambda: jaccard_distance(features, K1, K2, neighbors=found, layout=layout)
    )
    labels, *third = costs(lambda: dbscan(graph, EPS, MIN_SAMPLES))
    steps = (first, second, third)
    array = torch.as_tensor(labels).cpu().numpy()
    return [step[0] for step in steps], [step[1] for step in steps], array


def flat_search(
    features: np.ndarray[Any, Any], k: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What people use: a flat index of faiss."""
    import faiss

    index = faiss.IndexFlatL2(features.shape[1])
    index.add(features)
    distances, indices = index.search(features, k)
    return distances, indices


def costs(step: Callable[[], Result]) -> tuple[Result, float, float]:
    """Result of a step, its seconds, and the GB it needed at most beyond what stood before."""
    with peak_memory() as peak:
        start = time.perf_counter()
        result = step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return result, seconds, peak.gigabytes


def warm_up(arguments: argparse.Namespace) -> None:
    """Compile, load libraries, start threads."""
    features = draw_features(3000, 64).to(arguments.device)
    refresh(features, arguments.backend)


def in_new_process(
    what: str, arguments: argparse.Namespace, size: int, dimensions: int
) -> dict[str, Any]:
    """Measure one size in a process of its own."""
    settings = {"--sizes": size, "--dimensions": dimensions, "--backend": arguments.backend}
    settings |= {"--device": arguments.device, "--repeats": arguments.repeats}
    words = [str(word) for pair in settings.items() for word in pair]
    command = [sys.executable, __file__, what, *words]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
