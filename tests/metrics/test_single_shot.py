"""CUHK03's protocol: the mean over all galleries of one image of each identity."""

from itertools import product

import numpy as np
import pytest
import torch
from literal_retrieval import random_problem, squared_distances

from lightning_reid.metrics import retrieval_metrics
from lightning_reid.metrics.functional import single_shot as module
from lightning_reid.metrics.functional.single_shot import _chance_of_rank

RANKS = (1, 2, 3, 10)


def drawn_from(problem, cross_camera_only):
    """For each valid query: distances that may be drawn, by identity, its own first."""
    query, gallery, ids, gallery_ids, cameras, gallery_cameras = problem
    for row, identity, camera in zip(squared_distances(query, gallery), ids, cameras, strict=True):
        near = gallery_cameras == camera
        kept = ~near if cross_camera_only else ~(near & (gallery_ids == identity))
        people = [p for p in np.unique(gallery_ids[kept]) if p != identity]
        shots = [row[kept & (gallery_ids == p)] for p in (identity, *people)]
        if len(shots[0]):
            yield shots


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cross_camera_only", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_mean_over_every_possible_gallery(seed, cross_camera_only, ties):
    problem = random_problem(seed, 8, 16, 5, 3, ties=ties)
    hits = []
    for shots in drawn_from(problem, cross_camera_only):
        ranks = [1 + sum(d <= own for d in rest) for own, *rest in product(*shots)]
        hits.append([np.mean([rank <= k for rank in ranks]) for k in RANKS])
    result = retrieval_metrics(
        *problem, ranks=RANKS, protocol="cuhk03", cross_camera_only=cross_camera_only
    )
    assert result["num_valid_queries"] == len(hits)
    for k, expected in zip(RANKS, np.mean(hits, axis=0), strict=True):
        assert result[f"rank{k}"] == pytest.approx(expected)


def test_what_drawing_ten_thousand_times_approaches():
    problem = random_problem(7, 20, 120, 10, 4)
    generator = np.random.default_rng(0)
    hits = []
    for own, *others in drawn_from(problem, cross_camera_only=False):
        mine = generator.choice(own, 10_000)
        nearer = sum(generator.choice(shots, 10_000) <= mine for shots in others)
        hits.append([(nearer < k).mean() for k in RANKS])
    result = retrieval_metrics(*problem, ranks=RANKS, protocol="cuhk03")
    for k, expected in zip(RANKS, np.mean(hits, axis=0), strict=True):
        assert result[f"rank{k}"] == pytest.approx(expected, abs=0.005)


def test_a_gallery_of_single_images_is_as_it_is():
    generator = np.random.default_rng(0)
    query, gallery = generator.normal(size=(2, 15, 6))
    sides = (np.arange(15), np.arange(15), np.zeros(15, int), np.ones(15, int))
    market, cuhk03 = (
        retrieval_metrics(query, gallery, *sides, protocol=name) for name in ("market", "cuhk03")
    )
    assert cuhk03 == pytest.approx(market)


def test_map_is_that_of_all_images():
    problem = random_problem(3)
    market, cuhk03 = (retrieval_metrics(*problem, protocol=name) for name in ("market", "cuhk03"))
    for name in ("mAP", "mINP", "num_valid_queries"):
        assert market[name] == cuhk03[name]
    assert cuhk03["rank1"] > market["rank1"]


def test_few_at_a_time(monkeypatch):
    problem = random_problem(3)
    expected = retrieval_metrics(*problem, protocol="cuhk03")
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 500)
    assert retrieval_metrics(*problem, protocol="cuhk03") == pytest.approx(expected)


@pytest.mark.parametrize("deepest", [1, 2, 4])
def test_chance_of_rank_against_all_tosses(deepest):
    chances = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chances[0] = 0
    chances[1, 1] = 1
    expected = torch.zeros(5, deepest, dtype=torch.float64)
    for row, toss in product(range(5), product([0, 1], repeat=3)):
        flags = torch.tensor(toss)
        likely = torch.where(flags == 1, chances[row], 1 - chances[row]).prod()
        expected[row, int(flags.sum()) :] += likely
    torch.testing.assert_close(_chance_of_rank(chances, deepest), expected)
