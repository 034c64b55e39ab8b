import math
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lightning_reid.data import (
    Augmentation,
    ImageCache,
    ImageDataset,
    RandomErase,
    Sample,
    UnreadableImageError,
    parse_market_folder,
    read_image,
    train_transform,
)
from lightning_reid.data import test_transform as plain_transform
from lightning_reid.errors import InputError
from lightning_reid.search.query import pixels_of

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def folder(tmp_path):
    for name in ("0002_c1s1_000451_03.jpg", "-1_c3s2_000001_00.jpg", "0000_c10s1_000001_00.PNG"):
        Image.new("RGB", (5, 9), (200, 100, 50)).save(tmp_path / name)
    (tmp_path / "Thumbs.db").write_bytes(b"not an image")
    return tmp_path


def test_market_names(folder):
    assert parse_market_folder(folder) == [
        Sample(str(folder / "0000_c10s1_000001_00.PNG"), "c10", 0),
        Sample(str(folder / "0002_c1s1_000451_03.jpg"), "c1", 2),
    ]


def test_real_images(shared):
    samples = parse_market_folder(shared / "data/pku_reid/bounding_box_train")
    assert len(samples) == 800
    assert len({s.identity for s in samples}) == 50
    assert {s.camera for s in samples} == {"c1", "c2"}


def test_market_train_list_of_names(shared, tmp_path):
    names = np.load(shared / "data/calr_local_labels/market1501.npz")["names"]
    for name in names:
        (tmp_path / str(name)).touch()
    samples = parse_market_folder(tmp_path)
    counts = {c: sum(s.camera == c for s in samples) for c in sorted({s.camera for s in samples})}
    assert list(counts.values()) == [2017, 1709, 2707, 920, 2338, 3245]
    assert len({s.identity for s in samples}) == 751


@pytest.mark.parametrize(
    ("name", "message"), [("person.jpg", "cannot tell identity and camera .*person.jpg")]
)
def test_a_name_without_camera_is_named(folder, name, message):
    (folder / name).touch()
    with pytest.raises(ValueError, match=message):
        parse_market_folder(folder)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        parse_market_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=f"no images .* in {tmp_path}"):
        parse_market_folder(tmp_path)


def test_items_hold_image_camera_index_and_nothing_else(folder):
    path = str(folder / "0002_c1s1_000451_03.jpg")
    dataset = ImageDataset([path], torch.tensor([4]), plain_transform((32, 16)))
    item = dataset[0]
    assert set(item) == {"image", "camera", "index"}
    assert item["image"].shape == (3, 32, 16)
    assert (int(item["camera"]), int(item["index"])) == (4, 0)


def test_columns_must_fit():
    with pytest.raises(ValueError, match="'camera' for 1 images"):
        ImageDataset(["a.jpg"], torch.tensor([0, 1]), plain_transform((32, 16)))


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_unreadable_images_are_named_also_from_workers(folder, content):
    path = folder / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match="cannot read image .*broken.jpg") as error:
        read_image(str(path))
    assert "broken.jpg" in str(pickle.loads(pickle.dumps(error.value)))
    dataset = ImageDataset([str(path)], torch.tensor([0]), plain_transform((32, 16)))
    with pytest.raises(UnreadableImageError, match=r"broken.jpg"):
        next(iter(torch.utils.data.DataLoader(dataset, num_workers=1)))


def test_grey_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "RGBA", "P"):
        Image.new(mode, (4, 6)).save(tmp_path / f"{mode}.png")
        assert read_image(str(tmp_path / f"{mode}.png")).shape == (3, 6, 4)


@pytest.fixture
def thermal(tmp_path):
    """The levels of a 16-bit image, and its files."""
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(levels).save(tmp_path / "thermal.png")
    Image.fromarray(levels).save(tmp_path / "thermal.tif")
    Image.fromarray(levels.astype(np.int32)).save(tmp_path / "wide.tif")
    big_endian = Image.frombytes("I;16B", (256, 256), levels.astype(">u2").tobytes())
    big_endian.save(tmp_path / "big.tif")
    return levels, sorted(tmp_path.iterdir())


def test_sixteen_bits_become_eight_whatever_the_file(thermal):
    levels, files = thermal
    expected = np.broadcast_to((levels / 257).round().astype(np.uint8), (3, 256, 256))
    assert len(files) == 4
    for file in files:
        image = read_image(str(file))
        assert image.dtype == torch.uint8
        np.testing.assert_array_equal(image.numpy(), expected)
        with Image.open(file) as picture:
            np.testing.assert_array_equal(pixels_of(picture).numpy(), expected)


def test_sixteen_bits_are_cached_as_they_are_read(thermal):
    _, files = thermal
    path, cameras, plain = [str(files[1])], torch.tensor([0]), plain_transform((32, 16))
    cached = ImageDataset(path, cameras, plain, cache=ImageCache(1, (32, 16)))
    torch.testing.assert_close(cached[0], ImageDataset(path, cameras, plain)[0])


def test_sixteen_bits_of_each_colour(tmp_path):
    levels = np.random.default_rng(0).integers(0, 2**16, (4, 5, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    # Pillow cannot write it
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels)
    image = read_image(str(tmp_path / "deep.png"))
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), (levels / 257).round())


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (np.linspace(0, 1, 32, dtype=np.float32), "an image of floats: save it with 8 or 16 bits"),
        (np.arange(32, dtype=np.int32) - 1, "from -1 to 30: save it with 8 or 16 bits"),
        (np.arange(32, dtype=np.int32) + 2**16, "integers from 65536 to 65567"),
    ],
)
def test_pixels_of_unknown_range_are_refused(tmp_path, pixels, match):
    file = tmp_path / "depth.tif"
    picture = Image.fromarray(pixels.reshape(8, 4))
    picture.save(file)
    with pytest.raises(UnreadableImageError, match=f"cannot read image .*depth.tif: .*{match}"):
        read_image(str(file))
    with pytest.raises(InputError, match=match):
        pixels_of(picture)


