"""The methods that the package exports: a new one is tested the day it is added."""

import inspect

import pytest

import lightning_reid
from lightning_reid import ReIDModule

METHODS = [
    value
    for value in vars(lightning_reid).values()
    if inspect.isclass(value) and issubclass(value, ReIDModule) and not inspect.isabstract(value)
]
# for tests that take long: the two that have most to keep, the others with -m slow
FIRST = [
    pytest.param(cls, marks=() if cls.__name__ in ("CALR", "O2CAP") else pytest.mark.slow)
    for cls in METHODS
]


def options_of(cls):
    """Names of all arguments that a method takes."""
    makers = [base.__init__ for base in cls.__mro__ if issubclass(base, ReIDModule)]
    return {name for maker in makers for name in inspect.signature(maker).parameters}
