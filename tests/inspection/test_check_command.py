"""``lightning-reid check``."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from forked_commands import run_python
from PIL import Image

from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.inspection.command import _IGNORED

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DATA = ["--data=Market1501", "--data.batch_size=16"]


def check(root, output, *options):
    """The exit status of a check without worker processes."""
    root = [f"--data.root={root}", f"--output={output}"]
    return run_command_line(["check", *DATA, *root, "--num_workers=0", *options])


def written(folder):
    return json.loads((folder / "check.json").read_text())


def test_a_check_of_sound_data_leaves_everything_in_its_folder(persons, tmp_path, capsys):
    out = tmp_path / "out"
    assert check(persons, out) == 0
    printed = capsys.readouterr().out
    assert "nothing keeps fit and test from working" in printed
    assert str(out) in printed
    content = written(out)
    assert content["works"]
    assert content["data"] == "Market1501"
    images = {split["split"]: split["images"] for split in content["splits"]}
    files = {
        "train": list((persons / "bounding_box_train").iterdir()),
        "query": list((persons / "query").iterdir()),
        "gallery": list((persons / "bounding_box_test").iterdir()),
    }
    assert images == {split: len(names) for split, names in files.items()}
    with (out / "check.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(f) for names in files.values() for f in names}
    assert {row["height"] for row in rows} == {"128"}
    assert all(f"/{int(row['identity']):04d}_{row['camera']}" in row["path"] for row in rows)
    sheets = sorted((out / "pictures" / "cameras").iterdir())
    assert [sheet.name for sheet in sheets] == ["c1.png", "c2.png", "c3.png"]
    assert np.asarray(Image.open(sheets[0])).std() > 10


def test_folders_are_numbered_as_runs_are(persons, tmp_path):
    for _ in range(3):
        assert check(persons, tmp_path / "out") == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["out", "out-2", "out-3"]


def test_the_default_folder_is_named_after_the_data(persons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_command_line(["check", *DATA, f"--data.root={persons}", "--num_workers=0"])
    assert (tmp_path / "runs" / "check_Market1501" / "check.json").is_file()


def test_what_is_wrong_is_told_and_written(copy, tmp_path, capsys):
    train = sorted((copy / "bounding_box_train").iterdir())
    shutil.copy(train[0], copy / "bounding_box_test" / "0200_c1_000001.jpg")
    doubled = train[1].with_name("0002_c1_copied.jpg")
    shutil.copy(train[1], doubled)
    train[3].write_bytes(train[3].read_bytes()[:300])
    assert check(copy, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "training or testing could not work" in printed
    assert f"bounding_box_train/{train[3].name}" in printed
    assert "on_error skip" in printed
    content = written(tmp_path / "out")
    assert not content["works"]
    errors = [f["found"] for f in content["findings"] if f["severity"] == "error"]
    assert len(errors) == 2
    (reason,) = content["unreadable"].values()
    assert train[3].name in reason
    with (tmp_path / "out" / "check.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    pair = {str(train[1]), str(doubled)}
    assert {rows[path]["copy_of"] for path in pair} - {""} <= pair
    assert sum(rows[path]["copy_of"] == "" for path in pair) == 1
    assert [path for path, row in rows.items() if row["readable"] == "0"] == [str(train[3])]


def test_an_animation_and_sixteen_bits_are_images(copy, tmp_path):
    train = copy / "bounding_box_train"
    names = sorted(path.name for path in train.iterdir())
    noise = [Image.effect_noise((32, 64), 40 + 20 * i) for i in range(3)]
    noise[0].save(train / names[0], "GIF", save_all=True, append_images=noise[1:])
    levels = np.random.default_rng(0).integers(0, 2**16, (64, 32), dtype=np.uint16)
    Image.fromarray(levels).save(train / names[1], "PNG")
    assert check(copy, tmp_path / "out") == 0
    assert written(tmp_path / "out")["unreadable"] == {}


def test_names_with_brackets_are_printed_as_they_are(copy, tmp_path, capsys):
    broken = copy / "bounding_box_train" / "0001_c1_[red]:smile:.jpg"
    broken.write_bytes(b"broken")
    assert check(copy, tmp_path / "out") == 1
    assert broken.name in capsys.readouterr().out


@pytest.mark.parametrize("spoil", ["missing", "empty", "misnamed"])
def test_a_set_that_cannot_be_read_is_a_finding(copy, tmp_path, capsys, spoil):
    folder = copy / "bounding_box_train"
    shutil.rmtree(folder)
    if spoil != "missing":
        folder.mkdir()
    if spoil == "misnamed":
        (folder / "person.jpg").touch()
    assert check(copy, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "fit cannot start" in printed
    assert "bounding_box_train" in printed
    assert written(tmp_path / "out")["splits"][0]["split"] == "query"  # the rest is checked


def test_nothing_at_all_is_a_finding_too(tmp_path, capsys):
    assert check(tmp_path / "nowhere", tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "nowhere/bounding_box_train" in printed
    assert "images line by line" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_with_cameras_of_any_name(persons, tmp_path, capsys):
    images = sorted((persons / "bounding_box_train").iterdir())
    cameras = ("Eingang/入口", "Eingang:入口", "3")
    rows = [f"{file},{cameras[i % 3]}" for i, file in enumerate(images)]
    manifest = tmp_path / "crops.csv"
    manifest.write_text("\n".join(["path,camera", *rows, "gone.jpg,3"]), encoding="utf-8")
    out = tmp_path / "out"
    options = ["--data.batch_size=16", f"--output={out}", "--num_workers=0"]
    checked = ["check", "--data=ManifestData", f"--data.root={manifest}", *options]
    assert run_command_line([*checked, "--data.on_error=skip"]) == 0
    printed = capsys.readouterr().out
    assert "  gone.jpg" in printed  # as seen from the manifest
    sheets = [sheet.name for sheet in (out / "pictures" / "cameras").iterdir()]
    assert sorted(sheets) == ["3.png", "Eingang_入口-2.png", "Eingang_入口.png"]
    needing = {m["method"] for m in written(out)["methods"] if not m["runs"]}
    assert needing == {"PCSL", "Supervised"}
    assert run_command_line([*checked, "--data.columns={camera: kamera}"]) == 1
    assert "kamera" in capsys.readouterr().out


def test_data_without_a_test_set_passes(copy, tmp_path, capsys):
    shutil.rmtree(copy / "query")
    shutil.rmtree(copy / "bounding_box_test")
    assert check(copy, tmp_path / "out") == 0
    assert "There is no test set." in capsys.readouterr().out


def test_a_fit_command_becomes_a_check_by_changing_one_word(persons, tmp_path):
    command = [
        *(f"--config={CONFIGS / name}" for name in ("methods/o2cap.yaml", "data/market1501.yaml")),
        *("--data.root", str(persons), "--data.size", "[64,32]"),
        *("--model.clusterer", "InfomapClusterer", "--model.clusterer.min_similarity", "0.6"),
        *("--trainer.max_epochs=3", "--seed_everything", "-1", "--run_dir", "runs/mine"),
        "--trainer.callbacks+=pytorch_lightning.callbacks.EMAWeightAveraging",
        *("--evaluate", "false", "--output", str(tmp_path / "out"), "--num_workers", "0"),
    ]
    assert run_command_line(["check", *command]) == 0
    assert written(tmp_path / "out")["root"] == str(persons)


def test_two_methods_and_the_config_of_a_whole_run_are_taken(persons, tmp_path):
    configs = ["methods/o2cap.yaml", "methods/calr.yaml", "published/market1501/calr.yaml"]
    options = [f"--config={CONFIGS / name}" for name in configs]
    assert check(persons, tmp_path / "out", *options) == 0


def test_the_config_of_a_run_with_all_its_keys_is_taken(persons, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_command_line(
            ["fit", "--model=O2CAP", *DATA, f"--data.root={persons}", "--print_config"]
        )
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert {"model", "trainer", "seed_everything", "run_dir"} <= set(
        yaml.safe_load(config.read_text())
    )
    out = tmp_path / "out"
    assert run_command_line(["check", f"--config={config}", f"--output={out}"]) == 0


def test_without_an_output_it_is_written_into_the_run_folder(persons, tmp_path):
    options = ["--num_workers=0", f"--run_dir={tmp_path / 'run'}"]
    assert run_command_line(["check", *DATA, f"--data.root={persons}", *options]) == 0
    assert written(tmp_path / "run" / "check")["root"] == str(persons)


def test_every_option_of_fit_is_data_or_ignored(capsys):
    """A new option of fit must not make its configs and commands useless here."""
    with pytest.raises(SystemExit):
        run_command_line(
            ["fit", "--model=O2CAP", "--data=Market1501", "--data.root=x", "--print_config"]
        )
    sections = set(yaml.safe_load(capsys.readouterr().out)) - {"data", "run_dir"}
    assert [name for name in sections if not _IGNORED.fullmatch(f"--{name}")] == []


def test_configs_interpolate_within_the_data(persons, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data:\n  class_path: Market1501\n  init_args:\n    root: {persons}\n"
        "    images_per_group: 3\n    batch_size: ${.images_per_group}\n"
        "model:\n  class_path: somebody.Elses\n  init_args: {strength: 1e-3}\n"
    )
    out = tmp_path / "out"
    assert run_command_line(["check", f"--config={config}", f"--output={out}"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data=Market1501", "--dat.root=x"], "dat.root"),
        (["--data=Market1501", "--data.root=x", "--data.sice=[8,4]"], "sice"),
        (["--data=Market2501", "--data.root=x"], "Market2501"),
        ([], "data"),
        (["--config=nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_misspelt_options_are_named(capsys, options, words):
    with pytest.raises(SystemExit) as stop:
        run_command_line(["check", *options])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_a_damaged_config_is_told(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("data: [unfinished")
    with pytest.raises(InputError, match=r"config.yaml is no YAML: .*expected ',' or '\]'"):
        run_command_line(["check", f"--config={config}"])


def test_help_of_the_command_and_of_its_data(capsys):
    for arguments in (["--help"], ["--data.help", "Market1501"]):
        with pytest.raises(SystemExit) as stop:
            run_command_line(["check", *arguments])
        assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert {"--near", "--output", "--data.on_error"} <= set(
        printed.replace("[", " ").replace("]", " ").split()
    )


def test_the_command_must_come_first(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("fit:\n  seed_everything: 0\n")
    with pytest.raises(SystemExit) as stop:
        run_command_line([f"--config={config}", "check"])
    assert stop.value.code == 2
    assert "the command comes first: lightning-reid check" in capsys.readouterr().err


def test_it_is_listed_and_costs_nothing_before_it_is_asked_for():
    code = (
        "import sys\nfrom lightning_reid.cli import run_command_line\n"
        "try:\n    run_command_line(['--help'])\n"
        "finally:\n    assert 'lightning_reid.inspection' not in sys.modules"
    )
    done = run_python("-c", code)
    assert done.status == 0, done.errors
    assert "{check,search,export,fit,validate,test,predict" in done.output
    assert "Look at a data set before training on it" in done.output


def test_the_program_tells_its_verdict_in_its_exit_status(copy, tmp_path):
    program = Path(sys.executable).with_name("lightning-reid")
    options = ["--data", "Market1501", "--data.root", str(copy), "--output", str(tmp_path / "out")]
    done = run_python(program, "check", *options)
    assert done.status == 0, done.errors
    assert "Traceback" not in done.errors
    for file in (copy / "bounding_box_test").iterdir():
        file.unlink()
    done = run_python(program, "check", *options)
    assert done.status == 1
    assert "no images" in done.output
    assert "Traceback" not in done.errors
