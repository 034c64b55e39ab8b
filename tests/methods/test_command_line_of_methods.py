"""``lightning-reid fit`` on every method and layout of data."""

import csv

import pytest
from command_line import EASY_CLUSTERS, arguments
from every_method import METHODS, options_of

from lightning_reid.cli import run_command_line

TINY = ["num_train_identities=6", "num_test_identities=4", "num_cameras=3", "images_per_camera=4"]


@pytest.mark.parametrize("data", ["Market1501", "SyntheticPersons"])
@pytest.mark.parametrize("cls", METHODS)
def test_fit(cls, data, persons, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    command = arguments("fit", persons, tmp_path / "run")
    command[1:3] = [f"--model={cls.__name__}", f"--data={data}"]
    if data == "SyntheticPersons":
        command += [f"--data.root={tmp_path}/drawn", *(f"--data.{option}" for option in TINY)]
    if "clusterer" in options_of(cls):
        command += EASY_CLUSTERS  # the others do with what they are
    cli = run_command_line([*command, "--trainer.log_every_n_steps=1"])
    assert cli.trainer.current_epoch == 2
    with (tmp_path / "run" / "metrics.csv").open() as file:
        log = {key: value for row in csv.DictReader(file) for key, value in row.items() if value}
    assert float(log["test/mAP"]) > 0
    assert float(log["train/loss"]) > 0
    assert cli.model.current_labels().num_clusters > 1
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
