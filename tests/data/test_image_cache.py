"""Images that are kept in memory, images that cannot be read, and draws that repeat."""

import copy
import pickle
import sys

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from lightning_reid.data import (
    Augmentation,
    Draw,
    ImageCache,
    ImageDataset,
    UnreadableImageError,
    read_image,
    train_transform,
)
from lightning_reid.errors import InputError

SIZE = (16, 8)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.{kind}" for i, kind in enumerate(["jpg", "png", "bmp", "tif"])]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 20, 3), dtype=np.uint8)).save(path)
    return list(map(str, paths))


def dataset(files, **settings):
    transform = train_transform(SIZE, Augmentation(pad=2, jitter=0.2, rotate=5))
    return ImageDataset(files, torch.zeros(len(files), dtype=torch.int64), transform, **settings)


def test_every_usual_format_is_read(files):
    for file in files:
        assert read_image(file).shape == (3, 40, 20)


def test_a_draw_repeats_whatever_else_is_drawn(files):
    torch.manual_seed(0)
    first = dataset(files)[Draw(1, 7)]["image"]
    before = torch.get_rng_state()
    again = dataset(files)[Draw(1, 7)]["image"]
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, dataset(files)[Draw(1, 8)]["image"])


def test_a_cache_gives_what_the_files_give(files):
    cached = dataset(files, cache=ImageCache(len(files), SIZE))
    for index in (*range(4), *range(4)):
        seen, kept = dataset(files)[Draw(index, 3)], cached[Draw(index, 3)]
        assert torch.equal(seen["image"], kept["image"])


def test_a_cache_reads_once_and_is_shared_between_workers(files):
    cache = ImageCache(len(files), SIZE)
    cached = dataset(files, cache=cache)
    for _ in torch.utils.data.DataLoader(cached, num_workers=2, batch_size=2):
        pass
    assert cache.kept.all()
    cached.paths = ["gone"] * 4
    assert cached[Draw(2, 0)]["image"].shape == (3, *SIZE)


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_a_cache_is_shared_however_workers_are_started(files, start):
    cache = ImageCache(len(files), SIZE)
    cached = dataset(files, cache=cache, columns={"identity": torch.arange(4)})
    order = [[Draw(index, 7) for index in (3, 0)], [Draw(index, 7) for index in (1, 2)]]
    settings = {"num_workers": 1, "batch_sampler": order, "multiprocessing_context": start}
    batches = iter(torch.utils.data.DataLoader(cached, **settings))
    first = next(batches)
    (process,) = batches._workers  # children of this process may be others, from other tests
    worker = psutil.Process(process.pid)
    if sys.platform == "linux":
        assert any("memfd:lightning_reid" in part.path for part in worker.memory_maps())
    second = next(batches)
    for batch, draws in ((first, order[0]), (second, order[1])):
        expected = [dataset(files)[draw]["image"] for draw in draws]
        assert torch.equal(batch["image"], torch.stack(expected))
        assert batch["identity"].tolist() == batch["index"].tolist() == draws
    assert cache.kept.all()  # in this process
    cached.paths = ["gone"] * 4
    assert cached[Draw(2, 0)]["image"].shape == (3, *SIZE)


def test_what_workers_are_sent_holds_no_tensor(files):
    numbers = torch.arange(4)
    sent = pickle.dumps(ImageDataset(files, numbers, torch.neg, {"identity": numbers}))
    assert b"_rebuild_tensor" not in sent


def test_a_copy_of_a_cache_is_empty(files):
    cache = ImageCache(len(files), SIZE)
    cache.get(0, lambda: torch.ones(3, 4, 4, dtype=torch.uint8))
    for copied in (pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)):
        assert copied.images.shape == cache.images.shape
        assert not copied.kept.any()


def test_a_cache_that_does_not_fit_is_refused():
    free = psutil.virtual_memory().total
    with pytest.raises(InputError, match="leave out the cache"):
        ImageCache(free // 1000, (100, 50))


def test_an_unreadable_image_stops_or_is_marked(files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        dataset([*files, str(bad)])[4]
    skipping = dataset([*files, str(bad)], on_error="skip", cache=ImageCache(5, SIZE))
    assert not skipping[4]["readable"]
    assert skipping[4]["image"].shape == (3, *SIZE)
    assert skipping[0]["readable"]


@pytest.mark.parametrize("name", ["bad.bmp", "bad.png", "gone.tif"])
def test_other_broken_formats_are_named(tmp_path, name):
    if name.startswith("bad"):
        (tmp_path / name).write_bytes(b"\x89PNG no image")
    with pytest.raises(UnreadableImageError, match=name):
        read_image(str(tmp_path / name))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (10_000, 10_000)])
def test_images_of_one_pixel_and_of_a_hundred_million(tmp_path, height, width):
    file = tmp_path / "odd.png"
    Image.fromarray(np.full((height, width), 200, dtype=np.uint8)).save(file, compress_level=1)
    image = dataset([str(file)])[0]["image"]
    assert image.shape == (3, *SIZE)
    assert image.isfinite().all()


def test_a_picture_that_claims_to_be_enormous_is_named(tmp_path):
    file = tmp_path / "bomb.bmp"
    Image.fromarray(np.zeros((1, 1), dtype=np.uint8)).save(file)
    header = bytearray(file.read_bytes())
    header[18:26] = (60_000).to_bytes(4, "little") * 2  # width and height
    file.write_bytes(header)
    with pytest.raises(UnreadableImageError, match=r"bomb\.bmp"):
        read_image(str(file))
