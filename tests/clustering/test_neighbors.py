import importlib

import numpy as np
import pytest
import torch

from lightning_reid.clustering import camera_neighbors, camera_normalize, nearest_neighbors
from lightning_reid.clustering.candidates import compiled_candidates, tensor_candidates
from lightning_reid.clustering.duplicates import find_piles
from lightning_reid.clustering.neighbors import nearest_among, neighbor_recall
from lightning_reid.clustering.rounding import Frame
from lightning_reid.errors import InputError
from lightning_reid.labels import cross_camera_soft_labels
from lightning_reid.metrics import expand_queries

BACKENDS = ["auto", "compiled", "torch", "faiss"]
EXACT = ["compiled", "torch"]
neighbors = importlib.import_module("lightning_reid.clustering.neighbors")
ranking = importlib.import_module("lightning_reid.clustering.ranking")
candidates = importlib.import_module("lightning_reid.clustering.candidates")


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


def squared_distances(rows):
    rows = rows.astype(np.float64)
    return np.stack([np.square(row - rows).sum(axis=1) for row in rows])


def sorted_by_distance_then_index(rows, k):
    """The definition: float32 distances, itself first, then by index."""
    distances = squared_distances(rows).astype(np.float32)
    np.fill_diagonal(distances, -1)
    indices = distances.argsort(axis=1, kind="stable")[:, :k]
    return np.maximum(np.take_along_axis(distances, indices, axis=1), 0), indices


@pytest.mark.parametrize("backend", EXACT)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_many_blocks_give_the_same(backend, dtype, monkeypatch):
    rows = unit_rows(701, 8)
    rows[40:60] = rows[40]
    monkeypatch.setattr(neighbors, "fast_type", lambda device_type: dtype)
    monkeypatch.setattr(candidates, "_BLOCK_ROWS", 96)
    monkeypatch.setattr(candidates, "_BLOCK_COLUMNS", 400)
    monkeypatch.setattr(candidates, "_BLOCK_ENTRIES", 30 * 400)
    monkeypatch.setattr(candidates, "_CHUNK", 4)
    distances, indices = nearest_neighbors(rows, 7, backend)
    expected = sorted_by_distance_then_index(rows, 7)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(distances, expected[0])


@pytest.mark.parametrize("backend", EXACT)
def test_what_few_bits_cannot_tell_apart(backend, monkeypatch):
    types = []
    for name in ("compiled_candidates", "tensor_candidates"):
        search = getattr(neighbors, name)
        monkeypatch.setattr(
            neighbors, name, lambda *a, search=search: types.append(a[2]) or search(*a)
        )
    monkeypatch.setattr(neighbors, "fast_type", lambda device_type: torch.bfloat16)
    groups = np.repeat(unit_rows(4, 24), 150, axis=0)
    for spread in (1e-3, 1e-6):
        rows = (groups + spread * unit_rows(600, 24, seed=1)).astype(np.float32)
        distances, indices = nearest_neighbors(rows, 10, backend)
        expected = sorted_by_distance_then_index(rows, 10)
        np.testing.assert_array_equal(indices, expected[1])
        np.testing.assert_array_equal(distances, expected[0])
    assert types.count(torch.bfloat16) == 2
    assert torch.float32 in types
    assert torch.float64 in types


KINDS = {
    "normal": lambda rows, rng: rows,
    "heavy tails": lambda rows, rng: rng.standard_cauchy(size=rows.shape),
    "far from the origin": lambda rows, rng: rows + 1e3 * rng.normal(size=rows.shape[1]),
    "tiny": lambda rows, rng: rows * 1e-17,
    "huge": lambda rows, rng: rows * 1e17,
    "on a grid": lambda rows, rng: rng.integers(0, 3, size=rows.shape),
    "mostly zero": lambda rows, rng: rows * (rng.random(rows.shape) < 0.05),
    "nearly identical": lambda rows, rng: rows[rng.integers(9, size=len(rows))] + 1e-6 * rows,
    "of all lengths": lambda rows, rng: rows * np.exp(3 * rng.normal(size=(len(rows), 1))),
}


@pytest.mark.parametrize("backend", EXACT)
@pytest.mark.parametrize("kind", KINDS)
def test_exact_for_any_kind_of_rows(kind, backend):
    rng = np.random.default_rng(0)
    for size, dimensions, k in ((10, 3, 4), (150, 1, 9), (260, 40, 20), (90, 170, 35)):
        rows = rng.normal(size=(size, dimensions))
        rows = KINDS[kind](rows, rng).astype(np.float32)
        distances, indices = nearest_neighbors(rows, k, backend)
        expected = sorted_by_distance_then_index(rows, k)
        np.testing.assert_array_equal(indices, expected[1])
        np.testing.assert_array_equal(distances, expected[0])


