"""Retrieval numbers, from 0 to 1, as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_COUNT = "num_"  # how names of counts begin
_BOUNDS = ("_low", "_high")


def measures_of(names: Iterable[str]) -> list[str]:
    """Names of numbers, less those of the bounds of an interval, which are shown beside them."""
    known = list(names)
    bounds = {name + bound for name in known for bound in _BOUNDS}
    return [name for name in known if name not in bounds]


def shown_number(numbers: Mapping[str, float], name: str) -> str:
    """A number, such as ``90.3 %``; a dash if it is missing or NaN."""
    value = numbers.get(name)
    if value is None or value != value:
        return "-"
    if name.rpartition("/")[2].startswith(_COUNT):
        return f"{int(value):,}"
    return f"{100 * value:.1f} %"


def shown_interval(numbers: Mapping[str, float], name: str) -> str:
    """Its interval, from ``name_low`` to ``name_high``, such as ``88.1 to 92.0``; or nothing."""
    bounds = [numbers.get(name + bound) for bound in _BOUNDS]
    told = [f"{100 * bound:.1f}" for bound in bounds if bound is not None and bound == bound]
    return " to ".join(told) if len(told) == len(_BOUNDS) else ""
