import doctest
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
import torch

import lightning_reid

MODULES = [
    module.name
    for module in pkgutil.walk_packages(lightning_reid.__path__, "lightning_reid.")
    if not module.name.endswith("__main__")
]
# what the examples in a module need and a plain installation does not bring
OPTIONAL = {
    "lightning_reid.clustering.infomap": ["infomap"],
    "lightning_reid.export.onnx_file": ["onnx", "onnxruntime", "onnxscript"],
}
# all but that which passes on names of Lightning
SUBPACKAGES = [
    importlib.import_module(f"lightning_reid.{module.name}")
    for module in pkgutil.iter_modules(lightning_reid.__path__)
    if module.ispkg and module.name != "lightning"
]
# classes and functions: constants and type aliases have nowhere to keep a docstring
PUBLIC = [
    pytest.param(package, name, id=f"{package.__name__.rpartition('.')[2]}.{name}")
    for package in SUBPACKAGES
    for name in package.__all__
    if inspect.isclass(getattr(package, name)) or inspect.isfunction(getattr(package, name))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    _skip_without_packages(name)
    given = {"np": np, "torch": torch}
    assert doctest.testmod(importlib.import_module(name), extraglobs=given).failed == 0


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_public_names_show_their_use(package, name):
    """In a last section, with nothing but what the package offers, NumPy and torch."""
    value = getattr(package, name)
    _skip_without_packages(value.__module__)
    _, heading, shown = (value.__doc__ or "").partition("Example:\n")
    assert heading, "no section Example"
    assert ">>>" in shown
    assert not re.search(r"^ *[A-Z][a-z]+:$", shown, re.MULTILINE), "the example comes last"
    names = {each: getattr(package, each) for each in package.__all__}
    names |= {"np": np, "torch": torch}
    (example,) = doctest.DocTestFinder(recurse=False).find(value, name, globs=names)
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_public_methods_are_documented(package, name):
    value = getattr(package, name)
    for method, function in inspect.getmembers(value, inspect.isfunction):
        if not method.startswith("_") and function.__module__.startswith("lightning_reid"):
            assert inspect.getdoc(function), method


def test_public_names_at_the_top_are_those_of_subpackages():
    offered = {id(getattr(package, name)) for package in SUBPACKAGES for name in package.__all__}
    assert {id(getattr(lightning_reid, name)) for name in lightning_reid.__all__} <= offered


def _skip_without_packages(module):
    for package in OPTIONAL.get(module, ()):
        pytest.importorskip(package)
