"""Wrong options, told in two lines: what is wrong with which option, and where to look."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import typing
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lightning_reid.commands import CommandParser
from lightning_reid.messages import did_you_mean, listed, printable
from lightning_reid.own_modules import CurrentFolder, waiting_folder, without_own_classes

_KEY = re.compile(r'Parser key "(.+?)":')
_CLASS = re.compile(r"Problem with given class_path '(.+?)'")
_UNKNOWN = re.compile(r"Option '(.+?)' is not accepted")
_REQUIRED = re.compile(r"the following arguments are required: (.+)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.+)")
_EXPECTED = re.compile(
    r"Expected a (?:<class ')?(.+?)(?:'>)?(?:\. Got value: (.*))?$", re.MULTILINE
)
_ABSTRACT = re.compile(r"Expected an instantiatable class, but (\S+) is abstract")
_GIVEN = re.compile(r"Given value: (.+)")
_HOME = re.compile(r"~[\w.-]*(/.*)?", re.DOTALL)
_NO_IMPORT = re.compile(r"No module named '.+?'|module '.+?' has no attribute '.+?'")
_TYPES = re.compile(r"((?:lightning_reid|lightning|pytorch_lightning|lightning_fabric)\.[\w.]+)")
_LITERAL = re.compile(r"typing\.Literal\[(.+?)\]")
# what to give where a whole class is missing
_INSTEAD = {
    "model": "the method, such as --config o2cap or --model O2CAP",
    "data": "the data, such as --config manifest or --data ManifestData",
}
_NAMES_SHOWN = 30
_UNRECOGNIZED = re.compile(r"unrecognized arguments: (.+)")
_BEFORE_COMMAND = re.compile(r"Option '.+?' is not accepted before subcommand '(.+?)'")
_NOT_OF_COMMAND = re.compile(r"Subcommand '.+?' does not accept option '(.+?)'")


def _expand_home(settings: Any) -> Any:
    """Replace a leading ``~`` in all strings of parsed settings, in place where they are nested.

    Args:
        settings: A namespace, list, dictionary or single value.

    Returns:
        The settings.
    """
    if isinstance(settings, Namespace):
        for key, value in vars(settings).items():
            setattr(settings, key, _expand_home(value))
    elif isinstance(settings, dict):
        return {key: _expand_home(value) for key, value in settings.items()}
    elif isinstance(settings, (list, tuple)):
        return type(settings)(map(_expand_home, settings))
    elif type(settings) is str and _HOME.fullmatch(settings):
        return os.path.expanduser(settings)  # noqa: PTH111
    elif isinstance(settings, Path):
        return Path(os.path.expanduser(settings))  # noqa: PTH111
    return settings


_REHEARSAL: ContextVar[bool] = ContextVar("_REHEARSAL", default=False)


class _RefusedError(Exception):
    """What a parser would have ended the process with."""


class BriefErrors(ArgumentParser):
    """Parser that reports a wrong option in two lines and expands ``~`` in options and configs."""

    def parse_args(  # type: ignore[override]
        self, args: Any = None, *more: Any, **kwargs: Any
    ) -> Namespace:
        """Parse a command line, with ``~`` replaced by the home folder.

        Modules of the current folder are imported only once everything else in it is right.
        """
        given = sys.argv[1:] if args is None else args
        if isinstance(given, list) and (folder := waiting_folder()):
            self._check_without(given, folder)
            folder.allow()
        config: Namespace = _expand_home(super().parse_args(args, *more, **kwargs))
        return config

    def _check_without(self, arguments: list[str], folder: CurrentFolder) -> None:
        """End the process if anything is wrong but for the classes of a folder."""
        with TemporaryDirectory() as copies:
            others = without_own_classes(arguments, folder.names, Path(copies))
            token = _REHEARSAL.set(True)
            try:
                super().parse_args(others)
            except _RefusedError as refused:
                wrong = refused
            else:
                return
            finally:
                _REHEARSAL.reset(token)
        message, told = wrong.args
        if not _REQUIRED.match(message):  # what is missing is of those classes
            self.exit(2, told)

    def parse_object(self, *args: Any, **kwargs: Any) -> Namespace:
        """Parse settings that are given as an object, with ``~`` replaced by the home folder."""
        config: Namespace = _expand_home(super().parse_object(*args, **kwargs))
        return config

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End the process with what is wrong; parsers inside this one raise it, at length."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        known = [action.dest for action in parser._actions]
        command = parser.prog.replace(" [options]", "")
        told = printable(brief(message, known, command), keep="\n")
        if _REHEARSAL.get():
            raise _RefusedError(message, f"lightning-reid: error: {told}\n")
        self.exit(2, f"lightning-reid: error: {told}\n")


class BriefParser(BriefErrors, CommandParser):
    """The parser of the Trainer's commands."""


