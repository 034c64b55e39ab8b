"""What people do with any metric of torchmetrics."""

import pickle

import numpy as np
import pytest
import torch
from literal_retrieval import random_problem
from torchmetrics import MetricCollection

from lightning_reid.clustering import jaccard_tensors
from lightning_reid.errors import InputError
from lightning_reid.metrics import Evaluation, RetrievalMetrics, retrieval_metrics
from lightning_reid.metrics import retrieval as retrieval_metric
from lightning_reid.metrics.functional import reranking, retrieval, verification

EVERYTHING = Evaluation(
    expand=True, rerank=True, protocol="cuhk03", confidence=0.9, open_set=True, verification=True
)


@pytest.fixture
def columns():
    query, gallery, *sides = random_problem(0)
    embeddings, ids, cameras = (
        torch.from_numpy(np.concatenate(pair)) for pair in ((query, gallery), sides[:2], sides[2:])
    )
    ids[:5] += 100  # queries of people who are not in the gallery
    return embeddings, ids, cameras, torch.arange(230) < 30, torch.arange(230)


def updated(columns, **options):
    metric = RetrievalMetrics(**options)
    metric.update(*columns)
    return metric


def test_pickled_and_cloned_with_what_they_have_seen(columns):
    metric = updated(columns, **vars(EVERYTHING))
    copies = pickle.loads(pickle.dumps(metric)), metric.clone()
    expected = metric.compute()
    for copy in copies:
        assert copy.evaluation == EVERYTHING
        assert copy.compute() == expected
    copies[0].reset()
    assert copies[0].embeddings == []
    assert metric.compute() == expected


def test_reset_forgets(columns):
    metric = updated(columns)
    expected = metric.compute()
    metric.reset()
    metric.update(*(column[:60] for column in columns))
    assert metric.compute() != expected
    metric.reset()
    metric.update(*columns)
    assert metric.compute() == expected


@pytest.mark.parametrize("compute_groups", [True, False])
def test_in_a_collection(columns, compute_groups):
    options = {"plain": {}, "elsewhere": {"cross_camera_only": True}}
    collection = MetricCollection(
        {name: RetrievalMetrics(**own) for name, own in options.items()},
        compute_groups=compute_groups,
        prefix="val/",
    )
    for rows in torch.arange(230).split(100):
        collection.update(*(column[rows] for column in columns))
        found = collection.compute()  # in between, too
    for name, own in options.items():
        expected = updated(columns, **own).compute()
        for number, value in expected.items():
            assert found[f"val/{name}_{number}"] == value
    collection.reset()
    assert all(len(metric.embeddings) == 0 for metric in collection.values())


def test_calling_it_adds_a_batch_and_tells_that_of_the_batch(columns):
    metric = RetrievalMetrics()
    alone = metric(*columns)
    assert alone == updated(columns).compute() == metric.compute()


def test_moves_to_a_device(columns):
    metric = updated(columns).to("meta")
    assert metric.embeddings[0].device.type == metric.index[0].device.type == "meta"
    assert metric.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_embeddings_of_few_bits(columns, dtype):
    rounded = columns[0].to(dtype)
    expected = updated((rounded.float(), *columns[1:])).compute()
    assert updated((rounded, *columns[1:])).compute() == expected
    split = torch.split(rounded, [30, 200])
    sides = (part for column in columns[1:3] for part in column.split([30, 200]))
    assert retrieval_metrics(*split, *sides) == expected


def test_double_precision_is_kept():
    rows = torch.tensor([[0.0], [1 + 1e-12], [1.0]], dtype=torch.float64)
    sides = torch.tensor([1, 2, 1]), torch.tensor([0, 1, 1]), torch.tensor([True, False, False])
    assert updated((rows, *sides, torch.arange(3))).compute()["rank1"] == 1
    assert updated((rows.float(), *sides, torch.arange(3))).compute()["rank1"] == 0


def test_embeddings_with_gradients(columns):
    rows = columns[0].requires_grad_()
    metric = updated((rows, *columns[1:]))
    assert not metric.embeddings[0].requires_grad
    assert metric.compute()["mAP"] > 0


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (
            0,
            torch.Tensor.long,
            r"embeddings must be floating point of shape \(B, D\), not integers",
        ),
        (0, torch.Tensor.flatten, "arguments differ in length"),
        (0, lambda rows: rows[:, 0], r"embeddings must be .*\(B, D\), .* of shape \(230,\)"),
        (0, torch.Tensor.numpy, "embeddings must be a tensor, not ndarray"),
        (1, torch.Tensor.float, r"identities must be integers .*, not floating point \(torch.fl"),
        (2, torch.Tensor.double, "cameras must be integers"),
        (2, lambda cameras: cameras[:, None], r"cameras must be .*\(B,\), .* of shape \(230, 1\)"),
        (3, torch.Tensor.long, "is_query must be bool of shape"),
        (4, torch.Tensor.bool, "index must be integers of shape .*, not bool"),
        (4, lambda index: index[:-1], "arguments differ in length.*'index': .229,."),
        (1, lambda ids: ids[0], "identities must be integers of shape"),
    ],
)
def test_wrong_types_and_shapes_are_named(columns, place, change, message):
    wrong = [*columns[:place], change(columns[place]), *columns[place + 1 :]]
    metric = RetrievalMetrics()
    with pytest.raises(InputError, match=message):
        metric.update(*wrong)
    assert metric.embeddings == []  # nothing of the batch stays


def test_what_a_gpu_runs_gives_the_same(columns, monkeypatch):
    expected = updated(columns, **vars(EVERYTHING)).compute()

    def as_on_a_gpu(distances, thresholds):
        ordered = distances.sort(dim=1).values
        return torch.searchsorted(ordered, thresholds, right=True)

    monkeypatch.setattr(retrieval, "at_or_before", as_on_a_gpu)
    monkeypatch.setattr(verification, "ascending", lambda rows: rows.sort(dim=1).values)
    monkeypatch.setattr(reranking, "form_on", lambda device, _: (jaccard_tensors, device))
    found = updated(columns, **vars(EVERYTHING)).compute()
    assert found == pytest.approx(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(columns):
    expected = updated(columns, **vars(EVERYTHING)).compute()
    found = updated([column.cuda() for column in columns], **vars(EVERYTHING)).compute()
    assert found == pytest.approx(expected, rel=1e-4)


def test_many_small_batches_are_a_few_large_pieces(columns, monkeypatch):
    monkeypatch.setattr(retrieval_metric, "_PIECE_ELEMENTS", 50 * columns[0].shape[1])
    metric, expected = RetrievalMetrics(), updated(columns).compute()
    for batch in torch.arange(230).split(7):
        metric.update(*(column[batch] for column in columns))
    lengths = [len(piece) for piece in metric.embeddings]
    assert lengths == [56, 56, 56, 56, 6]
    assert metric.compute() == expected


def test_double_precision_in_every_way(columns):
    single = updated(columns, **vars(EVERYTHING)).compute()
    double = updated((columns[0].double(), *columns[1:]), **vars(EVERYTHING)).compute()
    assert double == pytest.approx(single, abs=1e-6)
