"""Folders whose names tell what is on the images."""

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_reid.data.file_pattern import FolderTable, compile_pattern
from lightning_reid.data.manifest import collect
from lightning_reid.errors import InputError

PART = st.text("abc_-.019é", min_size=1, max_size=5).filter(lambda part: part[0] != ".")


def tree(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def rows(root, pattern):
    """All rows as dicts; a warning is an error."""
    table = FolderTable(root, pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chunks = list(table.chunks())
    return [
        dict(zip(table.columns, row, strict=True)) for c in chunks for row in zip(*c, strict=True)
    ]


def test_folders_are_fields(tmp_path):
    tree(tmp_path, "hall/t2/1.jpg", "gate/t1/2.jpg", "gate/t1/1.jpg", "gate/t10/1.jpg")
    assert rows(tmp_path, "{camera}/{tracklet}/*.jpg") == [
        {"path": "gate/t1/1.jpg", "camera": "gate", "tracklet": "t1"},
        {"path": "gate/t1/2.jpg", "camera": "gate", "tracklet": "t1"},
        {"path": "gate/t10/1.jpg", "camera": "gate", "tracklet": "t10"},
        {"path": "hall/t2/1.jpg", "camera": "hall", "tracklet": "t2"},
    ]


def fields(pattern, path):
    match = compile_pattern(pattern).fullmatch(path)
    return match and match.groupdict()


def paths_of(root, pattern):
    """The first column."""
    return [path for chunk in FolderTable(root, pattern).chunks() for path in chunk[0]]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{identity}_c{camera}_*.jpg", "0002_c1_000451.jpg", {"identity": "0002", "camera": "1"}),
        ("{identity}_c{camera}_*.jpg", "0002_c1_x_c2_3.jpg", {"identity": "0002", "camera": "1"}),
        ("{camera}s*_{frame}_*.jpg", "c1s1_04_03.jpg", {"camera": "c1", "frame": "04"}),
        ("{camera}.jpg", "a/c1.jpg", None),
        ("*/{camera}.jpg", "a/c1.jpg", {"camera": "c1"}),
        ("*/{camera}.jpg", "a/b/c1.jpg", None),
        ("**/{camera}.jpg", "a/b/c1.jpg", {"camera": "c1"}),
        ("**/{camera}.jpg", "c1.jpg", {"camera": "c1"}),
        ("{camera}/**", "c1/a/b/2.png", {"camera": "c1"}),
        ("{camera}/**/*.jpg", "c1/2.jpg", {"camera": "c1"}),
        ("{camera}/{camera}_{t}.jpg", "c1/c1_5.jpg", {"camera": "c1", "t": "5"}),
        ("{camera}/{camera}_{t}.jpg", "c1/c2_5.jpg", None),
        ("{camera}/*.jpg", "c1/2xjpg", None),
        ("{camera}/*.jpg", "c1/.jpg", {"camera": "c1"}),
        ("[{camera}]+(?)/*", "[höfe]+(?)/ä", {"camera": "höfe"}),
    ],
)
def test_what_a_pattern_means(pattern, path, expected):
    assert fields(pattern, path) == expected


@given(PART, PART)
def test_fields_are_found_again(camera, identity):
    found = fields("{camera}/x{identity}.jpg", f"{camera}/x{identity}.jpg")
    assert found == {"camera": camera, "identity": identity}


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("{cam}/*.jpg", r"'{cam}/\*.jpg' has no field {camera}"),
        ("{camera}/{a b}.jpg", "{a b} is no field"),
        ("{camera}/{}.jpg", "{} is no field"),
        ("{camera}/{path}.jpg", "'path' is the file itself"),
        ("{camera}/{frame.jpg", "a brace without its other half"),
        ("{camera}/frame}.jpg", "a brace without its other half"),
        ("{camera}/a**.jpg", "whole folders"),
    ],
)
def test_patterns_that_mean_nothing(pattern, match):
    with pytest.raises(InputError, match=match):
        compile_pattern(pattern)


def test_files_that_do_not_match_are_counted(tmp_path):
    tree(tmp_path, "c1/1.jpg", "c1/1.txt", "Thumbs.db", "c2/a/1.jpg", ".hidden/1.txt", "c1/._1.jpg")
    table = FolderTable(tmp_path, "{camera}/*.jpg")
    with pytest.warns(UserWarning, match=r"left out 3 files .*the first of them 'Thumbs.db'"):
        chunks = list(table.chunks())
    assert chunks == [[("c1/1.jpg",), ("c1",)]]


