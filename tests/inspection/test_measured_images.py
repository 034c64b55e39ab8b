"""What is measured of every image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_images import png_with_damaged_pixels, tagged
from PIL import Image

from lightning_reid.data import read_image
from lightning_reid.inspection.images import difference_hash, measure


def bits_apart(a, b):
    return bin(int(a) ^ int(b)).count("1")


def test_sizes_and_readability(draw, tmp_path):
    paths = [draw("a", (40, 20)), draw("b", (7, 300)), draw("broken", kind=".jpg")]
    content = Path(paths[2]).read_bytes()
    Path(paths[2]).write_bytes(content[: len(content) // 2])
    empty = tmp_path / "empty.png"
    empty.touch()
    damaged, lying = tmp_path / "damaged.png", tmp_path / "lying.jpg"
    damaged.write_bytes(png_with_damaged_pixels(paths[0]))
    Image.new("RGB", (40, 20)).save(lying, exif=tagged(6))
    further = [str(empty), str(tmp_path / "missing.jpg"), str(damaged), str(lying)]
    seen = measure([*paths, *further], num_workers=0)
    assert seen.height.tolist() == [40, 7, 0, 0, 0, 0, 40]
    assert seen.width.tolist() == [20, 300, 0, 0, 0, 0, 20]
    assert seen.readable.tolist() == [True, True, False, False, False, False, True]
    assert sorted(seen.reasons) == [2, 3, 4, 5]
    named = [(2, "broken.jpg"), (4, "missing.jpg"), (5, "damaged.png")]
    assert all(name in seen.reasons[i] for i, name in named)


def test_the_digest_is_of_pixels_and_not_of_files(draw, tmp_path):
    file = draw("a")
    same, bmp, other = tmp_path / "same.png", tmp_path / "same.bmp", tmp_path / "other.png"
    picture = Image.open(file)
    picture.save(same, compress_level=1)
    picture.save(bmp)
    changed = np.array(picture)
    changed[5, 5, 0] ^= 1
    Image.fromarray(changed).save(other)
    assert Path(file).read_bytes() != same.read_bytes()
    digests = measure([file, str(same), str(bmp), str(other)], num_workers=0).digest
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_the_digest_is_of_the_shape_too(tmp_path):
    files = [str(tmp_path / "tall.png"), str(tmp_path / "wide.png")]
    for file, size in zip(files, [(8, 32), (32, 8)], strict=True):
        Image.new("RGB", size, (9, 9, 9)).save(file)
    seen = measure(files, num_workers=0)
    assert seen.digest[0] != seen.digest[1]
    assert seen.plain.all()


def test_the_hash_survives_another_quality_and_size_and_tells_people_apart(persons, tmp_path):
    files = sorted((persons / "bounding_box_train").iterdir())[:24]
    again = [tmp_path / f"{file.stem}.jpg" for file in files]
    for file, copy in zip(files, again, strict=True):
        Image.open(file).resize((48, 96), Image.Resampling.LANCZOS).save(copy, quality=85)
    seen = measure([*map(str, files), *map(str, again)], num_workers=0)
    first, second = seen.hash[:24], seen.hash[24:]
    assert np.median([bits_apart(a, b) for a, b in zip(first, second, strict=True)]) <= 3
    strangers = [bits_apart(a, b) for i, a in enumerate(first) for b in first[:i]]
    assert np.median(strangers) > 15
    assert not seen.plain.any()


def test_the_hash_by_hand():
    # columns of rising and falling brightness, one value for each of the nine cells
    levels = np.array([10, 60, 50, 90, 130, 120, 100, 180, 170], dtype=np.uint8)
    row = np.repeat(levels, 4)
    bits, plain = difference_hash(torch.from_numpy(np.tile(row, (3, 32, 1))))
    rises = "".join(str(int(rise)) for rise in levels[1:] > levels[:-1])
    assert f"{bits:064b}" == rises * 8
    assert not plain


def test_workers_change_nothing(draw):
    paths = [draw(f"image{i}", (20 + i % 7, 16)) for i in range(150)]
    Path(paths[77]).write_bytes(b"no image")
    keep = np.array([3, 77, 149])
    alone, together = (measure(paths, keep, num_workers=n) for n in (0, 2))
    for name in ("height", "width", "readable", "plain", "digest", "hash"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
    assert alone.reasons == together.reasons
    assert sorted(together.thumbnails) == [3, 149]
    for i, picture in together.thumbnails.items():
        np.testing.assert_array_equal(alone.thumbnails[i], picture)
        assert max(picture.shape) == 128


def test_an_image_of_one_row_is_an_image(draw):
    seen = measure([draw("line", (1, 50)), draw("dot", (1, 1))], np.array([0, 1]), num_workers=0)
    assert seen.readable.all()
    assert seen.thumbnails[0].shape == (3, 128, 3)


def test_no_images_at_all():
    assert len(measure([]).height) == 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_other_modes_are_read_as_training_reads_them(tmp_path, mode):
    file = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(file)
    seen = measure([str(file)], num_workers=0)
    assert seen.hash[0] == difference_hash(read_image(str(file)))[0]
