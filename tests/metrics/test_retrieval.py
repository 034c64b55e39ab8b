import numpy as np
import pytest
import torch

from lightning_reid import RetrievalMetrics
from lightning_reid.metrics import query_scores, retrieval_metrics
from lightning_reid.metrics.functional import retrieval as module


def random_problem(seed, num_query=30, num_gallery=200, num_ids=12, num_cameras=4):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_query + num_gallery, 8)).astype(np.float32)
    ids = generator.integers(num_ids, size=num_query + num_gallery)
    cameras = generator.integers(num_cameras, size=num_query + num_gallery)
    q, g = slice(num_query), slice(num_query, None)
    return features[q], features[g], ids[q], ids[g], cameras[q], cameras[g]


def query_by_query(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """Average precision, mINP summand and first rank by sorting, one query after the other."""
    results = []
    for f, identity, camera in zip(query, query_ids, query_cameras, strict=True):
        kept = ~((gallery_ids == identity) & (gallery_cameras == camera))
        order = np.argsort(((gallery[kept] - f) ** 2).sum(1))
        ranks = np.flatnonzero(gallery_ids[kept][order] == identity) + 1
        if len(ranks):
            precision = np.arange(1, len(ranks) + 1) / ranks
            results.append((precision.mean(), len(ranks) / ranks[-1], ranks[0]))
    return np.array(results).T


def test_published_numbers(golden):
    g = golden("retrieval_a")
    names = ("query_ids", "gallery_ids", "query_cameras", "gallery_cameras")
    ranks = tuple(range(1, 51))
    result = retrieval_metrics(g["query"], g["gallery"], *(g[n] for n in names), ranks=ranks)
    assert result["mAP"] == pytest.approx(float(g["mAP"]), abs=1e-6)
    assert result["mINP"] == pytest.approx(float(g["mINP"]), abs=1e-6)
    np.testing.assert_allclose([result[f"rank{k}"] for k in ranks], g["cmc"], atol=1e-6)
    assert result["num_valid_queries"] == len(g["query"]) - 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_equals_sorting_query_by_query(monkeypatch, seed, block):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block)
    problem = random_problem(seed)
    precision, penalty, first = query_by_query(*problem)
    result = retrieval_metrics(*problem, ranks=(1, 3))
    assert result["mAP"] == pytest.approx(precision.mean())
    assert result["mINP"] == pytest.approx(penalty.mean())
    assert result["rank3"] == pytest.approx((first <= 3).mean())


def test_queries_without_a_match_in_another_camera_are_left_out():
    eye = torch.eye(3)
    result = retrieval_metrics(eye, eye, [0, 1, 2], [0, 1, 2], [0, 0, 0], [1, 0, 1])
    assert result["num_valid_queries"] == 2
    assert result["mAP"] == 1


def test_collapsed_embeddings_score_low():
    same = torch.ones(1, 4)
    ids = torch.cat([torch.zeros(1), torch.ones(9)])
    result = retrieval_metrics(same, same.expand(10, 4), [0], ids, [0], [1] * 10)
    assert result["mAP"] == pytest.approx(0.1)
    assert result["rank1"] == 0


def test_nothing_valid_is_nan():
    one = torch.ones(1, 4)
    assert np.isnan(retrieval_metrics(one, one, [0], [0], [0], [0])["mAP"])
    empty = retrieval_metrics(torch.ones(0, 4), one, [], [0], [], [0])
    assert empty["num_valid_queries"] == 0
    assert query_scores(one, torch.ones(0, 4), [0], [], [0], []).valid.tolist() == [False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_ids": [0, 1]}, "query: 1 embeddings, 2 identities"),
        ({"gallery": torch.ones(2, 3)}, "differ"),
        ({"ranks": (0,)}, "ranks count from 1"),
    ],
)
def test_bad_input(change, message):
    arguments = {
        "query": torch.ones(1, 4),
        "gallery": torch.ones(2, 4),
        "query_ids": [0],
        "gallery_ids": [0, 1],
        "query_cameras": [0],
        "gallery_cameras": [1, 1],
        **change,
    }
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(**arguments)


def columns_of(problem):
    query, gallery, *rest = (torch.as_tensor(x) for x in problem)
    embeddings = torch.cat([query, gallery])
    ids, cameras = torch.cat(rest[:2]), torch.cat(rest[2:])
    is_query = torch.arange(len(embeddings)) < len(query)
    return embeddings, ids, cameras, is_query, torch.arange(len(embeddings))


def test_class_equals_function_in_any_batches_with_repeats():
    problem = random_problem(0)
    columns = columns_of(problem)
    metric = RetrievalMetrics()
    for rows in torch.randperm(230).split(50):
        metric.update(*(c[rows] for c in columns))
    metric.update(*(c[:7] for c in columns))  # seen again: counts once
    assert metric.compute() == pytest.approx(retrieval_metrics(*problem))


def test_camera_normalised_numbers_are_reported_beside():
    embeddings, ids, cameras, is_query, index = columns_of(random_problem(1))
    shift = 5 * torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    noise = 0.2 * torch.nn.functional.pad(embeddings, (0, 12))
    camera_part = torch.eye(20)[ids] + noise + shift[cameras]
    metric = RetrievalMetrics(normalize_cameras=True)
    metric.update(camera_part, ids, cameras, is_query, index)
    result = metric.compute()
    assert result["camera_normalized/mAP"] > result["mAP"] + 0.2


def test_update_checks_lengths():
    with pytest.raises(ValueError, match="differ in length"):
        RetrievalMetrics().update(torch.ones(2, 3), *(torch.ones(1) for _ in range(4)))
