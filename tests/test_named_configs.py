"""``--config o2cap`` from anywhere."""

from pathlib import Path

import pytest
import yaml

from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.named_configs import config_file, config_names, with_named_configs

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def test_names_are_replaced_by_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["fit", "--config", "o2cap", "--config=market1501", "-c", "published/msmt17/calr"]
    made = with_named_configs([*given, "--data.root=o2cap", "--run_dir", "demo"])
    assert made[0] == "fit"
    assert Path(made[2]).samefile(CONFIGS / "methods" / "o2cap.yaml")
    assert Path(made[3].removeprefix("--config=")).samefile(CONFIGS / "data" / "market1501.yaml")
    assert Path(made[5]).samefile(CONFIGS / "published" / "msmt17" / "calr.yaml")
    assert made[6:] == ["--data.root=o2cap", "--run_dir", "demo"]


def test_files_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o2cap").write_text("seed_everything: 1\n")
    given = ["fit", "--config", "o2cap", "--config", "mine.yaml", "--config"]
    assert with_named_configs(given) == given


def test_every_config_has_a_name():
    assert len(config_names()) == len(list(CONFIGS.rglob("*.yaml"))) > 50
    for name in config_names():
        assert config_file(name).is_file()


def test_a_name_that_is_none_tells_those_like_it():
    with pytest.raises(InputError, match=r"no config 'o2cpa'; did you mean o2cap\?$"):
        config_file("o2cpa")
    with pytest.raises(InputError, match=r"no config 'xyz': neither a file nor one of .*demo"):
        config_file("xyz")


def test_a_run_of_configs_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run_command_line(["fit", "--config", "o2cap", "--config=market1501", "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["class_path"] == "lightning_reid.O2CAP"
    assert printed["data"]["class_path"] == "lightning_reid.Market1501"
    assert run_command_line(["check", "--config", "market1501", "--data.root", str(tmp_path)]) == 1
    assert "bounding_box_train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path,camera\na.jpg,1\n", "mine.txt holds no settings; a list of images goes to --data.r"),
        ("model: [1\ndata: 2\n", "mine.txt is no YAML: while parsing .* line 1, column 8"),
        (b"\xff\xd8\xff", "mine.txt is no YAML"),
    ],
)
def test_a_file_that_is_no_config_is_named(content, told, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=told):
        with_named_configs(["fit", "--config", str(file)])
