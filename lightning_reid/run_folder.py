"""Where a run writes, and where a later command finds it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_reid.errors import InputError
from lightning_reid.lightning import rank_zero_warn

LAST = Path("checkpoints", "last.ckpt")
CONFIG = "config.yaml"

_LITTLE = 4096  # bytes; an empty file fits on a full disk


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Args:
        path: where this command writes.
        checkpoint: what it starts from, if anything.
    """

    path: Path
    checkpoint: Path | None = None

    @classmethod
    def choose(
        cls,
        command: str,
        wanted: str | Path,
        checkpoint: str | None,
        configs: Sequence[str | Path] = (),
    ) -> RunFolder:
        """Find the folder for a command.

        A ``fit`` from scratch gets ``wanted`` or, if a run that finished an epoch is there,
        ``wanted-2``, ``wanted-3``, ...
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
        """
        # one spelling for one folder: Lightning deletes the checkpoint before by its path
        wanted = Path(wanted).resolve()
        if checkpoint is None:
            # a network as it begins, whose results must not replace those of a trained one
            return cls(_first_free(wanted) if command == "fit" else wanted / f"{command}_untrained")
        if checkpoint == "last" and (own := _own_run(configs)):
            file = own / LAST
        elif checkpoint == "last":
            if command == "fit" and (begun := _begun(wanted)):
                rank_zero_warn(f"{begun} was interrupted before its first checkpoint: begun again")
                return cls(begun)
            file = _newest_checkpoint(wanted)
        else:
            file = Path(checkpoint).resolve()
            if file.is_dir():
                file /= LAST
            if not file.is_file():
                raise FileNotFoundError(f"no checkpoint {file}")
        in_run = file.parent.name == LAST.parent.name
        run = file.parent.parent if in_run else wanted
        return cls(run if command == "fit" else run / command, file)

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


def _own_run(configs: Sequence[str | Path]) -> Path | None:
    """The run whose settings were given, if it has a checkpoint."""
    folders = [Path(c).resolve().parent for c in configs if Path(c).name == CONFIG]
    return next((folder for folder in reversed(folders) if (folder / LAST).is_file()), None)


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


def _first_free(wanted: Path) -> Path:
    taken = {path.name for path in _numbered(wanted) if (path / LAST).is_file()}
    number = 1
    while (name := wanted.name if number == 1 else f"{wanted.name}-{number}") in taken:
        number += 1
    return wanted.with_name(name)
