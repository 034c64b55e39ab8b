import numpy as np
import pytest

from lightning_reid.report.embedding_map import (
    draw_map_by_camera,
    draw_map_by_cluster,
    embedding_map,
    sample_clusters,
)
from lightning_reid.report.figures import GREY, as_image


def drawn(figure):
    """Number of points by colour."""
    from matplotlib.colors import to_hex

    counts = {}
    for points in figure.axes[0].collections:
        colour = to_hex(points.get_facecolor()[0]) if len(points.get_facecolor()) else None
        counts[colour] = counts.get(colour, 0) + len(points.get_offsets())
    return counts


def random_numbers():
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - the global ones are meant


def test_clusters_are_sampled_whole_and_outliers_in_proportion():
    labels = np.concatenate([np.repeat(np.arange(100), 8), np.full(200, -1)])
    np.random.default_rng(1).shuffle(labels)
    sample = sample_clusters(labels, 100)
    chosen = labels[sample]
    assert len(np.unique(sample)) == 100
    assert (chosen < 0).sum() == 20
    _, sizes = np.unique(chosen[chosen >= 0], return_counts=True)
    assert sizes.tolist() == [8] * 10
    assert sample_clusters(labels, 100).tolist() == sample.tolist()
    assert sample_clusters(labels, 100, seed=1).tolist() != sample.tolist()


@pytest.mark.parametrize("value", [-1, 0])
def test_only_outliers_or_a_single_cluster_are_sampled_too(value):
    assert len(sample_clusters(np.full(500, value), 100)) == 100
    assert sample_clusters(np.full(50, value), 100).tolist() == list(range(50))


def test_what_is_apart_stays_apart():
    generator = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 16, dtype=np.float32), 20, axis=0)
    features = centres + 0.01 * generator.standard_normal((60, 16), dtype=np.float32)
    before = random_numbers()
    points = embedding_map(features)
    assert random_numbers() == before
    groups = points.reshape(3, 20, 2)
    within = max(np.linalg.norm(g - g.mean(0), axis=1).max() for g in groups)
    means = groups.mean(1)
    between = min(np.linalg.norm(means[i] - means[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert between > 2 * within
    assert np.array_equal(embedding_map(features), points)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 30])
def test_few_or_equal_embeddings_have_places_too(count):
    features = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    for rows in (features, np.ones_like(features), features[:, :1]):
        points = embedding_map(rows)
        assert points.shape == (count, 2)
        assert np.isfinite(points).all()


def test_every_camera_has_its_points_and_name():
    points = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    cameras = np.array([0, 0, 0, 0, 2, 2, 2, 5, 5])
    names = ["_hidden", "none", "$2$", "", "", "c5"]
    figure = draw_map_by_camera(points, cameras, names)
    assert sorted(drawn(figure).values()) == [2, 3, 4]
    legend = figure.axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["_hidden", "$2$", "c5"]
    as_image(figure)


def test_hundreds_of_cameras_are_not_listed():
    points = np.zeros((300, 2), dtype=np.float32)
    figure = draw_map_by_camera(points, np.arange(300), [str(i) for i in range(300)])
    assert sum(drawn(figure).values()) == 300
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].get_xlabel() == "300 images, 300 cameras"


@pytest.mark.parametrize(
    ("labels", "grey", "caption"),
    [
        ([0, 0, 1, -1, -1, -1], 3, "clusters: 2, images in them: 3, outliers: 3"),
        ([-1] * 6, 6, "clusters: 0, images in them: 0, outliers: 6"),
        ([4] * 6, 0, "clusters: 1, images in them: 6, outliers: 0"),
    ],
)
def test_outliers_are_grey(labels, grey, caption):
    figure = draw_map_by_cluster(np.eye(6, 2, dtype=np.float32), np.array(labels))
    counts = drawn(figure)
    assert counts.get(GREY.lower(), 0) == grey
    assert sum(counts.values()) == 6
    assert figure.axes[0].get_xlabel() == caption
    as_image(figure)
