"""What ``check`` says of files that are damaged, turned, misnamed, or oddly named."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_reid import Market1501
from lightning_reid.cli import run_command_line
from lightning_reid.data import read_image
from lightning_reid.inspection import inspect
from lightning_reid.inspection.images import measure


def the_finding(inspection, words):
    """The only one with these words."""
    found = [finding.found for finding in inspection.findings]
    (matching,) = [f for f in inspection.findings if words in f.found] or [found]
    return matching


def scene(size=(64, 32)):
    """A picture with large forms and details, as photographs have."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 4, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size[::-1]), dtype=np.int64)
    return Image.fromarray((pixels + rng.integers(-20, 20, pixels.shape)).clip(0, 255).astype("u1"))


def truncated(content):
    return content[: len(content) * 2 // 3]


def without_its_end(content):
    return content[:-2]


def overwritten(content):
    middle = len(content) * 2 // 3
    return content[:middle] + b"\xff\xd9" + content[middle:]


@pytest.mark.parametrize("spoil", [truncated, without_its_end, overwritten])
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_jpegs_that_can_be_decoded_are_named(tmp_path, spoil, workers, capfd):
    paths = [str(tmp_path / name) for name in ("sound.jpg", "damaged.jpg", "sound too.jpg")]
    for path in paths:
        scene().save(path, quality=95)
    Path(paths[1]).write_bytes(spoil(Path(paths[1]).read_bytes()))
    try:
        read_image(paths[1])
        decodes = True
    except ValueError:
        decodes = False
    capfd.readouterr()
    seen = measure(paths, num_workers=workers)
    assert list(seen.damage if decodes else seen.reasons) == [1]
    assert seen.readable.tolist() == [True, decodes, True]
    assert "JPEG" not in capfd.readouterr().err  # what libjpeg prints names no file


def test_a_damaged_jpeg_is_a_warning(listed_images, sound):
    path = Path(sound["train"][3].path)
    scene().save(path, "JPEG", quality=95)
    content = path.read_bytes()
    path.write_bytes(content[:-40] + b"\xff\xd9")
    done = inspect(listed_images(sound), num_workers=0)
    finding = the_finding(done, "1 image is damaged, but can be read.")
    assert finding.severity == "warning"
    assert finding.details[0].startswith(f"{path.name}: ")
    assert finding.images == (3,)
    assert done.works


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_turned_images_are_counted_and_measured_upright(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind.lower()}"
    scene((64, 32)).save(path, kind, exif=exif)
    seen = measure([str(path)], num_workers=0)
    assert seen.turned.tolist() == [orientation != 1]
    size = (32, 64) if orientation > 4 else (64, 32)
    assert (seen.height[0], seen.width[0]) == size
    assert not seen.damage


def test_the_size_that_is_advised_is_that_of_upright_images(listed_images, sound):
    exif = Image.Exif()
    exif[0x0112] = 6
    for sample in sound["train"] + sound["query"] + sound["gallery"]:
        with Image.open(sample.path) as image:
            lying = image.transpose(Image.Transpose.ROTATE_90)
        lying.save(sample.path, exif=exif)  # 16 high and 32 wide as stored
    done = inspect(listed_images(sound), num_workers=0)
    assert the_finding(done, "46 of 46 images are stored turned").severity == "note"
    assert not [f for f in done.findings if "shape" in f.found]
    wide = inspect(listed_images(sound, size=(16, 32)), num_workers=0)
    assert "--data.size '[32,16]'" in the_finding(wide, "do not have the shape").meaning


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("BMP", ".jpg"), ("TIFF", ".jpg"), ("PNG", ".JPEG"), ("JPEG", ".png"), ("WEBP", ".gif")],
)
def test_content_of_another_format_than_the_ending_says(listed_images, sound, kind, ending):
    path = Path(sound["train"][3].path).with_suffix(ending)
    scene((32, 16)).save(path, kind)
    sound["train"][3] = sound["train"][3]._replace(path=str(path))
    finding = the_finding(inspect(listed_images(sound), num_workers=0), "of another format")
    assert finding.severity == "note"
    assert finding.found.endswith(f"says: 1 {kind}.")
    assert finding.details == (f"{path.name}: {kind}",)


