import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_reid.data import synthetic
from lightning_reid.data.synthetic import (
    draw_person,
    draw_synthetic_persons,
    sample_camera,
    sample_person,
)

SMALL = {
    "num_train_identities": 3,
    "num_test_identities": 2,
    "num_cameras": 3,
    "images_per_camera": 2,
    "num_distractors": 4,
    "size": (64, 32),
    "progress": False,
}
NAME = re.compile(r"(\d{4})_c(\d)s1_(\d{6})_00\.jpg")


def content(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*.jpg")}


def names(root: Path, folder: str) -> list[tuple[int, int]]:
    matches = [NAME.fullmatch(f.name) for f in (root / folder).iterdir()]
    return [(int(m[1]), int(m[2])) for m in matches]


def draw_small(root: Path) -> Path:
    return draw_synthetic_persons(root, **SMALL)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_synthetic_persons(tmp_path_factory.mktemp("drawn") / "persons", **SMALL)


def test_layout(drawn):
    train = names(drawn, "bounding_box_train")
    query = names(drawn, "query")
    gallery = names(drawn, "bounding_box_test")
    assert {identity for identity, _ in train} == {1, 2, 3}
    assert {identity for identity, _ in query} == {4, 5}
    assert len(query) == len(set(query))  # one for each person and camera
    assert set(gallery) >= set(query)
    assert [identity for identity, _ in gallery].count(0) == 4
    assert {camera for _, camera in train + gallery} <= {1, 2, 3}
    for identity in (4, 5):  # every query has a match in another camera
        assert len({camera for person, camera in gallery if person == identity}) >= 2
    with Image.open(next((drawn / "query").iterdir())) as image:
        assert (image.mode, image.size) == ("RGB", (32, 64))


def test_same_seed_same_bytes(drawn, tmp_path):
    assert content(draw_small(tmp_path / "again")) == content(drawn)


def test_another_seed_other_images(drawn, tmp_path):
    other = draw_synthetic_persons(tmp_path / "other", **SMALL, seed=1)
    files = content(other)
    shared = [name for name, data in content(drawn).items() if files.get(name) == data]
    assert not shared


def test_more_people_leave_the_others_as_they_were(drawn, tmp_path):
    more = SMALL | {"num_test_identities": 4, "num_distractors": 6}
    grown = content(draw_synthetic_persons(tmp_path / "grown", **more))
    assert content(drawn).items() <= grown.items()


def test_a_finished_set_is_kept(drawn):
    before = {f: f.stat().st_mtime_ns for f in drawn.rglob("*")}
    assert draw_small(drawn) == drawn
    assert {f: f.stat().st_mtime_ns for f in drawn.rglob("*")} == before


def test_other_settings_are_an_error(drawn):
    with pytest.raises(ValueError, match=re.escape(str(drawn))):
        draw_synthetic_persons(drawn, **SMALL, seed=1)


def test_a_foreign_folder_is_an_error(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="another"):
        draw_small(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["holiday.jpg"]


def test_one_camera_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="num_cameras"):
        draw_synthetic_persons(tmp_path / "persons", **SMALL | {"num_cameras": 1})


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / "persons"
    root.mkdir()
    draw_small(root)
    assert json.loads((root / "settings.json").read_text())["num_cameras"] == 3


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return draw_person(*args)

    monkeypatch.setattr(synthetic, "draw_person", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_small(tmp_path / "persons")
    assert not list(tmp_path.iterdir())


def test_two_at_once(drawn, tmp_path):
    root = tmp_path / "persons"
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(draw_small, [root, root])) == [root, root]
    assert content(root) == content(drawn)
    assert [f.name for f in tmp_path.iterdir()] == ["persons"]


def test_cameras_render_the_same_person_differently():
    person = sample_person(np.random.default_rng(0))
    means = []
    for camera in range(4):
        setting = sample_camera(np.random.default_rng(camera))
        shots = [draw_person(person, setting, np.random.default_rng(i)) for i in range(4)]
        means.append([shot.mean(axis=(0, 1)) for shot in shots])
    within = np.std(means, axis=1).mean()
    between = np.std(np.mean(means, axis=1), axis=0).mean()
    assert between > 2 * within


def test_every_person_can_be_drawn_from_everywhere():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image = draw_person(sample_person(rng), sample_camera(rng), rng, size=(96, 48))
        assert image.shape == (96, 48, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5
