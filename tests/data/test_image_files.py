"""Image files of every format, sound and damaged, hostile and odd."""

import multiprocessing
import os
import resource
import struct
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import damaged_images
import numpy as np
import pytest
import torch
from damaged_images import (
    DEPTHS,
    chunk,
    png_of_noise,
    saved,
    sound_files,
    tagged,
    with_right_checksums,
)
from PIL import Image, features
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode
from torchvision.io import decode_image as decode_with_torchvision

from lightning_reid.data import ImageDataset, UnreadableImageError, read_image
from lightning_reid.data import test_transform as plain_transform
from lightning_reid.data.images import (
    MAX_PIXELS,
    decode_image,
    image_damage,
    image_orientation,
    read_header,
)
from lightning_reid.messages import printable
from lightning_reid.search.query import pixels_of

TURNED = {  # an image (H, W, 3) as it has to be seen, by its EXIF orientation
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
TAGGED_FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def image(rng):
    """Of 12 x 20 pixels, no two corners alike."""
    small = rng.integers(0, 256, (5, 3, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((12, 20), Image.Resampling.BICUBIC)


def rows(image):
    """The pixels of an image ``(3, H, W)``, as ``(H, W, 3)``."""
    return image.permute(1, 2, 0).numpy()


def with_damaged_pixels(png, repaired=False):
    """The file with zeros in the middle of its pixels, and their checksum right or wrong."""
    place = png.index(b"IDAT") + 4
    (length,) = struct.unpack_from(">L", png, place - 8)
    content = bytearray(png[place : place + length])
    content[length // 2 : length // 2 + 20] = bytes(20)
    damaged = png[:place] + bytes(content) + png[place + length :]
    return with_right_checksums(damaged) if repaired else damaged


@pytest.mark.parametrize("kind", TAGGED_FORMATS)
@pytest.mark.parametrize("orientation", TURNED)
def test_every_orientation_of_every_format_is_turned_upright(tmp_path, image, kind, orientation):
    file = tmp_path / "lying"
    lying = rows(decode_image(saved(image, kind)))
    file.write_bytes(saved(image, kind, exif=tagged(orientation)))
    upright = rows(read_image(str(file)))
    np.testing.assert_array_equal(upright, TURNED[orientation](lying))
    with Image.open(file) as picture:
        np.testing.assert_array_equal(rows(pixels_of(picture)), upright)
    if kind != "TIFF":
        header = read_header(file.read_bytes())
        assert header == (kind, 20, 12, orientation)
    assert image_orientation(file.read_bytes()) == orientation


def exif_block(order, kind, value, tag=0x0112):
    mark, sign = {"II": (b"II*\0", "<"), "MM": (b"MM\0*", ">")}[order]
    layout = {1: "Bxxx", 3: "Hxx", 4: "L"}[kind]
    entries = struct.pack(sign + "HHHL4s", 2, 0x010F, 2, 1, b"me\0\0")
    entries += struct.pack(sign + "HHL" + layout, tag, kind, 1, value)
    return mark + struct.pack(sign + "L", 8) + entries + bytes(4)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_exif_of_every_byte_order_and_type(image, order, kind):
    data = saved(image, "JPEG", exif=b"Exif\0\0" + exif_block(order, kind, 6))
    assert image_orientation(data) == 6
    assert decode_image(data).shape == (3, 12, 20)


def malformed_exif():
    """Blocks that hold no orientation, by what is wrong with them."""
    block = exif_block("MM", 3, 6)
    return {
        "empty": b"",
        "cut": block[:-12],
        "no byte order": b"XX" + block[2:],
        "begins beyond its end": block[:4] + struct.pack(">L", 10**9) + block[8:],
        "orientation 0": exif_block("MM", 3, 0),
        "orientation 9": exif_block("MM", 3, 9),
        "orientation 65535": exif_block("II", 3, 65535),
        "another tag": exif_block("II", 3, 6, tag=0x0113),
        "noise": np.random.default_rng(0).bytes(200),
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("what", malformed_exif())
def test_malformed_exif_is_ignored(image, kind, what):
    data = saved(image, kind, exif=b"Exif\0\0" + malformed_exif()[what])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        assert image_orientation(data) == 1
        assert torch.equal(decode_image(data), decode_image(saved(image, kind)))


def test_exif_after_the_size_of_a_jpeg_counts(image):
    data = saved(image, "JPEG", exif=tagged(3))
    start, end = data.index(b"\xff\xe1"), data.index(b"\xff\xdb")
    scan = data.index(b"\xff\xda")
    moved = data[:start] + data[end:scan] + data[start:end] + data[scan:]
    assert image_orientation(moved) == 3
    assert torch.equal(decode_image(moved), decode_image(data))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "bmp", "tif", "avif", "JPEG", ""])
def test_the_content_tells_the_format_not_the_ending(tmp_path, rng, ending):
    for number, (what, data) in enumerate(sound_files(rng).items()):
        file = tmp_path / f"{number}.{ending}"
        file.write_bytes(data)
        assert torch.equal(read_image(str(file)), decode_image(data)), what


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "depth"), [(c, d) for c in DEPTHS for d in DEPTHS[c]])
def test_pixels_of_every_mode_of_png(rng, color, depth, interlaced):
    clear = chunk(b"tRNS", rng.bytes({0: 2, 2: 6, 3: 2}[color])) if color in (0, 2, 3) else b""
    for size in ((1, 1), (9, 5), (33, 17)):
        for further in (b"", clear):
            data = png_of_noise(rng, *size, depth, color, interlaced, further)
            expected = of_torchvision(data)
            assert torch.equal(decode_image(data), expected)


def of_torchvision(data):
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    image = decode_with_torchvision(encoded, mode=ImageReadMode.RGB)
    if image.dtype == torch.uint16:
        return (image.double() / 257).round().to(torch.uint8)
    return image[0] if image.ndim == 4 else image


def test_pixels_are_those_of_torchvision(rng, image):
    colors = image.quantize(16)
    files = {what: data for what, data in sound_files(rng).items() if what != "PPM"}
    files = {what: data for what, data in files.items() if what.startswith(("JPEG", "WEBP", "GIF"))}
    del files["JPEG2000"], files["WEBP moving"]  # torchvision reads neither
    files["PNG moving"] = sound_files(rng)["PNG moving"]
    for background in (0, 7):
        clear = saved(colors, "GIF", transparency=3, background=background)
        files[f"GIF with holes {background}"] = clear
        smaller = bytearray(clear)  # the frame covers a part of the image
        struct.pack_into("<HH", smaller, 6, 17, 25)
        struct.pack_into("<HH", smaller, smaller.index(b"\x2c\0\0\0\0", 13) + 1, 2, 1)
        files[f"GIF of a part {background}"] = bytes(smaller)
    for what, data in files.items():
        header = read_header(data)
        stored = rows(of_torchvision(data))
        np.testing.assert_array_equal(
            rows(decode_image(data)), TURNED[header.orientation](stored), what
        )


def test_of_several_frames_the_first_is_taken(tmp_path):
    frames = [Image.new("RGB", (5, 9), color) for color in ("red", "lime", "blue")]
    for kind in ("PNG", "GIF", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        red, green, blue = decode_image(data).float().mean((1, 2))
        assert (red > 240, green < 15, blue < 15) == (True,) * 3, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_names_that_are_not_utf_8(tmp_path, image, kind):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff." + kind.lower().encode())
    Path(path).write_bytes(saved(image, kind))
    assert read_image(path).shape == (3, 20, 12)
    dataset = ImageDataset([path], torch.tensor([0]), plain_transform((16, 8)))
    (batch,) = DataLoader(dataset, num_workers=1)
    assert batch["image"].shape == (1, 3, 16, 8)
    Path(path).write_bytes(b"no image")
    with pytest.raises(UnreadableImageError) as error:
        read_image(path)
    assert printable(path) in str(error.value)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
@pytest.mark.parametrize(
    "what", ["pipe", "folder", "device", "nothing", "link to nothing", "empty"]
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, ending, what):
    path = tmp_path / f"odd.{ending}"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "link to nothing":
        path.symlink_to(tmp_path / "gone")
    elif what == "empty":
        path.touch()
    reason = {"pipe": "not a regular file", "empty": "the file is empty"}
    reason |= dict.fromkeys(("folder", "device"), "not a regular file")
    expected = reason.get(what, "No such file or directory")
    with pytest.raises(UnreadableImageError, match=f"cannot read image {path}: {expected};"):
        read_image(str(path))


def test_a_name_with_a_zero_byte_is_refused():
    with pytest.raises(UnreadableImageError, match=r"cannot read image a\\x00b"):
        read_image("a\0b.jpg")


def enormous_files():
    """Small files that claim more pixels than are allowed, by format."""
    side = 30_000
    header = struct.pack(">LLBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    image = Image.new("L", (16, 16))
    jpeg, bmp, gif, tiff = (
        bytearray(saved(image, kind)) for kind in ("JPEG", "BMP", "GIF", "TIFF")
    )
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, side, side)
    struct.pack_into("<LL", bmp, 18, side, side)
    struct.pack_into("<HH", gif, 6, side, side)
    for tag in (256, 257):
        struct.pack_into("<L", tiff, tiff.index(struct.pack("<HH", tag, 4)) + 8, side)
    progressive = bytearray(saved(image, "JPEG", progressive=True))
    struct.pack_into(">HH", progressive, progressive.index(b"\xff\xc2") + 5, side, side)
    webp = bytearray(saved(image, "WEBP"))
    struct.pack_into("<HH", webp, webp.index(b"\x9d\x01\x2a") + 3, 16383, 16383)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND")
    return {
        "PNG": damaged_images.PNG + chunk(b"IHDR", header) + pixels,
        "JPEG": jpeg,
        "JPEG progressive": progressive,
        "BMP": bmp,
        "GIF": gif,
        "TIFF": tiff,
        "WEBP": webp,
        "PPM": b"P5 30000 30000 255 ",
    }


def peak_memory(function):
    """Bytes that were in use beyond what was in use before (Linux)."""

    def resident(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # resets the highest resident size
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


@pytest.mark.parametrize("what", enormous_files())
def test_files_that_claim_too_many_pixels_take_no_memory(tmp_path, what):
    file = tmp_path / "bomb.jpg"
    file.write_bytes(enormous_files()[what])
    assert file.stat().st_size < 50_000

    def refuse():
        with pytest.raises(UnreadableImageError, match=r"bomb\.jpg: .* pixels"):
            read_image(str(file))

    assert peak_memory(refuse) < 30e6


def test_the_limit_of_pixels_is_an_option(tmp_path, image):
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF"):
        file = tmp_path / f"small.{kind.lower()}"
        image.save(file)
        assert read_image(str(file), max_pixels=240).shape == (3, 20, 12)
        with pytest.raises(UnreadableImageError, match="12 x 20 pixels.* max_pixels=239 allows"):
            read_image(str(file), max_pixels=239)
        dataset = ImageDataset(
            [str(file)], torch.tensor([0]), plain_transform((16, 8)), max_pixels=239
        )
        with pytest.raises(UnreadableImageError, match=file.name):
            dataset[0]


def test_of_a_gif_with_many_frames_only_the_first_is_decoded(tmp_path):
    file = tmp_path / "many.gif"
    frames = [Image.new("L", (400, 400), shade % 256) for shade in range(300)]
    frames[0].save(file, save_all=True, append_images=frames[1:])
    assert peak_memory(lambda: read_image(str(file))) < 30e6


def test_a_file_far_larger_than_its_image_may_be_is_not_read(tmp_path):
    file = tmp_path / "sparse.bmp"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(UnreadableImageError, match=r"sparse\.bmp: 1099\.5 GB are too large"):
        read_image(str(file))


def test_a_jpeg_of_endless_scans_is_refused(image):
    data = saved(image, "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    with pytest.raises(ValueError, match="more than 1000 scans"):
        decode_image(data[:-2] + data[scan:-2] * 1000 + data[-2:])


def test_large_images_are_read_without_a_warning():
    data = png_of_noise(np.random.default_rng(0), 1, 1, 1, 0)
    side = 10_000
    header = struct.pack(">LLBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + side // 8) * side), 1)
    data = data[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")
    assert side * side <= MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data).shape == (3, side, side)


@pytest.mark.parametrize("ending", ["bmp", "jpg", "eps"])
def test_no_other_program_is_started(tmp_path, monkeypatch, ending):
    from PIL import EpsImagePlugin

    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None, raising=False)
    file = tmp_path / f"drawing.{ending}"
    file.write_bytes(saved(Image.new("RGB", (4, 4)), "EPS"))
    with pytest.raises(UnreadableImageError, match=rf"drawing\.{ending}: not one of JPEG, PNG"):
        read_image(str(file))
    assert not (tmp_path / "started").exists()


def message_of(function, *arguments):
    """What is wrong, empty if nothing is."""
    try:
        function(*arguments)
    except UnreadableImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize(("color", "depth"), [(c, d) for c in DEPTHS for d in DEPTHS[c]])
def test_damaged_pixels_of_a_png_are_named(tmp_path, rng, color, depth, repaired):
    for interlaced in (False, True):
        file = tmp_path / "damaged.png"
        whole = png_of_noise(rng, 48, 24, depth, color, interlaced)
        file.write_bytes(with_damaged_pixels(whole, repaired))
        message = message_of(read_image, str(file))
        assert f"cannot read image {file}: " in message or (repaired and not message)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_one_flipped_bit_of_a_png_is_found(tmp_path, image, place):
    data = bytearray(saved(image, "PNG"))
    begin, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    data[int(begin + place * (end - begin))] ^= 1
    (tmp_path / "flipped.png").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"flipped\.png: the checksum of its chunk IDAT"):
        read_image(str(tmp_path / "flipped.png"))


def test_chunks_of_a_png_in_no_valid_order_are_refused(image):
    data = saved(image, "PNG")
    header, rest = data[8:33], data[33:]
    huge = chunk(b"IHDR", struct.pack(">LLBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    for wrong in (rest, header + huge + rest, header + rest[:-12] + huge + rest[-12:]):
        with pytest.raises(ValueError, match="no valid order"):
            decode_image(data[:8] + wrong)
    with pytest.raises(ValueError, match="unknown chunk b'CgBI'"):  # of Apple, with other pixels
        decode_image(data[:33] + chunk(b"CgBI", b"1234") + rest)


def test_damage_of_sound_files_is_none(rng, capfd):
    for what, data in sound_files(rng).items():
        assert image_damage(data) is None, what
        if not what.startswith(("TIFF", "AVIF", "JPEG2000")):
            assert image_damage(data + b"more") is None, what
    assert capfd.readouterr().err == ""


def test_damage_of_a_jpeg_that_is_still_decoded(image, capfd):
    data = saved(image.resize((96, 192)), "JPEG")
    found = set()
    for place in range(data.index(b"\xff\xda") + 20, len(data) - 40, 10):
        damaged = data[:place] + b"\x55\xaa\x55\xaa" + data[place + 4 :]
        assert decode_image(damaged).shape == (3, 192, 96)
        told = capfd.readouterr().err.split("\n")[0]  # by libjpeg
        found.add(image_damage(damaged))
        assert (image_damage(damaged) or "") == told
        assert capfd.readouterr().err == ""
    assert any((damage or "").startswith("Corrupt JPEG data") for damage in found), found


def test_damage_of_other_files(image):
    png = saved(image, "PNG", exif=tagged(6))
    assert image_damage(png[:-12]) == "the file ends too early"
    assert decode_image(png[:-12]).shape == (3, 12, 20)
    place = png.index(b"eXIf") + 20
    comment = png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :]
    assert image_damage(comment) == "the checksum of its chunk eXIf is wrong"
    assert image_damage(with_damaged_pixels(png)) == "the checksum of its chunk IDAT is wrong"
    assert "truncated" in image_damage(saved(image, "BMP")[:-50])
    assert image_damage(b"") == "the file is empty"


def test_what_others_print_meanwhile_is_not_lost(capfd):
    from lightning_reid.data.images import _printed_by_libjpeg

    with _printed_by_libjpeg() as printed:
        os.write(2, b"from another thread\nCorrupt JPEG data: bad Huffman code\n")
    assert printed == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "from another thread\n"


def in_a_child(function, *arguments):
    """What a function returns in a process of its own, which it may spoil."""
    forked = multiprocessing.get_context("fork")
    here, there = forked.Pipe(duplex=False)
    child = forked.Process(target=lambda: there.send(function(*arguments)))
    child.start()
    there.close()
    try:
        returned = here.recv()
    except EOFError:
        returned = None
    child.join()
    assert child.exitcode == 0, f"ended by {child.exitcode}"
    return returned


@contextmanager
def at_most(kind, number):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_too_little_memory_is_not_the_fault_of_an_image(tmp_path, ending):
    file = tmp_path / f"large.{ending}"
    Image.new("L", (6000, 6000)).save(file)

    def read():
        read_image(str(file), max_pixels=6000 * 6000)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 60_000_000
        with at_most(resource.RLIMIT_AS, limit), pytest.raises(MemoryError):
            read_image(str(file))

    in_a_child(read)


def test_too_many_open_files_are_not_the_fault_of_an_image(tmp_path, image):
    image.save(tmp_path / "small.jpg")

    def read():
        number = os.dup(0)
        with at_most(resource.RLIMIT_NOFILE, number), pytest.raises(OSError, match="Too many"):
            read_image(str(tmp_path / "small.jpg"))

    in_a_child(read)


def test_damage_is_found_without_a_standard_error_stream(image):
    data = saved(image, "JPEG")
    middle = data.index(b"\xff\xda") + 40
    damaged = data[:middle] + b"\xff\xd9" + data[middle + 2 :]
    stream = os.dup(2)
    os.close(2)
    try:
        assert image_damage(data) is None
        assert image_damage(damaged).startswith("Corrupt JPEG data")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(2)  # it is still closed
    finally:
        os.dup2(stream, 2)
        os.close(stream)


@pytest.mark.parametrize("count", [240, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_damaged_file_ends_the_process(tmp_path, count):
    decoded = in_a_child(damaged_images.read_damaged_files, tmp_path, count)
    assert 0 < decoded < count / 2
