"""What a test reports is chosen on the command line, in a config, and by the data set."""

import csv

import pytest
import torch
import yaml
from command_line import arguments, run

from lightning_reid import O2CAP, Market1501
from lightning_reid.cli import main, run_command_line
from lightning_reid.metrics import Evaluation, Expansion, Reranking

CHOSEN = [
    "--model.evaluation.rerank=true",
    "--model.evaluation.rerank.k1=8",
    "--model.evaluation.expand.k=2",
    "--model.evaluation.confidence=0.9",
    "--model.evaluation.ranks=[1,3]",
    "--model.evaluation.normalize_cameras=false",
    "--model.evaluation.open_set=[0.5]",
    "--model.evaluation.verification=true",
]
EXPECTED = Evaluation(
    ranks=[1, 3],
    normalize_cameras=False,
    rerank=Reranking(k1=8),
    expand=Expansion(k=2),
    confidence=0.9,
    open_set=[0.5],
    verification=True,
)
EASY = ["--model.clusterer=KMeansClusterer", "--model.clusterer.num_clusters=4"]


class SingleShots(Market1501):
    """Market-1501's layout, evaluated by another protocol."""

    protocol = "cuhk03"


@pytest.fixture(scope="module")
def fitted(persons, tmp_path_factory):
    """A run with chosen options: its folder, and what it was run with."""
    folder = tmp_path_factory.mktemp("options") / "run"
    options = [*EASY, *CHOSEN, "--data.val=test", "--trainer.max_epochs=1"]
    return folder, run("fit", persons, folder, *options)


def logged(folder):
    with (folder / "metrics.csv").open() as file:
        return {key for row in csv.DictReader(file) for key, value in row.items() if value}


def test_fit_reports_what_was_chosen(fitted):
    folder, cli = fitted
    assert cli.model.evaluation == EXPECTED
    ways = ("", "reranked/", "expanded/")
    names = ("mAP", "mAP_low", "rank3_high", "dir@0.5", "tpr@0.01")
    for name in ("test", "test_monitor"):
        assert {f"{name}/{way}{number}" for way in ways for number in names} <= logged(folder)
    assert not any("rank5" in key or "camera_normalized" in key for key in logged(folder))


def test_a_checkpoint_keeps_it_as_plain_values(fitted):
    folder, _ = fitted
    file = folder / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)["hyper_parameters"]["evaluation"]
    assert saved["rerank"] == {"k1": 8, "k2": 6, "original_weight": 0.3}
    loaded = O2CAP.load_from_checkpoint(file, weights_only=True)
    assert loaded.evaluation == loaded.retrieval.evaluation == EXPECTED


@pytest.mark.parametrize("command", ["test", "validate"])
def test_settings_of_a_command_hold_against_those_of_the_checkpoint(
    command, fitted, persons, tmp_path
):
    folder, _ = fitted
    config = tmp_path / "evaluation.yaml"
    wanted = {"ranks": [2], "cross_camera_only": True}
    config.write_text(yaml.safe_dump({"model": {"init_args": {"evaluation": wanted}}}))
    options = ["--ckpt_path=last", "--data.val=test", f"--config={config}", *EASY]
    cli = run(command, persons, folder, *options)
    assert cli.model.evaluation == Evaluation(ranks=[2], cross_camera_only=True)
    name = "test" if command == "test" else "test_monitor"
    found = {key for key in cli.trainer.callback_metrics if key.startswith(f"{name}/")}
    numbers = ("mAP", "mINP", "rank2")
    expected = {f"{name}/{way}{n}" for way in ("", "camera_normalized/") for n in numbers}
    assert found == expected | {f"{name}/num_valid_queries"}


def test_the_config_of_a_run_repeats_it(fitted, tmp_path):
    folder, _ = fitted
    options = ["--ckpt_path=last", "--trainer.logger=false"]
    cli = run_command_line(["test", f"--config={folder / 'config.yaml'}", *options])
    assert cli.model.evaluation == EXPECTED


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "cuhk03"),
        (["--model.evaluation.confidence=0.5"], "cuhk03"),
        (["--model.evaluation.protocol=market"], "market"),
    ],
)
def test_a_data_set_has_a_protocol_of_its_own_unless_told(options, expected, persons, tmp_path):
    command = ["test", "--model=O2CAP", f"--data={__name__}.SingleShots", f"--data.root={persons}"]
    small = ["--model.backbone=shufflenet_v2_x0_5", "--model.weights=null", "--data.num_workers=0"]
    folder = f"--run_dir={tmp_path / 'run'}"
    size = ["--data.size=[32,16]", "--trainer.accelerator=cpu"]
    cli = run_command_line([*command, *small, *size, folder, *options])
    assert cli.model.retrieval.evaluation.protocol == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("confidence=95", "confidence must be from 0 to 1, not 95"),
        ("rerank.k1=0", "k1 must be at least 1"),
        ("expand.k=0", "k must be at least 1"),
        ("open_set=[3]", "a rate of open_set must be from 0 to 1"),
        ("ranks=[0]", "the smallest rank must be at least 1"),
    ],
)
def test_an_impossible_setting_is_told_before_anything_runs(
    option, message, persons, tmp_path, monkeypatch
):
    given = arguments("test", persons, tmp_path / "run", f"--model.evaluation.{option}")
    monkeypatch.setattr("sys.argv", ["lightning-reid", *given])
    with pytest.raises(SystemExit, match=f"^lightning-reid: {message}"):
        main()
    assert not (tmp_path / "run").exists()


def test_what_is_no_evaluation_is_refused():
    with pytest.raises(TypeError, match="must be an Evaluation, not True"):
        O2CAP(backbone="shufflenet_v2_x0_5", weights=None, evaluation=True)
