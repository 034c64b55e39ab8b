"""A leading ``~`` is the home folder in every path, on the command line, in configs and Python."""

import shutil

import pytest
import torch
from briefly_trained import train
from command_line import SMALL, run

from lightning_reid import O2CAP, ManifestData, Market1501
from lightning_reid.cli import run_command_line
from lightning_reid.data import read_manifest
from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.labels import load_local_labels, save_local_labels
from lightning_reid.search import Gallery, TrainedModel


@pytest.fixture(scope="module")
def home(persons, tmp_path_factory):
    """A home folder with a data set, a list and a run; and nothing where the tests run."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(persons, home / "data")
    train(home / "data", home / "runs" / "first")
    names = sorted(file.name for file in (home / "data" / "query").iterdir())
    rows = "".join(f"data/query/{name},c{i % 3}\n" for i, name in enumerate(names))
    (home / "list.csv").write_text(f"path,camera\n{rows}")
    return home


@pytest.fixture(autouse=True)
def elsewhere(home, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def test_a_run_whose_paths_are_all_below_home(home):
    config = home / "mine.yaml"
    config.write_text("data:\n  class_path: Market1501\n  init_args:\n    root: ~/data\n")
    options = [word for word in SMALL[1:] if not word.startswith("--model.weights")]
    model = [SMALL[0], "--model.weights=~/runs/first/checkpoints/last.ckpt"]
    callback = "--trainer.callbacks"
    options += ["--model.clusterer=KMeansClusterer", "--model.clusterer.num_clusters=5"]
    options += [f"{callback}+=ModelCheckpoint", f"{callback}.dirpath=~/kept", "--evaluate=false"]
    done = run_command_line(
        ["fit", "--config=~/mine.yaml", *model, *options, "--run_dir=~/runs/second"]
    )
    assert done.folder.path == home / "runs" / "second"
    assert str(done.datamodule.root) == str(home / "data")
    assert list((home / "kept").glob("*.ckpt"))
    assert (home / "runs" / "second" / "report.html").is_file()


@pytest.mark.parametrize("checkpoint", ["~/runs/first", "~/runs/first/checkpoints/last.ckpt"])
def test_a_checkpoint(checkpoint, home):
    done = run("test", "~/data", "~/elsewhere", f"--ckpt_path={checkpoint}")
    assert done.folder.path == home / "runs" / "first" / "test"


def test_commands_beside_the_trainers(home):
    words = ["--ckpt_path=~/runs/first", "--gallery=~/data/bounding_box_test"]
    output = ["--index=~/index", "--output=~/found/results.png", "--num_workers=0"]
    assert run_command_line(["search", *words, "--query", "~/data/query", *output]) == 0
    assert (home / "found" / "results.png").is_file()
    assert list((home / "index").iterdir())
    data = ["--data=Market1501", "--data.root=~/data", "--data.size=[32,16]"]
    assert run_command_line(["check", *data, "--output=~/check", "--num_workers=0"]) == 0
    assert (home / "check" / "check.json").is_file()


def test_python(home):
    data = Market1501("~/data", size=(32, 16))
    data.setup("fit")
    assert data.root == home / "data"
    listed = ManifestData("~/list.csv")
    listed.setup("fit")
    assert len(read_manifest("~/list.csv").samples) == len(listed.train_samples)
    assert (
        draw_synthetic_persons(
            "~/drawn", num_train_identities=6, num_test_identities=4, num_cameras=3, progress=False
        )
        == home / "drawn"
    )
    paths = list(data.paths("train"))
    cameras = torch.zeros(len(paths))
    save_local_labels("~/labels.npz", paths, labels=[*range(len(paths))], cameras=cameras)
    assert load_local_labels("~/labels.npz", paths).tolist() == [*range(len(paths))]
    O2CAP(backbone="shufflenet_v2_x0_5", weights="~/runs/first/checkpoints/last.ckpt")
    assert TrainedModel.load("~/runs/first").size == (32, 16)
    gallery = Gallery.open("~/runs/first", "~/gallery", device="cpu", num_workers=0)
    gallery.add("~/data/query")
    query = sorted((home / "data" / "query").iterdir())[0]
    assert gallery.search(f"~/data/query/{query.name}", k=1)[0].path == str(query)


def test_the_home_of_a_user_that_is_none_is_a_name(tmp_path):
    assert str(Market1501("~nobody-of-this-name/data").root) == "~nobody-of-this-name/data"
    assert str(Market1501("a~b").root) == "a~b"
