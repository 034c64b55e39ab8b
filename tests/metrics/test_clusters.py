from itertools import combinations

import numpy as np
import pytest

from lightning_reid.metrics import cluster_quality, rand_agreement


def test_pairs_are_counted():
    generator = np.random.default_rng(0)
    labels, ids = generator.integers(-1, 5, 60), generator.integers(6, size=60)
    pairs = list(combinations(range(60), 2))
    put = [(a, b) for a, b in pairs if labels[a] == labels[b] >= 0]
    same = [(a, b) for a, b in pairs if ids[a] == ids[b]]
    right = len(set(put) & set(same))
    quality = cluster_quality(labels, ids)
    assert quality["pair_precision"] == pytest.approx(right / len(put))
    assert quality["pair_recall"] == pytest.approx(right / len(same))


def test_true_clusters_are_perfect():
    ids = np.arange(30) % 5
    assert cluster_quality(ids, ids) == pytest.approx(
        {"ari": 1, "nmi": 1, "pair_precision": 1, "pair_recall": 1}
    )


def test_outliers_are_left_out_of_the_agreement():
    assert rand_agreement([0, 0, 1, 1, -1], [5, 5, 3, 3, 3]) == 1
    assert np.isnan(rand_agreement([-1, -1], [0, 1]))


def test_all_outliers_have_no_numbers_but_recall():
    quality = cluster_quality([-1, -1], [3, 3])
    assert np.isnan(quality["pair_precision"])
    assert quality["pair_recall"] == 0
