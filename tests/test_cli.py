import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import EASY_CLUSTERS as EASY
from command_line import SMALL, arguments, run
from forked_commands import run_python
from small_methods import one_line_error

from lightning_reid import CAP, O2CAP
from lightning_reid.cli import run_command_line
from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.data import test_transform as plain_transform
from lightning_reid.errors import InputError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, run("fit", persons, folder, *EASY)


def log_rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def logged(folder):
    return {k: float(v) for row in log_rows(folder) for k, v in row.items()}


def test_a_run_leaves_everything_in_one_folder(trained):
    folder, _ = trained
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert (folder / "pictures" / "worst_rankings.png").is_file()
    assert list(folder.glob("events.out.tfevents.*"))
    assert yaml.safe_load((folder / "config.yaml").read_text())["run_dir"] == str(folder)
    log = logged(folder)
    assert {"labels/clusters", "labels/outliers", "labels/proxies"} <= set(log)
    assert {"labels/silhouette", "labels/stability", "diagnostics/ari", "test/mAP"} <= set(log)
    assert {"labels/seconds/extraction", "labels/seconds/neighbors"} <= set(log)


def table_rows(folder, name):
    with (folder / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_has_a_page_and_its_tables(trained):
    folder, _ = trained
    retrieval = {row["measure"]: row for row in table_rows(folder, "retrieval")}
    assert list(retrieval["mAP"]) == ["measure", "untrained", "trained"]
    logged_maps = [float(row["test/mAP"]) for row in log_rows(folder) if "test/mAP" in row]
    told = [float(retrieval["mAP"][column]) for column in ("untrained", "trained")]
    assert told == pytest.approx(logged_maps[:2])
    labels = table_rows(folder, "labels")
    assert [row["epoch"] for row in labels] == ["0", "1", "2"]
    clusters = [row["labels/clusters"] for row in log_rows(folder) if "labels/clusters" in row]
    assert [float(row["labels/clusters"]) for row in labels] == [float(c) for c in clusters]
    page = (folder / "report.html").read_text()
    assert f"{100 * told[1]:.1f} %" in page
    assert "O2CAP on Market1501" in page
    assert "2 of 2 epochs are done" in page
    assert page.count("<img ") == len(list((folder / "pictures").iterdir()))
    assert f"lightning-reid fit --config {folder}/config.yaml" in page


def test_a_test_has_a_page_of_its_own(trained, persons):
    folder, _ = trained
    before = (folder / "report.html").read_bytes()
    run("test", persons, folder, "--ckpt_path=last")
    rows = {row["measure"]: row for row in table_rows(folder / "test", "retrieval")}
    assert list(rows["mAP"]) == ["measure", "value"]
    page = (folder / "test" / "report.html").read_text()
    assert f"Test of {folder}/checkpoints/last.ckpt" in page
    assert f"{100 * float(rows['mAP']['value']):.1f} %" in page
    assert (folder / "report.html").read_bytes() == before


def test_fit_ends_with_a_table(trained, persons, tmp_path, capsys):
    run("fit", persons, tmp_path / "run", *EASY, "--trainer.max_epochs=1")
    printed = capsys.readouterr().out
    assert "untrained" in printed
    assert "mAP" in printed
    assert "silhouette" in printed
    assert str(tmp_path / "run") in printed.replace("\n", "")


def test_test_reproduces_what_fit_ended_with(trained, persons):
    folder, fitted = trained
    ended = logged(folder)["test/mAP"]
    assert fitted.trainer.callback_metrics["test/mAP"] == pytest.approx(ended)
    again = run("test", persons, folder, f"--ckpt_path={folder}/checkpoints/last.ckpt")
    assert float(again.trainer.callback_metrics["test/mAP"]) == ended
    assert (folder / "test" / "metrics.csv").is_file()
    assert logged(folder)["test/mAP"] == ended  # the run's own log is left alone


def test_last_is_the_newest_run(trained, persons):
    folder, _ = trained
    again = run("validate", persons, folder, "--ckpt_path=last")
    mean = again.trainer.callback_metrics["test_monitor/mAP"]
    assert float(mean) == logged(folder)["test/mAP"]


def test_predict_writes_embeddings(trained, persons):
    folder, _ = trained
    made = run("predict", persons, folder, "--ckpt_path=last")
    written = np.load(folder / "predict" / "embeddings.npz")
    assert written["paths"].tolist() == made.datamodule.paths("test")
    assert set(written["cameras"]) == {"c1", "c2", "c3"}
    image = plain_transform((32, 16))(read_image(written["paths"][3]))
    expected = made.model.eval().embed(image[None])[0].detach().numpy()
    np.testing.assert_allclose(written["embeddings"][3], expected, atol=1e-5)


def test_a_second_run_gets_a_folder_of_its_own(trained, persons):
    folder, _ = trained
    run("fit", persons, folder, *EASY, "--trainer.max_epochs=1", "--evaluate=false")
    second = folder.with_name("first-2")
    assert (second / "checkpoints" / "last.ckpt").is_file()
    shutil.rmtree(second)


def test_resume_goes_on_in_the_folder(persons, tmp_path):
    folder = tmp_path / "run"
    run("fit", persons, folder, *EASY, "--trainer.max_epochs=1")
    untrained = table_rows(folder, "retrieval")[0]["untrained"]
    resumed = run("fit", persons, folder, *EASY, "--ckpt_path=last")
    assert resumed.trainer.current_epoch == 2
    assert not (tmp_path / "run-2").exists()
    assert table_rows(folder, "retrieval")[0]["untrained"] == untrained
    assert [row["epoch"] for row in table_rows(folder, "labels")] == ["0", "1", "2"]
    page = (folder / "report.html").read_text()
    assert "2 of 2 epochs are done" in page
    assert "gone on with" in page
    assert "--ckpt_path null" in page


def test_a_run_that_had_finished_says_so(persons, tmp_path, recwarn):
    options = (*EASY, "--trainer.max_epochs=1", "--evaluate=false")
    run("fit", persons, tmp_path / "run", *options)
    assert not any("nothing was trained" in str(warned.message) for warned in recwarn)
    with pytest.warns(UserWarning, match="nothing was trained: .* all 1 epochs .*max_epochs 2"):
        run("fit", persons, tmp_path / "run", *options, "--ckpt_path=last")


def test_an_interrupted_run_goes_on_after_its_last_whole_epoch(persons, tmp_path, monkeypatch):
    folder, step = tmp_path / "run", O2CAP.training_step

    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 2:
            raise RuntimeError("power cut")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(O2CAP, "training_step", interrupted)
    options = (*EASY, "--trainer.max_epochs=4")
    with pytest.raises(RuntimeError, match="power cut"):
        run("fit", persons, folder, *options)
    before = log_rows(folder)
    monkeypatch.setattr(O2CAP, "training_step", step)
    resumed = run("fit", persons, folder, *options, "--ckpt_path=last")
    assert resumed.trainer.current_epoch == 4
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert log_rows(folder)[: len(before)] == before  # nothing that was logged is lost
    ended = logged(folder)["test/mAP"]
    again = run("test", persons, folder, "--ckpt_path=last")
    assert float(again.trainer.callback_metrics["test/mAP"]) == ended


@pytest.mark.parametrize("method", [CAP, O2CAP])
@pytest.mark.parametrize("config", ["market1501", "synthetic_persons"])
def test_method_and_data_configs_compose(method, config, persons, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command_line(
            [
                "fit",
                f"--config={CONFIGS}/methods/{method.__name__.lower()}.yaml",
                f"--config={CONFIGS}/data/{config}.yaml",
                f"--data.root={persons}",
                "--print_config",
            ]
        )
    assert stop.value.code == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["model"]["class_path"].endswith(method.__name__)
    assert shown["data"]["init_args"]["root"] == str(persons)


def test_configs_interpolate(persons, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(
        "data:\n  class_path: Market1501\n  init_args:\n    root: here\n    batch_size: 16\n"
        "    eval_batch_size: ${.batch_size}\n"
    )
    with pytest.raises(SystemExit):
        run_command_line(["fit", "--model=O2CAP", f"--config={config}", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["eval_batch_size"] == 16


def test_a_dry_run_takes_every_path(persons, tmp_path):
    run("fit", persons, tmp_path / "dry", "--trainer.fast_dev_run=true", "--data.val=test")


def test_the_test_set_can_be_watched_but_under_its_own_name(persons, tmp_path):
    made = run("fit", persons, tmp_path / "run", *EASY, "--data.val=test", "--evaluate=false")
    assert "test_monitor/mAP" in made.trainer.callback_metrics
    assert "val/mAP" not in made.trainer.callback_metrics


def fails(capsys, *args):
    with pytest.raises(SystemExit) as stop:
        run(*args)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--model.learning_rat=1", "O2CAP has no option --model.learning_rat; did you mean --mod"),
        ("--model.learning_rat=1", "did you mean --model.learning_rate?"),
        ("--model.epz=0.5", "did you mean --model.clusterer.eps?"),
        ("--model.clusterer.epz=1", "did you mean --model.clusterer.eps?"),
        ("--data.augmentation.padd=3", "did you mean --data.augmentation.pad?"),
        ("--trainer.max_epoch=1", "there is no option --trainer.max_epoch; did you mean --train"),
        ("--trainer.max_epoch=1", "did you mean --trainer.max_epochs?"),
        ("--evalute=false", "did you mean --evaluate?"),
        ("--nothing_like_it=3", "there is no option --nothing_like_it\n"),
        ("--model=O2CUP", "there is no class O2CUP; did you mean O2CAP?"),
        ("--model.clusterer=Foo", "there is no class Foo; there are AgglomerativeClusterer"),
        ("--model.learning_rate=abc", "--model.learning_rate: expected float, not abc"),
        ("--model.last_stride=7", "--model.last_stride: expected 1 or 2, not 7"),
        ("--trainer.max_epochs=many", "--trainer.max_epochs: expected int, not many"),
        (
            "--data.size=[1,2,3]",
            "--data.size: expected [height,width], such as [256,128], not [1",
        ),
    ],
)
def test_a_wrong_option_is_told_in_two_lines(option, told, persons, tmp_path, capsys):
    message = fails(capsys, "fit", persons, tmp_path, option)
    assert told in message
    assert message.startswith("lightning-reid: error: ")
    assert message.count("\n") == 2


def test_what_is_missing_is_told_in_two_lines(capsys):
    with pytest.raises(SystemExit):
        run_command_line(["fit", "--model=O2CAP", "--data=Market1501"])
    message = capsys.readouterr().err
    assert "--data.root is required" in message
    assert message.count("\n") == 2


def test_a_class_that_is_missing_is_told_in_two_lines(capsys):
    with pytest.raises(SystemExit):
        run_command_line(["fit", "--model=O2CAP", "--data.root=crops"])
    message = capsys.readouterr().err
    assert "say which class first: --data CUHK03 or " in message
    assert message.count("\n") == 2


def test_a_shortened_option_is_not_guessed(persons, tmp_path, capsys):
    assert "max_epoch" in fails(capsys, "fit", persons, tmp_path, "--trainer.max_epoch=1")


def test_what_is_no_checkpoint_is_named(persons, tmp_path):
    with pytest.raises(ValueError, match="README.md is not a checkpoint"):
        run("test", persons, tmp_path, f"--ckpt_path={CONFIGS.parent}/README.md")


def test_a_misspelt_key_in_a_config_is_named(persons, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("model:\n  class_path: O2CAP\n  init_args:\n    tempreature: 0.1\n")
    with pytest.raises(SystemExit):
        run_command_line(
            ["fit", f"--config={config}", "--data=Market1501", f"--data.root={persons}"]
        )
    assert "tempreature" in capsys.readouterr().err


def test_missing_data_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere/bounding_box_train"):
        run("fit", tmp_path / "nowhere", tmp_path / "run")


def test_an_unreadable_image_is_named(persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    broken = sorted((copy / "bounding_box_train").iterdir())[5]
    broken.write_bytes(b"broken")
    with pytest.raises(UnreadableImageError, match=broken.name):
        run("fit", copy, tmp_path / "run", *EASY)


def test_query_without_gallery_is_named(persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    shutil.rmtree(copy / "bounding_box_test")
    with pytest.raises(InputError, match="bounding_box_test"):
        run("test", copy, tmp_path / "run")


def test_queries_without_a_match_are_told(persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    for file in (copy / "bounding_box_test").iterdir():
        if not file.name.startswith("0000"):
            file.unlink()
    with pytest.raises(ValueError, match="none of the .* query images in .* has a match"):
        run("test", copy, tmp_path / "run")


def test_one_camera_trains_with_a_warning_and_cannot_be_tested(persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    for file in copy.glob("*/*_c[23]*"):
        file.unlink()
    with pytest.warns(UserWarning, match="one camera, 'c1'"):
        run("fit", copy, tmp_path / "run", *EASY, "--evaluate=false")
    with pytest.raises(ValueError, match=r"another camera \(cameras: c1\)"):
        run("test", copy, tmp_path / "run")


def test_a_checkpoint_of_another_method_is_named(trained, persons):
    folder, _ = trained
    config = (folder / "config.yaml").read_text()
    with pytest.raises(ValueError, match="written by O2CAP, the model is CAP"):
        run("fit", persons, folder, "--model=CAP", f"--ckpt_path={folder}/checkpoints/last.ckpt")
    assert (folder / "config.yaml").read_text() == config


def test_a_missing_checkpoint_is_named(persons, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.ckpt"):
        run("test", persons, tmp_path / "run", "--ckpt_path=nothing.ckpt")
    with pytest.raises(FileNotFoundError, match="last.ckpt"):
        run("test", persons, tmp_path / "run", "--ckpt_path=last")


def test_weights_that_do_not_fit_are_named(persons, tmp_path):
    weights = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3)}, weights)
    with pytest.raises(ValueError, match=r"other.pth does not fit .*shufflenet"):
        run("fit", persons, tmp_path / "run", f"--model.weights={weights}")


def test_a_checkpoint_loads_without_its_pretrained_weights(trained):
    folder, fitted = trained
    loaded = O2CAP.load_from_checkpoint(folder / "checkpoints" / "last.ckpt")
    images = torch.rand(2, 3, 32, 16)
    torch.testing.assert_close(loaded.eval().embed(images), fitted.model.eval().embed(images))
    assert loaded.labels is None  # the callback keeps them


def test_another_clusterer_from_the_command_line(persons, tmp_path):
    options = ["--model.clusterer=KMeansClusterer", "--model.clusterer.num_clusters=5"]
    done = run("fit", persons, tmp_path / "run", "--trainer.max_epochs=1", *options)
    assert done.model.current_labels().num_clusters == 5
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    clusterer = config["model"]["init_args"]["clusterer"]
    assert clusterer["class_path"].endswith("KMeansClusterer")
    loaded = O2CAP.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert vars(loaded.clusterer) == vars(done.model.clusterer)


def test_an_impossible_setting_of_the_clusterer_is_told_before_anything_runs(persons, tmp_path):
    given = arguments("fit", persons, tmp_path / "run", "--model.clusterer.eps=1.5")
    done = run_python("-m", "lightning_reid", *given)
    assert done.status == 1
    assert "lightning-reid: eps must be from 0 to 0.99, not 1.5" in done.errors
    assert "Traceback" not in done.errors
    assert not (tmp_path / "run").exists()


def test_one_setting_of_the_default_clusterer(persons, tmp_path):
    configs = [
        f"--config={CONFIGS / name}" for name in ("methods/cap.yaml", "data/market1501.yaml")
    ]
    options = ["--model.clusterer.eps=0.65", f"--data.root={persons}", "--print_config"]
    printed = run_python("-m", "lightning_reid", "fit", *configs, *options)
    clusterer = yaml.safe_load(printed.output)["model"]["init_args"]["clusterer"]
    assert clusterer["init_args"]["eps"] == 0.65
    assert clusterer["init_args"]["k1"] == 20


def test_a_checkpoint_is_tested_without_its_pretrained_weights(trained, persons):
    folder, _ = trained
    run("test", persons, folder, "--ckpt_path=last", "--model.weights=nowhere.pth")


@pytest.mark.parametrize(
    ("root", "option", "message"),
    [
        ("nowhere", "--seed_everything=1", "no folder"),
        # the parser wraps this one
        ("", "--model.backbone=resnet81", "unknown backbone 'resnet81'"),
    ],
)
def test_what_the_user_can_mend_is_told_in_one_line(persons, tmp_path, root, option, message):
    given = arguments("fit", persons / root, tmp_path / "run", option)
    done = run_python("-m", "lightning_reid", *given)
    assert done.status == 1
    assert "Traceback" not in done.errors
    assert f"lightning-reid: {message}" in done.errors


def test_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "lightning_reid", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert {"fit", "validate", "test", "predict"} <= set(done.stdout.replace(",", " ").split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_in_one_line(persons, tmp_path, monkeypatch):
    message = one_line_error(monkeypatch, persons, tmp_path / "run", "--trainer.accelerator=gpu")
    assert "gpu" in message
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_told_in_one_line(persons, tmp_path, monkeypatch):
    run("fit", persons, tmp_path / "run", *EASY, "--evaluate=false")
    message = one_line_error(
        monkeypatch,
        persons,
        tmp_path / "run",
        "--ckpt_path=last",
        "--model.backbone=resnet18",
        command="test",
    )
    assert "backbone shufflenet_v2_x0_5" in message
    assert "backbone resnet18" in message


def test_an_untrained_network_has_a_folder_of_its_own(persons, tmp_path):
    with pytest.warns(UserWarning, match="no --ckpt_path: test takes the network as it begins"):
        run("test", persons, tmp_path / "run", "--trainer.limit_test_batches=1")
    assert (tmp_path / "run" / "test_untrained" / "metrics.csv").is_file()
    assert not (tmp_path / "run" / "test").exists()


@pytest.mark.parametrize("how", ["--ckpt_path=none", "--model.weights={}"])
def test_an_untrained_network_predicts_only_where_it_is_asked_to(
    how, trained, persons, tmp_path, recwarn
):
    with pytest.raises(InputError, match="predict needs a trained network: give --ckpt_path last"):
        run("predict", persons, tmp_path / "run")
    assert not list(tmp_path.iterdir())
    weights = trained[0] / "checkpoints" / "last.ckpt"
    run("predict", persons, tmp_path / "run", how.format(weights))
    assert (tmp_path / "run" / "predict_untrained" / "embeddings.npz").is_file()
    assert not any("no --ckpt_path" in str(warning.message) for warning in recwarn)


def test_without_a_test_set_the_training_images_are_embedded(persons, tmp_path):
    crops = tmp_path / "crops"
    for file in sorted((persons / "bounding_box_train").iterdir())[:10]:
        camera = file.name.split("_")[1][:2]
        (crops / camera).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, crops / camera)
    data = ["--data=ManifestData", "--data.pattern={camera}/*", f"--data.root={crops}"]
    run("predict", crops, tmp_path / "run", *data, "--ckpt_path=none")
    saved = np.load(tmp_path / "run" / "predict_untrained" / "embeddings.npz")
    assert len(saved["embeddings"]) == 10
    assert sorted(saved["paths"]) == sorted(map(str, crops.glob("*/*")))


def test_a_broken_image_in_a_worker_is_told_in_one_line(persons, tmp_path, monkeypatch):
    root = shutil.copytree(persons, tmp_path / "persons")
    bad = sorted((root / "bounding_box_train").iterdir())[4]
    bad.write_bytes(bad.read_bytes()[:200])
    message = one_line_error(
        monkeypatch, root, tmp_path / "run", "--evaluate=false", "--data.num_workers=1"
    )
    assert message.startswith(f"lightning-reid: cannot read image {bad}: ")
    assert "on_error=skip" in message
    assert "\n" not in message
    assert ".cpp" not in message


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("check --data=Market1501 --data.root=x --data.size=64", "--data.size: expected [height,"),
        ("check --data=Market1501 --data.rot=x", "did you mean --data.root?"),
        ("search --ckpt_path=x --gallery=y", "missing: --query"),
        ("search --ckpt_path=x --gallery=y --query=z --topp=3", "did you mean --top?"),
        ("search --ckpt_path=x --gallery=y --query=z --top=few", "--top: expected int, not few"),
        ("export --ckpt_path=x --size=64", "--size: expected [height,width], such as [256,128]"),
        ("export --ckpt_path=x --outptu=y", "did you mean --output?"),
    ],
)
def test_commands_beside_the_trainers_are_as_brief(command, told, capsys):
    with pytest.raises(SystemExit):
        run_command_line(command.split())
    message = capsys.readouterr().err
    assert told in message
    assert message.startswith("lightning-reid: error: ")
    assert message.count("\n") == 2


def test_a_size_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"size must be height and width .* not \(0, 32\)"):
        run_command_line(["export", "--ckpt_path=x", "--size=[0,32]"])


def test_another_logger_leaves_the_run_in_its_folder(persons, tmp_path):
    logger = ["--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path}/logs"]
    run("fit", persons, tmp_path / "run", *EASY, *logger, "--trainer.max_epochs=1")
    whole = {"checkpoints", "config.yaml", "metrics.csv", "report.html", "pictures", "tables"}
    assert whole <= {path.name for path in (tmp_path / "run").iterdir()}
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))
    run("fit", persons, tmp_path / "run", *EASY, *logger, "--ckpt_path=last")
    assert not (tmp_path / "run-2").exists()


def test_fewer_epochs_than_are_done_leave_a_run_as_it_is(trained, persons):
    folder = trained[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(InputError, match=r"2 epochs done, and max_epochs is 1: ask for more"):
        run("fit", persons, folder, "--ckpt_path=last", "--trainer.max_epochs=1")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_without_checkpoints(persons, tmp_path):
    options = ["--trainer.enable_checkpointing=false", "--trainer.max_epochs=1"]
    run("fit", persons, tmp_path / "run", *EASY, *options)
    assert (tmp_path / "run" / "report.html").is_file()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_classes_of_the_current_folder_are_found(persons, tmp_path):
    (tmp_path / "mine.py").write_text("from lightning_reid import O2CAP\nclass Mine(O2CAP): pass\n")
    words = [word.replace("--model=O2CAP", "--model=mine.Mine") for word in SMALL]
    program = Path(sys.executable).with_name("lightning-reid")
    options = ["--data=Market1501", f"--data.root={persons}", "--trainer.fast_dev_run=true"]
    ended = run_python(program, "fit", words[0], *options, *words[1:])
    assert ended.status == 0, ended.errors


def test_a_folder_is_no_config(persons, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "market1501").mkdir()
    words = ["--config=o2cap", "--config=market1501", f"--data.root={persons}"]
    with pytest.raises(SystemExit):
        run_command_line(["fit", *words, "--print_config"])
    assert "lightning_reid.Market1501" in capsys.readouterr().out


def test_a_checkpoint_from_elsewhere_is_named(persons, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth was not written by a run of lightning_reid"):
        run("test", persons, tmp_path / "run", f"--ckpt_path={tmp_path}/other.pth")
