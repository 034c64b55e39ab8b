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


def test_readme_python_runs_until_data_is_needed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    code = [block.split("```")[0] for block in blocks]
    exec(code[-1], {})
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    with pytest.raises(RuntimeError, match=r"pytorch.org.*resnet50.*TORCH_HOME"):
        exec(code[0], {})


def offline(*_, **__):
    raise OSError("no network in tests")


def test_ci_runs_the_readmes_test_command():
    command = 'pip install -e ".[test]" && pytest'
    assert command in (ROOT / "README.md").read_text().splitlines()
    assert command in (ROOT / ".ci" / "run").read_text()
