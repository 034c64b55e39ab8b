"""Re-ranking against the published definition, word for word and dense."""

from functools import cache

import numpy as np
import pytest
import torch
from literal_retrieval import literal_metrics, squared_distances

from lightning_reid.errors import InputError
from lightning_reid.metrics import Reranking, query_scores, retrieval_metrics
from lightning_reid.metrics.functional import farthest as farthest_module
from lightning_reid.metrics.functional import reranking as module
from lightning_reid.metrics.functional.distances import EuclideanDistances
from lightning_reid.metrics.functional.farthest import farthest_distances
from lightning_reid.metrics.functional.images import checked_images


def k_reciprocal_distance(query, gallery, k1, k2, weight):
    """Zhong et al. (CVPR 2017), Section 3, with sets of images and without any shortcut.

    N(p, k) are the k nearest of p, R(p, k) those of them that have p among theirs; the authors'
    code counts p itself besides the k, and averages over k2 with p among them.
    """
    images = np.concatenate([query, gallery]).astype(np.float64)
    everyone = range(len(images))
    d = ((images[:, None] - images) ** 2).sum(axis=2)
    d = d / d.max(axis=1)[:, None]
    by_distance = [sorted(everyone, key=lambda g, p=p: d[p, g]) for p in everyone]

    @cache
    def n(p, k):
        return set(by_distance[p][: k + 1])

    @cache
    def r(p, k):
        return {g for g in n(p, k) if p in n(g, k)}

    encoded = np.zeros_like(d)
    for p in everyone:
        expanded = set(r(p, k1))
        for q in r(p, k1):
            half = r(q, round(k1 / 2))
            if len(r(p, k1) & half) > 2 / 3 * len(half):
                expanded |= half
        total = sum(np.exp(-d[p, g]) for g in expanded)
        for g in expanded:
            encoded[p, g] = np.exp(-d[p, g]) / total
    encoded = np.array([encoded[by_distance[p][:k2]].mean(axis=0) for p in everyone])
    result = np.empty((len(query), len(gallery)))
    for p in range(len(query)):
        for g in range(len(gallery)):
            one, other = encoded[p], encoded[len(query) + g]
            jaccard = 1 - np.minimum(one, other).sum() / np.maximum(one, other).sum()
            result[p, g] = (1 - weight) * jaccard + weight * d[p, len(query) + g]
    return result


