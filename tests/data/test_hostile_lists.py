"""Lists that claim more than they hold, or name what no file can be called."""

import os
import resource
import subprocess
import sys

import pytest

from lightning_reid.data import read_manifest
from lightning_reid.errors import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

READ = """
import resource, sys
import pyarrow.compute, pyarrow.parquet  # what reading imports
from lightning_reid.data import read_manifest
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_manifest(sys.argv[1])
    print("read")
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""


def repeated(values, count):
    numbers = pyarrow.array([i % len(values) for i in range(count)], pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(numbers, pyarrow.array(values))


def table(kind):
    paths = [f"{i}.jpg" for i in range(3000)]
    cameras = repeated(["c1", "c2"], 1_500_000)
    if kind == "rows":
        return {"path": repeated(paths[:50], 1_500_000)}, cameras
    if kind == "cells":
        return {"path": pyarrow.array([f"{i}.jpg" for i in range(1_500_000)])}, repeated(
            ["c" * 30_000, "d" * 30_000], 1_500_000
        )
    return {"path": repeated(["a" * 1_000_000, *paths], 3001)}, repeated(["c1"], 3001)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("rows", "lists an image more than 3 times"),
        ("cells", "holds more than 50 times the text that its size allows"),
        ("long", "a text of 1,000,000 bytes in the column 'path'"),
    ],
)
def test_small_files_of_much_text(kind, message, tmp_path):
    columns, cameras = table(kind)
    file = tmp_path / "list.parquet"
    parquet.write_table(pyarrow.table({**columns, "camera": cameras}), file, compression="zstd")
    assert file.stat().st_size < 10_000_000
    command = [sys.executable, "-c", READ, str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *told, grown = ended.stdout.strip().splitlines()
    assert message in told[0]
    assert str(file) in told[0]
    if sys.platform == "linux":
        assert float(grown) < 1  # GB


@pytest.mark.parametrize("start", ["path,camera\n", ""])
def test_a_line_without_end(start, tmp_path):
    file = tmp_path / "list.csv"
    with file.open("w") as stream:
        stream.write(start)
        stream.truncate(2_000_000_000)  # zeros that take no room
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"list.csv, line \d: "):
        read_manifest(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2e5


def test_a_path_with_a_zero_byte(tmp_path):
    file = tmp_path / "list.parquet"
    rows = pyarrow.table({"path": ["a.jpg", "b\0.jpg"], "camera": ["1", "1"]})
    parquet.write_table(rows, file)
    with pytest.raises(InputError, match=r"list.parquet, row 2: a path with a zero byte"):
        read_manifest(file)


def test_long_sound_lists_are_read(tmp_path):
    names = [f"site/camera_{i % 40}/2026-11-{i % 30:02}/{i:08}.jpg" for i in range(200_000)]
    rows = {
        "path": names,
        "camera": [f"c{i % 40}" for i in range(200_000)],
        "note": ["x"] * 200_000,
    }
    file = tmp_path / "list.parquet"
    parquet.write_table(pyarrow.table(rows), file, compression="zstd")
    samples = read_manifest(file).samples
    assert len(samples) == 200_000
    assert samples.paths[199_999].endswith(names[-1])
    assert os.fspath(tmp_path) in samples.paths[0]
