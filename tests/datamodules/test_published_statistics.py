"""Data sets are compared with what was published of them."""

import logging

import numpy as np
import pytest

from lightning_reid import (
    CUHK03,
    MARS,
    MSMT17,
    PRID2011,
    DukeMTMCreID,
    DukeMTMCVideoReID,
    Market1501,
    PersonX,
    SyntheticPersons,
    VeRi776,
    VIPeR,
)
from lightning_reid.data import Sample, Samples
from lightning_reid.datamodules.published import Counts, count, differences, from_c1

PUBLISHED = Counts(images=6, identities=3, cameras=from_c1((3, 2), (2, 2), None), tracklets=None)
AS_PUBLISHED = [("c1", 0), ("c1", 0), ("c1", 1), ("c2", 1), ("c2", 2), ("c3", 2)]
SETS = [
    Market1501("data"),
    DukeMTMCreID("data"),
    MSMT17("data"),
    MSMT17("data", use_val=False),
    VeRi776("data"),
    CUHK03("data"),
    CUHK03("data", boxes="labeled"),
    MARS("data"),
    MARS("data", frames_per_tracklet=None),
    DukeMTMCVideoReID("data"),
    PersonX("data"),
    VIPeR("data"),
    PRID2011("data"),
    PRID2011("data", shots="multi"),
]


def images(pairs):
    return Samples.of([Sample(f"{i}.jpg", *pair) for i, pair in enumerate(pairs)])


@pytest.fixture
def complete_list(shared, tmp_path):
    """Lays out the training folder of a set by its complete list of names."""

    def lay(name, leave_out=lambda name: False):
        folder = tmp_path / "bounding_box_train"
        folder.mkdir()
        for file in np.load(shared / f"data/calr_local_labels/{name}.npz")["names"]:
            if not leave_out(str(file)):
                (folder / str(file)).touch()
        return tmp_path

    return lay


def said(caplog, made, stage="fit"):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        made.setup(stage)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kind", [Market1501, DukeMTMCreID])
def test_complete_lists_are_as_published(complete_list, caplog, kind):
    made = kind(complete_list(kind.__name__.lower()))
    assert said(caplog, made) == []
    per_camera = made.published.splits["train"].cameras
    assert count(made.train_samples).cameras == per_camera
    assert sum(identities for _, identities in per_camera.values()) in (3262, 2196)


def test_other_endings_make_no_difference(complete_list, caplog):
    root = complete_list("market1501")
    for number, file in enumerate(sorted((root / "bounding_box_train").iterdir())[:900]):
        file.rename(file.with_suffix((".webp", ".JPG", ".bmp")[number % 3]))
    (root / "bounding_box_train" / "Thumbs.db").touch()
    assert said(caplog, Market1501(root)) == []


def test_what_is_missing_is_said_once(complete_list, caplog):
    root = complete_list("market1501", lambda name: "_c4" in name or name < "0010_c3")
    made = Market1501(root)
    (line,) = said(caplog, made)
    assert line.startswith(f"{root} differs from the published Market-1501 (fine for a set of your")
    found = len(list((root / "bounding_box_train").iterdir()))
    assert f"train: {found:,} images, the published set has 12,936: {12_936 - found:,} are" in line
    assert "c4 -920" in line
    assert "nothing from c4" in line
    assert said(caplog, made) == []


def test_nothing_is_said_of_images_as_published():
    assert differences("train", images(AS_PUBLISHED), PUBLISHED) == []
    assert differences("train", images(AS_PUBLISHED), Counts()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda pairs: pairs[1:],
            ["5 images, the published set has 6: 1 is missing (c1 -1)"],
        ),
        (
            lambda pairs: pairs[:4],
            [
                "4 images, the published set has 6: 2 are missing (c2 -1)",
                "2 identities, the published set has 3: 1 is missing (c2 -1)",
                "nothing from c3",
            ],
        ),
        (
            lambda pairs: [*pairs, ("c2", 2), ("c9", 2)],
            [
                "8 images, the published set has 6: 2 too many (c2 +1)",
                "images from c9, unknown to the published set",
            ],
        ),
        (
            lambda pairs: [("c2", 1), *pairs[1:]],
            ["as many images as published, but in other cameras (c1 -1, c2 +1)"],
        ),
        (
            lambda pairs: [*pairs[:3], ("c2", 1), ("c2", 1), ("c3", 2)],
            ["as many identities as published, but in other cameras (c2 -1)"],
        ),
    ],
)
def test_differences_are_told_by_number_and_camera(change, expected):
    found = differences("train", images(change(AS_PUBLISHED)), PUBLISHED)
    assert found == [f"train: {sentence}" for sentence in expected]


def test_unknown_identities_are_not_counted():
    unknown = images([(camera, None) for camera, _ in AS_PUBLISHED])
    assert count(unknown) == Counts(6, 0, from_c1((3, 0), (2, 0), (1, 0)), 0)
    (sentence,) = differences("train", unknown, PUBLISHED)
    assert sentence == (
        "train: 0 identities, the published set has 3: 3 are missing (c1 -2, c2 -2)"
    )


def test_tracklets_are_counted_within_cameras():
    samples = images([("c1", 0, "t1"), ("c1", 0, "t1"), ("c1", 0, "t2"), ("c2", 0, "t1")])
    assert count(samples).tracklets == 3
    assert differences("gallery", samples, Counts(tracklets=4)) == [
        "gallery: 3 tracklets, the published set has 4: 1 is missing"
    ]


def test_many_cameras_are_not_all_listed():
    published = Counts(images=20, cameras=from_c1(*20 * [(1, 1)]))
    images_missing, nothing_from = differences("train", images([("c1", 0)]), published)
    assert images_missing.endswith("c9 -1 and 11 more)")
    assert nothing_from.endswith("c9 and 11 more")


@pytest.mark.parametrize("made", SETS, ids=lambda made: made.published.name)
def test_published_numbers_agree_with_each_other(made):
    for split in ("train", "query", "gallery"):
        counts = made.published.splits[split]
        per_camera = list(counts.cameras.values())
        if per_camera and None not in per_camera and counts.images:
            assert sum(images for images, _ in per_camera) == counts.images
            most = max(identities for _, identities in per_camera)
            assert most <= counts.identities <= sum(identities for _, identities in per_camera)
        assert counts.images or counts.tracklets


def test_msmt17_knows_its_sizes_with_and_without_val():
    with_val, without = (MSMT17("data", use_val=v).published.splits["train"] for v in (True, False))
    assert (with_val.images, without.images) == (32_621, 30_248)
    assert sum(identities for _, identities in with_val.cameras.values()) == 4821
    assert len(with_val.cameras) == len(without.cameras) == 15


def test_mars_counts_images_only_where_all_are_loaded():
    assert MARS("data").published.splits["train"].images is None
    assert MARS("data", frames_per_tracklet=None).published.splits["train"].images == 509_914


def test_sets_of_ones_own_are_not_compared(persons, caplog):
    class Own(Market1501):
        """Another set in the layout of Market-1501."""

    drawn = SyntheticPersons(persons)
    assert drawn.published is None
    assert said(caplog, drawn, None) == said(caplog, Own(persons), None) == []


def test_the_test_images_are_compared_too(persons, caplog):
    (line,) = said(caplog, Market1501(persons), "test")
    assert "query: " in line
    assert "gallery: " in line
    assert "train: " not in line
