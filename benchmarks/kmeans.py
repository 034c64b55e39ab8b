"""k-means against faiss's own and scikit-learn's: seconds, and how good the clusters are.

    python benchmarks/kmeans.py [--images 12936] [--dimensions 2048] [--clusters 750] [--json FILE]

Features are drawn around one direction per identity, with so much noise that they overlap.
"inertia" is the sum of squared distances to the centres, "ARI" the agreement with the identities.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measurement import report
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering import kmeans

Labels = np.ndarray[Any, Any]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12_936)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--clusters", type=int, default=750)
    parser.add_argument("--noise", type=float, default=1.2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    identities = rng.integers(arguments.clusters, size=arguments.images)
    centers = rng.normal(size=(arguments.clusters, arguments.dimensions))
    noise = arguments.noise * rng.normal(size=(arguments.images, arguments.dimensions))
    features = (centers[identities] + noise).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    kmeans(features[:2000], 10)  # loads libraries
    ways: dict[str, Callable[[], Labels]] = {
        "this library": lambda: kmeans(features, arguments.clusters)[0],
        "faiss": lambda: faiss_labels(features, arguments.clusters),
        "scikit-learn": lambda: KMeans(arguments.clusters, random_state=0).fit_predict(features),
    }
    rows = [[name, *measure(way, features, identities)] for name, way in ways.items()]
    title = f"{arguments.images} x {arguments.dimensions}, {arguments.clusters} clusters"
    columns = ("k-means", "seconds", "inertia", "ARI")
    report(title, columns, rows, arguments.json, noise=arguments.noise)


def faiss_labels(features: np.ndarray[Any, Any], count: int) -> Labels:
    """Faiss as it comes, but with all points: 25 iterations from random rows."""
    import faiss

    clustering = faiss.Kmeans(features.shape[1], count, max_points_per_centroid=len(features))
    clustering.train(features)
    return clustering.assign(features)[1]


def measure(
    way: Callable[[], Labels], features: np.ndarray[Any, Any], identities: Labels
) -> tuple[float, float, float]:
    """Seconds, inertia and agreement with the identities."""
    start = time.perf_counter()
    labels = way()
    seconds = time.perf_counter() - start
    inertia = sum(
        float(np.square(rows - rows.mean(axis=0)).sum())
        for rows in (features[labels == label] for label in np.unique(labels))
    )
    return seconds, inertia, float(adjusted_rand_score(identities, labels))


if __name__ == "__main__":
    main()
