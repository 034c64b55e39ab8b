"""Files that people have: what is read from them, and what is said about the others."""

import datetime
import gzip
import pickle
import tarfile
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from lightning_reid.checkpoint_io import AtomicCheckpointIO
from lightning_reid.errors import InputError
from lightning_reid.models import build_backbone
from lightning_reid.models.checkpoint_files import (
    find_state_dicts,
    is_checkpoint_path,
    read_checkpoint,
)

PLAIN = {
    "numpy_float": np.float64(0.9),
    "numpy_float32": np.float32(0.5),
    "numpy_integer": np.int64(-3),
    "numpy_bool": np.bool_(True),
    "numpy_text": np.str_("Köln"),
    "big_endian": np.arange(6, dtype=">i4").reshape(2, 3),
    "column_major": np.asfortranarray(np.eye(3, 4)),
    "empty": np.zeros((0, 3)),
    "scalar_array": np.array(5.0),
    "texts": np.array(["a", "bcd"]),
    "namespace": Namespace(lr=0.1, steps=[20, 40]),
    "moment": datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
    "duration": datetime.timedelta(hours=3),
    "path": Path("/data/market"),
    "ordered": OrderedDict(a=1),
    "default": defaultdict(list, {"a": [1]}),
    "version": torch.__version__,
}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=2)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_are_read(name, archive, tmp_path):
    value, file = PLAIN[name], tmp_path / "best.pth.tar"
    # twice: the second is a reference to the first
    saved = {"w": torch.arange(3), "value": value, "again": value}
    torch.save(saved, file, _use_new_zipfile_serialization=archive)
    read = read_checkpoint(file)
    for each in (read["value"], read["again"]):
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(each, value)
            assert each.dtype == value.dtype.newbyteorder("=")
        else:
            assert each == value
    assert torch.equal(read["w"], torch.arange(3))
    torch.save(read, file)
    assert set(read_checkpoint(file)) == set(saved)


def test_a_checkpoint_io_reads_them_too(tmp_path):
    io = AtomicCheckpointIO()
    io.save_checkpoint({"best": np.float64(0.9)}, tmp_path / "last.ckpt")
    assert io.load_checkpoint(tmp_path / "last.ckpt") == {"best": 0.9}
    io.save_checkpoint({"model": nn.Identity()}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="holds more than tensors"):
        io.load_checkpoint(tmp_path / "last.ckpt")
    read = io.load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert isinstance(read["model"], nn.Identity)


