"""Manifests as people and their programs write them."""

import csv
import io
import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_reid.data import read_manifest
from lightning_reid.data.manifest import SPLITS
from lightning_reid.data.text_columns import name_of, natural_order
from lightning_reid.errors import InputError, MissingPackageError

# a bare \r is not put in quotes by Python's own writer
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)
PATHS = TEXT.filter(str.strip)
CAMERAS = st.sampled_from(["c1", "c01", "10", "1", "1.0", " höfe ", 'say "a", b', "two\nlines"])
NAMES = st.sampled_from(
    ["", "-1", "nan", "NA", "None", "Nan", "Na", "7", "7.0", "07", "Ann", "ann", "Ünal"]
)
KEPT = {"camera": CAMERAS, "identity": NAMES, "tracklet": NAMES, "frame": TEXT, "weather": TEXT}
PATIENT = settings(deadline=None, max_examples=50)  # files on busy machines
OPTIONAL = ("identity", "tracklet", "frame", "weather", "split")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("manifests")


def write(file, *lines, encoding="utf-8"):
    file.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return file


def refused(file, *lines, match, **kwargs):
    with pytest.raises(InputError, match=match):
        read_manifest(write(file, *lines), **kwargs)


# what is read


def test_all_columns(tmp_path):
    file = write(
        tmp_path / "crops.csv",
        "camera,path,split,weather,identity,frame,tracklet,time",
        "gate,gate/1.jpg,train,fog,Ann,17,t1,2024-05-17T10:00",
        "hall,hall/1.jpg,query,,Bob,18,t1,",
        "hall,/elsewhere/2.jpg,gallery,sun,-1,,,",
    )
    read = read_manifest(file)
    assert list(read.samples) == [
        (f"{tmp_path}/gate/1.jpg", "gate", 0, "t1"),
        (f"{tmp_path}/hall/1.jpg", "hall", 1, "t1"),
        ("/elsewhere/2.jpg", "hall", None, None),
    ]
    assert [SPLITS[split] for split in read.splits] == ["train", "query", "gallery"]
    assert read.identity_names == ["Ann", "Bob"]
    further = {name: list(column) for name, column in read.samples.further.items()}
    assert further == {
        "weather": ["fog", "", "sun"],
        "frame": ["17", "18", ""],
        "time": ["2024-05-17T10:00", "", ""],
    }
    assert [read.place(row) for row in range(3)] == ["line 2", "line 3", "line 4"]


def test_path_and_camera_are_enough(tmp_path):
    read = read_manifest(write(tmp_path / "crops.txt", "path,camera", "a.jpg,1", "b.jpg,01"))
    assert [sample.camera for sample in read.samples] == ["1", "01"]
    assert (read.samples.identities == -1).all()
    assert (read.samples.tracklets == -1).all()
    assert read.splits is None
    assert not read.identity_names
    assert not read.samples.further


def test_columns_of_other_names(tmp_path):
    lines = "file,cam_id,path,t,frame_no,identity", "a.jpg,c1,x,5,17,Ann"
    names = {"path": "file", "camera": "cam_id", "time": "t", "frame": "frame_no"}
    samples = read_manifest(write(tmp_path / "crops.csv", *lines), names).samples
    assert samples == [(f"{tmp_path}/a.jpg", "c1", 0, None)]
    further = {name: column[0] for name, column in samples.further.items()}
    assert further == {"path": "x", "time": "5", "frame": "17"}


def test_one_column_for_two(tmp_path):
    names = {"identity": "who", "tracklet": "who"}
    file = write(tmp_path / "crops.csv", "path,camera,who", "a.jpg,c1,Ann", "b.jpg,c1,Bob")
    samples = read_manifest(file, names).samples
    assert [(s.identity, s.tracklet) for s in samples] == [(0, "Ann"), (1, "Bob")]
    assert not samples.further


@pytest.mark.parametrize(
    ("mark", "end", "separator"), itertools.product(["", "\ufeff"], ["\n", "\r\n", "\r"], ",;\t")
)
def test_marks_ends_and_separators(tmp_path, mark, end, separator):
    rows = ["path,camera,note", "küche/ä.jpg,Küche,", "", "桜/1.jpg,門,x"]
    text = mark + end.join(rows).replace(",", separator)
    (tmp_path / "crops.csv").write_bytes(text.encode())
    read = read_manifest(tmp_path / "crops.csv")
    assert [(s.path, s.camera) for s in read.samples] == [
        (f"{tmp_path}/küche/ä.jpg", "Küche"),
        (f"{tmp_path}/桜/1.jpg", "門"),
    ]
    assert list(read.samples.further["note"]) == ["", "x"]
    assert read.place(1) == "line 4"


