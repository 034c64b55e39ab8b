"""Modules in the current folder, imported where settings name a class of theirs.

The folder may be anybody's. It is not on Python's path: a file in it that is called like an
optional package would be imported in its place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml  # type: ignore[import-untyped]

from lightning_reid.settings_files import CONFIG_OPTIONS, leaves, options_of, read_settings

_BETWEEN = ("class_path", "init_args")  # names that the command line leaves out
_CLASS = re.compile(r"([A-Za-z_]\w*)(\.[A-Za-z_]\w*)+")


class CurrentFolder:
    """Finds the modules of a folder that settings name and, once one is imported, all of them.

    Nothing is found before :meth:`allow`: a command that is refused runs nothing of the folder.

    Args:
        folder: Where they are.
        names: Of the modules.
    """

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        self.folder = folder
        self.names = names
        self.is_allowed = not names
        self.is_open = False

    def allow(self) -> None:
        """Let the named modules be imported: all other settings are right."""
        self.is_allowed = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that nothing else has found."""
        named = self.is_open or (self.is_allowed and name in self.names)
        if path is not None or not named:
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)])
        self.is_open |= spec is not None  # it runs, and may import others beside it
        return spec


def allow_named_modules(arguments: Iterable[str]) -> None:
    """Let the classes that settings name come from modules in the current folder.

    Args:
        arguments: Of the command line; the config files among them are read.
    """
    sys.meta_path.append(CurrentFolder(Path.cwd(), own_modules(arguments)))


def own_modules(arguments: Iterable[str]) -> set[str]:
    """Return the modules of the current folder that settings name and Python's path has not.

    A setting that is the name of a file names no class.

    Args:
        arguments: Of the command line; the config files among them are read.
    """
    given = [str(value) for _, value in _given(arguments)]
    found = (_CLASS.fullmatch(value) for value in given if not Path(value).exists())
    named = {match[1] for match in found if match}
    return {name for name in named if not _is_installed(name) and _is_here(name)}


def _given(arguments: Iterable[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all settings of a command line and its config files, and the names that lead there."""
    for option, value in options_of(arguments):
        if option in CONFIG_OPTIONS and Path(value).is_file():
            for path, setting in leaves(read_settings(Path(value))):
                yield tuple(name for name in path if name not in _BETWEEN), setting
        else:
            yield (option[2:].rstrip("+"),), value


def waiting_folder() -> CurrentFolder | None:
    """Return the current folder if modules of it are named, but not allowed yet."""
    finders = (finder for finder in sys.meta_path if isinstance(finder, CurrentFolder))
    return next((finder for finder in finders if not finder.is_allowed), None)


def without_own_classes(
    arguments: Sequence[str], names: Collection[str], folder: Path
) -> list[str]:
    """Leave classes of some modules, and their options, out of a command line.

    Args:
        arguments: Of the command line.
        names: Of the modules.
        folder: Where the config files without them are written.
    """
    left_out = {
        f"--{'.'.join(path)}"
        for path, value in _given(arguments)
        if isinstance(value, str) and _is_of(value, names)
    }
    kept: list[str] = []
    waiting = ""
    for number, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        option, value = (option, value) if equals else (waiting or argument, argument)
        waiting = argument if argument.startswith("-") and not equals else ""
        plain = option.rstrip("+")
        if any(plain == own or plain.startswith(f"{own}.") for own in left_out):
            continue
        if option in CONFIG_OPTIONS and option != argument and Path(value).is_file():
            copy = folder / f"{number}.yaml"
            copy.write_text(yaml.safe_dump(_without(read_settings(Path(value)), names)))
            kept.append(f"{option}={copy}" if equals else str(copy))
        else:
            kept.append(argument)
    return kept


def _without(tree: Any, names: Collection[str]) -> Any:
    if isinstance(tree, dict):
        kept = {key: value for key, value in tree.items() if not _is_own(value, names)}
        return {key: _without(value, names) for key, value in kept.items()}
    if isinstance(tree, list):
        return [_without(value, names) for value in tree if not _is_own(value, names)]
    return tree


def _is_own(value: Any, names: Collection[str]) -> bool:
    return _is_of(value.get("class_path") if isinstance(value, dict) else value, names)


def _is_of(value: Any, names: Collection[str]) -> bool:
    found = _CLASS.fullmatch(value) if isinstance(value, str) else None
    return found is not None and found[1] in names and not Path(value).exists()


def _is_here(name: str) -> bool:
    return PathFinder.find_spec(name, [str(Path.cwd())]) is not None


def _is_installed(name: str) -> bool:
    with suppress(ImportError, ValueError):
        return name in sys.modules or find_spec(name) is not None
    return False
