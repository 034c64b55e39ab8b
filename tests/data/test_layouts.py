"""File layouts of published sets: what their names and lists say."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from lightning_reid.data import (
    Sample,
    Samples,
    parse_duke_video_folder,
    parse_market_folder,
    parse_mars,
    parse_mars_tracks,
    parse_msmt17_list,
    parse_prid2011_multi,
    parse_prid2011_single,
    parse_viper_folder,
)
from lightning_reid.data.halves import random_half
from lightning_reid.data.tracklets import spread
from lightning_reid.errors import InputError


def lay(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@given(st.integers(1, 60), st.integers(1, 60))
def test_frames_are_spread_evenly(count, wanted):
    frames = spread(count, wanted)
    assert len(frames) == min(count, wanted)
    assert frames == sorted(set(frames))
    assert frames[0] >= 0
    assert frames[-1] < count
    if wanted < count:  # as far from the ends as from each other, to one frame
        gaps = np.diff(frames)
        assert np.ptp([*gaps, count // wanted]) <= 1
        assert abs(frames[0] - (count - 1 - frames[-1])) <= 1


def test_one_frame_is_the_middle_one_and_none_means_all():
    assert [spread(count, 1) for count in (1, 2, 3, 16)] == [[0], [1], [1], [8]]
    assert spread(3, None) == [0, 1, 2]


@given(st.sets(st.integers(0, 900), min_size=2), st.integers(0, 9))
def test_halves_are_halves_whatever_the_order(people, split):
    half = random_half(people, split)
    assert half < people
    assert len(half) == len(people) // 2
    assert random_half(sorted(people, reverse=True), split) == half


def test_halves_differ_and_stay_the_same():
    halves = [frozenset(random_half(range(632), split)) for split in range(10)]
    assert len(set(halves)) == 10
    assert sorted(random_half(range(10), 0)) == [1, 2, 4, 6, 7]


# as in the lists of MARS: junk, distractors, then people; 0002's first track has four images
NAMES = [
    "00-1C1T0001F001.jpg",
    "00-1C1T0001F002.jpg",
    "0000C3T0001F001.jpg",
    "0002C1T0001F001.jpg",
    "0002C1T0001F002.jpg",
    "0002C1T0001F003.jpg",
    "0002C1T0001F004.jpg",
    "0002C6T0001F001.jpg",
]
TRACKS = np.array([[1, 2, -1, 1], [3, 3, 0, 3], [4, 7, 2, 1], [8, 8, 2, 6]])


def test_mars_tracks_without_junk_and_with_distractors():
    assert parse_mars_tracks(NAMES, TRACKS, "bbox_test") == [
        Sample("bbox_test/0000/0000C3T0001F001.jpg", "c3", 0, "0000C3T0001"),
        Sample("bbox_test/0002/0002C1T0001F003.jpg", "c1", 2, "0002C1T0001"),
        Sample("bbox_test/0002/0002C6T0001F001.jpg", "c6", 2, "0002C6T0001"),
    ]


@pytest.mark.parametrize(("frames", "chosen"), [(2, [2, 4, 6, 7]), (None, [2, 3, 4, 5, 6, 7])])
def test_mars_frames(frames, chosen):
    samples = parse_mars_tracks(NAMES, TRACKS, "bbox_test", frames)
    assert [s.path[-19:] for s in samples] == [NAMES[i] for i in chosen]
    assert len({s.tracklet for s in samples}) == 3


def lay_mars(root, names=NAMES, tracks=TRACKS, queries=(3,)):
    """MATLAB's way: matrices, counted from 1."""
    (root / "info").mkdir(exist_ok=True)
    for part in ("train", "test"):
        (root / f"info/{part}_name.txt").write_text("\n".join(names) + "\n")
        file = root / f"info/tracks_{part}_info.mat"
        savemat(file, {f"track_{part}_info": tracks.astype(np.float64)})
    savemat(root / "info/query_IDX.mat", {"query_IDX": np.array([queries], dtype=np.float64)})
    return root


