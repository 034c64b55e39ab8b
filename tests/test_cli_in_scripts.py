"""The command line's class in a script of one's own, and the Trainer's own settings beside ours."""

import pytest
import torch
from command_line import EASY_CLUSTERS, arguments, run
from whole_runs import read

from lightning_reid import O2CAP, Market1501
from lightning_reid.cli import ReIDCLI


@pytest.mark.parametrize("classes", [(), (O2CAP, Market1501)], ids=["any class", "given classes"])
def test_nothing_is_run_where_a_script_does_it(classes, persons, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    given = arguments("fit", persons, tmp_path / "run", *EASY_CLUSTERS, "--trainer.max_epochs=1")
    words = given[1:]
    if classes:
        words = [word for word in words if not word.startswith(("--model=", "--data="))]
    cli = ReIDCLI(*classes, run=False, args=words)
    assert not list(tmp_path.iterdir())
    assert isinstance(cli.model, O2CAP)
    assert isinstance(cli.datamodule, Market1501)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.current_epoch == 1
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"checkpoints", "config.yaml", "metrics.csv", "report.html"} <= found
    assert "test/mAP" in cli.trainer.test(cli.model, cli.datamodule)[0]


def test_defaults_of_a_script(persons, tmp_path):
    words = arguments("fit", persons, tmp_path / "run")[1:]
    defaults = {"max_epochs": 7, "callbacks": []}
    words.remove("--trainer.max_epochs=2")
    cli = ReIDCLI(run=False, args=words, trainer_defaults=defaults, save_config_callback=None)
    assert cli.trainer.max_epochs == 7
    assert not list(tmp_path.iterdir())


def test_a_barebones_trainer(persons, tmp_path):
    options = ["--trainer.barebones=true", "--trainer.max_epochs=1"]
    done = run("fit", persons, tmp_path / "run", *EASY_CLUSTERS, *options)
    assert done.trainer.global_step == 3
    assert not done.trainer.loggers
    assert not (tmp_path / "run" / "checkpoints").exists()
    weights = tmp_path / "weights.ckpt"
    torch.save({"state_dict": done.model.state_dict()}, weights)
    for command in ("test", "validate", "predict"):
        run(command, persons, tmp_path / "run", options[0], f"--model.weights={weights}")


def checkpoint(folder, **settings):
    callback = "--trainer.callbacks"
    given = {"dirpath": folder, **settings}
    return [f"{callback}+=ModelCheckpoint", *(f"{callback}.{k}={v}" for k, v in given.items())]


def test_checkpoints_beside_ours(persons, tmp_path):
    run_dir, kept = tmp_path / "run", tmp_path / "kept"
    options = [
        *checkpoint("null"),
        *checkpoint("null", monitor="train/loss", save_last="true", save_top_k=2),
        *checkpoint(kept, every_n_train_steps=2, save_top_k=-1),
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=train/loss"),
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=labels/clusters"),
        "--evaluate=false",
    ]
    run("fit", persons, run_dir, *EASY_CLUSTERS, *options)
    done = read(run_dir)
    assert (done["epoch"], done["global_step"]) == (1, 6)
    own = [name for name in done["callbacks"] if "Checkpoint" in name]
    assert len(own) == 4
    assert "LastCheckpoint" in own
    names = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert {"last.ckpt", "epoch=1-step=6.ckpt"} <= names
    assert len(list(kept.iterdir())) == 3
    more = [*EASY_CLUSTERS, *options, "--trainer.max_epochs=3", "--ckpt_path=last"]
    resumed = run("fit", persons, run_dir, *more)
    assert resumed.trainer.global_step == 9
    assert read(run_dir)["global_step"] == 9
    assert "epoch=2-step=9.ckpt" in {path.name for path in (run_dir / "checkpoints").iterdir()}


def test_a_checkpoint_from_before_ours_had_a_key_of_its_own(persons, tmp_path):
    options = [*EASY_CLUSTERS, "--evaluate=false"]
    run("fit", persons, tmp_path / "run", *options, "--trainer.max_epochs=1")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    lightnings = (
        "ModelCheckpoint{'monitor': None, 'mode': 'min', 'every_n_train_steps': 0, "
        "'every_n_epochs': 1, 'train_time_interval': None}"
    )
    content["callbacks"][lightnings] = content["callbacks"].pop("LastCheckpoint")
    torch.save(content, file)
    user = checkpoint("null")
    resumed = run("fit", persons, tmp_path / "run", *options, *user, "--ckpt_path=last")
    assert resumed.trainer.global_step == 6
    assert read(tmp_path / "run")["global_step"] == 6
    assert len(list(file.parent.iterdir())) == 2
