import importlib

import numpy as np
import pytest
import torch

from lightning_reid.clustering import nearest_neighbors
from lightning_reid.clustering.arrays import feature_rows

BACKENDS = ["auto", "torch", "faiss"]


def unit_rows(size, dimensions=32, seed=0):
    rows = np.random.default_rng(seed).normal(size=(size, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_the_full_sort(backend):
    rows = unit_rows(300)
    exact = 2 - 2 * rows.astype(np.float64) @ rows.T.astype(np.float64)
    distances, indices = nearest_neighbors(rows, 15, backend)
    assert distances.dtype == np.float32
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, exact.argsort(axis=1)[:, :15])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :15], atol=1e-6)
    assert (distances >= 0).all()
    assert (np.diff(distances) >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_blocks_give_the_same(backend, monkeypatch):
    rows = unit_rows(101)
    rows[40:60] = rows[40]
    whole = nearest_neighbors(rows, 7, backend)
    neighbors = importlib.import_module("lightning_reid.clustering.neighbors")
    monkeypatch.setattr(neighbors, "_BLOCK_ENTRIES", 10 * len(rows))
    blocks = nearest_neighbors(rows, 7, backend)
    np.testing.assert_allclose(blocks[0], whole[0], atol=1e-6)
    np.testing.assert_array_equal(blocks[1], whole[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [3, 20, 50])
def test_itself_first_then_equal_distances_by_index(backend, k):
    rows = np.zeros((50, 4), np.float32)
    rows[25:, 0] = 1  # two piles; distances are exact
    _, indices = nearest_neighbors(rows, k, backend)
    for row in range(50):
        pile = [*range(25)] if row < 25 else [*range(25, 50)]
        other = [*range(25, 50)] if row < 25 else [*range(25)]
        pile.remove(row)
        assert indices[row].tolist() == [row, *pile, *other][:k]


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_are_not_unit_and_zero_rows(backend):
    rows = unit_rows(60) * np.linspace(0, 5, 60, dtype=np.float32)[:, None]
    exact = np.square(rows[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    distances, indices = nearest_neighbors(rows, 10, backend)
    np.testing.assert_array_equal(indices, exact.argsort(axis=1, kind="stable")[:, :10])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :10], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_k_is_cut_to_the_number_of_rows(backend):
    distances, indices = nearest_neighbors(unit_rows(4), 10, backend)
    assert distances.shape == indices.shape == (4, 4)
    distances, indices = nearest_neighbors(unit_rows(1), 1, backend)
    assert distances.tolist() == [[0]]
    assert indices.tolist() == [[0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_tensors_give_tensors(dtype):
    rows = torch.from_numpy(unit_rows(50)).to(dtype).requires_grad_()
    distances, indices = nearest_neighbors(rows, 5)
    assert isinstance(distances, torch.Tensor)
    assert distances.dtype == torch.float32
    assert indices.dtype == torch.int64
    assert not distances.requires_grad
    expected = nearest_neighbors(rows.detach().float().numpy(), 5)
    np.testing.assert_array_equal(indices.numpy(), expected[1])


def test_read_only_and_strided_arrays():
    rows = unit_rows(40)
    expected = nearest_neighbors(rows[::2].copy(), 5)[1]
    rows.flags.writeable = False
    np.testing.assert_array_equal(nearest_neighbors(rows[::2], 5)[1], expected)


def test_training_precision_neither_matters_nor_changes():
    rows = torch.from_numpy(unit_rows(200, 256))
    expected = nearest_neighbors(rows, 10, "torch")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = nearest_neighbors(rows, 10, "torch")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    rows = torch.from_numpy(unit_rows(500))
    distances, indices = nearest_neighbors(rows.cuda(), 10)
    expected = nearest_neighbors(rows, 10)
    assert indices.is_cuda
    torch.testing.assert_close(distances.cpu(), expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(indices.cpu(), expected[1])


def test_bad_input():
    rows = unit_rows(30)
    with pytest.raises(ValueError, match="k must be"):
        nearest_neighbors(rows, 0)
    with pytest.raises(ValueError, match="backend"):
        nearest_neighbors(rows, 3, "magic")
    with pytest.raises(ValueError, match="2-D"):
        nearest_neighbors(rows[0], 3)
    with pytest.raises(ValueError, match="empty"):
        nearest_neighbors(rows[:0], 3)
    rows[[4, 9], 2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 feature rows .*: 4, 9"):
        nearest_neighbors(rows, 3)


def test_large_but_finite_features_are_accepted():
    rows = np.full((3, 2), 3e38, np.float32)
    assert torch.isfinite(feature_rows(rows)).all()