def test_mars_queries_are_among_the_gallery(tmp_path):
    lay_mars(tmp_path)
    gallery, query = (parse_mars(tmp_path, split) for split in ("gallery", "query"))
    assert [s.tracklet for s in query] == ["0002C1T0001"]
    assert [s.tracklet for s in gallery] == ["0000C3T0001", "0002C1T0001", "0002C6T0001"]
    assert query[0].path == str(tmp_path / "bbox_test/0002/0002C1T0001F003.jpg")
    assert parse_mars(tmp_path, "train")[0].path.startswith(str(tmp_path / "bbox_train/0000"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": NAMES[:5]}, "from image 4 to 7, but 5 names are listed"),
        ({"names": [*NAMES[:5], "person.jpg", *NAMES[6:]]}, "name 'person.jpg'"),
        ({"names": [*NAMES[:2], NAMES[0], *NAMES[3:]]}, "identity 0 and camera 3 of 00-1C1T0001F"),
        ({"tracks": TRACKS[:, [0, 1, 3, 2]]}, "identity 1 and camera -1 of 00-1C1T0001F002"),
        ({"tracks": TRACKS[:, :3]}, "rows of 4 numbers"),
        ({"queries": (5,)}, "query_IDX.mat names tracks beyond the 4"),
        ({"queries": (0,)}, "query_IDX.mat names tracks beyond the 4"),
    ],
)
def test_lists_of_mars_that_do_not_belong_together(tmp_path, changes, message):
    lay_mars(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        parse_mars(tmp_path, "query" if "queries" in changes else "gallery")


@pytest.mark.parametrize(
    "file", ["info/test_name.txt", "info/tracks_test_info.mat", "info/query_IDX.mat"]
)
def test_missing_lists_of_mars_are_named(tmp_path, file):
    (lay_mars(tmp_path) / file).unlink()
    with pytest.raises(InputError, match=f"no file .*{file}.*MARS-evaluation"):
        parse_mars(tmp_path, "query")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 20, None])
def test_damaged_lists_of_mars_are_named(tmp_path, content):
    file = lay_mars(tmp_path) / "info/tracks_test_info.mat"
    savemat(file, {"track_test_info": TRACKS}, do_compression=True)
    file.write_bytes(file.read_bytes()[:150] if content is None else content)
    with pytest.raises(InputError, match=r"cannot read track_test_info from .*test_info.mat"):
        parse_mars(tmp_path, "gallery")


def test_a_list_of_mars_under_another_name(tmp_path):
    savemat(lay_mars(tmp_path) / "info/tracks_test_info.mat", {"tracks": TRACKS})
    with pytest.raises(InputError, match="cannot read track_test_info"):
        parse_mars(tmp_path, "gallery")


def test_duke_video_tracklets_in_both_ways_of_naming(tmp_path):
    lay(
        tmp_path,
        *(f"0001/0003/0001_C6_F{frame:04d}_X{30000 + frame}.jpg" for frame in range(1, 6)),
        "0001/0020/0001C2F0001X00012.jpg",
        "0007/0101/0007_C8_F0001_X00001.jpg",
    )
    assert parse_duke_video_folder(tmp_path) == [
        Sample(f"{tmp_path}/0001/0003/0001_C6_F0003_X30003.jpg", "c6", 1, "0001/0003"),
        Sample(f"{tmp_path}/0001/0020/0001C2F0001X00012.jpg", "c2", 1, "0001/0020"),
        Sample(f"{tmp_path}/0007/0101/0007_C8_F0001_X00001.jpg", "c8", 7, "0007/0101"),
    ]
    assert len(parse_duke_video_folder(tmp_path, 2)) == 4
    assert len(parse_duke_video_folder(tmp_path, None)) == 7


@pytest.mark.parametrize("name", ["0002_C6_F0003_X30003.jpg", "0001_c6_f003.jpg", "frame.jpg"])
def test_duke_video_frames_of_another_name_are_named(tmp_path, name):
    lay(tmp_path, f"0001/0003/{name}")
    with pytest.raises(InputError, match=f"identity 0001 .*0001/0003/{name}"):
        parse_duke_video_folder(tmp_path)


def test_duke_video_folders_that_hold_nothing_are_named(tmp_path):
    with pytest.raises(InputError, match="no folder .*train"):
        parse_duke_video_folder(tmp_path / "train")
    with pytest.raises(InputError, match=f"no folders in {tmp_path}"):
        parse_duke_video_folder(tmp_path)
    (tmp_path / "0001/0003").mkdir(parents=True)
    with pytest.raises(InputError, match="no images .* in .*0001/0003"):
        parse_duke_video_folder(tmp_path)


def test_viper_names(tmp_path):
    lay(tmp_path, "cam_a/000_45.bmp", "cam_a/873_0.bmp", "cam_b/000_135.bmp", "cam_b/Thumbs.db")
    assert parse_viper_folder(tmp_path) == [
        Sample(f"{tmp_path}/cam_a/000_45.bmp", "cam_a", 0),
        Sample(f"{tmp_path}/cam_a/873_0.bmp", "cam_a", 873),
        Sample(f"{tmp_path}/cam_b/000_135.bmp", "cam_b", 0),
    ]
    lay(tmp_path, "cam_b/front.bmp")
    with pytest.raises(InputError, match="cam_b/front.bmp; expected <identity>_<angle>"):
        parse_viper_folder(tmp_path)
    with pytest.raises(InputError, match="no folder .*cam_a"):
        parse_viper_folder(tmp_path / "cam_b")


