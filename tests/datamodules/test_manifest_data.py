"""People's own crops, from a manifest or a folder to batches and runs."""

import csv
import shutil
import sys

import pytest
import pytorch_lightning as pl
import torch
import yaml
from command_line import EASY_CLUSTERS, arguments
from PIL import Image

from lightning_reid import PCSL, ManifestData, PseudoLabels, Supervised
from lightning_reid.cli import main, run_command_line
from lightning_reid.data import UnreadableImageError
from lightning_reid.errors import InputError

PEOPLE, CAMERAS, IMAGES = 5, ("gate", "höfe"), 3
COLUMNS = ("path", "camera", "identity", "tracklet", "frame")
TINY = {"size": (32, 16), "batch_size": 8, "batches_per_epoch": 2, "num_workers": 0}


@pytest.fixture
def crops(tmp_path):
    """Folder of images ``gate/p0_t0_0.jpg`` of five people; tracks are numbered in each camera."""
    for camera in CAMERAS:
        (tmp_path / camera).mkdir()
        for person in range(PEOPLE):
            for image in range(IMAGES):
                file = tmp_path / camera / f"p{person}_t{person}_{image}.jpg"
                Image.new("RGB", (6, 12), (90, 120, 40 * person)).save(file)
    return tmp_path


def listed(folder):
    """A row of all columns for each of the crops."""
    return [
        [f"{file.parent.name}/{file.name}", file.parent.name, *file.stem.split("_")]
        for file in sorted(folder.rglob("*.jpg"))
    ]


