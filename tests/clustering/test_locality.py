import numpy as np
import torch

from lightning_reid.clustering import nearest_neighbors
from lightning_reid.clustering.locality import renumbered, together


def test_neighbors_stand_together():
    rng = np.random.default_rng(0)
    identities = rng.integers(100, size=2000)
    features = rng.normal(size=(100, 16))[identities] + 0.3 * rng.normal(size=(2000, 16))
    ranks = torch.from_numpy(nearest_neighbors(features.astype(np.float32), 15)[1])
    order = together(ranks)
    assert order.sort().values.tolist() == list(range(2000))
    steps = identities[order.numpy()]
    assert (steps[1:] == steps[:-1]).mean() > 0.9
    assert (identities[1:] == identities[:-1]).mean() < 0.1


def test_numbers_follow_the_order_and_empty_places_stay():
    ranks = torch.tensor([[0, 2, -1], [1, -1, -1], [2, 0, 1]], dtype=torch.int32)
    order = torch.tensor([2, 0, 1])
    found = renumbered(ranks, order)
    assert found.dtype == torch.int32
    assert found.tolist() == [[0, 1, 2], [1, 0, -1], [2, -1, -1]]
    assert together(ranks).sort().values.tolist() == [0, 1, 2]