def test_columns_without_a_name_are_left_out(tmp_path):
    lines = ",path,camera,,", "0,a.jpg,c1,,", "1,b.jpg,c2,,"
    samples = read_manifest(write(tmp_path / "crops.csv", *lines)).samples
    assert [sample.camera for sample in samples] == ["c1", "c2"]
    assert not samples.further


def test_whole_numbers_with_gaps_keep_their_name(tmp_path):
    lines = "path,camera,identity", "a,1.0,3.0", "b,1,3", "c,01,", "d,1.5,-1.0", "e,v1.0,12.0"
    read = read_manifest(write(tmp_path / "crops.csv", *lines))
    assert [sample.camera for sample in read.samples] == ["1", "1", "01", "1.5", "v1.0"]
    assert read.identity_names == ["3", "12"]
    assert read.samples.identities.tolist() == [0, 0, -1, -1, 1]


def test_identities_are_numbered_as_people_count(tmp_path):
    names = ["p10", "p9", "Ünal", "p09", "²", "p" + "9" * 5000, "p10"]
    lines = [f"{i}.jpg,c1,{name}" for i, name in enumerate(names)]
    read = read_manifest(write(tmp_path / "crops.csv", "path,camera,identity", *lines))
    assert read.identity_names == ["p09", "p9", "p10", names[5], "²", "Ünal"]
    assert [read.identity_names[i] for i in read.samples.identities] == names


@given(st.lists(TEXT).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_the_order_of_names_is_one(orders):
    one, other = orders
    assert sorted(one, key=natural_order) == sorted(other, key=natural_order)


def test_tracklets_are_names_within_a_camera(tmp_path):
    lines = "a,c1,t1", "b,c2,t1", "c,c1,t2", "d,c1,t1", "e,c2,nan"
    samples = read_manifest(write(tmp_path / "m.csv", "path,camera,tracklet", *lines)).samples
    first, second, third, fourth, fifth = samples.tracklets.tolist()
    assert first == fourth
    assert sorted({first, second, third}) == [0, 1, 2]
    assert fifth == -1
    assert [sample.tracklet for sample in samples] == ["t1", "t1", "t2", "t1", None]


def test_paths_that_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "crops.csv", "path,camera", "a/1.jpg,c1", "C:\\x\\2.jpg,c1", "/b/3.jpg,c1")
    paths = read_manifest("crops.csv").samples.paths
    assert list(paths) == ["a/1.jpg", "C:\\x\\2.jpg", "/b/3.jpg"]


def test_more_rows_than_are_read_at_a_time(tmp_path):
    rows = [(f"{i}.jpg", f"c{i % 7}", f"p{i % 100}", f"f{i}", SPLITS[i % 3]) for i in range(5000)]
    lines = [",".join(row) for row in rows]
    file = write(tmp_path / "crops.csv", "path,camera,identity,frame,split", *lines)
    read = read_manifest(file)
    assert [s.path for s in read.samples] == [f"{tmp_path}/{row[0]}" for row in rows]
    assert [s.camera for s in read.samples] == [row[1] for row in rows]
    assert [f"p{s.identity}" for s in read.samples] == [row[2] for row in rows]
    assert list(read.samples.further["frame"]) == [row[3] for row in rows]
    assert read.splits.tolist() == [i % 3 for i in range(5000)]
    assert read.place(4999) == "line 5001"


