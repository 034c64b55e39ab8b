"""Rows that are not unit, and integers of any width, at every door of clustering and labelling."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
    camera_jaccard_distance,
    camera_neighbors,
    camera_normalize,
    graph_scores,
    infomap,
    jaccard_distance,
    kmeans,
    nearest_neighbors,
    neighbor_recall,
    silhouette,
)
from lightning_reid.errors import InputError
from lightning_reid.labels import (
    cluster_images,
    cross_camera_soft_labels,
    find_neighbors,
    group_owner,
    refine_labels,
    reliable_soft_labels,
    split_by_camera,
)
from lightning_reid.losses import camera_entropy_weights

CLUSTERERS = [
    DensityClusterer(k1=8, k2=3),
    CameraDensityClusterer(3, 5),
    InfomapClusterer(k=8, min_size=2),
    AgglomerativeClusterer(),
]
NEEDS_UNIT_ROWS = {
    "jaccard_distance": lambda rows, cameras: jaccard_distance(rows, 8, 3),
    "camera_jaccard_distance": lambda rows, cameras: camera_jaccard_distance(rows, cameras),
    **{
        type(clusterer).__name__: lambda rows, cameras, c=clusterer: c(rows, cameras)
        for clusterer in CLUSTERERS
    },
    "find_neighbors": lambda rows, cameras: find_neighbors(
        InfomapClusterer(), torch.as_tensor(rows), torch.as_tensor(cameras)
    ),
    "cluster_images": lambda rows, cameras: cluster_images(
        DensityClusterer(), torch.as_tensor(rows), torch.as_tensor(cameras)
    ),
}
TAKES_ANY_ROWS = {
    "nearest_neighbors": lambda rows, cameras: nearest_neighbors(rows, 4)[1],
    "camera_neighbors": lambda rows, cameras: camera_neighbors(rows, cameras)[1],
    "kmeans": lambda rows, cameras: kmeans(rows, 5)[0],
    "KMeansClusterer": lambda rows, cameras: KMeansClusterer(5)(rows, cameras).labels,
    "camera_normalize": camera_normalize,
    "cross_camera_soft_labels": lambda rows, cameras: cross_camera_soft_labels(
        rows, cameras, kernel="jaccard"
    ).toarray(),
    "reliable_soft_labels": lambda rows, cameras: (
        reliable_soft_labels(rows, cameras, num_clusters=4, threshold=0.1).soft
    ),
}


def rows_of_people(size=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(8, 16))[np.arange(size) % 8] + 0.3 * rng.normal(size=(size, 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(size) // 3 % 3


@pytest.mark.parametrize("name", NEEDS_UNIT_ROWS)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_rows_that_are_not_unit_are_refused(name, kind):
    call = NEEDS_UNIT_ROWS[name]
    unit, cameras = rows_of_people()
    one_short = unit.copy()
    one_short[41] *= 0.9
    of_zeros = unit.copy()
    of_zeros[7] = 0
    for rows, row in [(7 * unit, 0), (0.05 * unit, 0), (one_short, 41), (of_zeros, 7)]:
        for dtype in (np.float16, np.float32, np.float64):
            given = rows.astype(dtype)
            given = torch.from_numpy(given) if kind == "torch" else given
            message = (
                rf"unit length, as torch\.nn\.functional\.normalize.* row {row} has the length"
            )
            with pytest.raises(InputError, match=message):
                call(given, cameras)
    for value in (np.nan, np.inf):
        spoilt = unit.copy()
        spoilt[3, 2] = value
        with pytest.raises(ValueError, match="1 feature rows hold NaN or infinite values: 3"):
            call(torch.from_numpy(spoilt) if kind == "torch" else spoilt, cameras)


@pytest.mark.parametrize("name", NEEDS_UNIT_ROWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_rows_of_any_precision_are_taken(name, dtype):
    rows, cameras = rows_of_people()
    rounded = torch.from_numpy(rows).to(dtype)
    NEEDS_UNIT_ROWS[name](rounded, cameras)
    NEEDS_UNIT_ROWS[name](normalize(5 * rounded), cameras)


@pytest.mark.parametrize("name", TAKES_ANY_ROWS)
def test_where_any_row_will_do_none_is_refused(name):
    rows, cameras = rows_of_people()
    lengths = np.random.default_rng(1).uniform(0.1, 9, (60, 1))
    result = np.asarray(TAKES_ANY_ROWS[name](lengths * rows, cameras))
    assert np.isfinite(result).all()
    if name in ("cross_camera_soft_labels",):  # of cosines
        np.testing.assert_allclose(result, TAKES_ANY_ROWS[name](rows, cameras), atol=1e-6)


def test_neighbors_of_rows_that_are_not_unit_are_no_graph():
    rows, _ = rows_of_people()
    for function in (infomap, graph_scores):
        with pytest.raises(InputError, match=r"unit rows, whose squared .*functional\.normalize"):
            function(nearest_neighbors(30 * rows, 8))
    clusterer = InfomapClusterer(k=8)
    with pytest.raises(InputError, match="rows of unit length"):  # nearer than unit rows
        clusterer.cluster(
            torch.from_numpy(0.01 * rows),
            torch.zeros(60, dtype=torch.int64),
            tuple(torch.from_numpy(part) for part in nearest_neighbors(0.01 * rows, 8)),
        )


def test_normalized_rows_are_unit_but_for_rows_of_zeros():
    rows, cameras = rows_of_people()
    cameras = np.where(np.arange(60) == 5, 7, cameras)  # alone in its camera
    for scale in (1e-5, 1, 1e15):
        found = camera_normalize(scale * rows, cameras)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    rows[5] = 0
    found = camera_normalize(rows, cameras)
    assert (found[5] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(np.delete(found, 5, 0), axis=1), 1, atol=1e-6)
    with pytest.raises(InputError, match="row 5 has the length 0"):
        jaccard_distance(found)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("kind", ["numpy", "torch", "list"])
def test_integers_of_any_width(name, kind):
    rows, cameras = rows_of_people()
    labels = np.arange(60) % 8
    rows = torch.from_numpy(rows).float()

    def given(values):
        typed = np.asarray(values).astype(name)
        return {"numpy": typed, "torch": torch.from_numpy(typed), "list": typed.tolist()}[kind]

    cameras, narrow = torch.from_numpy(cameras), given(cameras)
    same = torch.testing.assert_close
    same(camera_normalize(rows, narrow), camera_normalize(rows, cameras))
    for one, other in zip(
        camera_neighbors(rows, narrow), camera_neighbors(rows, cameras), strict=True
    ):
        same(one, other)
    graph = camera_jaccard_distance(rows, narrow)
    assert abs(graph - camera_jaccard_distance(rows, cameras)).max() == 0
    indices = nearest_neighbors(rows, 20)[1]
    again = jaccard_distance(rows, neighbors=(None, given(indices)))
    assert abs(again - jaccard_distance(rows)).max() == 0
    assert neighbor_recall(rows, given(indices)) == 1
    assert silhouette(graph, given(labels)) == silhouette(graph, labels)
    np.testing.assert_array_equal(
        split_by_camera(given(labels), narrow), split_by_camera(labels, cameras)
    )
    np.testing.assert_array_equal(
        refine_labels(given(labels), given(labels % 3), narrow, np.arange(60.0)),
        refine_labels(labels, labels % 3, cameras, np.arange(60.0)),
    )
    same(
        reliable_soft_labels(rows, narrow, 6, threshold=0.1).soft,
        reliable_soft_labels(rows, cameras, 6, threshold=0.1).soft,
    )
    soft = cross_camera_soft_labels(rows, narrow)
    assert abs(soft - cross_camera_soft_labels(rows, cameras)).max() == 0
    for clusterer in CLUSTERERS:
        expected = cluster_images(clusterer, rows, cameras)
        found = cluster_images(clusterer, rows, narrow)
        assert torch.equal(found.proxies, expected.proxies)
        assert found.proxy_cameras.tolist() == expected.proxy_cameras.tolist()
    if kind == "torch":
        proxies = torch.from_numpy(split_by_camera(labels, cameras))
        assert group_owner(proxies, narrow).tolist() == group_owner(proxies, cameras).tolist()
        if name != "uint64":  # whose values would have to be looked at
            same(
                camera_entropy_weights(given(labels), narrow),
                camera_entropy_weights(torch.from_numpy(labels), cameras),
            )


@pytest.mark.parametrize(
    "values",
    [
        [0.0] * 60,
        np.zeros(60),
        torch.zeros(60),
        torch.zeros(60, dtype=torch.bool),
        [False] * 60,
        [2**63] * 60,
        [10**19 * 10] * 60,
        torch.tensor([-1] * 60).to(torch.uint64),
    ],
    ids=str,
)
def test_what_is_no_integer_is_refused(values):
    rows, labels = rows_of_people()
    doors = {
        "camera_normalize": lambda: camera_normalize(rows, values),
        "camera_neighbors": lambda: camera_neighbors(rows, values),
        "camera_jaccard_distance": lambda: camera_jaccard_distance(rows, values),
        "split_by_camera": lambda: split_by_camera(labels, values),
        "refine_labels": lambda: refine_labels(labels, labels, values, np.zeros(60)),
        "reliable_soft_labels": lambda: reliable_soft_labels(rows, values, 3),
        "cross_camera_soft_labels": lambda: cross_camera_soft_labels(rows, values),
        "cluster_images": lambda: cluster_images(
            DensityClusterer(), torch.from_numpy(rows), values
        ),
    }
    for call in doors.values():
        with pytest.raises(ValueError, match=r"cameras must (be whole numbers that )?fit int64"):
            call()