def test_prid_people_seen_by_one_camera_are_different_people(tmp_path):
    lay(
        tmp_path,
        *(f"{camera}/person_{n:04d}.png" for camera in ("cam_a", "cam_b") for n in (1, 200, 201)),
        "cam_a/person_0385.png",
        "cam_b/person_0749.png",
    )
    found = {(s.camera, s.identity) for s in parse_prid2011_single(tmp_path)}
    assert found == {
        *(("cam_a", n) for n in (1, 200, 201, 385)),
        *(("cam_b", n) for n in (1, 200, 386, 934)),
    }


def test_prid_tracklets(tmp_path):
    lay(
        tmp_path,
        *(f"cam_a/person_0001/{frame:04d}.png" for frame in range(1, 6)),
        "cam_b/person_0001/0001.png",
    )
    assert parse_prid2011_multi(tmp_path) == [
        Sample(f"{tmp_path}/cam_a/person_0001/0003.png", "cam_a", 1, "person_0001"),
        Sample(f"{tmp_path}/cam_b/person_0001/0001.png", "cam_b", 1, "person_0001"),
    ]
    assert len(parse_prid2011_multi(tmp_path, None)) == 6


def test_prid_names_of_another_form_are_named(tmp_path):
    lay(tmp_path, "cam_a/someone.png", "cam_b/someone/0001.png")
    with pytest.raises(InputError, match="person from the name of .*cam_a/someone.png"):
        parse_prid2011_single(tmp_path)
    with pytest.raises(InputError, match="no folders in .*cam_a"):
        parse_prid2011_multi(tmp_path)


# one parser for each layout, with the file of a person in it whose ending is left open
LAYOUTS = {
    "market": (parse_market_folder, "0002_c1s1_000451_03{}", ()),
    "viper": (parse_viper_folder, "cam_a/002_45{}", ("cam_b/002_90.bmp",)),
    "prid single": (parse_prid2011_single, "cam_a/person_0002{}", ("cam_b/person_0002.png",)),
    "prid multi": (
        parse_prid2011_multi,
        "cam_a/person_0002/0001{}",
        ("cam_b/person_0002/0001.png",),
    ),
    "duke video": (parse_duke_video_folder, "0002/0003/0002_C6_F0003_X30003{}", ()),
}
layouts = pytest.mark.parametrize(("parse", "name", "others"), LAYOUTS.values(), ids=LAYOUTS)


@layouts
@pytest.mark.parametrize("ending", [".JPG", ".jpeg", ".webp", ".bmp", ".Tif", ".tiff", ".avif"])
def test_images_of_any_ending_are_read(tmp_path, parse, name, others, ending, recwarn):
    lay(tmp_path, name.format(ending), *others)
    assert f"{tmp_path}/{name.format(ending)}" in [sample.path for sample in parse(tmp_path)]
    assert not recwarn


@layouts
def test_files_that_are_not_read_are_counted_and_named(tmp_path, parse, name, others):
    lay(tmp_path, name.format(".jpg"), name.format(".heic"), name.format(".jpg.part"), *others)
    with pytest.warns(UserWarning, match="left out 2") as warned:
        samples = parse(tmp_path)
    assert len(samples) == 1 + len(others)
    (warning,) = map(str, (warning.message for warning in warned))
    assert f"left out 2 files or folders in {tmp_path}" in warning
    assert f"{name.format('.heic')!r}" in warning
    (tmp_path / name.format(".jpg")).unlink()
    with pytest.raises(InputError, match=r"no images .* in .*\.heic'.* other endings"):
        parse(tmp_path)


@layouts
def test_what_systems_leave_behind_is_left_out(tmp_path, parse, name, others, recwarn):
    lay(tmp_path, name.format(".jpg"), *others)
    sound = parse(tmp_path)
    for folder in {file.parent for file in tmp_path.rglob("*.*")} | {tmp_path}:
        lay(folder, "._x.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden/x.jpg")
        lay(folder, f"._{name.format('.jpg').rpartition('/')[2]}", "@eaDir/x.jpg/thumb.jpg")
        (folder / ".loop.jpg").symlink_to(folder / ".loop.jpg")
    assert parse(tmp_path) == sound
    assert not recwarn