# what is refused


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["file,camera", "a.jpg,c1"], r"crops.csv has no column 'path'.*file, camera.*columns"),
        (["path,cam", "a.jpg,c1"], r"crops.csv has no column 'camera'; its columns are path, cam"),
        (["a.jpg,c1"], r"has no header: its first line is an image \(a.jpg\)"),
        (["path,camera,path", "a.jpg,c1,b.jpg"], "two columns 'path'"),
        ([], "crops.csv is empty"),
        (["path,camera"], "crops.csv lists no images"),
        (["path,camera", "a.jpg,c1", "b.jpg,"], "crops.csv, line 3: no camera; every row"),
        (["path,camera", "a.jpg,c1", "", "b.jpg, NaN "], "crops.csv, line 4: no camera"),
        (["path,camera", "a.jpg,NA", "b.jpg,", "c.jpg,null"], r"line 2: no camera \(nor have 2"),
        (["path,camera", '"a\nb.jpg",c1', " ,c1"], "crops.csv, line 4: no path"),
        (["path,camera", "a.jpg,c1", "b.jpg,c1,x"], r"line 3: 3 values for the 2 .*path, camera"),
        (["path,camera", "a.jpg"], "line 2: 1 values for the 2 columns"),
        (["path,camera", 'a"b.jpg,c1', '"a".jpg,c1'], "crops.csv, line 3: .*expected"),
        (["path,camera", "a.jpg,c1", '"b.jpg,c1', "c.jpg,c1"], "crops.csv, line 4: unexpected end"),
        (["path,camera,split", "a.jpg,c1,train", "b,c1,Train"], "line 3: split 'Train' is none of"),
        (["path,camera,split", "a.jpg,c1,train", "b,c1,"], "crops.csv, line 3: no split"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, lines, match):
    refused(tmp_path / "crops.csv", *lines, match=match)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no file .*nothing.csv"):
        read_manifest(tmp_path / "nothing.csv")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_named(tmp_path, encoding):
    lines = "path,camera", "a.jpg,c1", "höfe.jpg,c1"
    file = write(tmp_path / "crops.csv", *lines, encoding=encoding)
    line = {"latin-1": 3, "utf-16": 1}[encoding]
    with pytest.raises(InputError, match=f"crops.csv, line {line}: no UTF-8 text"):
        read_manifest(file)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"cam": "camera"}, "columns: 'cam' is none of path, camera"),
        ({"camera": "cam"}, "no column 'cam'; .*path, camera"),
        ({"tracklet": "track"}, "no column 'track'.* which one holds the tracklet: columns"),
    ],
)
def test_names_of_columns_that_are_not_there(tmp_path, names, match):
    refused(tmp_path / "crops.csv", "path,camera", "a.jpg,c1", match=match, columns=names)


def test_an_image_that_is_listed_twice(tmp_path):
    lines = [f"{i}.jpg,c1" for i in range(2000)]
    lines[1700] = lines[3]
    match = "/3.jpg' is listed twice: line 5 .*line 1702 "
    refused(tmp_path / "crops.csv", "path,camera", *lines, match=match)
    lines[1800] = lines[900]
    refused(tmp_path / "crops.csv", "path,camera", *lines, match=match + r"\(train\), and 1 more")
    same = [f"{tmp_path}/a.jpg,c1", "a.jpg,c2"]
    refused(tmp_path / "crops.csv", "path,camera", *same, match="listed twice: line 2 .* line 3")


@pytest.mark.parametrize("other", ["./x/a.jpg", "x/../x/a.jpg", "x//a.jpg", "x/./a.jpg", "{}"])
def test_an_image_in_two_spellings(tmp_path, other):
    (tmp_path / "x").mkdir()
    other = other.format(tmp_path / "x" / "y" / ".." / "a.jpg")
    lines = ["path,camera,split", "x/a.jpg,c1,train", f"{other},c1,gallery"]
    match = r"x/a.jpg' is listed twice: line 2 \(train\) and line 3 as .*a.jpg' \(gallery\)"
    refused(tmp_path / "crops.csv", *lines, match=match)
    refused(tmp_path / "x" / ".." / "crops.csv", *lines, match=match)
    plain = [lines[0], "x/a.jpg,c1,train", "x/../a.jpg,c1,gallery", "../x/a.jpg,c1,query"]
    paths = read_manifest(write(tmp_path / "crops.csv", *plain)).samples.paths
    assert list(paths) == [f"{tmp_path}/{line.partition(',')[0]}" for line in plain[1:]]


@pytest.mark.parametrize("splits", itertools.product(SPLITS, SPLITS))
def test_an_image_in_two_splits(tmp_path, splits):
    lines = ["path,camera,split", *(f"a.jpg,c1,{split}" for split in splits)]
    if set(splits) == {"query", "gallery"}:  # never its own match
        assert len(read_manifest(write(tmp_path / "crops.csv", *lines)).samples) == 2
    else:
        match = rf"twice: line 2 \({splits[0]}\) and line 3 \({splits[1]}\)"
        refused(tmp_path / "crops.csv", *lines, match=match)


