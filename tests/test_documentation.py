import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import lightning_reid

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(lightning_reid.__path__, "lightning_reid.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", lightning_reid.__all__)
def test_public_names_are_documented(name):
    value = getattr(lightning_reid, name)
    assert inspect.getdoc(value)
    for method, function in inspect.getmembers(value, inspect.isfunction):
        if not method.startswith("_") and function.__module__.startswith("lightning_reid"):
            assert inspect.getdoc(function), f"{name}.{method}"


def test_readme_names_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    for config in sorted((ROOT / "configs").rglob("*.yaml")):
        assert config.name.removesuffix(".yaml") in readme
    for folder in (ROOT / "lightning_reid").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"{folder.name}/" in readme


def python_block(containing):
    """The README's block of Python with these words."""
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    (found,) = (b.split("```")[0] for b in blocks if containing in b.split("```")[0])
    return found


def test_readme_python_runs_until_data_is_needed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(python_block("import offline_proxy_loss"), {})
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    with pytest.raises(RuntimeError, match=r"pytorch.org.*resnet50.*TORCH_HOME"):
        exec(python_block("pl.Trainer"), {})


def test_the_readmes_data_set_works(tmp_path):
    names = {}
    exec(python_block("class Office"), names)
    for split in ("train", "query", "gallery"):
        (tmp_path / split).mkdir()
        for camera in ("hall", "gate"):
            (tmp_path / split / f"{camera}_7_{split}.jpg").touch()
    office = names["Office"](tmp_path)
    office.setup()
    assert office.camera_names == ["gate", "hall"]
    assert office.train_identities.tolist() == [7, 7]
    assert len(office.paths("test")) == 4


def offline(*_, **__):
    raise OSError("no network in tests")


def test_ci_runs_the_readmes_test_command():
    command = 'pip install -e ".[test]" && pytest'
    assert command in (ROOT / "README.md").read_text().splitlines()
    assert command in (ROOT / ".ci" / "run").read_text()
