import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_retrieval import random_problem, squared_distances
from sklearn.metrics import roc_curve

from lightning_reid.errors import InputError
from lightning_reid.metrics import verification_rates
from lightning_reid.metrics.functional import verification as module
from lightning_reid.metrics.functional.verification import Smallest

RATES = (0.0, 1e-3, 0.01, 0.29, 0.5, 1.0)


def pairs(problem, cross_camera_only):
    query, gallery, ids, gallery_ids, cameras, gallery_cameras = problem
    same = ids[:, None] == gallery_ids
    near = cameras[:, None] == gallery_cameras
    counts = ~near if cross_camera_only else ~(same & near)
    return same[counts], squared_distances(query, gallery)[counts]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("cross_camera_only", [False, True])
@pytest.mark.parametrize("entries", [500, 1 << 24])
def test_points_of_scikit_learns_roc_curve(monkeypatch, seed, ties, cross_camera_only, entries):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
    problem = random_problem(seed, ties=ties)
    same, distances = pairs(problem, cross_camera_only)
    false, true, _ = roc_curve(same, -distances, drop_intermediate=False)
    result = verification_rates(*problem, RATES, cross_camera_only=cross_camera_only)
    for rate in RATES:
        assert result[f"tpr@{rate:g}"] == pytest.approx(true[false <= rate + 1e-12].max())
    assert result["num_positive_pairs"] == same.sum()
    assert result["num_negative_pairs"] == (~same).sum()


def test_a_rate_alone_is_the_same_as_among_others():
    problem = random_problem(0)
    together = verification_rates(*problem, RATES)
    for rate in RATES:
        name = f"tpr@{rate:g}"
        assert verification_rates(*problem, (rate,))[name] == together[name]


def test_without_pairs_of_both_kinds_there_is_no_rate():
    one = torch.ones(2, 3)
    alike = verification_rates(one, one, [0, 0], [0, 0], [0, 0], [1, 1], (0.1,))
    assert np.isnan(alike["tpr@0.1"])
    assert (alike["num_positive_pairs"], alike["num_negative_pairs"]) == (4, 0)
    strangers = verification_rates(one, one, [0, 0], [1, 1], [0, 0], [1, 1], (0.1,))
    assert np.isnan(strangers["tpr@0.1"])
    nobody = verification_rates(one[:0], one, [], [1, 1], [], [1, 1])
    assert (nobody["num_positive_pairs"], nobody["num_negative_pairs"]) == (0, 0)


def test_re_ranked_pairs_are_told_apart_by_the_re_ranked_distance():
    problem = random_problem(0, num_ids=40)
    plain, reranked = (verification_rates(*problem, (0.3,), rerank=flag) for flag in (False, True))
    assert plain["tpr@0.3"] != reranked["tpr@0.3"]


def test_rates_are_shares():
    with pytest.raises(InputError, match="rate of false_positive_rates must be from 0 to 1"):
        verification_rates(*random_problem(0), (2.0,))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=30), max_size=8), st.integers(1, 20))
def test_smallest_of_what_comes_in_parts(parts, size):
    smallest = Smallest(size, torch.zeros(0))
    for part in parts:
        smallest.add(torch.tensor(part, dtype=torch.float32))
    everything = sorted(x for part in parts for x in part)
    assert smallest.values().tolist() == everything[:size]
    assert smallest.count == len(everything)


def test_no_more_is_kept_than_twice_the_smallest():
    first, *parts = torch.rand(1000, generator=torch.Generator().manual_seed(0)).split(7)
    smallest, held = Smallest(10, first), []
    for part in parts:
        smallest.add(part)
        held.append(sum(map(len, smallest._parts)))
    assert max(held) <= 20
