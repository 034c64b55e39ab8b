"""What a run was, in its ``run.json``: what nothing else in its folder tells."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from textwrap import shorten
from typing import Any

from lightning_reid.errors import InputError
from lightning_reid.report.signs import Advice
from lightning_reid.run_folder import RECORD
from lightning_reid.whole_files import whole_file

_PACKAGES = ("lightning-reid", "torch", "torchvision", "pytorch-lightning", "numpy")


@dataclass(frozen=True)
class RunRecord:
    """A command and how far it came.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        method: name of the model's class.
        data: name of the data module's class.
        checkpoint: what it started from, if anything.
        begun: when, as ISO 8601 with the offset from UTC.
        continued: when it was gone on with.
        updated: when this was written.
        epochs_done: whole epochs of training.
        epochs: how many it is to train; None if that is not limited.
        job: SLURM's number of the job that ran it last; None outside of SLURM.
        device: what it computed on, such as ``"1 x cpu"``.
        coarser: what to change, as the method says, where most images are outliers.
        finer: what to change where nearly all images are one cluster.
        versions: of Python and the packages that decide about results.
    """

    command: str
    method: str
    data: str
    checkpoint: str | None = None
    begun: str = ""
    continued: tuple[str, ...] = ()
    updated: str = ""
    epochs_done: int = 0
    epochs: int | None = None
    job: str | None = None
    device: str = ""
    coarser: str = Advice().coarser
    finer: str = Advice().finer
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """The record of a run folder; None if there is none.

        Raises:
            InputError: if the file holds something else.
        """
        file = folder / RECORD
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_bytes())
            return cls(**_checked(content))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{file} is no record of a run: {error}; delete it, and its page does without"
            ) from error

    @property
    def advice(self) -> Advice:
        """What to change where labels are bad."""
        return Advice(self.coarser, self.finer)

    def write(self, folder: Path) -> None:
        """Keep it in a run folder, with the time of now."""
        content = json.dumps(asdict(replace(self, updated=now())), indent=2)
        with whole_file(folder / RECORD) as stream:
            stream.write(f"{content}\n".encode())

    def begin(self, before: RunRecord | None) -> RunRecord:
        """As of now, with these versions; continues ``before`` if that was training as well."""
        this = replace(self, begun=now(), versions=versions())
        if before is None or not (before.command == self.command == "fit" and self.checkpoint):
            return this
        return replace(
            this,
            begun=before.begun,
            continued=(*before.continued, this.begun),
            epochs_done=before.epochs_done,
        )


def _checked(content: Any) -> dict[str, Any]:
    """Return the fields in what a file holds; raise a TypeError or ValueError for other types."""
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}")
    names = {key.name for key in fields(RunRecord)}
    known = {name: value for name, value in content.items() if name in names}
    for name, value in known.items():
        if not _is_a(name, value):
            raise TypeError(f"its {name} is {shorten(repr(value), 100)}")
    moments = known["continued"] = tuple(known.get("continued", ()))
    for moment in (*moments, known.get("begun"), known.get("updated")):
        if moment:
            datetime.fromisoformat(moment)
    return known


def _is_a(name: str, value: Any) -> bool:
    """Return whether a value is of the type of a field."""
    if name in ("epochs_done", "epochs"):
        most = 2**53
        return (type(value) is int and 0 <= value <= most) or (name == "epochs" and value is None)
    if name in ("checkpoint", "job") and value is None:
        return True
    if name == "continued":
        return isinstance(value, list) and all(isinstance(moment, str) for moment in value)
    if name == "versions":
        return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    return isinstance(value, str)


def now() -> str:
    """The time, with the offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of Python, the system, and the packages that decide about results."""
    told = {"Python": platform.python_version()}
    told |= {package: _version(package) for package in _PACKAGES}
    return told | {"system": f"{platform.system()} {platform.machine()}"}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a checkout that was put on the path
        return "not installed"
