"""Plain Python and NumPy values in checkpoints, restored without trusting the file.

``torch.load(weights_only=True)`` refuses NumPy scalars, paths, dates and the like, although they
are harmless. It may be given more names, but NumPy's own constructors are not made for hostile
input: a forged data type makes them read arbitrary memory. Here every such name stands for a
function or class of this module, or for a class of the standard library that only holds values.
"""

from __future__ import annotations

import datetime
import re
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import numpy as np

_PLAIN_CODE = re.compile(r"[biufcSU]\d+")  # booleans, numbers and text
_BYTE_ORDERS = ("<", ">", "=", "|")


class _DType:
    """A NumPy data type as a pickle describes it."""

    def __init__(self, code: str = "", *flags: Any) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def plain(self) -> np.dtype[Any]:
        """Return the data type, of booleans, numbers or text."""
        code, order = self.code, self.order
        if not (isinstance(code, str) and _PLAIN_CODE.fullmatch(code) and order in _BYTE_ORDERS):
            raise UnpicklingError(f"Unsupported class NumPy array of data type {code!r}")
        return np.dtype(order + code)


class _Array(np.ndarray[Any, Any]):
    """A NumPy array whose contents follow."""

    def __new__(cls, *_: Any) -> _Array:
        return super().__new__(cls, (0,), "b")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        super().__setstate__((1, shape, _dtype(dtype), bool(fortran), data))  # type: ignore[arg-type]

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, _DType):
        raise UnpicklingError("Unsupported class NumPy array of an unknown data type")
    return value.plain()


def _scalar(dtype: Any, data: bytes) -> Any:
    return np.frombuffer(data, _dtype(dtype), count=1)[0]


def _path(*parts: str) -> Path:
    return Path(*parts)


def _dict(*_: Any) -> dict[Any, Any]:
    return {}


def _no_bytes(*_: Any) -> bytes:
    return b""


class _Config:
    """A dictionary of settings of another library, restored as an `OrderedDict`."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_VALUES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
_FACTORIES = (bool, int, float, str, list, dict, tuple, frozenset)  # of default dictionaries

PLAIN_VALUES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_Array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    (_Array, "numpy.ndarray"),
    (_DType, "numpy.dtype"),
    (Namespace, "argparse.Namespace"),
    (SimpleNamespace, "types.SimpleNamespace"),
    (str, "torch.torch_version.TorchVersion"),
    (_no_bytes, "builtins.bytes"),  # others are written as text
    (_dict, "collections.defaultdict"),
    (_Config, "yacs.config.CfgNode"),
    (_Config, "easydict.EasyDict"),
    *((_path, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *((kind, f"datetime.{kind.__name__}") for kind in _VALUES),
    *((kind, f"builtins.{kind.__name__}") for kind in _FACTORIES),
]
"""Objects for `torch.serialization.safe_globals`, each with the name that files give it."""
