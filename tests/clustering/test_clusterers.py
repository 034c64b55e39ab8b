import importlib

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    Clusterer,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
)
from lightning_reid.errors import InputError

CLUSTERERS = [
    DensityClusterer(eps=0.6),
    DensityClusterer(eps=0.6, backend="torch"),
    DensityClusterer(eps=0.6, backend="hnsw"),
    CameraDensityClusterer(k1_intra=4, k1_inter=10, eps=0.6),
    InfomapClusterer(min_similarity=0.6),
    KMeansClusterer(num_clusters=15),
    AgglomerativeClusterer(images_per_cluster=20),
]


def identities_in_cameras(seed=0):
    """15 identities with 20 images each, in three cameras that look a little different."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(15), 20)
    cameras = rng.integers(3, size=300)
    rows = rng.normal(size=(15, 32))[identities] + 0.1 * rng.normal(size=(3, 32))[cameras]
    rows = rows + 0.3 * rng.normal(size=rows.shape)
    rows = torch.from_numpy(rows).float()
    return torch.nn.functional.normalize(rows), torch.from_numpy(cameras), identities


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda c: type(c).__name__)
def test_finds_the_identities(clusterer):
    if isinstance(clusterer, InfomapClusterer):
        pytest.importorskip("infomap")
    features, cameras, identities = identities_in_cameras()
    labels, statistics = clusterer(features, cameras)
    assert labels.dtype == torch.int64
    assert labels.device.type == "cpu"
    assert labels.max() + 1 == len(labels.unique()) - int((labels < 0).any())
    assert adjusted_rand_score(identities, labels) > 0.95
    assert all(isinstance(value, float) for value in statistics.values())


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda c: type(c).__name__)
def test_shared_neighbors_give_the_same(clusterer):
    if isinstance(clusterer, InfomapClusterer):
        pytest.importorskip("infomap")
    features, cameras, _ = identities_in_cameras(1)
    shares = [
        clusterer.neighbors(features, cameras, rows) for rows in torch.arange(300).tensor_split(7)
    ]
    neighbors = tuple(torch.cat(parts) for parts in zip(*shares, strict=True))
    shared = clusterer.cluster(features, cameras, neighbors)
    np.testing.assert_array_equal(shared.labels, clusterer(features, cameras).labels)


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda c: type(c).__name__)
def test_settings_make_the_same_clusterer(clusterer):
    back = Clusterer.from_settings(clusterer.settings())
    assert type(back) is type(clusterer)
    assert vars(back) == vars(clusterer)


def test_strange_settings_are_refused():
    with pytest.raises(InputError, match=r"os\.system"):
        Clusterer.from_settings({"class_path": "os.system", "init_args": {}})


def test_an_approximate_search_tells_its_recall():
    features, cameras, _ = identities_in_cameras()
    statistics = DensityClusterer(backend="ivf")(features, cameras).statistics
    assert 0.5 < statistics["neighbor_recall"] <= 1
    assert "neighbor_recall" not in DensityClusterer()(features, cameras).statistics


def test_too_much_memory_is_refused_before_it_runs(monkeypatch):
    resources = importlib.import_module("lightning_reid.clustering.resources")
    monkeypatch.setattr(resources, "available_memory", lambda device: 10**6)
    features, cameras, _ = identities_in_cameras()
    for clusterer in (DensityClusterer(), InfomapClusterer(), AgglomerativeClusterer()):
        with pytest.raises(InputError, match=r"needs about .* GB .* free on cpu: "):
            clusterer(features, cameras)
