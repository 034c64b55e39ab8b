"""Configs that come with the package, by name: ``--config o2cap``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_reid.errors import InputError
from lightning_reid.local_paths import local_path
from lightning_reid.messages import did_you_mean
from lightning_reid.settings_files import CONFIG_OPTIONS, read_settings

FOLDER = Path(__file__).with_name("configs")


CONFIGS_ARE_CODE = (
    "A config is code: classes that it names are imported and made. Take none from somebody whose "
    "programs you would not run."
)


def with_named_configs(arguments: Sequence[str]) -> list[str]:
    """Arguments of the command line with names of configs replaced by their files.

    What is a file, or looks like one, stays as it is.

    Raises:
        InputError: if there is no such config; the message tells those with similar names.
    """
    return list(_replaced(arguments))


def config_file(name: str) -> Path:
    """The file of a config.

    Args:
        name: ``"o2cap"`` (of ``methods``), ``"market1501"`` (of ``data``), ``"demo"``,
            ``"published/market1501/o2cap"``: a path below the folder of configs, of which
            ``methods`` and ``data`` may be left out.

    Raises:
        InputError: as above.
    """
    for folder in (FOLDER, FOLDER / "methods", FOLDER / "data"):
        if (file := folder / f"{name}.yaml").is_file():
            return file
    names = sorted(config_names())
    if near := did_you_mean(name, names):
        raise InputError(f"no config {name!r}{near}")
    short = ", ".join(n for n in names if "/" not in n)
    raise InputError(f"no config {name!r}: neither a file nor one of {short}")


def config_names() -> list[str]:
    """Names of all configs, the short ones where there are two."""
    paths = (file.relative_to(FOLDER).with_suffix("") for file in FOLDER.rglob("*.yaml"))
    return ["/".join(p.parts[1:] if p.parts[0] in ("methods", "data") else p.parts) for p in paths]


def _replaced(arguments: Sequence[str]) -> Iterator[str]:
    value_follows = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if value_follows:
            yield _file_of(argument)
        elif option in CONFIG_OPTIONS and equals:
            yield f"{option}={_file_of(value)}"
        else:
            yield argument
        value_follows = argument in CONFIG_OPTIONS


def _file_of(given: str) -> str:
    if "://" in given:
        return given
    path = local_path(given)
    # a folder of data may have the name of a config
    if not (path.suffix or (path.exists() and not path.is_dir())):
        return str(config_file(given))
    if path.exists():
        _require_settings(path)
    return str(path)


def _require_settings(file: Path) -> None:
    """The parser would quote the whole file, and not name it."""
    content = read_settings(file)
    if content is not None and not isinstance(content, dict):
        raise InputError(
            f"the config {file} holds no settings; a list of images goes to --data.root"
        )
