"""Checkpoints that a fault or somebody who means harm has changed, resumed and tested."""

import shutil
import sys
from pathlib import Path

import briefly_trained
import pytest
import torch
from command_line import EASY_CLUSTERS, arguments, one_line, run

from lightning_reid import CALR, Market1501, ReIDModule
from lightning_reid.errors import InputError
from lightning_reid.labels import PseudoLabels
from lightning_reid.lightning import ModelCheckpoint
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.search import TrainedModel

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    """The checkpoint of a whole run."""
    return briefly_trained.train(persons, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def changed(trained, tmp_path):
    """Copies the run, changes its checkpoint with a function, and returns it."""

    def change(how):
        shutil.copytree(trained.parents[1], tmp_path / "run")
        file = tmp_path / "run" / "checkpoints" / "last.ckpt"
        content = torch.load(file, weights_only=True)
        how(content)
        torch.save(content, file)
        return file

    return change


def endless():
    lists = []
    for _ in range(64):
        lists = [lists, lists]
    return lists


def itself():
    cyclic = {}
    cyclic["again"] = cyclic
    return cyclic


def deep():
    lists = []
    for _ in range(300):
        lists = [lists]
    return lists


def progress(content):
    return content["loops"]["fit_loop"]["epoch_loop.batch_progress"]


def moments(content, place=3):
    return content["optimizer_states"][0]["state"][place]


def callback(content, name="PseudoLabelCallback"):
    return content["callbacks"][name]


def labels(content):
    return callback(content)["labels"]


# what resuming and testing say, whichever comes to it
ANY = {
    "no version": (lambda c: c.pop("pytorch-lightning_version"), "no pytorch-lightning_version"),
    "no weights": (lambda c: c.pop("state_dict"), "it has no state_dict"),
    "no epoch": (lambda c: c.pop("epoch"), "its epoch is no number of steps"),
    "an epoch below": (lambda c: c.update(epoch=-1), "its epoch is no number of steps"),
    "a huge step": (lambda c: c.update(global_step=10**400), "its global_step is no number"),
    "a text for loops": (lambda c: c.update(loops="x"), "its loops is a str"),
    "a huge number": (lambda c: c.update(more=2**100), "whole number in it has 101 bits"),
    "a container in itself": (lambda c: c.update(more=itself()), "contains itself"),
    "the same containers": (lambda c: c.update(more=endless()), "repeat each other endlessly"),
    "deep containers": (lambda c: c.update(more=deep()), "more than 100 deep"),
    "a repeated number": (
        lambda c: c.update(more=torch.zeros(1).expand(10**6, 10**6)),
        r"a tensor in it has the shape \(1000000, 1000000\)",
    ),
}
RESUMED = {
    "loops of text": (lambda c: progress(c)["total"].update(ready="x"), "must be a whole number"),
    "batches below": (lambda c: progress(c)["current"].update(ready=-2), "is out of range"),
    "no counts": (lambda c: progress(c).pop("current"), "its loops cannot be restored"),
    "no moments": (lambda c: moments(c).pop("exp_avg"), "its optimizer_states cannot be used"),
    "no step": (lambda c: moments(c).pop("step"), "its optimizer_states cannot be used"),
    "moments of another shape": (
        lambda c: moments(c).update(exp_avg=torch.zeros(1)),
        r"optimizer_states/0/state/3/exp_avg must have the shape \(24, 1, 3, 3\), not \(1,\)",
    ),
    "moments of no parameter": (
        lambda c: c["optimizer_states"][0]["state"].update({999: {}}),
        "optimizer_states/0/state/999 belongs to no parameter",
    ),
    "a rate of text": (
        lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr="x"),
        "param_groups/0/lr must be a number, not str",
    ),
    "a schedule of text": (
        lambda c: c["lr_schedulers"][0].update(last_epoch="x"),
        "lr_schedulers/0/last_epoch must be a whole number, not str",
    ),
    "a score of text": (
        lambda c: callback(c, "LastCheckpoint").update(kth_value="x"),
        "callbacks/LastCheckpoint/kth_value must be a number",
    ),
    "evaluations of text": (
        lambda c: callback(c, "Pictures").update(evaluations=["x"]),
        "Pictures/evaluations must hold numbers by name",
    ),
    "no labels": (lambda c: callback(c).pop("labels"), "PseudoLabelCallback cannot be restored"),
    "labels of numbers": (lambda c: callback(c).update(labels=1), "cannot be restored"),
    "a history of text": (
        lambda c: callback(c)["history"].append({"epoch": "x"}),
        "history must hold numbers by name",
    ),
    "floating labels": (
        lambda c: labels(c).update(hard=labels(c)["hard"].float()),
        "hard labels are",
    ),
    "labels of many clusters": (
        lambda c: labels(c).update(hard=labels(c)["hard"] * 10**12),
        "PseudoLabelCallback cannot be restored",
    ),
    "labels of few images": (
        lambda c: labels(c).update(hard=labels(c)["hard"][:5], proxies=labels(c)["proxies"][:5]),
        "the checkpoint has labels for 5 training images",
    ),
    "cameras below": (
        lambda c: labels(c)["proxy_cameras"].fill_(-1),
        "proxy_cameras must not be negative",
    ),
    "no memory": (lambda c: c["lightning_reid"]["state"].clear(), "its state of O2CAP"),
    "a narrow memory": (
        lambda c: c["lightning_reid"]["state"].update(memory=torch.zeros(9, 3)),
        "a memory has rows of 1024 numbers",
    ),
    "a short memory": (
        lambda c: c["lightning_reid"]["state"].update(memory=torch.zeros(1, 1024)),
        "its memory has 1 rows",
    ),
}


