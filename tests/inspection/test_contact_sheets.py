"""Pictures of what a camera sees."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightning_reid.datamodules import ManifestData
from lightning_reid.inspection import inspect
from lightning_reid.inspection.contact_sheet import choose_images, draw_contact_sheet, file_names
from lightning_reid.inspection.report import write_inspection


@given(st.lists(st.integers(0, 4), max_size=300), st.integers(0, 3))
def test_up_to_forty_of_each_camera(cameras, seed):
    cameras = np.array(cameras, dtype=np.int64)
    chosen = choose_images(cameras, seed)
    assert len(np.unique(chosen)) == len(chosen)
    counts = np.bincount(cameras, minlength=5)
    np.testing.assert_array_equal(np.bincount(cameras[chosen], minlength=5), np.minimum(counts, 40))


def test_the_choice_is_random_and_repeatable():
    cameras = np.repeat([0, 1], 500)
    first, again, other = choose_images(cameras), choose_images(cameras), choose_images(cameras, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 100 < first[:40].mean() < 400  # not the first ones


def test_many_cameras_share_the_memory():
    cameras = np.repeat(np.arange(3_000), 50)
    assert np.bincount(cameras[choose_images(cameras)]).tolist() == [4] * 3_000


def test_a_sheet_shows_every_thumbnail_in_its_place():
    colours = [(20 * i, 255 - 20 * i, 7) for i in range(12)]
    thumbnails = [np.full((60, 30, 3), colour, dtype=np.uint8) for colour in colours]
    sheet = np.asarray(draw_contact_sheet("c1", thumbnails))
    seen = [tuple(pixel) for pixel in sheet[::4, ::4].reshape(-1, 3)]
    assert set(colours) <= set(seen)
    first, last = seen.index(colours[0]), seen.index(colours[11])
    assert first < seen.index(colours[1]) < seen.index(colours[10]) < last
    assert sheet[:18].min() < 128  # the title is written


@given(st.lists(st.text(max_size=300), unique=True, max_size=8))
def test_every_camera_gets_a_file_name_of_its_own(cameras):
    names = list(file_names(cameras))
    assert len({name.casefold() for name in names}) == len(cameras)
    for name in names:
        assert name
        assert not set(name) & set('/\\:*?"<>|.\0\n')
        assert len(f"{name}.png".encode()) < 256


def test_plain_names_stay_and_others_stay_apart():
    names = ["c1", "入口", "hall/north", "hall:north", "C1", "", "..", "a" * 99]
    assert list(file_names(names)) == [
        "c1",
        "入口",
        "hall_north",
        "hall_north-2",
        "C1-2",
        "camera",
        "_",
        "a" * 60,
    ]


def test_a_title_is_written_in_its_script_and_as_far_as_it_fits():
    thumbnail = np.zeros((20, 10, 3), dtype=np.uint8)
    one, other = (np.asarray(draw_contact_sheet(name, [thumbnail])) for name in ("Вход", "Двор"))
    assert not np.array_equal(one, other)
    long = np.asarray(draw_contact_sheet("Вход " * 99, [thumbnail]))
    assert long.shape == one.shape
    assert (long[:18, -4:] == 255).all()


def test_a_camera_in_any_script_has_a_sheet(tmp_path):
    lines = [f"{folder}/1.png,{folder}" for folder in ("Вход", "入口")]
    for folder in ("Вход", "入口"):
        (tmp_path / folder).mkdir()
        Image.effect_noise((16, 32), 50).save(tmp_path / folder / "1.png")
    (tmp_path / "list.csv").write_text("\n".join(["path,camera", *lines]), encoding="utf-8")
    inspection = inspect(ManifestData(tmp_path / "list.csv"), num_workers=0)
    write_inspection(inspection, tmp_path / "check")
    for number, (folder, written) in enumerate({"Вход": "Вход", "入口": "#2"}.items()):
        drawn = np.asarray(Image.open(tmp_path / f"check/pictures/cameras/{folder}.png"))
        thumbnail = inspection.data.measured.thumbnails[number]
        expected = np.asarray(draw_contact_sheet(f"{written}: 1 of 1 images", [thumbnail]))
        np.testing.assert_array_equal(drawn, expected)
