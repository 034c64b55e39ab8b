"""Small folders laid out exactly as the published sets."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from lightning_reid import (
    CUHK03,
    MARS,
    MSMT17,
    PRID2011,
    DukeMTMCreID,
    DukeMTMCVideoReID,
    Market1501,
    PersonX,
    PseudoLabels,
    VeRi776,
    VIPeR,
)
from lightning_reid.cli import run_command_line
from lightning_reid.data import Augmentation, Sample, parse_msmt17_list
from lightning_reid.datamodules.published import differences
from lightning_reid.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

MARKET = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c3s1_000151_01.jpg",
        "0001_c2s1_000301_00.jpg",
    ],
}
DUKE = {
    "bounding_box_train": ["0001_c2_f0046302.jpg", "0001_c8_f0046422.jpg", "0007_c1_f0057010.jpg"],
    "query": ["0005_c2_f0046985.jpg"],
    "bounding_box_test": ["0005_c5_f0058105.jpg", "0005_c2_f0047105.jpg"],
}
VERI = {
    "image_train": ["0001_c001_00016450_0.jpg", "0001_c020_00016460_0.jpg"],
    "image_query": ["0002_c002_00030600_0.jpg"],
    "image_test": ["0002_c002_00030600_0.jpg", "0002_c003_00084280_0.jpg"],
}
PERSONX = {
    "bounding_box_train": ["0001_c3_1.jpg", "0001_c12_7.jpg"],
    "query": ["0411_c8_1.jpg"],
    "bounding_box_test": ["0411_c8_3.jpg", "0411_c10_1.jpg"],
}
CUHK = {
    "detected/bounding_box_train": ["0001_c1_1.png", "0001_c2_6.png"],
    "detected/query": ["0003_c1_22.png"],
    "detected/bounding_box_test": ["0003_c1_21.png", "0003_c2_27.png"],
    "labeled/bounding_box_train": ["0001_c1_1.png", "0001_c1_2.png", "0001_c2_6.png"],
    "labeled/query": ["0003_c1_22.png"],
    "labeled/bounding_box_test": ["0003_c2_27.png"],
}
# a folder for each tracklet; of the gallery one of the people that no query shows
DUKE_VIDEO = {
    "train/0001/0003": [f"0001_C6_F{frame:04d}_X{30822 + frame}.jpg" for frame in range(1, 6)],
    "train/0001/0020": ["0001_C2_F0001_X00012.jpg", "0001_C2_F0002_X00024.jpg"],
    "query/0005/0001": ["0005_C2_F0001_X46985.jpg"],
    "gallery/0005/0002": ["0005_C5_F0001_X58105.jpg", "0005_C5_F0002_X58117.jpg"],
    "gallery/4001/0003": ["4001_C1_F0001_X00100.jpg"],
}
MARS_TRAIN = {
    "bbox_train/0001": ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C1T0001F003.jpg"],
    "bbox_train/0003": ["0003C2T0001F001.jpg"],
}
MARS_TEST = {
    "bbox_test/00-1": ["00-1C1T0001F001.jpg"],
    "bbox_test/0000": ["0000C3T0001F001.jpg"],
    "bbox_test/0002": [
        "0002C1T0001F001.jpg",
        "0002C1T0001F002.jpg",
        "0002C6T0001F001.jpg",
    ],
}
MSMT_LISTS = {
    "list_train.txt": [
        "0000/0000_000_01_0303morning_0015_0.jpg 0",
        "0000/0000_003_15_0113afternoon_0244_1.jpg 0",
        "0001/0001_000_03_0303noon_0037_0.jpg 1",
    ],
    "list_val.txt": ["0001/0001_007_02_0302morning_1203_2.jpg 1"],
    "list_query.txt": ["0000/0000_003_14_0303morning_0022_0.jpg 0"],
    "list_gallery.txt": [
        "0000/0000_000_04_0303morning_0018_0.jpg 0",
        "0002/0002_001_10_0113noon_0311_1_ex.jpg 2",
    ],
}
SETTINGS = {"batch_size": 2, "batches_per_epoch": 1, "images_per_group": 1, "num_workers": 0}


def draw(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 12), (90, 120, 30)).save(file)


def write_folders(root, folders):
    for folder, names in folders.items():
        for name in names:
            draw(root / folder / name)
    (root / "Thumbs.db").touch()
    return root


def write_msmt17(root, train="train", test="test"):
    for name, lines in MSMT_LISTS.items():
        folder = train if name in ("list_train.txt", "list_val.txt") else test
        for line in lines:
            draw(root / folder / line.split()[0])
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def write_mars(root):
    """Images, names and tracks as published: matrices of doubles, counted from 1."""
    tracks = {
        "train": [[1, 3, 1, 1], [4, 4, 3, 2]],
        "test": [[1, 1, -1, 1], [2, 2, 0, 3], [3, 4, 2, 1], [5, 5, 2, 6]],
    }
    (root / "info").mkdir()
    for part, folders in (("train", MARS_TRAIN), ("test", MARS_TEST)):
        write_folders(root, folders)
        names = [name for folder in folders.values() for name in folder]
        (root / f"info/{part}_name.txt").write_text("\n".join(names) + "\n")
        rows = np.array(tracks[part], dtype=np.float64)
        savemat(root / f"info/tracks_{part}_info.mat", {f"track_{part}_info": rows})
    savemat(root / "info/query_IDX.mat", {"query_IDX": np.array([[3.0]])})
    return root


def write_viper(root, people=632):
    """As published: identities with gaps, and the angle of each view in the name."""
    draw(root / "cam_a/000_45.bmp")
    image = (root / "cam_a/000_45.bmp").read_bytes()
    for person in range(people):
        identity = person + person // 3
        for camera, angle in (("cam_a", 45), ("cam_b", 135)):
            (root / camera).mkdir(exist_ok=True)
            (root / camera / f"{identity:03d}_{angle}.bmp").write_bytes(image)
    return root


def write_prid(root):
    """All people of both cameras, as published; of the tracklets two frames each."""
    draw(root / "single_shot/cam_a/person_0001.png")
    image = (root / "single_shot/cam_a/person_0001.png").read_bytes()
    for camera, people in (("cam_a", 385), ("cam_b", 749)):
        for person in range(1, people + 1):
            single = root / f"single_shot/{camera}/person_{person:04d}.png"
            multi = root / f"multi_shot/{camera}/person_{person:04d}"
            single.parent.mkdir(parents=True, exist_ok=True)
            multi.mkdir(parents=True)
            for file in (single, multi / "0001.png", multi / "0002.png"):
                file.write_bytes(image)
    return root


def known(samples):
    return [(s.camera, s.identity) for s in samples]


def unlike_published(made):
    read = (made.train_samples, made.query_samples, made.gallery_samples)
    splits = made.published.splits.items()
    return [
        sentence
        for samples, (split, counts) in zip(read, splits, strict=True)
        for sentence in differences(split, samples, counts)
    ]


def first_batches(made):
    made.setup()
    made.assign(PseudoLabels(torch.arange(len(made.train_samples))))
    return next(iter(made.train_dataloader())), next(iter(made.test_dataloader()))


@pytest.mark.parametrize(
    ("kind", "folders", "cameras", "sizes", "shape"),
    [
        (Market1501, MARKET, {"c1", "c2", "c3"}, (2, 1, 2), (3, 256, 128)),
        (DukeMTMCreID, DUKE, {"c1", "c2", "c5", "c8"}, (3, 1, 2), (3, 256, 128)),
        (VeRi776, VERI, {"c1", "c2", "c3", "c20"}, (2, 1, 2), (3, 224, 224)),
        (PersonX, PERSONX, {"c3", "c8", "c10", "c12"}, (2, 1, 2), (3, 256, 128)),
        (CUHK03, CUHK, {"c1", "c2"}, (2, 1, 2), (3, 256, 128)),
        (DukeMTMCVideoReID, DUKE_VIDEO, {"c1", "c2", "c5", "c6"}, (2, 1, 2), (3, 256, 128)),
    ],
)
def test_published_folders(tmp_path, kind, folders, cameras, sizes, shape):
    made = kind(write_folders(tmp_path, folders), **SETTINGS)
    train, test = first_batches(made)
    assert made.has_test
    assert set(made.camera_names) == cameras
    splits = (made.train_samples, made.query_samples, made.gallery_samples)
    assert tuple(map(len, splits)) == sizes
    assert set(train) == {"image", "camera", "index"}
    assert train["image"].shape[1:] == test["image"].shape[1:] == shape


def test_duke_names(tmp_path):
    made = DukeMTMCreID(write_folders(tmp_path, DUKE))
    assert known(made.samples("train")) == [("c2", 1), ("c8", 1), ("c1", 7)]
    assert known(made.samples("query")) == [("c2", 5)]


def test_market_leaves_out_junk_and_keeps_distractors(tmp_path):
    made = Market1501(write_folders(tmp_path, MARKET))
    assert known(made.samples("gallery")) == [("c3", 0), ("c2", 1)]


def test_veri_takes_another_size(tmp_path):
    made = VeRi776(write_folders(tmp_path, VERI), size=(32, 48), **SETTINGS)
    assert first_batches(made)[0]["image"].shape == (2, 3, 32, 48)


@pytest.mark.parametrize(
    ("kind", "folder"),
    [(DukeMTMCreID, "bounding_box_train"), (VeRi776, "image_train")],
)
def test_missing_folders_and_wrong_names_are_named(tmp_path, kind, folder):
    made = kind(tmp_path)
    assert not made.has_test
    with pytest.raises(InputError, match=folder):
        made.setup("fit")
    draw(tmp_path / folder / "car.jpg")
    with pytest.raises(ValueError, match=f"{folder}.*car.jpg"):
        made.setup("fit")


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("mask_train_v2", "mask_test_v2")], ids=["V1", "V2"]
)
def test_msmt17(tmp_path, train, test):
    made = MSMT17(write_msmt17(tmp_path, train, test), **SETTINGS)
    batch, test_batch = first_batches(made)
    assert made.has_test
    assert known(made.train_samples) == [("c1", 0), ("c15", 0), ("c3", 1), ("c2", 1)]
    assert known(made.query_samples) == [("c14", 0)]
    assert known(made.gallery_samples) == [("c4", 0), ("c10", 2)]
    assert set(made.camera_names) == {"c1", "c2", "c3", "c4", "c10", "c14", "c15"}
    first = tmp_path / train / "0000" / "0000_000_01_0303morning_0015_0.jpg"
    assert made.paths("train")[0] == str(first)
    assert batch["image"].shape == (2, 3, 256, 128)
    assert test_batch["identity"].tolist() == [0, 0, 2]


def test_msmt17_without_val(tmp_path):
    made = MSMT17(write_msmt17(tmp_path), use_val=False)
    (tmp_path / "list_val.txt").unlink()
    assert known(made.samples("train")) == [("c1", 0), ("c15", 0), ("c3", 1)]
    with pytest.raises(ValueError, match="no list .*list_val.txt"):
        MSMT17(tmp_path).samples("train")


def test_msmt17_sorts_train_and_val_together_by_path(tmp_path):
    write_msmt17(tmp_path)
    between = "0000/0000_001_02_0303noon_0001_0.jpg"
    (tmp_path / "list_val.txt").write_text(f"{between} 0\n")
    paths = list(MSMT17(tmp_path).samples("train").paths)
    assert paths == sorted(paths)
    assert paths[1].endswith(between)


def test_msmt17_training_data_alone_is_enough_to_train(tmp_path):
    write_msmt17(tmp_path)
    (tmp_path / "list_query.txt").unlink()
    made = MSMT17(tmp_path)
    made.setup("fit")
    assert not made.has_test
    with pytest.raises(ValueError, match="no list .*list_query.txt"):
        made.setup("test")


def test_msmt17_names_the_folders_it_looked_for(tmp_path):
    made = MSMT17(write_msmt17(tmp_path, "train", "elsewhere"))
    with pytest.raises(ValueError, match=rf"test \(MSMT17_V1\) .*mask_test_v2 .*{tmp_path}"):
        made.samples("gallery")
    with pytest.raises(ValueError, match=r"train \(MSMT17_V1\) or mask_train_v2 \(MSMT17_V2\)"):
        MSMT17(tmp_path / "nowhere").setup("fit")


def test_msmt17_lists_are_read_without_images(tmp_path):
    (tmp_path / "list_val.txt").write_bytes(
        b"0001/0001_007_02_0302morning_1203_2.jpg 1\r\n\r\n0990/0990_000_15_0303noon_0001_0.jpg 990"
    )
    assert parse_msmt17_list(tmp_path / "list_val.txt", "train") == [
        Sample("train/0001/0001_007_02_0302morning_1203_2.jpg", "c2", 1),
        Sample("train/0990/0990_000_15_0303noon_0001_0.jpg", "c15", 990),
    ]


@pytest.mark.parametrize(
    "line",
    ["0000/0000_000_01_0303morning_0015_0.jpg", "0000/0000_000.jpg 0", "0002_c1s1_000451_03.jpg 2"],
)
def test_msmt17_lines_of_another_form_are_named(tmp_path, line):
    file = tmp_path / "list_train.txt"
    file.write_text(f"0000/0000_000_01_0303morning_0015_0.jpg 0\n{line}\n")
    with pytest.raises(ValueError, match=rf"list_train.txt:2: .*{line}.*expected"):
        parse_msmt17_list(file, "train")


def test_msmt17_empty_lists_are_named(tmp_path):
    (tmp_path / "list_train.txt").write_text("\n")
    with pytest.raises(ValueError, match="list_train.txt lists no images"):
        parse_msmt17_list(tmp_path / "list_train.txt", "train")


def test_sun_and_jung_augmentation_reaches_batches(tmp_path):
    augmentation = Augmentation(flip=0, pad=0, erase=0, rotate=20, shift=0.2)
    made = VeRi776(write_folders(tmp_path, VERI), augmentation=augmentation, **SETTINGS)
    image = first_batches(made)[0]["image"]
    torch.testing.assert_close(image, image[:, :, :1, :1].expand_as(image))  # as it was: one colour


def test_cuhk03_boxes(tmp_path):
    write_folders(tmp_path, CUHK)
    detected, labeled = CUHK03(tmp_path), CUHK03(tmp_path, boxes="labeled")
    assert known(detected.samples("gallery")) == [("c1", 3), ("c2", 3)]
    assert known(labeled.samples("train")) == [("c1", 1), ("c1", 1), ("c2", 1)]
    assert "/labeled/bounding_box_train/" in labeled.samples("train")[0].path
    with pytest.raises(ValueError, match="boxes must be one of detected, labeled, not 'both'"):
        CUHK03(tmp_path, boxes="both")


def test_mars(tmp_path):
    made = MARS(write_mars(tmp_path), **SETTINGS)
    batch, test_batch = first_batches(made)
    assert made.has_test
    assert known(made.train_samples) == [("c1", 1), ("c2", 3)]
    assert known(made.query_samples) == [("c1", 2)]
    assert known(made.gallery_samples) == [("c3", 0), ("c1", 2), ("c6", 2)]
    middle = tmp_path / "bbox_train/0001/0001C1T0001F002.jpg"
    assert made.paths("train")[0] == str(middle)
    assert batch["image"].shape == (2, 3, 256, 128)
    assert test_batch["identity"].tolist() == [2, 0, 2, 2]


def test_mars_without_queries_is_enough_to_train(tmp_path):
    (write_mars(tmp_path) / "info/query_IDX.mat").unlink()
    made = MARS(tmp_path, frames_per_tracklet=None)
    made.setup("fit")
    assert not made.has_test
    assert len(made.train_samples) == 4
    with pytest.raises(ValueError, match="no file .*query_IDX.mat"):
        made.setup("test")


@pytest.mark.parametrize(
    ("kind", "write"),
    [(MARS, write_mars), (DukeMTMCVideoReID, lambda root: write_folders(root, DUKE_VIDEO))],
)
def test_labels_within_cameras_can_come_from_the_tracklets(tmp_path, kind, write):
    made = kind(write(tmp_path), frames_per_tracklet=2, within_camera="tracklet")
    made.setup("fit")
    cameras = made.train_cameras.tolist()
    tracklets = [s.tracklet for s in made.train_samples]
    assert len(set(zip(cameras, tracklets, strict=True))) == 2
    with pytest.raises(ValueError, match="every camera shows one person only"):
        made.training_labels("intra_camera")  # two cameras with a tracklet each


def test_tracklets_of_a_camera_are_told_apart(tmp_path):
    folders = {**DUKE_VIDEO, "train/0002/0004": ["0002_C6_F0001_X1.jpg", "0002_C6_F0002_X13.jpg"]}
    made = DukeMTMCVideoReID(
        write_folders(tmp_path, folders), frames_per_tracklet=2, within_camera="tracklet"
    )
    made.setup("fit")
    labels = made.training_labels("intra_camera").tolist()
    assert [s.tracklet for s in made.train_samples] == [
        *["0001/0003"] * 2,
        *["0001/0020"] * 2,
        *["0002/0004"] * 2,
    ]
    assert labels[0] == labels[1] != labels[4] == labels[5]


@pytest.mark.parametrize("kind", [MARS, DukeMTMCVideoReID, PRID2011])
def test_fewer_frames_than_one_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="frames_per_tracklet must be at least 1, not 0"):
        kind(tmp_path, frames_per_tracklet=0)


def test_viper(tmp_path):
    made = VIPeR(write_viper(tmp_path), **SETTINGS)
    first_batches(made)
    people = {s.identity for s in made.train_samples}
    tested = {s.identity for s in made.query_samples}
    assert (len(made.train_samples), len(people)) == (632, 316)
    assert len(tested) == len(made.query_samples) == len(made.gallery_samples) == 316
    assert not people & tested
    assert {s.identity for s in made.gallery_samples} == tested
    assert {s.camera for s in made.query_samples} == {"cam_a"}
    assert {s.camera for s in made.gallery_samples} == {"cam_b"}
    assert unlike_published(made) == []


@pytest.mark.parametrize("shots", ["single", "multi"])
def test_prid2011(tmp_path, shots):
    made = PRID2011(write_prid(tmp_path), shots=shots, **SETTINGS)
    first_batches(made)
    people = {s.identity for s in made.train_samples}
    tested = {s.identity for s in made.query_samples}
    gallery = {s.identity for s in made.gallery_samples}
    assert (len(made.train_samples), len(people)) == (200, 100)
    assert people | tested == set(range(1, 201))
    assert len(made.query_samples) == len(tested) == 100
    assert len(made.gallery_samples) == len(gallery) == 649
    assert tested < gallery
    assert not people & gallery
    assert (made.train_samples[0].tracklet is None) == (shots == "single")
    assert unlike_published(made) == []


def test_an_incomplete_copy_is_told_from_the_published_set(tmp_path):
    made = VIPeR(write_viper(tmp_path, people=600))
    made.setup()
    assert unlike_published(made) == [
        "train: 600 images, the published set has 632: 32 are missing (cam_a -16, cam_b -16)",
        "train: 300 identities, the published set has 316: 16 are missing (cam_a -16, cam_b -16)",
        "query: 300 images, the published set has 316: 16 are missing",
        "query: 300 identities, the published set has 316: 16 are missing",
        "gallery: 300 images, the published set has 316: 16 are missing",
        "gallery: 300 identities, the published set has 316: 16 are missing",
    ]


def test_prid2011_frames(tmp_path):
    made = PRID2011(write_prid(tmp_path), shots="multi", frames_per_tracklet=None)
    assert len(made.samples("gallery")) == 2 * 649


@pytest.mark.parametrize(("kind", "write"), [(VIPeR, write_viper), (PRID2011, write_prid)])
def test_random_halves(tmp_path, kind, write):
    write(tmp_path)
    halves = [kind(tmp_path, split=split).samples("train") for split in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    with pytest.raises(ValueError, match="split must be from 0 to 9, not 10"):
        kind(tmp_path, split=10)


@pytest.mark.parametrize(
    "config",
    ["cuhk03", "dukemtmcvideoreid", "mars", "personx", "prid2011", "viper"],
)
def test_configs_of_public_sets(tmp_path, config, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command_line(
            [
                "fit",
                f"--config={CONFIGS}/methods/o2cap.yaml",
                f"--config={CONFIGS}/data/{config}.yaml",
                f"--data.root={tmp_path}",
                "--print_config",
            ]
        )
    assert stop.value.code == 0
    shown = yaml.safe_load(capsys.readouterr().out)["data"]
    assert shown["class_path"].lower().endswith(f".{config}")
    assert shown["init_args"]["root"] == str(tmp_path)
    written = yaml.safe_load((CONFIGS / f"data/{config}.yaml").read_text())["data"]["init_args"]
    del written["root"]
    assert written.items() <= shown["init_args"].items()


def test_images_saved_anew_with_other_endings_are_loaded(persons, tmp_path):
    root = Path(shutil.copytree(persons, tmp_path / "persons"))
    files = sorted((root / "bounding_box_train").iterdir())
    before = Market1501(root)
    before.setup("fit")
    for file, ending in zip(
        files, [".webp", ".bmp", ".JPEG", ".PNG", ".tif", ".gif"], strict=False
    ):
        with Image.open(file) as image:
            image.save(file.with_suffix(ending))
        file.unlink()
    data = Market1501(root, size=(32, 16), num_workers=0, eval_batch_size=200)
    data.setup("fit")
    assert len(data.train_samples) == len(files)
    assert data.train_cameras.tolist() == before.train_cameras.tolist()
    assert data.train_identities.equal(before.train_identities)
    (batch,) = data.label_dataloader()
    assert batch["image"].flatten(1).any(dim=1).all()
