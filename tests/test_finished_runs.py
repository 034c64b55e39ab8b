"""A run that is killed when all its epochs are done, or repeated, ends as it would have ended."""

import csv

import pytest
from command_line import EASY_CLUSTERS, arguments, run
from forked_commands import run_forked
from small_methods import make, market, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from whole_runs import lines, read

from lightning_reid import O2CAP
from lightning_reid.clustering import KMeansClusterer
from lightning_reid.errors import InputError

DONE = "after the checkpoint is in place"


def fit(root, folder, *options, **kill):
    command = arguments("fit", root, folder, *EASY_CLUSTERS, "--trainer.log_every_n_steps=1")
    log = folder.with_name(f"{folder.name}.{len(list(folder.parent.glob('*.log')))}.log")
    return run_forked([*command, *options], log, **kill)


def killed_and_ended(root, folder, epochs, *options):
    """A run that was killed once this many checkpoints were written, and then gone on with."""
    assert fit(root, folder, *options, kill_at=("O2CAP", DONE, epochs)).status == -9
    ended = fit(root, folder, *options, "--ckpt_path=last")
    assert ended.status == 0, ended.output
    return ended.output


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.5"],
        ["--trainer.max_steps=6", "--trainer.max_epochs=9"],
        pytest.param(["--trainer.callbacks+=LearningRateMonitor"], marks=pytest.mark.slow),
        pytest.param(
            ["--trainer.callbacks+=TQDMProgressBar", "--trainer.enable_progress_bar=true"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["weight averaging", "steps", "rates", "bar"],
)
def test_killed_after_its_last_epoch(options, persons, tmp_path):
    assert fit(persons, tmp_path / "whole", *options).status == 0
    killed_and_ended(persons, tmp_path / "run", 2, *options)
    expected = lines(tmp_path / "whole")
    assert lines(tmp_path / "run") == expected
    pictures = [{f.name for f in (tmp_path / n / "pictures").iterdir()} for n in ("run", "whole")]
    assert pictures[0] == pictures[1]
    # to repeat the whole run changes nothing
    repeated = fit(persons, tmp_path / "whole", *options, "--ckpt_path=last")
    assert repeated.status == 0, repeated.output
    assert "nothing was trained" in repeated.output
    assert lines(tmp_path / "whole") == expected


def test_every_step_is_logged_once(persons, tmp_path):
    options = [
        "--trainer.callbacks+=LearningRateMonitor",
        "--trainer.callbacks.logging_interval=step",
    ]
    assert (
        fit(persons, tmp_path / "run", *options, kill_at=("O2CAP", "after a step", 5)).status == -9
    )
    assert fit(persons, tmp_path / "run", *options, "--ckpt_path=last").status == 0
    told = [line["step"] for line in lines(tmp_path / "run") if "lr-Adam" in line]
    assert told == [str(step) for step in range(6)]
    points = EventAccumulator(str(tmp_path / "run"))
    points.Reload()
    assert [point.step for point in points.Scalars("train/loss")] == [*range(6)]


def test_a_run_that_was_stopped_early_is_not_trained_on(persons, tmp_path):
    options = [
        "--trainer.max_epochs=9",
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=labels/proxies",
        "--trainer.callbacks.mode=min",
        "--trainer.callbacks.min_delta=1000",
        "--trainer.callbacks.patience=1",
    ]
    assert fit(persons, tmp_path / "run", *options).status == 0
    before = read(tmp_path / "run")["global_step"]
    assert before < 27
    again = fit(persons, tmp_path / "run", *options, "--ckpt_path=last")
    assert again.status == 0, again.output
    assert "EarlyStopping ended this run" in again.output
    assert "ask for more" not in again.output
    assert read(tmp_path / "run")["global_step"] == before


def test_the_average_of_weights_can_be_ended_with_the_same_command(persons, tmp_path):
    options = [
        "--trainer.max_epochs=3",
        "--trainer.callbacks+=StochasticWeightAveraging",
        "--trainer.callbacks.swa_lrs=0.001",
        "--evaluate=false",
    ]
    assert fit(persons, tmp_path / "run", *options).status == 0
    again = fit(persons, tmp_path / "run", *options, "--ckpt_path=last")
    if "holds more than tensors" in again.output:
        pytest.skip("this torch writes functions into the checkpoints of its SWA")
    assert again.status == 0, again.output


def test_settings_of_the_optimizer_hold_where_a_run_goes_on(persons, tmp_path):
    folder = tmp_path / "run"
    short = [*EASY_CLUSTERS, "--evaluate=false", "--model.warmup_epochs=0"]
    run("fit", persons, folder, *short)
    changed = ["--model.learning_rate=1e-6", "--model.weight_decay=0.25", "--trainer.max_epochs=3"]
    run("fit", persons, folder, *short, *changed, "--ckpt_path=last")
    checkpoint = read(folder)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["weight_decay"]) == (1e-6, 0.25)
    assert checkpoint["lr_schedulers"][0]["base_lrs"] == [1e-6]
    more = ["--trainer.max_epochs=4", "--model.optimizer=sgd", "--ckpt_path=last"]
    with pytest.raises(InputError, match="was not made with optimizer=sgd"):
        run("fit", persons, folder, *short, *more)


