"""Small folders laid out exactly as the published sets."""

import pytest
import torch
from PIL import Image

from lightning_reid import MSMT17, DukeMTMCreID, Market1501, PseudoLabels, VeRi776
from lightning_reid.data import Augmentation, Sample, parse_msmt17_list

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


def known(samples):
    return [(s.camera, s.identity) for s in samples]


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
    with pytest.raises(FileNotFoundError, match=folder):
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