@layouts
def test_links_that_lead_nowhere_do_not_stop_a_parser(tmp_path, parse, name, others):
    lay(tmp_path, name.format(".jpg"), *others)
    folder = (tmp_path / name).parent
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.warns(UserWarning, match="'.*loop'"):
        samples = parse(tmp_path)
    assert len(samples) == 1 + len(others)


@layouts
def test_images_of_another_name_are_never_left_out_silently(tmp_path, parse, name, others):
    stray = f"{name.format('').rpartition('/')[0]}/stray.webp".lstrip("/")
    lay(tmp_path, name.format(".jpg"), stray, *others)
    if parse is parse_prid2011_multi:  # frames may have any name
        assert len(parse(tmp_path, None)) == 3
    else:
        with pytest.raises(InputError, match="stray.webp"):
            parse(tmp_path, *([None] if parse is parse_duke_video_folder else []))


@layouts
def test_names_that_are_not_utf8_are_kept(tmp_path, parse, name, others):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n")
    lay(Path(folder), name.format(".jpg"), *others)
    samples = Samples.of(parse(folder))
    assert f"{folder}/{name.format('.jpg')}" in list(samples.paths)
    assert all(Path(path).is_file() for path in samples.paths)


def test_rests_of_market_names_may_be_anything(tmp_path):
    rest = b"0002_c3s1 \t\"caf\xe9'\n\xcc\x81,;" + b"x" * 200 + b".jpg"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + rest)).touch()
    (sample,) = Samples.of(parse_market_folder(tmp_path))
    assert (sample.identity, sample.camera) == (2, "c3")
    assert os.fsencode(sample.path).endswith(rest)
    lay(tmp_path, "0002_c3 .jpg ")  # no ending of an image
    with pytest.warns(UserWarning, match=r"1 file .*'0002_c3 .jpg '"):
        assert len(parse_market_folder(tmp_path)) == 1


def test_lists_of_names_that_are_not_utf8(tmp_path):
    line = b"0000/0000_000_01_0303caf\xe9_0015_0.jpg 7\r\n"
    (tmp_path / "list_train.txt").write_bytes(b"\xef\xbb\xbf" + line)  # as Notepad writes it
    (sample,) = parse_msmt17_list(tmp_path / "list_train.txt", tmp_path / "train")
    assert os.fsencode(sample.path).endswith(b"/train/0000/0000_000_01_0303caf\xe9_0015_0.jpg")
    assert (sample.camera, sample.identity) == ("c1", 7)


NUMBER = 2**63  # the first that does not fit


@pytest.mark.parametrize("identity", [NUMBER, 12345678901234567890, 10**80])
@pytest.mark.parametrize(
    ("parse", "name", "others"),
    [
        (parse_market_folder, "{}_c1.jpg", ()),
        (parse_viper_folder, "cam_a/{}_0.jpg", ("cam_b/1_0.jpg",)),
        (parse_prid2011_single, "cam_a/person_{}.jpg", ("cam_b/person_1.jpg",)),
        (parse_duke_video_folder, "{0}/1/{0}_C1_F1.jpg", ()),
    ],
)
def test_identities_beyond_64_bits_are_refused_by_name(tmp_path, parse, name, others, identity):
    lay(tmp_path, name.format(identity), *others)
    with pytest.raises(InputError, match=f"{name.format(identity)}: the identity {identity} is"):
        Samples.of(parse(tmp_path))


def test_so_are_those_of_lists_and_of_own_data_modules(tmp_path):
    file = tmp_path / "list_train.txt"
    file.write_text(f"0/0_0_1_a.jpg 0\n0/0_0_{NUMBER}_a.jpg {NUMBER - 1}\n")
    assert parse_msmt17_list(file, "train")[1] == (
        f"train/0/0_0_{NUMBER}_a.jpg",
        f"c{NUMBER}",
        NUMBER - 1,
        None,
    )
    file.write_text(f"0/0_0_1_a.jpg 0\n0/0_0_1_b.jpg {NUMBER}\n")
    with pytest.raises(InputError, match=f"train/0/0_0_1_b.jpg: the identity {NUMBER}"):
        parse_msmt17_list(file, "train")
    file.write_text(f"0/0_0_1_a.jpg {'1' * 5000}\n")
    with pytest.raises(InputError, match="list_train.txt:1"):
        parse_msmt17_list(file, "train")
    for identity in (NUMBER, -NUMBER - 1, np.uint64(NUMBER)):
        with pytest.raises(InputError, match="1.jpg: the identity"):
            Samples.of([Sample("1.jpg", "gate", identity)])
