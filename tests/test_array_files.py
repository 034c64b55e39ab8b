"""Files of arrays that are no files, or whose headers would keep whoever reads them busy."""

import os
import zipfile

import numpy as np
import pytest

from lightning_reid.array_files import read_array, read_arrays
from lightning_reid.errors import InputError


def claiming(shape, dtype):
    """An array whose header claims a shape; there is nothing behind it."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.fixture(params=["npy", "npz"])
def read(request, tmp_path):
    """Reads an array from a file that holds these bytes, or is made by a function."""
    file = tmp_path / f"labels.{request.param}"

    def reading(content):
        if callable(content):
            content(file)
        elif request.param == "npy":
            file.write_bytes(content)
        else:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("labels.npy", content)
        found = read_array(file) if request.param == "npy" else read_arrays(file, ["labels"])
        return found if request.param == "npy" else found["labels"]

    return reading


@pytest.mark.parametrize(
    "content",
    [
        claiming("(1000000000000,)", "<U0"),
        claiming("(1000000000000,)", "|V0"),
        claiming("-" * 6000 + "1", "<i8"),
        claiming("(" * 3000, "<i8"),
        claiming("(1000000000000,)", "<i8"),
    ],
    ids=range(5),
)
def test_headers_that_take_for_ever(read, content, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/labels.np. cannot be read: ") as error:
        read(content)
    assert "\n" not in str(error.value)


def test_a_pipe_is_not_waited_for(read):
    with pytest.raises(OSError, match="not a regular file"):
        read(os.mkfifo)


def test_compressed_arrays_where_they_are_not_written(tmp_path):
    file = tmp_path / "labels.npz"
    np.savez_compressed(file, labels=np.arange(3))
    assert read_arrays(file, ["labels"])["labels"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"labels.npz cannot be read: .* labels is compressed"):
        read_arrays(file, ["labels"], compressed=False)
