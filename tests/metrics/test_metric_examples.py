"""Every public name shows how it is used, and what it shows is so."""

import doctest
import sys

import pytest

from lightning_reid import metrics


@pytest.mark.parametrize("name", metrics.__all__)
def test_example(name):
    public = getattr(metrics, name)
    names = dict(vars(sys.modules[public.__module__]))
    [example] = doctest.DocTestFinder(recurse=False).find(public, name, globs=names)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
