from itertools import combinations

import numpy as np
import pytest
import torch

from lightning_reid.metrics import cluster_quality, rand_agreement, soft_label_accuracy


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


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("seed", range(4))
def test_soft_label_accuracy_against_its_definition(layout, seed):
    rng = np.random.default_rng(seed)
    labels, identities = rng.integers(-1, 5, 40), rng.integers(0, 4, 40)
    soft = rng.random((40, 5)) * (rng.random((40, 1)) < 0.8)
    right = []
    for i in range(40):
        if soft[i].any():
            shown = identities[labels == soft[i].argmax()]
            counts = np.bincount(shown, minlength=4)
            right.append(counts.argmax() == identities[i])  # the first of equals
    tensor = torch.from_numpy(soft)
    tensor = tensor.to_sparse() if layout == "sparse" else tensor
    assert soft_label_accuracy(tensor, labels, identities) == pytest.approx(np.mean(right))


def test_no_soft_label_no_accuracy():
    assert np.isnan(soft_label_accuracy(torch.zeros(2, 3), [0, 1], [0, 1]))