def brief(message: str, known: Collection[str], command: str) -> str:
    """A message of jsonargparse in two lines, if it is of a kind that is known, else as it is.

    Args:
        message: what it says, over many lines.
        known: options of the command.
        command: such as ``lightning-reid fit``.
    """
    if found := _UNRECOGNIZED.match(message) or _NOT_OF_COMMAND.match(message):
        given = found[1].split()[0].partition("=")[0]
        guess = did_you_mean(given.lstrip("-"), [*known, *_of_classes(known)], "--")
        return f"there is no option {given}{guess}\n{command} --help lists all"
    if found := _REQUIRED.match(message):
        places, names = zip(
            *(name.rpartition(".")[::2] for name in found[1].split(", ")), strict=True
        )
        missing = " and ".join(_INSTEAD.get(name, f"--{name}") for name in names)
        of_command = f" {places[0]}" if places[0] else ""
        return f"missing: {missing}\n{command}{of_command} --help lists all"
    if found := _BEFORE_COMMAND.match(message):
        return f"the command comes first: {command} {found[1]} ...\n{command} --help lists all"
    wrong = _Wrong.read(message)
    told = wrong.told()
    if told is None:
        shown = _KEY.sub(lambda key: f"--{key[1]}:", " ".join(message.split()))
        return f"{shown}\n{command} --help lists all"
    top = wrong.keys[0]
    of_class = wrong.classes and top in known and not _NO_IMPORT.search(told)
    more = f"--{top}.help {wrong.classes[0].rpartition('.')[2]}" if of_class else "--help"
    return f"{told}\n{command} {more} lists all"


@dataclass
class _Wrong:
    """What a message with an indented trace says about the option that it ends at.

    Args:
        keys: names that lead to the option, outermost first.
        classes: import paths of the classes that were given on the way.
        lines: what is said about the option itself.
    """

    keys: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, message: str) -> _Wrong:
        """Follow the first branch of the message to its end."""
        wrong, depth = cls(), -1
        for line in filter(None, message.splitlines()):
            indent, text = len(line) - len(line.lstrip(" -")), line.lstrip(" -")
            if indent <= depth:
                break  # other types that were tried for an outer option
            if key := _KEY.match(text):
                wrong.keys.append(key[1])
                wrong.lines, text = [], text[key.end() :].strip()
            elif found := _CLASS.match(text):
                wrong.classes.append(found[1])
                wrong.lines, depth = [], indent
                continue
            wrong.lines.append(text)
        return wrong

    def told(self) -> str | None:
        """In one line; None if it is not understood."""
        if not self.keys:
            return None
        option, text = "--" + ".".join(self.keys), "\n".join(self.lines)
        if found := _UNKNOWN.search(text):
            return self._unknown(option, found[1])
        if found := _REQUIRED.search(text):
            return f"{option}.{found[1]} is required"
        if found := _ABSTRACT.search(text):
            return f"say which class first: {option} {' or '.join(_names([found[1]]))}"
        if self.classes and (failed := _NO_IMPORT.search(text)):
            return f"{option}: cannot import {self.classes[-1]}: {failed[0]}"
        if found := _NO_CLASS.search(text):
            names = _names(_TYPES.findall(text))
            all_names = f"; there are {listed(names, _NAMES_SHOWN)}" if names else ""
            guess = did_you_mean(found[1], names) or all_names
            return f"{option}: there is no class {found[1]}{guess}"
        tried = [
            (kind, value)
            for kind, value in _EXPECTED.findall(text)
            if kind != "NoneType" and not kind.startswith("path but")
        ]
        values = [value for _, value in tried if value] + _GIVEN.findall(text)
        if not tried or not values:
            return None
        kinds = " or ".join(dict.fromkeys(_plain(kind) for kind, _ in tried))
        if self.keys[-1] == "size":
            kinds = "[height,width], such as [256,128]"
        return f"{option}: expected {kinds}, not {values[0]}"

    def _unknown(self, option: str, name: str) -> str:
        if not self.classes:
            return f"there is no option {option}.{name}"
        cls = _imported(self.classes[-1])
        guess = did_you_mean(name, _options(cls), f"{option}.")
        return f"{cls.__name__} has no option {option}.{name}{guess}"


def _plain(kind: str) -> str:
    """Name a type plainly: the values of a literal, a class without its module."""
    if found := _LITERAL.fullmatch(kind):
        return " or ".join(value.strip("'\"") for value in found[1].split(", "))
    return kind.rpartition(".")[2] if _TYPES.fullmatch(kind) else kind


def _of_classes(known: Collection[str]) -> Iterator[str]:
    """Yield the options of every method and data set, for the parsers that take one."""
    from lightning_reid.datamodules import ReIDDataModule
    from lightning_reid.methods import ReIDModule

    for key, cls in (("model", ReIDModule), ("data", ReIDDataModule)):
        if key in known:
            yield from (f"{key}.{name}" for name in inspect.signature(cls).parameters)


def _imported(path: str) -> type[Any]:
    module, _, name = path.rpartition(".")
    cls: type[Any] = getattr(importlib.import_module(module), name)
    return cls


def _names(bases: Iterable[str]) -> list[str]:
    """Names of the classes that can be given for one of these."""
    found = {cls.__name__ for base in map(_imported, bases) for cls in _subclasses(base)}
    return sorted(name for name in found if not name.startswith("_"))


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """That can be made, the class itself among them."""
    if not inspect.isabstract(cls):
        yield cls
    for below in cls.__subclasses__():
        yield from _subclasses(below)


def _options(cls: type[Any]) -> Iterator[str]:
    """Names of a class's options and, after a dot, of those of the classes these may be."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base.__module__.startswith("lightning_reid"):
            hints |= typing.get_type_hints(vars(base)["__init__"])
    for name in list(parser.get_defaults().keys()):
        yield name
        for kind in _kinds(hints.get(name)):
            yield from (f"{name}.{below}" for below in _options(kind))


def _kinds(hint: Any) -> Iterator[type[Any]]:
    """Classes of this package that a value may be of."""
    if inspect.isclass(hint) and hint.__module__.startswith("lightning_reid"):
        if not inspect.isabstract(hint):
            yield hint
        return
    for part in typing.get_args(hint):
        yield from _kinds(part)