@pytest.mark.parametrize("name", ["moving.gif", "moving.jpg"])  # told by its content
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (5, 9), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, "GIF", save_all=True, append_images=frames[1:])
    image = read_image(str(tmp_path / name))
    assert image.shape == (3, 9, 5)
    assert image[:, 0, 0].tolist() == [255, 0, 0]
    dataset = ImageDataset([str(tmp_path / name)], torch.tensor([0]), plain_transform((32, 16)))
    assert dataset[0]["image"].shape == (3, 32, 16)


def test_plain_transform_normalises_with_imagenet_statistics():
    image = torch.full((3, 8, 4), 255, dtype=torch.uint8)
    result = plain_transform((16, 8))(image)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(result[:, 3, 3], expected)


def test_training_transform_varies_and_can_be_switched_off():
    image = torch.randint(256, (3, 40, 20), dtype=torch.uint8)
    varied = train_transform((32, 16), Augmentation())
    assert not torch.equal(varied(image), varied(image))
    off = train_transform((32, 16), Augmentation(flip=0, pad=0, erase=0))
    torch.testing.assert_close(off(image), plain_transform((32, 16))(image))


def test_erased_areas_hold_imagenet_mean_after_normalisation():
    image = torch.full((3, 64, 32), 255, dtype=torch.uint8)
    erased = train_transform((64, 32), Augmentation(flip=0, pad=0, erase=1))(image)
    values = erased.flatten(1).unique(dim=1)
    torch.testing.assert_close(values[:, 0], torch.tensor([0.485, 0.456, 0.406]))


def moved(image, **move):
    """The image after a rotation and shift only, as uint8."""
    transform = train_transform(image.shape[1:], Augmentation(flip=0, pad=0, erase=0, **move))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((transform(image) * std + mean) * 255).round().to(torch.uint8)


def ramp(height, width):
    """Pixels hold their column, their row and 0."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((columns, rows, 0 * rows)).to(torch.uint8)


def test_without_rotation_and_shift_the_random_stream_is_as_before():
    before = v2.Compose(
        [
            v2.Resize((32, 16), v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop((32, 16), padding=10),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            RandomErase(0.5, value=MEAN),
        ]
    )
    now = train_transform((32, 16), Augmentation())
    images = torch.randint(256, (20, 3, 40, 20), dtype=torch.uint8)
    torch.manual_seed(0)
    expected = [before(image) for image in images]
    torch.manual_seed(0)
    assert all(torch.equal(now(image), e) for image, e in zip(images, expected, strict=True))


@pytest.mark.parametrize("size", [(256, 128), (224, 224), (15, 40)])
@pytest.mark.parametrize("move", [{"rotate": 20}, {"shift": 0.2}, {"rotate": 180, "shift": 0.9}])
def test_nothing_black_enters(size, move):
    image = torch.full((3, *size), 255, dtype=torch.uint8)
    assert all((moved(image, **move) == 255).all() for _ in range(5))


def test_a_shift_stays_in_its_range_and_repeats_the_edge():
    image = ramp(40, 20)
    seen = []
    for _ in range(100):
        result = moved(image, shift=0.2).int()
        dx, dy = 10 - int(result[0, 0, 10]), 20 - int(result[1, 20, 0])
        rows, columns = torch.arange(40) - dy, torch.arange(20) - dx
        expected = image[:, rows.clamp(0, 39)][:, :, columns.clamp(0, 19)]
        assert torch.equal(result, expected.int())
        seen.append((dx, dy))
    across, down = zip(*seen, strict=True)
    assert (min(across), max(across), min(down), max(down)) == (-4, 4, -8, 8)


def test_a_rotation_stays_in_its_range_about_the_centre():
    image = ramp(101, 201)
    angles = []
    for _ in range(100):
        result = moved(image, rotate=20).double()
        assert (result[:2, 50, 100] - torch.tensor([100, 50])).abs().max() <= 1
        x, y = (result[:2, 50, 130] - result[:2, 50, 70]) / 60
        assert math.hypot(x, y) == pytest.approx(1, abs=0.03)
        angles.append(math.degrees(math.atan2(y, x)))
    assert -21 < min(angles) < -15
    assert 15 < max(angles) < 21


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": -0.1},
        {"erase": 1.5},
        {"erase": math.nan},
        {"pad": -1},
        {"jitter": -0.5},
        {"rotate": -20},
        {"rotate": math.inf},
        {"shift": -0.2},
        {"shift": 1},
        {"erase_area": (0.4, 0.02)},
        {"erase_area": (0, 0.4)},
        {"erase_area": (0.02, 1.4)},
        {"erase_aspect": (3, 0.3)},
        {"erase_aspect": (-1, 0.3)},
    ],
    ids=str,
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=f"augmentation: {next(iter(wrong))} must be"):
        Augmentation(**wrong)


def test_values_at_the_ends_of_their_ranges_are_taken():
    Augmentation(flip=1, erase=0, pad=0, erase_area=(0.1, 1), erase_aspect=(1, 1), shift=0.99)