def random_case(seed):
    """Few and many images, k2 below and above k1, all three weights; without ties."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, (4, 6) if seed % 3 == 0 else (12, 40))
    k1, k2 = (int(k) for k in rng.integers(1, (8, 14) if seed % 2 else (30, 8)))
    people = rng.normal(size=(max(2, sum(sizes) // 5), 6))
    rows = people[rng.integers(len(people), size=sum(sizes))]
    rows = (rows + rng.uniform(0.3, 1) * rng.normal(size=rows.shape)).astype(np.float32)
    return rows[: sizes[0]], rows[sizes[0] :], k1, k2, float(rng.choice([0.0, 0.3, 1.0]))


def assert_equals_the_definition(seeds):
    above = 0
    for seed in seeds:
        query, gallery, k1, k2, weight = random_case(seed)
        sides = [np.arange(len(side)) for side in (query, gallery)] * 2
        distances = module.reranked(
            EuclideanDistances(*checked_images(query, gallery, *sides)), Reranking(k1, k2, weight)
        )
        # less a constant that does not change the order
        expected = k_reciprocal_distance(query, gallery, k1, k2, weight) - (1 - weight)
        found = distances.block(slice(0, len(query)))
        np.testing.assert_allclose(found, expected, atol=5e-6, err_msg=str((seed, k1, k2)))
        above += k2 > k1 + 1
    assert above > len(seeds) / 8


def test_distances_are_those_of_the_paper():
    assert_equals_the_definition(range(60))


@pytest.mark.slow
def test_distances_are_those_of_the_paper_in_many_cases():
    assert_equals_the_definition(range(60, 660))


def people(seed, num_query=40, num_gallery=210, dimensions=16, noise=0.7, unit=True):
    generator = np.random.default_rng(seed)
    count = num_query + num_gallery
    ids = generator.integers(count // 8, size=count)
    cameras = generator.integers(4, size=count)
    centers = generator.normal(size=(count // 8, dimensions))
    rows = centers[ids] + noise * generator.normal(size=(count, dimensions))
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows.astype(np.float32)
    q, g = slice(num_query), slice(num_query, None)
    return rows[q], rows[g], ids[q], ids[g], cameras[q], cameras[g]


def dense_reranking(query, gallery, k1, k2, weight):
    """Zhong et al. 2017: every step on the full matrix over query and gallery."""
    points = np.concatenate([query, gallery])
    original = squared_distances(points, points)
    original /= original.max(axis=1, keepdims=True)
    ranks = original.argsort(axis=1, kind="stable")
    size = len(points)

    def mutual(image, k):
        forward = ranks[image, : k + 1]
        return forward[(ranks[forward, : k + 1] == image).any(axis=1)]

    weights = np.zeros((size, size))
    for image in range(size):
        core = mutual(image, k1)
        members = core
        for candidate in core:
            brought = mutual(candidate, round(k1 / 2))
            if len(np.intersect1d(brought, core)) > 2 / 3 * len(brought):
                members = np.append(members, brought)
        members = np.unique(members)
        closeness = np.exp(-original[image, members])
        weights[image, members] = closeness / closeness.sum()
    if k2 > 1:
        weights = np.stack([weights[row[:k2]].mean(axis=0) for row in ranks])
    overlap = np.stack([np.minimum(row, weights).sum(axis=1) for row in weights])
    jaccard = 1 - overlap / (2 - overlap)
    final = (1 - weight) * jaccard + weight * original
    return final[: len(query), len(query) :]


CASES = [
    (20, 6, 0.3),
    (20, 1, 0.3),
    (7, 3, 0.0),
    (10, 6, 1.0),
    (300, 6, 0.5),
    (1, 1, 0.3),
    (3, 9, 0.3),
]


@pytest.mark.parametrize(("k1", "k2", "weight"), CASES)
@pytest.mark.parametrize("unit", [True, False])
def test_distances_are_those_of_the_dense_definition(k1, k2, weight, unit):
    problem = people(0, unit=unit)
    distances = module.reranked(
        EuclideanDistances(*checked_images(*problem)), Reranking(k1, k2, weight)
    )
    expected = dense_reranking(*problem[:2], k1, k2, weight) - (1 - weight)
    np.testing.assert_allclose(distances.block(slice(0, 40)), expected, atol=3e-6)
    np.testing.assert_allclose(distances.block(slice(7, 9)), expected[7:9], atol=3e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.4, 1.0])
def test_metrics_are_those_of_the_dense_definition(seed, noise):
    problem = people(seed, noise=noise)
    dense = dense_reranking(*problem[:2], 20, 6, 0.3)
    expected = literal_metrics(problem, distances=dense)
    assert retrieval_metrics(*problem, rerank=True) == pytest.approx(expected, abs=1e-9)
    assert retrieval_metrics(*problem, rerank=Reranking()) == pytest.approx(expected, abs=1e-9)


def test_in_few_rows_at_a_time(monkeypatch):
    problem = people(1)
    expected = query_scores(*problem, rerank=True)
    monkeypatch.setattr("lightning_reid.metrics.functional.retrieval._BLOCK_ELEMENTS", 900)
    monkeypatch.setattr(module, "_EXPANDED", 50)
    monkeypatch.setattr(module, "_FEW_ROWS", 1)
    for one, other in zip(expected, query_scores(*problem, rerank=True), strict=True):
        torch.testing.assert_close(one, other)


def test_tensor_form_gives_the_same(monkeypatch):
    from lightning_reid.clustering import jaccard_tensors

    problem = people(2)
    expected = retrieval_metrics(*problem, rerank=True)
    monkeypatch.setattr(module, "form_on", lambda device, _: (jaccard_tensors, device))
    assert retrieval_metrics(*problem, rerank=True) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_scale_and_precision_do_not_matter(scale):
    problem = people(3, unit=False)
    expected = retrieval_metrics(*problem, rerank=True)
    for dtype in (np.float32, np.float64):
        scaled = [(x * scale).astype(dtype) for x in problem[:2]]
        assert retrieval_metrics(*scaled, *problem[2:], rerank=True) == pytest.approx(expected)


def test_re_ranking_helps_where_people_stand_together():
    problem = people(5, noise=0.8)
    plain, better = (retrieval_metrics(*problem, rerank=flag)["mAP"] for flag in (False, True))
    assert better > plain + 0.02


def test_identical_images_and_tiny_sets():
    same = torch.ones(5, 3)
    result = retrieval_metrics(same[:1], same, [0], [0, 1, 1, 1, 1], [0], [1] * 5, rerank=True)
    assert result["mAP"] == pytest.approx(0.2)  # all are tied
    one = retrieval_metrics(same[:1], same[:1], [0], [0], [0], [1], rerank=True)
    assert one["mAP"] == 1


@pytest.mark.parametrize("settings", [{"k1": 0}, {"k2": 0}, {"original_weight": 1.1}])
def test_settings_out_of_range(settings):
    with pytest.raises(InputError):
        Reranking(**settings)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("size", "dimensions", "scale"),
    [(1, 3, 1), (5, 3, 1), (130, 8, 1), (257, 16, 1e4), (900, 40, 1), (700, 4, 1e-5), (300, 5, 0)],
)
def test_farthest_distances(monkeypatch, dtype, size, dimensions, scale):
    monkeypatch.setattr(farthest_module, "fast_type", lambda device_type: dtype)
    monkeypatch.setattr(farthest_module, "_BLOCK_ROWS", 256)
    rows = np.random.default_rng(size).normal(size=(size, dimensions)).astype(np.float32) * scale
    expected = squared_distances(rows, rows).max(axis=1)
    found = farthest_distances(torch.from_numpy(rows.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_few_chunks_are_searched_for_the_farthest(monkeypatch):
    rows = torch.randn(3000, 32, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(farthest_module, "fast_type", lambda device_type: torch.bfloat16)
    looked, original = [], farthest_module._may_hold_farthest

    def watched(*arguments):
        looked.append(original(*arguments))
        return looked[0]

    monkeypatch.setattr(farthest_module, "_may_hold_farthest", watched)
    farthest_distances(rows)
    assert 1 <= looked[0].sum(dim=0).float().mean() < 3
    assert looked[0].shape == (24, 3000)
