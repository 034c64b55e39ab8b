"""Where a run writes, and where a later command finds it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

from lightning_reid.errors import InputError
from lightning_reid.lightning import rank_zero_only, rank_zero_warn
from lightning_reid.run_claim import claim

LAST = Path("checkpoints", "last.ckpt")
CONFIG = "config.yaml"
RECORD = "run.json"

_LITTLE = 4096  # bytes; an empty file fits on a full disk


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Args:
        path: where this command writes.
        checkpoint: what it starts from, if anything.
        held: what keeps other processes from training into it.
    """

    path: Path
    checkpoint: Path | None = None
    held: IO[Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def choose(
        cls,
        command: str,
        wanted: str | Path,
        checkpoint: str | None,
        configs: Sequence[str | Path] = (),
    ) -> RunFolder:
        """Find the folder for a command.

        A ``fit`` from scratch gets ``wanted`` or, if a run that finished an epoch is there, or one
        that another process is at, ``wanted-2``, ``wanted-3``, ...
        A ``fit`` from a run's checkpoint goes on in that run's folder, and one from ``"last"``
        begins a run again that was interrupted before its first checkpoint; other commands write
        into a folder named after them inside it.

        Args:
            command: ``fit``, ``test``, ...
            wanted: folder that the user asked for.
            checkpoint: a file, the folder of a run, ``"last"``, or None. ``"last"`` is that of the
                run whose ``config.yaml`` was given, else of the newest run called ``wanted``.
            configs: files that the settings were read from.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            InputError: if another process trains in the folder of a run that is to go on.
        """
        # one spelling for one folder: Lightning deletes the checkpoint before by its path
        wanted = Path(wanted).resolve()
        if checkpoint is None:
            # a network as it begins, whose results must not replace those of a trained one
            if command == "fit":
                return _first_free(wanted)
            return cls(wanted / f"{command}_untrained")
        if checkpoint == "last" and (own := _own_run(configs, wanted)):
            file = own / LAST
        elif checkpoint == "last":
            if command == "fit" and (begun := _begun(wanted)):
                rank_zero_warn(f"{begun} was interrupted before its first checkpoint: begun again")
                return cls(begun, held=_hold(begun))
            file = _newest_checkpoint(wanted)
        else:
            file = Path(checkpoint).resolve()
            if file.is_dir():
                file /= LAST
            if not file.is_file():
                raise FileNotFoundError(f"no checkpoint {file}")
        in_run = file.parent.name == LAST.parent.name
        run = file.parent.parent if in_run else wanted
        if command == "fit":
            return cls(run, file, _hold(run))
        return cls(run / command, file)

    def require_writable(self) -> None:
        """See whether the run can be written; leaves nothing there.

        Raises:
            InputError: if not.
        """
        for folder in {_existing(self.path), _existing(self.path / LAST.parent)}:
            if (reason := _why_unwritable(folder)) is not None:
                raise InputError(
                    f"cannot write to {self.path}: {reason}: {folder}; choose another folder with "
                    "--run_dir, or see to its space and permissions"
                )


def _why_unwritable(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * _LITTLE)
    except OSError as error:
        return str(error.strerror)
    return None


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _own_run(configs: Sequence[str | Path], wanted: Path) -> Path | None:
    """The run whose settings were given, if it has a checkpoint.

    Raises:
        FileNotFoundError: if it has none, and is not one that ``wanted`` would find.
    """
    folders = [Path(c).resolve().parent for c in configs if Path(c).name == CONFIG]
    own = next((folder for folder in reversed(folders) if (folder / LAST).is_file()), None)
    begun = [folder for folder in folders if (folder / RECORD).is_file()]
    if own is None and begun and begun[-1] not in _numbered(wanted):
        raise FileNotFoundError(f"no {LAST} in {begun[-1]}")
    return own


def _begun(wanted: Path) -> Path | None:
    """The newest run, if it has written something, but no checkpoint."""
    runs = _numbered(wanted)
    if not runs or not runs[-1].is_dir() or (runs[-1] / LAST).is_file():
        return None
    return runs[-1] if any(runs[-1].iterdir()) else None


def _newest_checkpoint(wanted: Path) -> Path:
    runs = _numbered(wanted)
    finished = [run for run in runs if (run / LAST).is_file()]
    if not finished:
        raise FileNotFoundError(
            f"no {LAST} in {wanted}; give --run_dir or a file, or leave out --ckpt_path to begin"
        )
    if finished[-1] != runs[-1]:
        rank_zero_warn(f"{runs[-1]} has no checkpoint yet: the last one is that of {finished[-1]}")
    return finished[-1] / LAST


def _numbered(wanted: Path) -> list[Path]:
    """Existing ``wanted``, ``wanted-2``, ..., oldest first."""
    if not wanted.parent.is_dir():
        return []
    pattern = re.compile(re.escape(wanted.name) + r"(?:-(\d+))?")
    found = [(m, p) for p in wanted.parent.iterdir() if (m := pattern.fullmatch(p.name))]
    return [path for _, path in sorted((int(m[1] or 1), path) for m, path in found)]


def _first_free(wanted: Path) -> RunFolder:
    taken = {path.name for path in _numbered(wanted) if (path / LAST).is_file()}
    for number in count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if path.name in taken:
            continue
        if getattr(rank_zero_only, "rank", 0):  # the first process of a run holds it for all
            return RunFolder(path)
        if held := claim(path):
            return RunFolder(path, held=held)
    raise AssertionError("numbers do not end")


def _hold(run: Path) -> IO[Any] | None:
    if getattr(rank_zero_only, "rank", 0):
        return None
    if held := claim(run):
        return held
    raise InputError(f"another process is training in {run}: let it end first")
