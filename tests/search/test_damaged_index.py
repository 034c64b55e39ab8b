"""Indexes that were damaged, edited or mixed: the right answer, or one line that names the file."""

import io
import json
import os
import resource
import shutil
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.search import Embedder, Gallery, TrainedModel

ROOM = 200_000_000  # bytes that opening and searching a small index may take


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
    model = TrainedModel(network, (32, 16), Path("drawn"), {})
    return Embedder(model, device="cpu", num_workers=0)


def drawn(folder, count, seed):
    rng = np.random.default_rng(seed)
    for number in range(count):
        file = folder / f"c{number % 3}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        colours = rng.integers(0, 256, (4, 2, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((16, 32)).save(file)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("crops"), 30, seed=0)


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks for few images."""
    for module in ("embeddings", "table"):
        monkeypatch.setattr(f"lightning_reid.search.{module}.ROWS", 7)


@pytest.fixture
def index(embedder, crops, tmp_path, small_blocks):
    """The folder of a sound index."""
    gallery = Gallery(embedder, tmp_path / "index")
    gallery.add(crops, pattern="{camera}/*.png")
    return gallery.folder


def answer(embedder, index, crops):
    gallery = Gallery(embedder, index)
    queries = sorted(crops.glob("*/*.png"))[::9]
    return [gallery.search_all(queries, 8, exclude) for exclude in (None, "own", "c1")]


@contextmanager
def little_memory():
    """Let this process take some more memory than it has, but not what a header claims."""
    there = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (there + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(embedder, index, crops):
    """Open and search; return the answer, or the message."""
    start = time.monotonic()
    try:
        with little_memory():
            return answer(embedder, index, crops)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert str(index) in message
        assert "--rebuild true" in message
        return message
    finally:
        assert time.monotonic() - start < 5


def flipped(content, rng):
    content = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 20)):
        content[place] ^= 1 << rng.integers(0, 8)
    return bytes(content)


def noise(content, rng):
    start = rng.integers(0, len(content))
    some = rng.bytes(int(rng.integers(1, 300)))
    return (content[:start] + some + content[start + len(some) :])[: len(content)]


def cut(content, rng):
    return content[: rng.integers(0, len(content))]


def longer(content, rng):
    return content + rng.bytes(int(rng.integers(1, 200)))


def moved(content, rng):
    first, second = sorted(rng.integers(0, len(content), 2))
    return content[:first] + content[second:] + content[first:second]


EDITS = (flipped, noise, cut, longer, moved)


@pytest.mark.parametrize("part", ["index.npz", "embeddings-1.npy"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_edited_bytes(embedder, index, crops, part, edit):
    expected = answer(embedder, index, crops)
    file, rng = index / part, np.random.default_rng(EDITS.index(edit))
    sound = file.read_bytes()
    for _ in range(12):
        file.write_bytes(edit(sound, rng))
        found = outcome(embedder, index, crops)
        if part == "index.npz":  # a zip file has bytes that mean nothing
            assert isinstance(found, str) or found == expected
        else:
            assert part in found


def test_every_flipped_bit_of_the_embeddings_is_seen(embedder, index, crops):
    file = index / "embeddings-1.npy"
    sound = file.read_bytes()
    for place in range(0, len(sound), 29):
        content = bytearray(sound)
        content[place] ^= 1 << place % 8
        file.write_bytes(content)
        assert "embeddings-1.npy" in outcome(embedder, index, crops)


def test_embeddings_of_another_run(embedder, index, crops, tmp_path):
    for exchanged in ("embeddings-1.npy", "index.npz"):
        other = Gallery(embedder, tmp_path / exchanged)
        other.add(drawn(tmp_path / f"other {exchanged}", 30, seed=1), "{camera}/*.png")
        mixed = shutil.copytree(index, tmp_path / f"mixed {exchanged}")
        shutil.copy(other.folder / exchanged, mixed / exchanged)
        message = outcome(embedder, mixed, crops)
        assert "embeddings-1.npy holds other embeddings than were written with" in message
        gallery = Gallery(embedder, mixed)  # what is damaged is not carried into a new state
        with pytest.raises(InputError, match="holds other embeddings"):
            gallery.add(sorted((tmp_path / f"other {exchanged}").glob("c0/*.png"))[0])
        assert sorted(file.name for file in mixed.iterdir()) == ["embeddings-1.npy", "index.npz"]
        Gallery(embedder, mixed, rebuild=True).add(crops, "{camera}/*.png")
        assert outcome(embedder, mixed, crops) == outcome(embedder, index, crops)


def test_embeddings_that_change_after_they_were_opened(embedder, index, crops):
    gallery = Gallery(embedder, index)
    file, query = index / "embeddings-1.npy", next(crops.glob("c0/*.png"))
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 40)
    with pytest.raises(InputError, match=r"embeddings-1.npy was cut while it was read: .*rebuild"):
        gallery.search(query)


def rewritten(file, **columns):
    """Write a table again with other arrays; None takes one out."""
    with np.load(file) as there:
        arrays = {**there, **columns}
    np.savez(file, **{name: values for name, values in arrays.items() if values is not None})


def facts(file, **changes):
    with np.load(file) as there:
        told = json.loads(str(there["told"]))
    return {**told, **changes}


ARRAYS = {
    "paths": [
        None,
        np.array(["a", "b"]),
        np.array(3),
        np.zeros(0, np.uint8),
        np.frombuffer(b"/a.png\0" * 50, np.uint8),
        np.array([{"a": 1}], dtype=object),
    ],
    "cameras": [
        None,
        np.zeros(30),
        np.zeros(30, np.int32),
        np.full(30, 3),
        np.full(30, -1),
        np.full(30, 2**62),
        np.zeros(29, np.int64),
        np.zeros(31, np.int64),
        np.zeros((30, 1), np.int64),
        np.array([None] * 30),
        np.zeros(30, dtype=[("a", "i8")]),
    ],
    "stamps": [
        None,
        np.zeros((30, 3), np.int64),
        np.zeros((2, 30), np.int64),
        np.zeros((29, 2), np.int64),
        np.zeros((30, 2), complex),
        np.asfortranarray(np.zeros((30, 2), ">i8")),
    ],
    "checksums": [
        None,
        np.zeros(5, np.uint32),
        np.zeros(5),
        np.zeros(0, np.uint32),
        np.zeros(10**6, np.uint32),
    ],
    "told": [None, np.array("no json"), np.array("[1]"), np.array(1.5), np.array(["{}"])],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_other_types_and_lengths(embedder, index, crops, name):
    file = index / "index.npz"
    sound = file.read_bytes()
    for values in ARRAYS[name]:
        file.write_bytes(sound)
        rewritten(file, **{name: values})
        assert isinstance(outcome(embedder, index, crops), str), values


FACTS = [
    {"generation": -1},
    {"generation": 0},
    {"generation": True},
    {"generation": 1.0},
    {"generation": float("nan")},
    {"generation": 10**17},
    {"generation": 10**4000},
    {"generation": "../../1"},
    {"generation": None},
    {"cameras": None},
    {"cameras": {"c0": 0, "c1": 1, "c2": 2}},
    {"cameras": ["c0"]},
    {"cameras": ["c0", "c1", 2]},
    {"cameras": ["c0", "c1", None]},
    {"cameras": ["c0", "c1", "c1"]},
    {"cameras": ["c0", "c1", "\ud800"]},
    {"cameras": "c0 c1 c2"},
    {"fingerprint": 1},
    {"fingerprint": ["a"]},
    {"fingerprint": None},
    {"format": 1},
    {"format": "2"},
    {"format": None},
]


def test_facts_of_other_types(embedder, index, crops):
    file = index / "index.npz"
    sound = file.read_bytes()
    for changes in FACTS:
        file.write_bytes(sound)
        rewritten(file, told=np.array(json.dumps(facts(file, **changes))))
        assert isinstance(outcome(embedder, index, crops), str), changes
    for text in ("[" * 100_000, '{"a":' * 100_000, "", "NaN", "null", "1" * 10_000):
        file.write_bytes(sound)
        rewritten(file, told=np.array(text))
        assert isinstance(outcome(embedder, index, crops), str)
    file.write_bytes(sound)
    rewritten(file, told=np.array(json.dumps(facts(file, more=float("nan")))))
    assert not isinstance(outcome(embedder, index, crops), str)


def test_an_index_of_an_older_version_is_to_be_built_again(embedder, index, crops):
    rewritten(index / "index.npz", told=np.array(json.dumps({"format": 1})), checksums=None)
    (index / "embeddings-1.npy").rename(index / "embeddings-1.faiss")
    message = outcome(embedder, index, crops)
    assert "of another version of lightning_reid: build the index again with --reb" in message
    Gallery(embedder, index, rebuild=True).add(crops, "{camera}/*.png")
    assert [file.name for file in sorted(index.iterdir())] == ["embeddings-2.npy", "index.npz"]


def claiming(shape, dtype="<i8", more=""):
    """An array whose header claims a shape; there is nothing behind it."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}{more}, }}"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "header",
    [
        claiming("(1000000000000,)"),
        claiming("(-1,)"),
        claiming("(1000000000000,)", "<U0"),
        claiming("(0, 1000000000000)"),
        claiming("(30,)", "|O"),
        claiming("(" * 3000),
        claiming("-" * 6000 + "1"),
        claiming("(30,)", "<i8", more=", 'more': 1"),
        claiming("(30,)", "i8,i8"),
        b"\x93NUMPY\x03\x00\xff\xff\xff\xff",
        b"",
    ],
    ids=range(11),
)
def test_headers_that_claim_anything(embedder, index, crops, header):
    sound = (index / "index.npz").read_bytes()
    for member in ("cameras.npy", "told.npy", "paths.npy"):
        replaced(index / "index.npz", sound, {member: header})
        assert isinstance(outcome(embedder, index, crops), str)


