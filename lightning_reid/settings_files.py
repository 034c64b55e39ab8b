"""YAML files of settings, read in bounded time and memory, and what they take from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from lightning_reid.errors import InputError

_LARGEST = 1_000_000  # bytes; the largest config of this package has 2,000
_DEEPEST = 30  # lists and dictionaries inside each other
_MOST = 100_000  # values, each counted wherever an alias repeats it
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

CONFIG_OPTIONS = ("--config", "-c")
Places = Mapping[tuple[str, ...], str]


def read_settings(file: Path) -> Any:
    """Read a YAML file; nothing in it is executed, and it cannot grow beyond its size.

    Args:
        file: A regular file.

    Returns:
        Dictionaries, lists and plain values.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no YAML, no regular file, too large or too deep, or repeats parts of
            itself endlessly.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is not a file of settings")
    if file.stat().st_size > _LARGEST:
        raise InputError(
            f"{file} has {file.stat().st_size:,} bytes, more than the {_LARGEST:,} of a file of "
            "settings"
        )
    try:
        text = file.read_text(encoding="utf-8")
        _require_bounded(text, file)
        return yaml.load(text, _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        told = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise InputError(f"{file} is no YAML: {told}") from error


def _require_bounded(text: str, file: Path) -> None:
    """Raise an InputError unless aliases and depth are such that all can be walked through."""
    sizes: dict[str, int] = {}  # of what has an anchor
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, _MOST)  # one that is still open contains itself
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, total))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if len(open_nodes) > _DEEPEST:
            raise InputError(f"{file} is no file of settings: more than {_DEEPEST} levels deep")
        if total > _MOST:
            raise InputError(f"{file} is no file of settings: its aliases repeat it endlessly")


def from_environment(arguments: Iterable[str]) -> Places:
    """Find the settings that take their value from an environment variable.

    Args:
        arguments: Of the command line; the config files among them are read.

    Returns:
        What was written, such as ``${oc.env:TOKEN}``, by the names that lead to the setting.
    """
    found: dict[tuple[str, ...], str] = {}
    for option, value in options_of(arguments):
        is_file = option in CONFIG_OPTIONS and Path(value).is_file()
        tree = read_settings(Path(value)) if is_file else value
        start = () if is_file else tuple(option[2:].rstrip("+").split("."))
        for path, written in leaves(tree, start):
            own = tuple(name for name in path if name != "init_args")
            found.pop(own, None)  # it overrides what was given before
            if isinstance(written, str) and _ENVIRONMENT.search(written):
                found[own] = written
    return found


def options_of(arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a command line that have a value, and the values."""
    waiting = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if argument.startswith("-") and equals:
            yield option, value
        elif argument.startswith("-"):
            waiting = argument
            continue
        elif waiting:
            yield waiting, argument
        waiting = ""


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values in nested dictionaries and lists, and the names that lead to them."""
    if not isinstance(tree, dict | list):
        yield path, tree
        return
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(value, (*path, str(name)))


def with_places(settings: Any, places: Places) -> Any:
    """Put what was written back where a setting took its value from elsewhere.

    Args:
        settings: As they were used, changed in place.
        places: See :func:`from_environment`. Between two of its names there may be
            ``init_args``.
    """
    for path, written in places.items():
        _put(settings, path, written)
    return settings


def _put(settings: Any, path: Sequence[str], written: str) -> None:
    name, *rest = path
    if isinstance(settings, list) and name.isdecimal() and int(name) < len(settings):
        place: Any = int(name)
    elif isinstance(settings, dict) and name in settings:
        place = name
    elif isinstance(settings, dict) and "init_args" in settings:
        _put(settings["init_args"], path, written)
        return
    else:
        return
    if rest:
        _put(settings[place], rest, written)
    elif settings[place] is not None:
        settings[place] = written