# anything at all


@st.composite
def manifests(draw):
    """Columns, in their order, and rows with different paths."""
    columns = draw(st.permutations(["path", "camera", *draw(st.sets(st.sampled_from(OPTIONAL)))]))
    made = {**KEPT, "path": PATHS, "split": st.sampled_from(SPLITS)}
    rows = st.lists(
        st.tuples(*(made[name] for name in columns)),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[columns.index("path")],
    )
    return columns, draw(rows)


def as_csv(columns, rows, end="\n", mark="", delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows(rows)
    return mark + text.getvalue()


def name(text):
    """The definition, said again."""
    text = text.strip()
    missing = (
        "nan",
        "NaN",
        "NAN",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "<NA>",
        "None",
        "none",
        "NULL",
        "null",
    )
    if text in ("", *missing):
        return None
    head, dot, tail = text.partition(".")
    return head if dot and tail == "0" and head.lstrip("-").isdecimal() else text


@PATIENT
@given(
    manifests(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from(",;\t"),
)
def test_any_manifest(folder, manifest, end, mark, delimiter):
    columns, rows = manifest
    file = folder / "any.csv"
    file.write_bytes(as_csv(columns, rows, end, mark, delimiter).encode())
    read = read_manifest(file)
    expected = {column: [row[i] for row in rows] for i, column in enumerate(columns)}
    assert list(read.samples.paths) == [
        path if path.startswith("/") else f"{folder}/{path}" for path in expected.pop("path")
    ]
    assert [s.camera for s in read.samples] == [name(camera) for camera in expected.pop("camera")]
    people = [None if name(p) == "-1" else name(p) for p in expected.pop("identity", [])]
    if people:
        known = [*read.identity_names, None]  # the last for -1
        assert [known[i] for i in read.samples.identities] == people
        assert {*read.identity_names} == {*people} - {None}
    tracks = [None if name(t) == "-1" else name(t) for t in expected.pop("tracklet", [])]
    if tracks:
        assert [s.tracklet for s in read.samples] == tracks
        pairs = {(s.camera, s.tracklet) for s in read.samples if s.tracklet is not None}
        assert len(pairs) == len({*read.samples.tracklets.tolist()} - {-1})
    splits = expected.pop("split", None)
    assert splits == (None if read.splits is None else [SPLITS[i] for i in read.splits])
    assert {key: list(column) for key, column in read.samples.further.items()} == expected


@PATIENT
@given(manifests(), st.data())
def test_the_line_of_a_row_is_told(folder, manifest, data):
    columns, rows = manifest
    bad = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(["path", "camera"]))
    rows[bad] = tuple("" if c == column else v for c, v in zip(columns, rows[bad], strict=True))
    file = folder / "bad.csv"
    file.write_bytes(as_csv(columns, rows).encode())
    before = as_csv(columns, rows[:bad])
    ends = before.count("\n")
    with pytest.raises(InputError, match=f"bad.csv, line {ends + 1}: no {column}"):
        read_manifest(file)


@PATIENT
@given(manifests(), st.data())
def test_both_lines_of_an_image_that_is_listed_twice_are_told(folder, manifest, data):
    columns, rows = manifest
    rows = [tuple(v for c, v in zip(columns, row, strict=True) if c != "split") for row in rows]
    columns = [column for column in columns if column != "split"]
    first = data.draw(st.integers(0, len(rows) - 1))
    second = data.draw(st.integers(first + 1, len(rows)))
    rows.insert(second, rows[first])
    file = folder / "twice.csv"
    file.write_bytes(as_csv(columns, rows).encode())
    lines = [as_csv(columns, rows[:row]).count("\n") + 1 for row in (first, second)]
    with pytest.raises(InputError, match=rf"twice: line {lines[0]} .*and line {lines[1]} \(train"):
        read_manifest(file)


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=40)
    | st.text('pathcmer,;\t"\r\n \ufeff0', max_size=60).map(str.encode)
    | st.text(',"\r\n a1', max_size=40).map(lambda text: b"path,camera\n" + text.encode())
)
def test_anything_is_read_or_refused_with_a_reason(folder, content):
    file = folder / "thing.csv"
    file.write_bytes(content)
    read = read_or_message(file)
    if isinstance(read, str):
        assert "thing.csv" in read
    else:
        assert len(read.samples) > 0
        assert (read.samples.cameras >= 0).all()
        assert len({*read.samples.paths}) == len(read.samples)
        assert all(s.camera == name_of(s.camera) for s in read.samples)