def replaced(file, sound, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(io.BytesIO(sound)) as there, zipfile.ZipFile(file, "w") as archive:
        for name in there.namelist():
            archive.writestr(name, contents.get(name, there.read(name)), compression)


def test_compressed_bombs_are_not_unpacked(embedder, index, crops):
    sound = (index / "index.npz").read_bytes()
    bomb = claiming("(250000000,)", "|u1") + bytes(250_000_000)
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        content = {"paths.npy": bomb} if compression == zipfile.ZIP_DEFLATED else {}
        replaced(index / "index.npz", sound, content, compression)
        assert "is compressed: build the index again" in outcome(embedder, index, crops)


@pytest.mark.parametrize("part", ["index.npz", "embeddings-1.npy"])
def test_what_is_no_regular_file(embedder, index, crops, tmp_path, part):
    file = index / part
    file.rename(tmp_path / "sound")
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        make(file)
        if part == "index.npz":  # there is no index then
            with pytest.raises(InputError, match="holds no images"):
                answer(embedder, index, crops)
        else:
            assert "embeddings-1.npy cannot be read" in outcome(embedder, index, crops)
        file.rmdir() if file.is_dir() else file.unlink()


def test_claims_of_an_embeddings_file(embedder, index, crops):
    file = index / "embeddings-1.npy"
    for count, dimensions in ((10**12, 8), (30, 10**12), (29, 8), (8, 30)):
        content = claiming(f"({count}, {dimensions})", "<f4").ljust(128)
        file.write_bytes(content + bytes(30 * 8 * 4))
        assert "embeddings-1.npy" in outcome(embedder, index, crops)
