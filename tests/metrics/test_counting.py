import numpy as np
import pytest
import torch

from lightning_reid.metrics.functional import counting
from lightning_reid.metrics.functional.runs import portions, runs


@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7, 3000, 5), (300, 40, 90), (3, 0, 2), (600, 1025, 1)])
def test_counts_in_both_forms(monkeypatch, few, dtype, shape):
    monkeypatch.setattr(counting, "_FEW", few)
    rows, columns, width = shape
    generator = torch.Generator().manual_seed(0)
    distances = torch.rand(rows, columns, generator=generator).mul(50).round().to(dtype)
    thresholds = torch.rand(rows, width, generator=generator).mul(50).round().to(dtype)
    thresholds = thresholds.sort(dim=1).values
    expected = (distances[:, None, :] <= thresholds[:, :, None]).sum(dim=2)
    assert torch.equal(counting.at_or_before(distances, thresholds), expected)


@pytest.mark.parametrize("few", [0, 64])
def test_infinite_distances_are_beyond_all_thresholds(monkeypatch, few):
    monkeypatch.setattr(counting, "_FEW", few)
    distances = torch.tensor([[1.0, torch.inf, 2.0], [torch.inf, 3.0, torch.inf]])
    thresholds = torch.tensor([[1.0, 5.0], [0.0, torch.inf]])
    assert counting.at_or_before(distances, thresholds)[0].tolist() == [1, 2]
    assert counting.at_or_before(distances, thresholds)[1, 0] == 0


def test_ascending():
    rows = np.random.default_rng(0).normal(size=(700, 9))
    expected = np.sort(rows, axis=1)
    np.testing.assert_array_equal(counting.ascending(torch.from_numpy(rows)), expected)


@pytest.mark.parametrize("lengths", [[], [0], [3], [2, 0, 0, 4, 1], [0, 5, 0]])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_runs_and_portions(lengths, size):
    run, place = runs(torch.tensor(lengths, dtype=torch.int64))
    expected = [(i, j) for i, length in enumerate(lengths) for j in range(length)]
    assert list(zip(run.tolist(), place.tolist(), strict=True)) == expected
    parts = portions(torch.tensor(lengths, dtype=torch.int64), size)
    assert [x for part in parts for x in lengths[part]] == lengths
    longest = max(lengths, default=0)
    assert all(sum(lengths[part]) < size + longest or size > sum(lengths) for part in parts)