@pytest.mark.parametrize("search", [compiled_candidates, tensor_candidates])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dimensions", [3, 64, 2048])
def test_limits_hold(search, dtype, dimensions):
    if dtype == torch.float64 and search is compiled_candidates:
        pytest.skip("the compiled form packs a distance and an index into 64 bits")
    rows = unit_rows(300, dimensions) * np.linspace(0.1, 3, 300, dtype=np.float32)[:, None] + 0.5
    points, everyone = torch.from_numpy(rows), torch.arange(300)
    found = search(points, Frame.around(points), dtype, everyone, everyone, 12)
    exact = torch.from_numpy(squared_distances(rows)) * found.unit
    limits = found.limits.double() - found.errors[:, None]
    assert (exact.gather(1, found.indices) >= limits - 1e-12).all()
    others = torch.ones_like(exact, dtype=torch.bool).scatter_(1, found.indices, False)
    assert (exact.masked_fill(~others, torch.inf).amin(dim=1) >= limits[:, -1] - 1e-12).all()
    # not by being useless
    slack = (exact.gather(1, found.indices) - limits).max() / exact.max()
    assert slack < {torch.bfloat16: 1e-2, torch.float32: 1e-3, torch.float64: 1e-6}[dtype]


def test_ranking_by_tensors_is_ranking_by_loops():
    points = torch.from_numpy(unit_rows(400, 48))
    everyone = torch.arange(400)
    for dtype, count in ((torch.bfloat16, 12), (torch.bfloat16, 3), (torch.float32, 12)):
        found = tensor_candidates(points, Frame.around(points), dtype, everyone, everyone, 16)
        looped, certain = ranking.rank(points, everyone, found, count)
        tensors, certain_too = ranking.rank_by_tensors(points, everyone, found, count)
        assert torch.equal(looped, tensors)
        assert torch.equal(certain, certain_too)
        assert certain.any()


def test_ranking_by_tensors_in_parts_and_with_absent_candidates(monkeypatch):
    points = torch.from_numpy(unit_rows(60, 8))
    rows = torch.arange(60)
    indices = torch.stack([(rows + step) % 60 for step in (0, 5, 9, 2)], dim=1)
    indices[:, 3] = -1
    limits, errors = torch.zeros(60, 4), torch.zeros(60, dtype=torch.float64)
    found = candidates.Candidates(indices, limits, errors, 1.0, False)
    monkeypatch.setattr(ranking, "_BLOCK_ENTRIES", 7 * 4 * 8)
    ranked, certain = ranking.rank_by_tensors(points, rows, found, 4)
    assert torch.equal(ranked[:, :3], ranking.rank(points, rows, found, 3)[0])
    assert ranking.unpack(ranked)[0][:, 3].isinf().all()
    assert not certain.any()


@pytest.mark.parametrize("backend", EXACT)
def test_all_at_the_same_distance(backend):
    rows = np.eye(150, dtype=np.float32)
    _, indices = nearest_neighbors(rows, 5, backend)
    np.testing.assert_array_equal(indices, sorted_by_distance_then_index(rows, 5)[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [4, 30, 200])
def test_piles_of_identical_rows(backend, k):
    rng = np.random.default_rng(0)
    rows = unit_rows(40, 6)[rng.integers(40, size=200)]
    rows[rng.permutation(200)[:60]] = 0
    distances, indices = nearest_neighbors(rows, k, backend)
    expected = sorted_by_distance_then_index(rows, k)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(distances, expected[0])


def test_one_large_pile_is_quick():
    rows = np.tile(unit_rows(1, 64), (20000, 1))
    distances, indices = nearest_neighbors(rows, 20)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices[19999], [19999, *range(19)])
    np.testing.assert_array_equal(indices[3], [3, 0, 1, 2, *range(4, 20)])


