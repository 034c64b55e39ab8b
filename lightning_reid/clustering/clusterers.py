"""Ways to cluster a training set, each behind the same small interface.

A clusterer says which neighbours it needs, and makes clusters from them. The two are apart so that
many processes can share the search for neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, ClassVar, NamedTuple, get_args

import torch
from torch import Tensor

from lightning_reid.clustering.agglomerative import agglomerative, require_linkage_memory
from lightning_reid.clustering.arrays import unit_rows
from lightning_reid.clustering.camera_jaccard import camera_jaccard_distance
from lightning_reid.clustering.camera_neighbors import camera_neighbors
from lightning_reid.clustering.dbscan import dbscan
from lightning_reid.clustering.infomap import infomap, require_infomap
from lightning_reid.clustering.jaccard import jaccard_distance
from lightning_reid.clustering.kmeans import kmeans
from lightning_reid.clustering.neighbors import Backend, nearest_among, neighbor_recall
from lightning_reid.clustering.silhouette import silhouette
from lightning_reid.errors import InputError, require, require_one_of

Neighbors = tuple[Tensor, ...]
"""Tensors with a row for each image."""


_LARGEST_EPS = 0.99  # pairs at distance 1 are not stored
_SMALLEST_SIMILARITY = 1e-6  # Infomap drops links of weight 0


class Clustering(NamedTuple):
    """Clusters of images.

    Attributes:
        labels: ``(N,)`` int64 on the CPU: 0, 1, ... and -1 for outliers.
        statistics: plain numbers about them for the log.

    Example:
        >>> found = Clustering(torch.tensor([0, 0, 1, -1]), {"silhouette": 0.8})
        >>> int(found.labels.max()) + 1, found.statistics["silhouette"]  # clusters, and how good
        (2, 0.8)
    """

    labels: Tensor
    statistics: dict[str, float]


class Clusterer(ABC):
    """Groups images by their features.

    A subclass keeps each argument of its constructor, of plain type, as an attribute of the same
    name, so that a checkpoint can hold it.

    Attributes:
        coarser: what to change where most images are outliers.
        finer: what to change where all are one cluster.

    Example:
        >>> class Signs(Clusterer):
        ...     def __init__(self, dimension=0):
        ...         self.dimension = dimension
        ...     def cluster(self, features, cameras, neighbors):
        ...         return Clustering((features[:, self.dimension] > 0).long(), {})
        >>> clusterer = Signs(dimension=1)
        >>> clusterer(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([0, 1])).labels.tolist()
        [1, 0]
        >>> clusterer.settings()["init_args"]  # as a checkpoint keeps them
        {'dimension': 1}
    """

    coarser: ClassVar[str] = "change the settings of the clusterer"
    finer: ClassVar[str] = coarser

    def neighbors(self, features: Tensor, cameras: Tensor, rows: Tensor) -> Neighbors:
        """Find the neighbours that :meth:`cluster` needs; none by default.

        Args:
            features: ``(N, D)`` unit rows.
            cameras: ``(N,)``, from 0.
            rows: ``(R,)`` row numbers whose neighbours are sought.

        Returns:
            Tensors with R rows, on the features' device.
        """
        return ()

    @classmethod
    def advice(cls, mostly_outliers: bool) -> str:
        """What to change where there are too few clusters."""
        return cls.coarser if mostly_outliers else cls.finer

    def require_packages(self) -> None:  # noqa: B027 # most need none
        """Raise a MissingPackageError if it needs a package that is not installed."""

    @abstractmethod
    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Make clusters.

        Args:
            features: ``(N, D)`` unit rows.
            cameras: ``(N,)``, from 0.
            neighbors: what :meth:`neighbors` gave for all rows.
        """

    def __call__(self, features: Tensor, cameras: Tensor) -> Clustering:
        """Find neighbours and make clusters, in this process alone.

        Args:
            features: ``(N, D)`` unit rows.
            cameras: ``(N,)``, from 0.
        """
        features, cameras = torch.as_tensor(features), torch.as_tensor(cameras)
        rows = torch.arange(len(features), device=features.device)
        return self.cluster(features, cameras, self.neighbors(features, cameras, rows))

    def settings(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_settings` makes the same clusterer."""
        kind = type(self)
        names = signature(kind).parameters
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise InputError(
                f"{kind.__name__} must keep its arguments as attributes; without: {missing}"
            )
        values = {name: getattr(self, name) for name in names}
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": values}

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> Clusterer:
        """Make the clusterer of this library that :meth:`settings` describes.

        The settings may come from a stranger's checkpoint: classes of other packages are not made.

        Raises:
            InputError: if this library has no class of that name, or it does not take the settings.
        """
        path = settings.get("class_path")
        package, _, name = str(path).rpartition(".")
        kinds = {
            kind.__qualname__: kind
            for kind in _kinds(Clusterer)  # type: ignore[type-abstract]
            if kind.__module__.startswith("lightning_reid.")
        }
        kind = kinds.get(name)
        if kind is None or not kind.__module__.startswith(package):
            raise InputError(
                f"{path} is none of this library's clusterers ({', '.join(kinds)}): make it "
                "yourself and pass it as the argument clusterer"
            )
        try:
            return kind(**settings.get("init_args", {}))
        except TypeError as error:
            raise InputError(f"{name} cannot be made: {error}") from error


class DensityClusterer(Clusterer):
    """DBSCAN on the k-reciprocal Jaccard distance, as in CAP and O2CAP.

    Args:
        k1: neighbours, the image itself counted; 20 in CAP and O2CAP.
        k2: neighbours for query expansion, at most k1 of them; 6 in CAP and O2CAP.
        eps: largest distance between neighbours; 0.5 in CAP and O2CAP.
        min_samples: neighbours that make a core, the image itself counted; 4 in CAP and O2CAP.
        backend: of the search, see ``nearest_neighbors``.

    Raises:
        InputError: if a setting is out of its range.

    Example:
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6], [0.0, 1.0]])
        >>> clusterer = DensityClusterer(k1=2, k2=1, min_samples=2)
        >>> clusterer(people, torch.tensor([0, 1, 0, 1, 0])).labels.tolist()
        [0, 0, 1, 1, -1]
    """

    coarser = "raise eps or lower min_samples"
    finer = "lower eps"

    def __init__(
        self,
        k1: int = 20,
        k2: int = 6,
        eps: float = 0.5,
        min_samples: int = 4,
        backend: Backend = "auto",
    ) -> None:
        require("k1", k1, 1)
        require("k2", k2, 1)
        require("eps", eps, 0, _LARGEST_EPS)
        require("min_samples", min_samples, 1)
        require_one_of("backend", backend, get_args(Backend))
        self.k1 = k1
        self.k2 = k2
        self.eps = eps
        self.min_samples = min_samples
        self.backend = backend

    def neighbors(self, features: Tensor, cameras: Tensor, rows: Tensor) -> Neighbors:
        """The ``k1`` nearest images."""
        return _nearest(features, rows, self.k1, self.backend)

    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Clusters, with the silhouette on the same distances."""
        distances, indices = neighbors
        graph = jaccard_distance(
            features,
            self.k1,
            self.k2,
            _limit(self.eps),
            neighbors=(distances, indices),
            layout=_layout(features),
        )
        found = _by_density(graph, self.eps, self.min_samples)
        return _with_recall(found, features, indices, self.backend)


class CameraDensityClusterer(Clusterer):
    """DBSCAN on the camera-aware Jaccard distance (CA-Jaccard, CVPR 2024).

    Args:
        k1_intra: neighbours in the same camera, besides the image itself; 5 in the paper's code.
        k1_inter: neighbours in other cameras; 20 there.
        k2_intra: neighbours in the same camera for query expansion, itself counted; 2 there.
        k2_inter: neighbours in other cameras for query expansion; 4 there.
        eps: largest distance between neighbours; 0.4 for Market-1501 and 0.6 for MSMT17
            there, 0.5 our choice between them.
        min_samples: neighbours that make a core, the image itself counted; 4 there.

    Raises:
        InputError: if a setting is out of its range.

    Example:
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> clusterer = CameraDensityClusterer(1, 1, 1, 1, min_samples=2)
        >>> clusterer(people, cameras=torch.tensor([0, 1, 0, 1])).labels.tolist()
        [0, 0, 1, 1]
    """

    coarser = "raise eps or lower min_samples"
    finer = "lower eps"

    def __init__(
        self,
        k1_intra: int = 5,
        k1_inter: int = 20,
        k2_intra: int = 2,
        k2_inter: int = 4,
        eps: float = 0.5,
        min_samples: int = 4,
    ) -> None:
        require("k1_intra", k1_intra, 1)
        require("k1_inter", k1_inter, 1)
        require("k2_intra", k2_intra, 1)
        require("k2_inter", k2_inter, 1)
        require("eps", eps, 0, _LARGEST_EPS)
        require("min_samples", min_samples, 1)
        self.k1_intra = k1_intra
        self.k1_inter = k1_inter
        self.k2_intra = k2_intra
        self.k2_inter = k2_inter
        self.eps = eps
        self.min_samples = min_samples

    def neighbors(self, features: Tensor, cameras: Tensor, rows: Tensor) -> Neighbors:
        """The nearest images in the own camera and in all others."""
        intra, inter = max(self.k1_intra + 1, self.k2_intra), max(self.k1_inter + 1, self.k2_inter)
        return camera_neighbors(unit_rows(features), cameras, intra, inter, rows)

    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Clusters, with the silhouette on the same distances."""
        ks = (self.k1_intra, self.k1_inter, self.k2_intra, self.k2_inter)
        intra, inter = neighbors
        graph = camera_jaccard_distance(
            features,
            cameras,
            *ks,
            _limit(self.eps),
            neighbors=(intra, inter),
            layout=_layout(features),
        )
        return _by_density(graph, self.eps, self.min_samples)


class InfomapClusterer(Clusterer):
    """Infomap on the graph of nearest neighbours, as in CALR and Cluster-Contrast.

    Needs ``pip install "lightning-reid[infomap]"``.

    Args:
        k: neighbours, the image itself counted; 15 in CALR.
        min_similarity: smallest cosine of an edge; 0.5 in CALR.
        min_size: images in the smallest cluster that is kept; 5 in CALR.
        seed: of Infomap.
        backend: of the search, see ``nearest_neighbors``.

    Raises:
        InputError: if a setting is out of its range.
        MissingPackageError: in ``require_packages`` and when it clusters, without that package.

    Example:
        >>> InfomapClusterer(k=10).settings()["init_args"]
        {'k': 10, 'min_similarity': 0.5, 'min_size': 5, 'seed': 0, 'backend': 'auto'}
        >>> InfomapClusterer().coarser  # where most images are outliers
        'lower min_similarity or min_size'
    """

    coarser = "lower min_similarity or min_size"
    finer = "raise min_similarity"

    def __init__(
        self,
        k: int = 15,
        min_similarity: float = 0.5,
        min_size: int = 5,
        seed: int = 0,
        backend: Backend = "auto",
    ) -> None:
        require("k", k, 2)
        require("min_similarity", min_similarity, _SMALLEST_SIMILARITY, 1)
        require("min_size", min_size, 1)
        require("seed", seed, 0)
        require_one_of("backend", backend, get_args(Backend))
        self.k = k
        self.min_similarity = min_similarity
        self.min_size = min_size
        self.seed = seed
        self.backend = backend

    def require_packages(self) -> None:
        """Now, not when all else has been done."""
        require_infomap()

    def neighbors(self, features: Tensor, cameras: Tensor, rows: Tensor) -> Neighbors:
        """The ``k`` nearest images."""
        return _nearest(features, rows, self.k, self.backend)

    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Clusters of the graph."""
        distances, indices = neighbors
        features = unit_rows(features)
        labels = infomap((distances, indices), self.min_similarity, self.min_size, self.seed)
        found = Clustering(torch.from_numpy(labels), {})
        return _with_recall(found, features, indices, self.backend)


class KMeansClusterer(Clusterer):
    """k-means; no outliers.

    Args:
        num_clusters: clusters to make.
        seed: draws the first centres.

    Raises:
        InputError: if that is not at least 1 or, when it clusters, more than there are images.

    Example:
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> labels = KMeansClusterer(num_clusters=2)(people, torch.tensor([0, 1, 0, 1])).labels
        >>> (labels == labels[0]).tolist()
        [True, True, False, False]
    """

    finer = "raise num_clusters"

    def __init__(self, num_clusters: int, seed: int = 0) -> None:
        require("num_clusters", num_clusters, 1)
        self.num_clusters = num_clusters
        self.seed = seed

    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Exactly ``num_clusters`` clusters."""
        if self.num_clusters > len(features):
            raise InputError(
                f"num_clusters={self.num_clusters} is more than the {len(features)} images: "
                "lower num_clusters"
            )
        labels, _ = kmeans(features, self.num_clusters, self.seed)
        return Clustering(labels.cpu(), {})


class AgglomerativeClusterer(Clusterer):
    """Average linkage on the k-reciprocal Jaccard distance, as in CALR within a camera.

    Memory grows with the square of the number of images: some ten thousand are possible.

    Args:
        images_per_cluster: there are N over this many clusters; 5 in CALR.
        k1: neighbours, the image itself counted; 15 in CALR.
        k2: neighbours for query expansion, at most k1 of them; 4 in CALR.

    Raises:
        InputError: if a setting is out of its range or, when it clusters, if the distances of all
            pairs take more memory than is free.

    Example:
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> clusterer = AgglomerativeClusterer(images_per_cluster=2, k1=2, k2=1)
        >>> clusterer(people, cameras=torch.tensor([0, 0, 0, 0])).labels.tolist()  # 4 / 2 clusters
        [0, 0, 1, 1]
    """

    finer = "lower images_per_cluster"

    def __init__(self, images_per_cluster: float = 5, k1: int = 15, k2: int = 4) -> None:
        require("images_per_cluster", images_per_cluster, 1)
        require("k1", k1, 1)
        require("k2", k2, 1)
        self.images_per_cluster = images_per_cluster
        self.k1 = k1
        self.k2 = k2

    def neighbors(self, features: Tensor, cameras: Tensor, rows: Tensor) -> Neighbors:
        """The ``k1`` nearest images."""
        require_linkage_memory(len(features))  # now, not when all else has been done
        return _nearest(features, rows, self.k1, "auto")

    def cluster(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Clustering:
        """Clusters without outliers, with the silhouette on the same distances."""
        distances, indices = neighbors
        graph = jaccard_distance(features, self.k1, self.k2, 1, neighbors=(distances, indices))
        count = max(1, int(len(features) / self.images_per_cluster))
        labels = agglomerative(graph, count)
        return Clustering(torch.from_numpy(labels), {"silhouette": silhouette(graph, labels)})


def _kinds(base: type[Clusterer]) -> Iterator[type[Clusterer]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _nearest(features: Tensor, rows: Tensor, k: int, backend: Backend) -> Neighbors:
    everyone = torch.arange(len(features), device=features.device)
    return nearest_among(unit_rows(features), rows, everyone, k, backend)


def _limit(eps: float) -> float:
    """Distances up to which pairs are kept: the silhouette tells more with some beyond eps."""
    return max(eps, 0.6)


def _layout(features: Tensor) -> Any:
    """A graph that stays on the GPU where the features are there."""
    return "scipy" if features.device.type == "cpu" else "torch"


def _by_density(graph: Any, eps: float, min_samples: int) -> Clustering:
    labels = torch.as_tensor(dbscan(graph, eps, min_samples)).cpu()
    return Clustering(labels, {"silhouette": silhouette(graph, labels.numpy())})


def _with_recall(
    found: Clustering, features: Tensor, indices: Tensor, backend: Backend
) -> Clustering:
    """Add what an approximate search found of the true neighbours."""
    if backend not in ("ivf", "hnsw"):
        return found
    recall = {"neighbor_recall": neighbor_recall(features, indices)}
    return found._replace(statistics={**found.statistics, **recall})