def test_other_spellings_of_an_ending_are_no_other_format(tmp_path):
    kinds = {"a.JPG": "JPEG", "b.jfif": "JPEG", "c.TIF": "TIFF", "d.dib": "BMP", "e.pgm": "PPM"}
    for name, kind in {**kinds, "f.frame": "PNG", "g": "PNG"}.items():
        scene().save(tmp_path / name, kind)
    assert measure([str(tmp_path / name) for name in [*kinds, "f.frame", "g"]]).misnamed == {}


def with_a_wrong_checksum_of_its_comment(file):
    """A PNG whose pixels are sound."""
    content = file.read_bytes()
    comment = b"tEXtAuthor\0nobody"
    part = struct.pack(">L", len(comment) - 4) + comment + struct.pack(">L", zlib.crc32(b"x"))
    file.write_bytes(content[:33] + part + content[33:])


def test_a_png_that_is_damaged_beside_its_pixels(tmp_path):
    file = tmp_path / "a.png"
    scene().save(file)
    with_a_wrong_checksum_of_its_comment(file)
    seen = measure([str(file)], num_workers=0)
    assert seen.readable.all()
    assert "tEXt" in seen.damage[0]


def test_paths_that_other_programs_refuse(copy, tmp_path, capsys):
    odd = (b"0001_c1_caf\xe9.jpg", b"0001_c2_a\nb.jpg", b"0001_c3_\x1b[31m\xe2\x80\xae\x9f.jpg")
    folder = copy / "bounding_box_train"
    files = sorted(folder.iterdir())
    for file, name in zip(files, [*odd, "0001_c1_e\u0301 入口.jpg".encode()], strict=False):
        file.rename(folder / os.fsdecode(name))
    finding = the_finding(inspect(Market1501(copy), num_workers=0), "not UTF-8 or holds control")
    assert finding.found.startswith("3 images have a path")
    out = tmp_path / "out"
    options = ["--data=Market1501", "--data.batch_size=16", f"--data.root={copy}"]
    assert run_command_line(["check", *options, f"--output={out}", "--num_workers=0"]) == 0
    printed = capsys.readouterr().out
    for shown in (r"0001_c1_caf\xe9.jpg", r"0001_c2_a\nb.jpg", r"0001_c3_\x1b[31m\u202e\x9f.jpg"):
        assert shown in printed
    assert not {"\x1b", "\u202e"} & set(printed)
    told = json.loads((out / "check.json").read_text(encoding="utf-8"))
    assert finding.found in [row["found"] for row in told["findings"]]
    table = (out / "check.csv").read_bytes()
    assert all(os.fsencode(folder) + b"/" + name in table for name in odd)


def test_cameras_whose_names_are_not_utf8(tmp_path):
    for camera in (b"h\xf6fe", b"gate\x1b\n"):
        folder = tmp_path / os.fsdecode(camera)
        folder.mkdir()
        scene().save(folder / "1.png")
    out = tmp_path / "out"
    data = ["--data=ManifestData", f"--data.root={tmp_path}", "--data.pattern={camera}/*.png"]
    assert run_command_line(["check", *data, f"--output={out}", "--num_workers=0"]) == 0
    assert len(list((out / "pictures" / "cameras").iterdir())) == 2


def test_what_a_parser_leaves_out_is_in_the_report(copy, recwarn):
    (copy / "bounding_box_train" / "0001_c1.heic").touch()
    (copy / "query" / "Thumbs.db").touch()
    done = inspect(Market1501(copy, batch_size=16), num_workers=0)
    finding = the_finding(done, "left out 1 file or folder")
    assert finding.severity == "warning"
    assert "0001_c1.heic" in finding.found
    assert done.works
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]
