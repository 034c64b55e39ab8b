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
from lightning_reid.lightning import pl, rank_zero_only, rank_zero_warn
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
        if checkpoint == "last":
            own = _own_run(configs)
            if command == "fit" and (begun := _begun(wanted, own)):
                rank_zero_warn(f"{begun} was interrupted before its first checkpoint: begun again")
                return cls(begun, held=_hold(begun))
            file = _last_of(own) if own else _newest_checkpoint(wanted)
        else:
            file = find_checkpoint(checkpoint)
        run = run_of(file, elsewhere=wanted)
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


def find_checkpoint(given: str | Path) -> Path:
    """The file that is meant by a file or the folder of a run.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = Path(given).resolve()
    file = path / LAST if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint {file}: give a file, or the folder of a run")
    return file


def run_of(checkpoint: Path, elsewhere: Path | None = None) -> Path:
    """The folder of the run that wrote a checkpoint.

    Args:
        checkpoint: the file.
        elsewhere: what to take for a file that lies in no run; None: the folder that it lies in.
    """
    folder = checkpoint.parent
    if folder.name == LAST.parent.name:
        return folder.parent
    return folder if elsewhere is None else elsewhere


def folder_of(trainer: pl.Trainer) -> Path:
    """Where a Trainer writes; all ranks have to ask, as they are told by the first one."""
    return Path(trainer.log_dir or trainer.default_root_dir)


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


def _own_run(configs: Sequence[str | Path]) -> Path | None:
    """The run whose settings were given, the last of several."""
    folders = [Path(c).resolve().parent for c in configs if Path(c).name == CONFIG]
    runs = [f for f in folders if (f / LAST).is_file() or (f / RECORD).is_file()]
    return runs[-1] if runs else None


def _begun(wanted: Path, own: Path | None) -> Path | None:
    """The run to go on with, or else the newest, if it has written something, but trained nothing.

    A copy of a run is not begun again: what it was copied from may have a checkpoint.
    """
    runs = _numbered(wanted)
    run = own or (runs[-1] if runs else None)
    if run not in runs or not run.is_dir() or _has_trained(run):
        return None
    return run if any(run.iterdir()) else None


def _has_trained(run: Path) -> bool:
    """Whether it has finished an epoch, whether or not it keeps checkpoints."""
    from lightning_reid.report.record import RunRecord

    if (run / LAST).is_file():
        return True
    record = RunRecord.read(run)
    return record is not None and record.epochs_done > 0


def _last_of(run: Path) -> Path:
    if not (run / LAST).is_file():
        raise FileNotFoundError(f"no {LAST} in {run}")
    return run / LAST


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
    taken = {path.name for path in _numbered(wanted) if _has_trained(path)}
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