def test_images_with_other_endings_are_counted_by_ending(tmp_path):
    tree(tmp_path, "c1/1.jpg", "c1/0.txt", "c1/2.JPG", "c1/3.webp", "c1/4.webp")
    with pytest.warns(UserWarning, match=r"; 3 of them are images \(2 .webp, 1 .JPG\).*'c1/2.JPG'"):
        assert paths_of(tmp_path, "{camera}/*.jpg") == ["c1/1.jpg"]


@pytest.mark.parametrize("pattern", ["{camera}/*", "{camera}/**", "{camera}/{identity}"])
def test_a_pattern_without_an_ending_takes_images_alone(tmp_path, pattern):
    tree(tmp_path, "c1/1.jpg", "c1/2.WEBP", "c1/3.txt", "c1/Thumbs.db", "c1/4.heic", "c1/5")
    tree(tmp_path, "c1/@eaDir/1.jpg/thumb.jpg", "__MACOSX/c1/1.jpg", "c1/._1.jpg")
    with pytest.warns(UserWarning, match=r"left out 4 files .*'c1/3.txt'$"):
        assert paths_of(tmp_path, pattern) == ["c1/1.jpg", "c1/2.WEBP"]


def test_a_pattern_with_an_ending_of_its_own_is_taken_at_its_word(tmp_path):
    tree(tmp_path, "c1/1.frame")
    assert paths_of(tmp_path, "{camera}/*.frame") == ["c1/1.frame"]


def test_names_that_are_not_utf8(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/h\xf6fe \n\t")
    tree(Path(folder), "a\n,b'\" .jpg", os.fsdecode(b"caf\xe9.jpg"))
    read = collect(FolderTable(tmp_path, "{camera}/{identity}.jpg"), tmp_path)
    assert all(Path(path).is_file() for path in read.samples.paths)
    assert read.samples.camera_names == [os.fsdecode(b"h\xf6fe")]  # white space does not count
    assert sorted(read.identity_names) == ["a\n,b'\"", os.fsdecode(b"caf\xe9")]


def test_links_that_lead_to_themselves(tmp_path):
    tree(tmp_path, "c1/1.jpg")
    (tmp_path / "c1/loop").symlink_to(tmp_path / "c1/loop")
    with pytest.warns(UserWarning, match="left out 1 file .*'c1/loop'"):
        assert paths_of(tmp_path, "{camera}/*.jpg") == ["c1/1.jpg"]


def test_no_file_that_matches(tmp_path):
    tree(tmp_path, "c1/b/1.png", "c1/b/2.png")
    with pytest.raises(InputError, match=r"'{camera}/\*.jpg'; there are 2 others.* 'c1/b/1.png'"):
        rows(tmp_path, "{camera}/*.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty matches the pattern .*there is none"):
        rows(tmp_path / "empty", "{camera}/*.jpg")
    with pytest.raises(InputError, match="no folder .*nowhere"):
        FolderTable(tmp_path / "nowhere", "{camera}/*.jpg")


def test_links_are_followed_but_not_in_circles(tmp_path):
    tree(tmp_path / "elsewhere", "1.jpg")
    tree(tmp_path / "root", "c1/1.jpg")
    (tmp_path / "root/c2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/c1/back").symlink_to(tmp_path / "root")
    found = rows(tmp_path / "root", "{camera}/**")
    assert [row["path"] for row in found] == ["c1/1.jpg", "c2/1.jpg"]


def test_the_images_of_a_folder(tmp_path):
    tree(tmp_path, "c2/7_a_1.jpg", "c10/7_b_1.jpg", "c10/-1_b_2.jpg", "c2/8_a_2.jpg")
    pattern = "{camera}/{identity}_{tracklet}_{frame}.jpg"
    read = collect(FolderTable(tmp_path, pattern), tmp_path)
    assert list(read.samples) == [
        (f"{tmp_path}/c10/-1_b_2.jpg", "c10", None, "b"),
        (f"{tmp_path}/c10/7_b_1.jpg", "c10", 0, "b"),
        (f"{tmp_path}/c2/7_a_1.jpg", "c2", 0, "a"),
        (f"{tmp_path}/c2/8_a_2.jpg", "c2", 1, "a"),
    ]
    assert list(read.samples.further["frame"]) == ["2", "1", "1", "2"]
    assert read.samples.camera_names == ["c2", "c10"]
    assert read.place(2) == "c2/7_a_1.jpg"


def test_a_folder_that_names_no_camera(tmp_path):
    tree(tmp_path, "c1/1.jpg", "none/1.jpg")
    with pytest.raises(InputError, match=f"{tmp_path}, none/1.jpg: no camera"):
        collect(FolderTable(tmp_path, "{camera}/*.jpg"), tmp_path)