@pytest.mark.parametrize("how", [*ANY, *RESUMED])
def test_fit_names_the_part(how, changed, persons, monkeypatch):
    change, message = {**ANY, **RESUMED}[how]
    file = changed(change)
    options = [*EASY_CLUSTERS, f"--ckpt_path={file}", "--trainer.max_epochs=5"]
    told = one_line(monkeypatch, *arguments("fit", persons, file.parents[1], *options))
    assert str(file) in told or "training images" in told
    assert_matches(message, told)


@pytest.mark.parametrize("how", ANY)
@pytest.mark.parametrize("command", ["test", "search"])
def test_other_commands_name_it_too(command, how, changed, persons, monkeypatch):
    change, message = ANY[how]
    file = changed(change)
    folder = persons / "query"
    given = ["search", f"--gallery={folder}", f"--query={folder}", f"--ckpt_path={file}"]
    if command == "test":
        given = arguments("test", persons, file.parents[1], f"--ckpt_path={file}")
    told = one_line(monkeypatch, *given)
    assert str(file) in told
    assert_matches(message, told)


def assert_matches(pattern, text):
    with pytest.raises(InputError, match=pattern):
        raise InputError(text)


def test_a_flipped_bit_in_the_weights(trained, tmp_path):
    file = tmp_path / "flipped.ckpt"
    content = bytearray(trained.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    torch.load(file, weights_only=True)  # does not look
    with pytest.raises(InputError, match="in it changed after it was written"):
        read_checkpoint(file)


def test_files_outside_the_run_are_not_deleted(trained, persons, tmp_path):
    precious = tmp_path / "precious"
    (precious / "folder").mkdir(parents=True)
    shutil.copytree(trained.parents[1], tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    outside = str(precious / "folder")
    hostile = {
        "best_model_score": None,
        "best_model_path": outside,
        "kth_best_model_path": str(tmp_path / "run" / "checkpoints" / ".." / ".." / "precious"),
        "last_model_path": outside,
        "best_k_models": {outside: torch.tensor(0.0)},
        "kth_value": torch.tensor(0.0),
    }
    own = ModelCheckpoint(monitor="train/loss")
    content["callbacks"][own.state_key] = hostile
    content["callbacks"]["LastCheckpoint"] = {**hostile, "best_k_models": {}}
    torch.save(content, file)
    one = [
        "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.monitor=train/loss",
        "--trainer.callbacks.save_last=true",
    ]
    options = [*EASY_CLUSTERS, "--ckpt_path=last", "--trainer.max_epochs=6", *one]
    cli = run("fit", persons, tmp_path / "run", *options)
    assert cli.trainer.global_step > content["global_step"]
    assert (precious / "folder").is_dir()


def test_the_size_of_a_network_is_not_a_matter_of_the_file(trained, tmp_path):
    shutil.copytree(trained.parents[1], tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"]["backbone"] = "vit_h_14"  # 2.5 GB
    torch.save(content, file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for load in (TrainedModel.load, ReIDModule.load_from_checkpoint):
        with pytest.raises(InputError, match="do not fit the network that it tells of"):
            load(file)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (5e8 if sys.platform == "darwin" else 5e5)


def test_nor_is_that_of_a_head(persons, tmp_path):
    file = briefly_trained.train(
        persons, tmp_path / "run", "--model=Supervised", "--trainer.max_epochs=1"
    )
    content = torch.load(file, weights_only=True)
    for size, message in ((10**12, "a head for 1000000000000 classes"), ("x", "head_size is 'x'")):
        content["lightning_reid"]["head_size"] = size
        torch.save(content, file)
        with pytest.raises(InputError, match=message):
            ReIDModule.load_from_checkpoint(file)


def test_data_modules_are_not_made_from_a_file(trained):
    with pytest.raises(InputError, match="checkpoints hold no settings of Market1501"):
        Market1501.load_from_checkpoint(trained)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("local_labels", torch.zeros(3, 2)),
        ("local_silhouettes", torch.zeros(3, dtype=torch.int64)),
        ("local_cameras", [7]),
        ("local_epochs", -1),
        ("source", {"weight": torch.zeros(1)}),
    ],
)
def test_the_state_of_calr(part, value):
    method = CALR(backbone=torch.nn.Conv2d(3, 8, 5), weights=None, local_clusterer=None)
    state = {
        "memory": torch.empty(0),
        "local_labels": torch.zeros(3, dtype=torch.int64),
        "local_silhouettes": torch.zeros(3),
        "local_cameras": [0, 2],
        "local_epochs": 1,
    }
    method.load_training_state(state)
    with pytest.raises(ValueError, match=r"local_|source"):
        method.load_training_state({**state, part: value})


@pytest.mark.parametrize(
    "state",
    [
        {"soft": torch.zeros(3)},
        {"soft": [torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), 3, 10**12]},
        {"sampling": "all"},
        {"images_per_group": -1},
        {"class_weights": torch.zeros(2, 2)},
    ],
    ids=lambda state: next(iter(state)),
)
def test_the_state_of_labels(state):
    sound = PseudoLabels(torch.tensor([0, 1, -1])).state_dict()
    PseudoLabels.from_state_dict(sound)
    with pytest.raises(ValueError, match=r"soft|clusters|sampling|images_per_group|class_weights"):
        PseudoLabels.from_state_dict({**sound, **state})


def test_a_network_on_the_meta_device_needs_no_memory():
    with torch.device("meta"):
        network = EmbeddingNetwork("resnet18", weights=None)
    assert {p.device.type for p in network.parameters()} == {"meta"}


def test_a_run_whose_folder_is_moved_stops(persons, tmp_path, monkeypatch):
    (tmp_path / "moves.py").write_text(MOVES)
    monkeypatch.syspath_prepend(tmp_path)
    moving = ["--trainer.callbacks+=moves.Moves", f"--trainer.callbacks.folder={tmp_path}/run"]
    options = [*EASY_CLUSTERS, "--evaluate=false", *moving]
    told = one_line(monkeypatch, *arguments("fit", persons, tmp_path / "run", *options))
    assert f"the folder {tmp_path}/run was moved or removed" in told
    assert not Path(tmp_path, "run").exists()  # not begun anew
    assert (tmp_path / "elsewhere" / "checkpoints" / "last.ckpt").is_file()


MOVES = """
from pathlib import Path
from lightning_reid.lightning import pl

class Moves(pl.Callback):
    def __init__(self, folder: str):
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == batch_idx == 1:
            Path(self.folder).rename(Path(self.folder).with_name("elsewhere"))
"""
