"""What ``check`` says of images that are dark, bright, blurred, or of odd shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lightning_reid import Market1501
from lightning_reid.cli import run_command_line
from lightning_reid.data.images import pixels_of_pillow
from lightning_reid.inspection import inspect
from lightning_reid.inspection.images import luminance, measure, sharpness

SPOILED = ("dark", "bright", "blurred")


def darkened(image):
    return ImageEnhance.Brightness(image).enhance(0.08)


def brightened(image):
    return Image.blend(image, Image.new("RGB", image.size, "white"), 0.95)


def blurred(image):
    return image.filter(ImageFilter.GaussianBlur(4))


def spoil(file, how):
    with Image.open(file) as image:
        how(image.convert("RGB")).save(file, quality=95)


def pictures_of(inspection):
    return {f.picture: f for f in inspection.findings if f.picture}


def test_sound_people_are_neither_dark_nor_bright_nor_blurred(persons):
    assert not pictures_of(inspect(Market1501(persons), num_workers=0))


def test_real_people_neither(shared):
    done = inspect(Market1501(shared / "data" / "pku_reid", size=(128, 48)))
    assert not pictures_of(done)


@pytest.mark.parametrize(
    ("how", "picture"), [(darkened, "dark"), (brightened, "bright"), (blurred, "blurred")]
)
def test_spoiled_images_are_named_the_worst_first(copy, how, picture):
    files = sorted((copy / "bounding_box_train").iterdir())
    for file in files[4:7]:
        spoil(file, how)
    found = pictures_of(inspect(Market1501(copy), num_workers=0))
    assert list(found) == [picture]
    finding = found[picture]
    assert finding.severity == "note"
    assert finding.found.startswith("3 images (2.4 %) are ")
    assert set(finding.images) == {4, 5, 6}
    values = [float(detail.split(": ")[1]) for detail in finding.details]
    assert values == sorted(values, reverse=picture == "bright")
    assert finding.details[0].startswith(f"bounding_box_train/{files[finding.images[0]].name}: ")


def test_many_dark_images_are_a_warning(copy):
    for file in (copy / "bounding_box_train").iterdir():
        spoil(file, darkened)
    finding = pictures_of(inspect(Market1501(copy), num_workers=0))["dark"]
    assert finding.severity == "warning"
    assert len(finding.details) == 5


def test_blurred_images_are_found_in_a_set_that_is_enlarged(copy):
    files = sorted(copy.glob("*/*.jpg"))
    for file in files:
        spoil(file, lambda image: image.resize((128, 256), Image.Resampling.BICUBIC))
    assert not pictures_of(inspect(Market1501(copy), num_workers=0))
    spoil(files[0], lambda image: image.filter(ImageFilter.GaussianBlur(8)))
    assert pictures_of(inspect(Market1501(copy), num_workers=0))["blurred"].images == (12,)


def test_report_and_pictures_of_the_worst(copy, tmp_path, capsys):
    files = sorted((copy / "bounding_box_train").iterdir())
    for file, how in zip(files, (darkened, brightened, blurred), strict=False):
        spoil(file, how)
    out = tmp_path / "out"
    options = ["--data=Market1501", "--data.batch_size=16", f"--data.root={copy}"]
    assert run_command_line(["check", *options, f"--output={out}", "--num_workers=0"]) == 0
    printed = capsys.readouterr().out
    findings = json.loads((out / "check.json").read_text())["findings"]
    for name in SPOILED:
        sheet = out / "pictures" / f"{name}.png"
        assert str(sheet) in printed
        with Image.open(sheet) as picture:
            assert picture.height < 128 + 40  # one row
    assert [finding["picture"] for finding in findings if finding["picture"]] == list(SPOILED)
    assert not [finding for finding in findings if "images" in finding]


def test_a_picture_shows_forty_of_them(copy, tmp_path):
    for file in (copy / "bounding_box_train").iterdir():
        spoil(file, darkened)
    out = tmp_path / "out"
    options = ["--data=Market1501", f"--data.root={copy}", f"--output={out}", "--num_workers=0"]
    run_command_line(["check", *options])
    with Image.open(out / "pictures" / "dark.png") as picture:
        assert 4 * 128 < picture.height < 5 * 128


def test_brightness_is_the_mean_luminance(tmp_path):
    colors = {"black": 0, "white": 255, "red": 76.2, "lime": 149.7, "blue": 29.1}
    paths = [str(tmp_path / f"{name}.png") for name in colors]
    for path, color in zip(paths, colors, strict=True):
        Image.new("RGB", (5, 9), color).save(path)
    seen = measure(paths, num_workers=0)
    np.testing.assert_allclose(seen.brightness, list(colors.values()), atol=0.1)
    assert np.isnan(seen.sharpness).all()


def grey_of(rng, height=64, width=32):
    return rng.uniform(0, 255, (height, width)).astype(np.float32)


def test_sharpness_is_the_variance_of_the_laplacian_over_that_of_the_image():
    grey = grey_of(np.random.default_rng(0))
    laplacian = sum(np.roll(grey, shift, axis) for shift in (-1, 1) for axis in (0, 1)) - 4 * grey
    expected = laplacian[1:-1, 1:-1].var() / grey.var()
    assert sharpness(grey, (256, 128)) == pytest.approx(expected, rel=1e-4)
    assert sharpness(0.1 * grey + 100, (256, 128)) == pytest.approx(expected, rel=1e-3)


def test_sharpness_falls_with_blur_and_not_with_the_size_of_large_images(persons):
    file = next((persons / "query").iterdir())

    def measured(image):
        return sharpness(luminance(pixels_of_pillow(image)), (128, 64))

    with Image.open(file) as image:
        values = [measured(image.filter(ImageFilter.GaussianBlur(r))) for r in (0, 1, 2, 3)]
        large = measured(image.resize((256, 512), Image.Resampling.BICUBIC))
    assert values == sorted(values, reverse=True)
    assert values[2] < values[0] / 5
    assert large > values[0] / 4


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (1, 300), (300, 2), (3, 3)])
def test_images_of_a_few_pixels(size, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    seen = measure([str(tmp_path / "small.png")], num_workers=0)
    assert (seen.height[0], seen.width[0]) == size
    assert np.isnan(seen.sharpness[0]) == (min(size) < 3)


def test_odd_shapes_are_named_where_the_size_does_not_suit_either(listed_images, sound, draw):
    draw("train_2_c1_1", (96, 16))
    draw("train_3_c1_1", (16, 64))
    done = inspect(listed_images(sound, size=(16, 32)), num_workers=0)
    finding = pictures_of(done)["shapes"]
    assert finding.found.startswith("2 of 46 images have another shape than the rest")
    assert finding.details == ("train_3_c1_1.png", "train_2_c1_1.png")


def test_the_smallest_and_the_oddest_are_named_first(listed_images, sound, draw):
    for i, height in enumerate((24, 12, 6, 12, 24, 12, 6)):
        draw(f"train_{i % 4}_c{1 + i // 4}_1", (height, 32))
    shapes = pictures_of(inspect(listed_images(sound), num_workers=0))["shapes"]
    assert shapes.details[:2] == ("train_2_c1_1.png", "train_2_c2_1.png")
    for i, height in enumerate((6, 4, 2)):
        draw(f"train_{i}_c1_1", (height, height // 2))
    tiny = pictures_of(inspect(listed_images(sound), num_workers=0))["tiny"]
    assert [Path(name).stem for name in tiny.details] == [f"train_{i}_c1_1" for i in (2, 1, 0)]