def read_or_message(file):
    try:
        return read_manifest(file)
    except InputError as error:
        return str(error)


@PATIENT
@given(manifests(), st.randoms())
def test_the_order_of_rows_changes_nothing_but_the_order(folder, manifest, random):
    columns, rows = manifest
    shuffled = random.sample(rows, len(rows))
    both = []
    for content in (rows, shuffled):
        file = folder / "order.csv"
        file.write_bytes(as_csv(columns, content).encode())
        read = read_manifest(file)
        numbers = zip(
            read.samples.paths, read.samples.cameras, read.samples.identities, strict=True
        )
        both.append((sorted(numbers), read.samples.camera_names, read.identity_names))
    assert both[0] == both[1]


# Parquet


def parquet(file, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pyarrow.table(columns), file)
    return file


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    file = parquet(
        tmp_path / "crops.parquet",
        path=["a.jpg", "ä.jpg", "c.jpg"],
        camera=pyarrow.array([2, 10, 2]),
        identity=pyarrow.array([3.0, None, float("nan")]),  # whole numbers with gaps
        tracklet=pyarrow.array(["t1", None, "t1"]).dictionary_encode(),
        time=pyarrow.array([0, 1, None], pyarrow.timestamp("s")),
        lists=[[1, 2], [], None],
        content=[b"x", b"y", b"z"],
    )
    read = read_manifest(file)
    assert list(read.samples) == [
        (f"{tmp_path}/a.jpg", "2", 0, "t1"),
        (f"{tmp_path}/ä.jpg", "10", None, None),
        (f"{tmp_path}/c.jpg", "2", None, "t1"),
    ]
    assert read.samples.camera_names == ["2", "10"]
    assert read.identity_names == ["3"]
    further = {name: list(column) for name, column in read.samples.further.items()}
    assert further == {"time": ["1970-01-01 00:00:00", "1970-01-01 00:00:01", ""]}


@PATIENT
@given(manifests())
def test_parquet_is_read_as_csv_is(folder, manifest):
    columns, rows = manifest
    (folder / "same.csv").write_bytes(as_csv(columns, rows).encode())
    transposed = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    file = parquet(folder / "same.parquet", **transposed)
    one, other = read_manifest(folder / "same.csv"), read_manifest(file)
    assert one.samples == other.samples
    assert one.samples.further == other.samples.further
    assert one.identity_names == other.identity_names
    np.testing.assert_array_equal(one.splits, other.splits)


def test_what_cannot_be_used_in_parquet_is_named(tmp_path):
    file = parquet(tmp_path / "crops.parquet", path=["a", "b", "c"], camera=[1, 2, None])
    with pytest.raises(InputError, match="crops.parquet, row 3: no camera"):
        read_manifest(file)
    parquet(file, path=["a", "b", "a"], camera=[1, 2, 2])
    with pytest.raises(InputError, match=r"/a' is listed twice: row 1 .* row 3"):
        read_manifest(file)
    parquet(file, path=[["a"], ["b"]], camera=[1, 2])
    with pytest.raises(InputError, match="no column 'path'; its columns are camera"):
        read_manifest(file)
    pyarrow = pytest.importorskip("pyarrow")
    no_text = pyarrow.array([b"a", b"\xff"], pyarrow.binary()).view(pyarrow.string())
    parquet(file, path=no_text, camera=[1, 2])
    with pytest.raises(InputError, match="crops.parquet cannot be read as a Parquet file"):
        read_manifest(file)
    whole = parquet(file, path=["a", "b", "a"], camera=[1, 2, 2]).read_bytes()
    for content in (b"path,camera\na.jpg,c1\n", b"", whole[:100]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="crops.parquet cannot be read as a Parquet file"):
            read_manifest(file)


def test_what_to_install_for_parquet(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "crops.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingPackageError, match=r'pip install "lightning-reid\[parquet\]"'):
        read_manifest(tmp_path / "crops.parquet")