def write(folder, rows, columns=COLUMNS):
    with (folder / "crops.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder / "crops.csv"


def manifest(folder, *columns):
    """A manifest of all crops with these columns."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in listed(folder)]
    return write(folder, [[row[column] for column in columns] for row in rows], columns)


def with_splits(folder, split_of, columns=COLUMNS):
    """A manifest of all crops with a column of what a function says of each row."""
    rows = [[*row[: len(columns)], split_of(*row[1:])] for row in listed(folder)]
    return write(folder, rows, [*columns, "split"])


def ready(root, stage=None, module=None, **kwargs):
    made = ManifestData(root, **TINY | kwargs)
    if module is not None:
        made.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        made.trainer.strategy.connect(module)
    made.setup(stage)
    if made.train_samples:
        made.assign(PseudoLabels(torch.arange(len(made.train_samples)) % 4))
    return made


# training


def test_path_and_camera_are_enough_to_train(crops):
    made = ready(manifest(crops, "path", "camera"), "fit")
    batch = next(iter(made.train_dataloader()))
    assert set(batch) == {"image", "camera", "index"}
    assert batch["image"].shape == (8, 3, 32, 16)
    assert made.camera_names == ["gate", "höfe"]
    assert made.train_cameras.tolist() == [0] * PEOPLE * IMAGES + [1] * PEOPLE * IMAGES
    assert made.train_identities is None
    assert not made.has_test
    with pytest.raises(InputError, match="has no query images: all are for training; add"):
        made.setup("test")


def test_identities_stay_out_of_batches(crops):
    made = ready(manifest(crops, *COLUMNS), "fit")
    assert made.identity_names == [f"p{person}" for person in range(PEOPLE)]
    assert made.train_identities.unique().tolist() == list(range(PEOPLE))
    for loader in (made.train_dataloader(), made.label_dataloader()):
        for batch in loader:
            assert set(batch) == {"image", "camera", "index"}


def test_supervised_gets_identities(crops):
    module = Supervised(backbone="shufflenet_v2_x0_5", weights=None)
    made = ready(manifest(crops, *COLUMNS), "fit", module)
    batch = next(iter(made.train_dataloader()))
    assert torch.equal(batch["label"], made.train_identities[batch["index"]])


def test_tracklets_are_labels_within_a_camera(crops):
    rows = [[*row[:2], row[3]] for row in listed(crops)]
    rows[4][2] = ""
    file = write(crops, rows, ("path", "camera", "tracklet"))
    made = ready(file, "fit", PCSL(backbone="shufflenet_v2_x0_5", weights=None))
    labels = made.training_labels("intra_camera")
    assert labels[4] == -1
    pairs = {
        (camera, track, label)
        for (_, camera, track), label in zip(rows, labels.tolist(), strict=True)
        if track
    }
    assert len(pairs) == 2 * PEOPLE  # a track is one label
    for camera in CAMERAS:
        assert {label for c, _, label in pairs if c == camera} == set(range(PEOPLE))
    batch = next(iter(made.train_dataloader()))
    assert torch.equal(batch["label"], labels[batch["index"]])


def test_tracklets_go_before_identities_if_asked_for(crops):
    rows = listed(crops)
    for row in rows:
        row[3] = f"t{rows.index(row) % 2}"
    made = ready(write(crops, rows), "fit", within_camera="tracklet")
    assert made.training_labels("intra_camera").max() == 1
    assert ready(made.root, "fit").training_labels("intra_camera").max() == PEOPLE - 1


def test_what_is_not_used_is_kept(crops):
    made = ready(manifest(crops, *COLUMNS), test="identity")
    for samples in (made.train_samples, made.query_samples, made.gallery_samples):
        frames = [path.removesuffix(".jpg")[-1] for path in samples.paths]
        assert list(samples.further["frame"]) == frames


# testing


def test_the_column_split(crops):
    def split(camera, person, track, frame):
        if person in ("p0", "p1"):
            return "query" if frame == "0" else "gallery"
        return "train"

    made = ready(with_splits(crops, split))
    assert made.has_test
    assert len(made.train_samples) == (PEOPLE - 2) * 2 * IMAGES
    assert (len(made.query_samples), len(made.gallery_samples)) == (4, 8)
    batch = next(iter(made.test_dataloader()))
    assert batch["is_query"].tolist() == [True] * 4 + [False] * 8
    assert [made.identity_names[i] for i in batch["identity"]] == [
        path.split("/")[-1].split("_")[0] for path in made.paths("test")
    ]
    assert (
        made.train_identities.tolist() == [2] * 3 + [3] * 3 + [4] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    )


def test_people_held_out(crops):
    made = ready(manifest(crops, *COLUMNS), test="identity", test_share=0.4)
    assert made.has_test
    trained = {*made.train_samples.identities.tolist()}
    tested = {*made.query_samples.identities.tolist()}
    assert len(tested) == 2
    assert not trained & tested
    assert len(made.query_samples) == 2 * len(CAMERAS)
    assert len(made.gallery_samples) == 2 * len(CAMERAS) * (IMAGES - 1)
    assert len(made.train_samples) == 3 * len(CAMERAS) * IMAGES


def test_images_held_out(crops):
    made = ready(manifest(crops, *COLUMNS), test="image", test_share=0.5)
    parts = [{*part.paths} for part in (made.train_samples, made.query_samples)]
    parts.append({*made.gallery_samples.paths})
    assert len(parts[0]) == PEOPLE * IMAGES
    assert len(set.union(*parts)) == sum(map(len, parts)) == 2 * PEOPLE * IMAGES


def test_what_is_held_out_follows_from_seed_and_names(crops):
    def tested(rows=None, folder=crops, **kwargs):
        made = ready(write(folder, rows or listed(folder)), test="identity", **kwargs)
        paths = [*made.query_samples.paths, "", *made.gallery_samples.paths]
        return sorted(path.removeprefix(f"{folder}/") for path in paths)

    first = tested()
    assert tested(listed(crops)[::-1]) == first
    assert tested(seed=7) == first
    assert any(tested(split_seed=seed) != first for seed in range(1, 5))
    assert tested(folder=shutil.copytree(crops, crops.parent / "elsewhere")) == first


# folders


def test_a_folder_and_what_its_names_mean(crops):
    made = ready(crops, pattern="{camera}/{identity}_{tracklet}_*.jpg", test="identity")
    assert made.camera_names == ["gate", "höfe"]
    assert made.identity_names == [f"p{person}" for person in range(PEOPLE)]
    assert len(made.train_samples + made.query_samples + made.gallery_samples) == 30
    assert {sample.tracklet for sample in made.train_samples} <= {f"t{i}" for i in range(PEOPLE)}
    batch = next(iter(made.train_dataloader()))
    assert set(batch) == {"image", "camera", "index"}
    file = ready(manifest(crops, *COLUMNS), test="identity")
    assert list(file.query_samples.paths) == list(made.query_samples.paths)


def test_folders_of_splits(crops):
    for split, person in (("query", "p0"), ("gallery", "p0"), ("train", "p1")):
        for camera in CAMERAS:
            (crops / split).mkdir(exist_ok=True)
            shutil.copy(crops / camera / f"{person}_t{person[1]}_0.jpg", crops / split / camera)
            (crops / split / camera).rename(crops / split / f"{person}_c{camera}_1.jpg")
    for camera in CAMERAS:
        shutil.rmtree(crops / camera)
    made = ready(crops, pattern="{split}/{identity}_c{camera}_*.jpg")
    sizes = map(len, (made.train_samples, made.query_samples, made.gallery_samples))
    assert list(sizes) == [2, 2, 2]


def test_a_parquet_manifest(crops):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    columns = dict(zip(COLUMNS, map(list, zip(*listed(crops), strict=True)), strict=True))
    write_table(pyarrow.table(columns), crops / "crops.parquet")
    made = ready(crops / "crops.parquet", test="identity")
    assert made.train_samples == ready(manifest(crops, *COLUMNS), test="identity").train_samples
    assert next(iter(made.train_dataloader()))["image"].shape == (8, 3, 32, 16)


# what is refused


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"test": "person"}, "test must be one of identity, image"),
        ({"test": "image", "test_share": 1.0}, "test_share must be above 0 and below 1"),
        ({"split_seed": -1}, "split_seed must be at least 0"),
        ({"pattern": "{camera}/*", "columns": {"camera": "cam"}}, "columns names those of a"),
    ],
)
def test_settings_out_of_range(crops, settings, match):
    with pytest.raises(InputError, match=match):
        ManifestData(crops, **settings)


def test_a_folder_needs_a_pattern_and_a_pattern_a_folder(crops):
    with pytest.raises(InputError, match="is a folder: give the manifest file in it, or a pattern"):
        ready(crops)
    with pytest.raises(InputError, match="with a pattern the root is the folder"):
        ready(manifest(crops, "path", "camera"), pattern="{camera}/*.jpg")
    with pytest.raises(InputError, match="no file .*nothing.csv"):
        ready(crops / "nothing.csv")


@pytest.mark.parametrize("test", ["identity", "image"])
def test_a_test_of_people_needs_identities(crops, test):
    file = manifest(crops, "path", "camera", "tracklet")
    with pytest.raises(InputError, match=f"test='{test}' needs identities, and .*crops.csv has no"):
        ready(file, "fit", test=test)


def test_images_are_not_held_out_beside_a_test_set(crops):
    file = with_splits(crops, lambda camera, person, *_: "query" if person == "p0" else "gallery")
    with pytest.raises(InputError, match="has query or gallery images of its own"):
        ready(file, "fit", test="identity")
    with pytest.raises(InputError, match="no train images: no row has the split 'train'"):
        ready(file, "fit")
    all_train = with_splits(crops, lambda *_: "train")
    assert ready(all_train, test="identity").has_test


def test_a_test_set_without_a_gallery(crops):
    file = with_splits(crops, lambda camera, person, *_: "query" if person == "p0" else "train")
    with pytest.raises(InputError, match="no gallery images: no row has the split 'gallery'"):
        ready(file)


def test_one_image_a_person_leaves_nothing_to_find(crops):
    rows = [row for row in listed(crops) if row[1] == "gate" and row[4] == "0"]
    assert len(rows) == PEOPLE
    message = "no gallery images: each person whom test='identity' holds out has a single image"
    with pytest.raises(InputError, match=f"{message}.* in several cameras"):
        ready(write(crops, rows), test="identity")


def test_test_images_without_identities(crops):
    def split(camera, person, *_):
        return {"p0": "query", "p1": "gallery"}.get(person, "train")

    file = with_splits(crops, split, COLUMNS[:2])
    with pytest.warns(UserWarning, match="query and gallery images in .* have no identities"):
        made = ready(file, "fit")  # is enough to train
    assert not made.has_test
    with pytest.raises(InputError, match="query images in .* have no identities to test against"):
        made.setup("test")
    rows = [[*row, split(*row[1:])] for row in listed(crops)]
    rows[3][2] = ""  # the first in the gallery
    file = write(crops, rows, [*COLUMNS, "split"])
    with pytest.raises(InputError, match="crops.csv, line 5: a gallery image without an identity"):
        ready(file, "fit")


def test_a_wrong_folder_is_told_at_once(crops):
    rows = listed(crops)
    (crops / "lists").mkdir()
    file = write(crops / "lists", rows)
    with pytest.raises(InputError, match=f"no image {crops}/lists/gate/p0_t0_0.jpg, the first in"):
        ready(file, "fit")
    with pytest.raises(InputError, match=r"gate\\p0_t0_0.jpg.* replace \\ by /"):
        ready(write(crops, [[row[0].replace("/", "\\"), *row[1:]] for row in rows]), "fit")
    moved = write(crops, rows).rename(crops / "lists/crops.csv")
    with pytest.raises(InputError, match=f"no image {crops}/lists/gate"):
        ready(moved, "fit", on_error="skip")


def test_a_missing_image_is_named_when_it_is_read(crops):
    file = manifest(crops, "path", "camera")
    (crops / "gate/p1_t1_0.jpg").unlink()
    made = ready(file, "fit")
    with pytest.raises(UnreadableImageError, match=r"gate/p1_t1_0.jpg"):
        list(made.label_dataloader())
    (crops / "gate/p0_t0_0.jpg").unlink()
    read = ready(file, "fit", on_error="skip")
    readable = torch.cat([batch["readable"] for batch in read.label_dataloader()])
    assert readable.sum() == 2 * PEOPLE * IMAGES - 2


# the command line


def command(root, folder, *options):
    """What to type to fit on a manifest, with a small network."""
    given = arguments("fit", root, folder)
    given[given.index("--data=Market1501")] = "--data=ManifestData"
    return [*given, *options]


def logged(folder):
    with (folder / "metrics.csv").open() as file:
        return {key: value for row in csv.DictReader(file) for key, value in row.items() if value}


def test_fit_on_a_folder(persons, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    options = ["--data.pattern={identity}_c{camera}s*.jpg", "--data.test=identity"]
    cli = run_command_line(
        command(persons / "bounding_box_train", tmp_path / "run", *options, *EASY_CLUSTERS)
    )
    assert cli.trainer.current_epoch == 2
    assert cli.model.current_labels().num_clusters > 1
    assert float(logged(tmp_path / "run")["test/mAP"]) > 0
    # the settings that it wrote are those of the run
    capsys.readouterr()
    config = f"--config={tmp_path}/run/config.yaml"
    with pytest.raises(SystemExit):
        run_command_line(["fit", config, "--print_config"])
    data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert data["pattern"] == "{identity}_c{camera}s*.jpg"


def test_fit_pcsl_on_a_manifest_with_tracklets(persons, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    files = sorted((persons / "bounding_box_train").iterdir())
    parts = [file.stem.split("_") for file in files]
    rows = [
        [file, part[1][:2], part[0]]  # absolute paths
        for file, part in zip(files, parts, strict=True)
    ]
    file = write(tmp_path, rows, ("image", "cam", "tracklet"))
    names = ["--data.columns.path=image", "--data.columns.camera=cam"]
    options = ["--model=PCSL", "--model.soft_epoch=1", *names]
    cli = run_command_line(command(file, tmp_path / "run", *options))
    assert cli.trainer.current_epoch == 2
    log = logged(tmp_path / "run")
    assert float(log["labels/soft_entries"]) > 0
    assert "test/mAP" not in log


def test_a_missing_column_is_told_in_one_line(crops, monkeypatch):
    given = command(manifest(crops, "path", "frame"), crops / "run")
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *given])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code.startswith("lightning-reid: ")
    assert "crops.csv has no column 'camera'; its columns are path, frame" in stop.value.code