def test_piles_with_equal_sums_are_told_apart():
    rows = np.eye(5, dtype=np.float32)[np.arange(3000) % 5]
    representative = find_piles(torch.from_numpy(rows)).representative
    assert representative.tolist() == [row % 5 for row in range(3000)]
    assert find_piles(torch.eye(50)) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_rows_among_some(backend):
    rows = unit_rows(150, 12)
    rows[[5, 77, 120]] = rows[2]
    own = torch.tensor([2, 5, 9, 77, 149])
    among = torch.arange(5, 140, 3)
    distances, indices = nearest_among(torch.from_numpy(rows), own, among, 9, backend)
    exact = squared_distances(rows)[own][:, among].astype(np.float32)
    exact[own[:, None] == among] = -1
    order = exact.argsort(axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(indices, among[order])
    np.testing.assert_array_equal(
        distances, np.maximum(np.take_along_axis(exact, order, axis=1), 0)
    )


@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
def test_approximate_indexes_give_as_many_as_asked_for(backend, monkeypatch):
    indexes = importlib.import_module("lightning_reid.clustering.faiss_indexes")
    monkeypatch.setattr(indexes, "_PROBES", 1)
    rows = unit_rows(1000, 8)
    distances, indices = nearest_neighbors(rows, 250, backend)
    assert np.isfinite(distances).all()
    assert all(len(set(row)) == 250 for row in indices.tolist())
    assert indices.max() < 1000


@pytest.mark.parametrize("seed", [31, 47])
def test_the_graph_index_finds_the_row_itself(seed):
    generator = torch.Generator().manual_seed(seed)
    clumps = [
        torch.randn(1, 32, generator=generator) + 1e-4 * torch.randn(400, 32, generator=generator)
        for _ in range(5)
    ]
    distances, indices = nearest_neighbors(torch.cat(clumps), 5, "hnsw")
    assert torch.equal(indices[:, 0], torch.arange(2000))
    assert (distances[:, 0] == 0).all()


@pytest.mark.parametrize("backend", ["faiss", "ivf", "hnsw"])
def test_candidates_of_an_index_hold_the_row_itself(backend, monkeypatch):
    indexes = importlib.import_module("lightning_reid.clustering.faiss_indexes")

    class Forgetful:
        """An index that finds the other rows only, in the order of their numbers."""

        def train(self, among):
            self.size = len(among)

        def add(self, among):
            pass

        def search(self, rows, count):
            places = np.tile(np.arange(self.size - count, self.size), (len(rows), 1))
            places[:, -1] = -1
            return None, places

    monkeypatch.setattr(indexes, "_index", lambda *arguments: Forgetful())
    points, columns = torch.from_numpy(unit_rows(10, 4)), torch.arange(9)
    found = indexes.faiss_candidates(points, torch.tensor([1, 7, 9]), columns, 4, backend)
    assert found.indices.tolist() == [[1, 5, 6, 7], [5, 6, 7, -1], [5, 6, 7, -1]]


@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
def test_approximate_indexes_find_most(backend):
    centers = unit_rows(120, 24)
    rows = (np.repeat(centers, 30, axis=0) + 0.3 * unit_rows(3600, 24, seed=1)).astype(np.float32)
    exact = nearest_neighbors(rows, 15)
    found = nearest_neighbors(rows, 15, backend)
    same = [len(set(a) & set(b)) for a, b in zip(exact[1], found[1], strict=True)]
    assert np.mean(same) / 15 > 0.9
    np.testing.assert_array_equal(found[1][:, 0], np.arange(3600))
    assert (np.diff(found[0]) >= 0).all()


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
    found = nearest_neighbors(rows, 3)[1]
    for indices in (found[:5], found[:, :1], found[0]):
        with pytest.raises(ValueError, match=r"indices must be \(30, 2 or more\)"):
            neighbor_recall(rows, indices)
    with pytest.raises(ValueError, match="row numbers"):
        neighbor_recall(rows, found.astype(float))
    with pytest.raises(ValueError, match="backend"):
        nearest_neighbors(rows, 3, "magic")
    with pytest.raises(ValueError, match="2-D"):
        nearest_neighbors(rows[0], 3)
    with pytest.raises(ValueError, match="empty"):
        nearest_neighbors(rows[:0], 3)
    rows[[4, 9], 2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 feature rows .*: 4, 9"):
        nearest_neighbors(rows, 3)


def test_lists_will_do():
    _, indices = nearest_neighbors([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]], 2)
    assert indices.tolist() == [[0, 2], [1, 0], [2, 0]]


@pytest.mark.parametrize("largest", [1e19, 3e38])
def test_features_whose_squared_distances_overflow_are_refused(largest):
    rows = np.array([[largest, 0], [-largest, 0], [0, 1]], np.float32)
    functions = {
        "neighbors": lambda: nearest_neighbors(rows, 2),
        "cameras": lambda: camera_neighbors(rows, [0, 0, 1], 1, 1),
        "normalization": lambda: camera_normalize(rows, [0, 0, 1]),
        "expansion": lambda: expand_queries(rows, rows, 1),
        "soft labels": lambda: cross_camera_soft_labels(rows, [0, 0, 1]),
    }
    for call in functions.values():
        with pytest.raises(InputError, match=r"features up to .* are too large for squared dist"):
            call()
    assert nearest_neighbors(rows / largest * 9e18, 2)[1].tolist() == [[0, 2], [1, 2], [2, 0]]