class Forged:
    """What a file's author may write instead of an honest NumPy value."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


SCALAR = np.float64(0).__reduce__()[0]
ADDRESS = (0xDEAD).to_bytes(8, "little")


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "a"], dtype=object),
        np.zeros(2, dtype=[("a", "i4"), ("b", "O")]),
        Forged(SCALAR, np.dtype("O"), ADDRESS),
        Forged(SCALAR, np.dtype([("a", "O")]), ADDRESS),
        Forged(SCALAR, Forged(np.dtype, "i8,O"), ADDRESS * 2),
        Forged(SCALAR, "f8", ADDRESS),
    ],
)
def test_arrays_of_objects_are_refused(value, tmp_path):
    torch.save({"value": value}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"holds more than tensors \(NumPy array of"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [Forged(SCALAR, np.dtype("f8"), b"no"), Forged(bytes, 10**15)])
def test_forged_values_do_no_harm(value, tmp_path):
    torch.save({"value": value}, tmp_path / "a.pth")
    try:
        assert read_checkpoint(tmp_path / "a.pth") == {"value": b""}
    except InputError as error:
        assert "a.pth" in str(error)  # noqa: PT017 - either will do


def test_reading_leaves_no_more_allowed_than_before(tmp_path):
    torch.serialization.add_safe_globals([Forged])
    try:
        before = torch.serialization.get_safe_globals()
        torch.save({"value": np.float64(1)}, tmp_path / "a.pth")
        read_checkpoint(tmp_path / "a.pth")
        assert set(torch.serialization.get_safe_globals()) == set(before)
    finally:
        torch.serialization.clear_safe_globals()


def saved(content, file, **options):
    torch.save(content, file, **options)


def scripted(network, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(file))


def pickled(content, file, protocol):
    with file.open("wb") as stream:
        pickle.dump(content, stream, protocol=protocol)


OBJECTS = {
    "inside": (lambda net, file: saved({"net": net, "epoch": 3}, file), "holds more than tensors"),
    "whole": (saved, r"whole pickled model \(torchvision.models.resnet.ResNet\)"),
    "whole_before_1_6": (
        lambda net, file: saved(net, file, _use_new_zipfile_serialization=False),
        r"whole pickled model \(torchvision.models.resnet.ResNet\)",
    ),
    "parallel": (
        lambda net, file: saved(nn.DataParallel(net), file),
        r"whole pickled model \(torch.nn.parallel",
    ),
    "newer_pickle": (
        lambda net, file: saved(net.state_dict(), file, pickle_protocol=4),
        "holds more than tensors",
    ),
    "torchscript": (scripted, "is a TorchScript archive"),
    "pickle": (
        lambda net, file: pickled(net.state_dict(), file, 4),
        "a pickle that torch.save did not write",
    ),
    "old_pickle": (
        lambda net, file: pickled(net.state_dict(), file, 2),
        "a pickle that torch.save did not write",
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.filterwarnings("ignore")
def test_objects_are_not_loaded_and_the_advice_works(kind, resnet, tmp_path):
    write, words = OBJECTS[kind]
    file = tmp_path / "it's legacy.pth"
    write(resnet, file)
    with pytest.raises(InputError, match=rf"legacy\.pth .*{words}.*was not loaded") as raised:
        build_backbone("resnet18", file)
    advice = str(raised.value)
    exec("\n".join(line.strip() for line in advice.splitlines() if line.startswith("  ")))
    backbone = build_backbone("resnet18", advice.rpartition("pass ")[2])
    assert torch.equal(backbone.trunk.conv1.weight, resnet.conv1.weight)


def zipped(file, content):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/resnet.pth", content)


def tarred(file, content):
    (file.parent / "inside").write_bytes(content)
    with tarfile.open(file, "w") as archive:
        archive.add(file.parent / "inside", "resnet.pth")


WRITERS = {
    "it is empty": lambda file, content: file.write_bytes(b""),
    "compressed with gzip": lambda file, content: file.write_bytes(gzip.compress(content)),
    "a web page": lambda file, content: file.write_bytes(b"\n<!DOCTYPE html><html>Sign in"),
    "git lfs pull": lambda file, content: file.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    ),
    "a zip archive of model/resnet.pth": zipped,
    "a tar archive": tarred,
    "or is damaged": lambda file, content: file.write_bytes(content[: len(content) // 2]),
    "written by torch.save": lambda file, content: file.write_bytes(b"just text"),
}


@pytest.mark.parametrize("words", WRITERS)
def test_other_files_are_told_by_what_they_are(words, tmp_path):
    file = tmp_path / "notes.pth"
    torch.save({"weight": torch.ones(2)}, file)
    WRITERS[words](file, file.read_bytes())
    with pytest.raises(InputError, match=rf"notes\.pth is not a checkpoint.*{words}"):
        build_backbone("resnet18", file)


def test_safetensors_are_known_by_their_content(resnet, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(resnet.state_dict(), tmp_path / "pytorch_model.bin")
    backbone = build_backbone("resnet18", tmp_path / "pytorch_model.bin")
    assert torch.equal(backbone.trunk.conv1.weight, resnet.conv1.weight)


def test_the_folder_of_a_run_stands_for_its_checkpoint(resnet, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "mine"
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="mine is not a file"):
        build_backbone("resnet18", run)
    torch.save({"state_dict": resnet.state_dict()}, run / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    backbone = build_backbone("resnet18", "runs/mine")
    assert torch.equal(backbone.trunk.conv1.weight, resnet.conv1.weight)


def test_arrays_of_numbers_are_tensors(resnet, tmp_path):
    arrays = {name: value.numpy() for name, value in resnet.state_dict().items()}
    arrays["conv1.weight"] = arrays["conv1.weight"].astype(">f4")
    torch.save(arrays, tmp_path / "arrays.pth")
    backbone = build_backbone("resnet18", tmp_path / "arrays.pth")
    assert torch.equal(backbone.trunk.conv1.weight, resnet.conv1.weight)
    assert [*next(find_state_dicts(arrays))] == [*arrays]


def test_a_dictionary_that_contains_itself_ends():
    checkpoint = {"weight": torch.zeros(1)}
    checkpoint["again"] = checkpoint
    assert len(list(find_state_dicts(checkpoint))) == 1


@pytest.mark.parametrize("given", ["a/b", "a.pth", "last.ckpt", Path("DEFAULT")])
def test_what_is_a_file_even_if_it_is_not_there(given):
    assert is_checkpoint_path(given)


@pytest.mark.parametrize("given", ["DEFAULT", "IMAGENET1K_V1", "a1_in1k"])
def test_what_is_a_name_even_if_a_folder_is_called_so(given, tmp_path, monkeypatch):
    (tmp_path / given).mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_checkpoint_path(given)