def test_a_checkpoint_within_an_epoch(persons, tmp_path):
    folder = tmp_path / "run"
    every = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=2"]
    every += [f"--trainer.callbacks.dirpath={folder}/steps", "--trainer.callbacks.save_top_k=-1"]
    assert fit(persons, folder, *every).status == 0
    expected = [line["step"] for line in lines(folder) if "train/loss" in line]
    (file,) = (folder / "steps").glob("*step=4.ckpt")
    (folder / "checkpoints" / "last.ckpt").write_bytes(file.read_bytes())
    ended = fit(persons, folder, *every, "--ckpt_path=last")
    assert ended.status == 0, ended.output
    assert [line["step"] for line in lines(folder) if "train/loss" in line] == expected


def test_what_a_subclass_does_with_the_optimizer_holds(persons, tmp_path):
    class Own(O2CAP):
        def configure_optimizers(self):
            made = super().configure_optimizers()
            made["optimizer"].param_groups[0].update(weight_decay=0.125, name="all")
            return made

    for epochs, checkpoint in ((1, None), (2, tmp_path / "1.ckpt")):
        module = make(Own, clusterer=KMeansClusterer(num_clusters=4))
        runner = train(module, market(persons), tmp_path, epochs, checkpoint=checkpoint)
        group = runner.optimizers[0].param_groups[0]
        assert (group["weight_decay"], group["name"]) == (0.125, "all")
        runner.save_checkpoint(tmp_path / f"{epochs}.ckpt")


def test_a_page_shows_no_results_of_another_run(persons, tmp_path):
    folder = tmp_path / "run"
    # ended in its first epoch: the folder is taken again
    assert fit(persons, folder, kill_at=("O2CAP", "labelling", 1)).status == -9
    assert (folder / "tables" / "retrieval.csv").exists()
    run("fit", persons, folder, *EASY_CLUSTERS, "--evaluate=false", "--trainer.max_epochs=1")
    assert not (folder / "tables" / "retrieval.csv").exists()
    assert not (folder / "pictures" / "cmc.png").exists()
    assert "no test results" in (folder / "report.html").read_text()


def test_results_of_before_are_not_those_of_a_network_that_was_trained_on(persons, tmp_path):
    folder = tmp_path / "run"
    run("fit", persons, folder, *EASY_CLUSTERS, "--trainer.max_epochs=1")
    more = ["--trainer.max_epochs=2", "--evaluate=false", "--ckpt_path=last"]
    run("fit", persons, folder, *EASY_CLUSTERS, *more)
    with (folder / "tables" / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["untrained"]
    assert not rows[0]["trained"]
    assert "has not been tested yet" in (folder / "report.html").read_text()
