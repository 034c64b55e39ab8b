import importlib

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    Clusterer,
    Clustering,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
)
from lightning_reid.errors import InputError
from lightning_reid.labels import cluster_images

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


def test_settings_as_configs_have_them():
    settings = {"class_path": "lightning_reid.clustering.KMeansClusterer"}
    settings["init_args"] = {"num_clusters": 3}
    assert vars(Clusterer.from_settings(settings)) == {"num_clusters": 3, "seed": 0}


@pytest.mark.parametrize(
    ("clusterer", "setting"),
    [
        (DensityClusterer, {"k1": 0}),
        (DensityClusterer, {"eps": 1.5}),
        (DensityClusterer, {"eps": float("nan")}),
        (CameraDensityClusterer, {"k2_inter": 0}),
        (InfomapClusterer, {"min_similarity": 2}),
        (InfomapClusterer, {"seed": -1}),
        (DensityClusterer, {"backend": "typo"}),
        (InfomapClusterer, {"backend": "typo"}),
        (KMeansClusterer, {"num_clusters": 0}),
        (AgglomerativeClusterer, {"images_per_cluster": 0}),
    ],
)
def test_impossible_settings_are_refused_at_once(clusterer, setting):
    name = next(iter(setting))
    with pytest.raises(InputError, match=rf"^{name} must be (at least|from|one of) "):
        clusterer(**setting)


def test_arrays_will_do():
    features, cameras, _ = identities_in_cameras()
    found = DensityClusterer()(features.numpy(), cameras.numpy())
    assert torch.equal(found.labels, DensityClusterer()(features, cameras).labels)


class Own(Clusterer):
    """What somebody else may write."""

    def __init__(self, labels=None, rows=None):
        self.labels = labels
        self.rows = rows

    def neighbors(self, features, cameras, rows):
        return (torch.zeros(self.rows or len(rows)),)

    def cluster(self, features, cameras, neighbors):
        labels = np.arange(300) // 10 * 10 if self.labels is None else self.labels
        return Clustering(labels, {"answer": 42})


def test_an_own_clusterer_may_leave_gaps_in_its_labels():
    features, cameras, _ = identities_in_cameras()
    made = cluster_images(Own(), features, cameras, trainer=pl.Trainer(logger=False))
    assert torch.equal(made.hard, torch.arange(300) // 10)
    assert made.statistics["answer"] == 42


def test_more_clusters_than_images_are_refused():
    features, cameras, _ = identities_in_cameras()
    with pytest.raises(
        InputError, match="num_clusters=301 is more than the 300 images: lower num_clusters"
    ):
        KMeansClusterer(301)(features, cameras)


def test_statistics_that_a_clusterer_keeps_stay_its_own():
    class Sharing(Own):
        kept = {"answer": 42}  # noqa: RUF012 # of all instances, on purpose

        def cluster(self, features, cameras, neighbors):
            return Clustering(np.arange(300) // 10, self.kept)

    features, cameras, _ = identities_in_cameras()
    made = cluster_images(Sharing(), features, cameras)
    assert Sharing.kept == {"answer": 42}
    assert set(made.statistics) == {"answer", "seconds/neighbors", "seconds/clustering"}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (Own(labels=torch.zeros(7, dtype=torch.int64)), "Own.cluster gives must be 300 integers"),
        (Own(labels=torch.zeros(300)), "Own.cluster gives must be whole numbers"),
        (Own(rows=5), "Own.neighbors must give a tuple of tensors with 300 rows"),
    ],
)
def test_what_an_own_clusterer_gives_is_checked(own, message):
    features, cameras, _ = identities_in_cameras()
    with pytest.raises(InputError, match=message):
        cluster_images(own, features, cameras, trainer=pl.Trainer(logger=False))


def test_an_own_clusterer_must_keep_its_arguments():
    class Forgetful(Own):
        def __init__(self, threshold=1):
            super().__init__()

    with pytest.raises(InputError, match=r"Forgetful must keep .*'threshold'"):
        Forgetful().settings()


def test_strange_settings_are_refused():
    with pytest.raises(InputError, match=r"os\.system"):
        Clusterer.from_settings({"class_path": "os.system", "init_args": {}})


def test_an_approximate_search_tells_its_recall():
    features, cameras, _ = identities_in_cameras()
    statistics = DensityClusterer(backend="ivf")(features, cameras).statistics
    assert 0.5 < statistics["neighbor_recall"] <= 1
    assert "neighbor_recall" not in DensityClusterer()(features, cameras).statistics


def test_too_much_memory_is_refused_before_it_runs(monkeypatch):
    resources = importlib.import_module("lightning_reid.resources")
    monkeypatch.setattr(resources, "available_memory", lambda device: 10**6)
    features, cameras, _ = identities_in_cameras()
    for clusterer in (DensityClusterer(), InfomapClusterer(), AgglomerativeClusterer()):
        with pytest.raises(InputError, match=r"needs about .* GB .* free on cpu: "):
            clusterer(features, cameras)
