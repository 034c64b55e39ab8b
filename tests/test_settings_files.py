"""Config files from others: bombs, values of environment variables, modules beside them."""

import os
import re
import time
from pathlib import Path

import pytest
import torch
import yaml
from command_line import EASY_CLUSTERS, SMALL, one_line
from forked_commands import run_python

from lightning_reid import O2CAP
from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.own_modules import own_modules, without_own_classes
from lightning_reid.search import TrainedModel
from lightning_reid.settings_files import from_environment, read_settings, with_places

LAUGHS = "a0: &a0 [1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 20)
)
BOMBS = {
    "aliases": (LAUGHS, "its aliases repeat it endlessly"),
    "itself": ("a: &a [*a]\n", "its aliases repeat it endlessly"),
    "merged": (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, b: *a{i - 1}}}\n" for i in range(1, 40)),
        "its aliases repeat it endlessly",
    ),
    "deep": ("a: " + 100_000 * "[", "levels deep|exceeded maximum nesting depth"),
    "deep dictionaries": ("".join(" " * i + "a:\n" for i in range(200)), "more than 30 levels"),
    "large": ("a: " + 2_000_000 * "x", "more than the 1,000,000 of a file of settings"),
    "object": ("!!python/object/apply:os.getcwd []", "is no YAML: could not determine"),
    "binary": (b"\xff\xfe\x00", "is no YAML"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_at_once(kind, tmp_path, monkeypatch):
    content, message = BOMBS[kind]
    file = tmp_path / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    with pytest.raises(InputError, match=message):
        read_settings(file)
    for command in ("fit", "check"):
        assert re.search(message, one_line(monkeypatch, command, f"--config={file}"))
    assert re.search(message, one_line(monkeypatch, "fit", "--config", file))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_opened(kind, tmp_path, monkeypatch):
    file = tmp_path / "config.yaml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file = Path("/dev/zero")
    assert f"{file} is not a file of settings" in one_line(monkeypatch, "fit", f"--config={file}")


def test_sound_settings_with_aliases(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 1}\n")
    assert read_settings(file) == yaml.safe_load(file.read_text())


@pytest.mark.parametrize("size", ["[1e400, 2]", "[-1, 2]", "[1000000000000, 2]", "[a]", "{b: 1}"])
def test_the_size_in_a_runs_settings(size, tmp_path, persons):
    import briefly_trained

    checkpoint = briefly_trained.train(persons, tmp_path / "run", "--trainer.max_epochs=1")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(f"data: {{init_args: {{size: {size}}}}}\n")
    with pytest.raises(InputError, match="config.yaml does not tell the size of images"):
        TrainedModel.load(checkpoint)


def test_settings_for_a_method_are_bounded_too(tmp_path):
    (tmp_path / "hparams.yaml").write_text(LAUGHS)
    written = {"lightning_reid": {"method": "O2CAP"}, "state_dict": {}, "epoch": 0}
    written |= {"global_step": 0, "pytorch-lightning_version": "2.6.0"}
    torch.save(written, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="repeat it endlessly"):
        O2CAP.load_from_checkpoint(tmp_path / "x.ckpt", hparams_file=tmp_path / "hparams.yaml")


@pytest.fixture
def secret(monkeypatch, persons):
    monkeypatch.setenv("MY_DATA", str(persons))
    monkeypatch.setenv("MY_WORKERS", "0")
    return str(persons)


def test_values_of_the_environment_are_not_written(secret, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "data: {class_path: Market1501, init_args: {root: '${oc.env:MY_DATA}'}}\nevaluate: false\n"
    )
    words = ["fit", SMALL[0], f"--config={config}", *SMALL[1:], *EASY_CLUSTERS]
    words = [word for word in words if "num_workers" not in word]
    words += ["--data.num_workers=${oc.env:MY_WORKERS}", f"--run_dir={tmp_path / 'run'}"]
    os.environ.pop("PL_GLOBAL_SEED", None)
    run_command_line(words)
    written = (tmp_path / "run" / "config.yaml").read_text()
    settings = yaml.safe_load(written)["data"]["init_args"]
    assert settings["root"] == "${oc.env:MY_DATA}"
    assert settings["num_workers"] == "${oc.env:MY_WORKERS}"
    for file in (tmp_path / "run").rglob("*"):
        if file.suffix in (".yaml", ".html", ".json", ".csv"):
            assert secret not in file.read_text(), file
    # and it resumes by them
    again = ["fit", f"--config={tmp_path / 'run' / 'config.yaml'}", "--ckpt_path=last"]
    cli = run_command_line([*again, "--trainer.max_epochs=3"])
    assert cli.trainer.current_epoch == 3
    assert secret not in (tmp_path / "run" / "config.yaml").read_text()


def test_a_later_value_replaces_that_of_the_environment(tmp_path):
    (tmp_path / "one.yaml").write_text(
        "data: {init_args: {root: '${oc.env:A}', b: ['${oc.env:B}']}}"
    )
    (tmp_path / "two.yaml").write_text("data: {init_args: {root: here}}")
    one, two = (f"--config={tmp_path / name}.yaml" for name in ("one", "two"))
    root, b = ("data", "root"), ("data", "b", "0")
    assert from_environment(["fit", one]) == {root: "${oc.env:A}", b: "${oc.env:B}"}
    assert from_environment(["fit", one, two]) == {b: "${oc.env:B}"}
    assert from_environment(["fit", one, "--data.root", "there"]) == {b: "${oc.env:B}"}
    assert from_environment(["fit", two, "--data.root", "${oc.env:C}"]) == {root: "${oc.env:C}"}
    used = {"data": {"init_args": {"root": "/x", "b": ["/y"]}}}
    assert with_places(used, from_environment(["fit", one])) == {
        "data": {"init_args": {"root": "${oc.env:A}", "b": ["${oc.env:B}"]}}
    }


OWN = """
from pathlib import Path
from lightning_reid import O2CAP
import beside
Path("ran").touch()
class Mine(O2CAP): pass
"""


@pytest.fixture
def own(tmp_path):
    """A folder with a method, a module that it needs, and one called like a package."""
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "beside.py").write_text("")
    for package in ("infomap", "wandb", "torchreid"):
        (tmp_path / f"{package}.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    return tmp_path


# as an installed program runs, whose folder is not the current one
PROGRAM = """
import sys
sys.path[:] = [path for path in sys.path if path]
from lightning_reid.cli import main
main()
"""


def fit(own, persons, *options, model="mine.Mine"):
    given = [f"--model={model}", "--data=Market1501", f"--data.root={persons}", *SMALL[1:]]
    words = ["fit", *given, *EASY_CLUSTERS, "--trainer.fast_dev_run=true", *options]
    return run_python("-c", PROGRAM, *words, folder=own)


def test_modules_of_the_current_folder_are_found_where_they_are_named(own, persons):
    assert fit(own, persons).status == 0
    assert (own / "ran").exists()


def test_they_are_not_run_for_settings_that_are_wrong_elsewhere(own, persons):
    for wrong in ("--nonsense=1", "--trainer.max_epochs=x", "--data.nothing=2"):
        assert fit(own, persons, wrong).status == 2
    (own / "c.yaml").write_text("model: {class_path: mine.Mine}\nnonsense: 1\n")
    assert fit(own, persons, "--config=c.yaml", model="O2CAP").status == 2
    assert not (own / "ran").exists()


def test_nor_for_packages_that_are_not_installed(own, persons):
    given = ["fit", "--model=O2CAP", "--data=Market1501", f"--data.root={persons}", *SMALL[1:]]
    more = ["--trainer.logger=WandbLogger", "--trainer.fast_dev_run=true"]
    run_python("-c", PROGRAM, *given, *EASY_CLUSTERS, *more, folder=own)
    assert not (own / "ran").exists()


def test_what_settings_name(own, monkeypatch):
    monkeypatch.chdir(own)
    (own / "c.yaml").write_text(
        "trainer: {callbacks: [{class_path: mine.Callback}, {class_path: torch.nn.Linear}]}\n"
        "data: {class_path: theirs.data.Set, init_args: {root: a.b}}\n"
    )
    (own / "theirs").mkdir()
    (own / "other.py").touch()
    (own / "other.csv").touch()
    words = ["fit", "--config", "c.yaml", "--data.seed=1", "--model", "other.M", "--model.k=3"]
    assert own_modules(words) == {"mine", "theirs", "other"}  # there is no module a
    assert own_modules(["fit", "--data.root=other.csv"]) == set()  # a file, no class
    kept = without_own_classes(words, {"mine", "theirs", "other"}, own)
    assert kept[:2] == ["fit", "--config"]
    assert kept[3:] == []
    assert read_settings(Path(kept[2])) == {
        "trainer": {"callbacks": [{"class_path": "torch.nn.Linear"}]}
    }
