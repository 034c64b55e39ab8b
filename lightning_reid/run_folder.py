"""Where a run writes, and where a later command finds it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

LAST = Path("checkpoints", "last.ckpt")


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
    def choose(cls, command: str, wanted: str | Path, checkpoint: str | None) -> RunFolder:
        """Find the folder for a command.

        A ``fit`` from scratch gets ``wanted`` or, if a run that finished an epoch is there,
        ``wanted-2``, ``wanted-3``, ...
        A ``fit`` from a run's checkpoint goes on in that run's folder; other commands write into a
        folder named after them inside it.

        Args:
            command: ``fit``, ``test``, ...
            wanted: folder that the user asked for.
            checkpoint: a file, ``"last"`` (of the newest run called ``wanted``), or None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
        """
        # one spelling for one folder: Lightning deletes the checkpoint before by its path
        wanted = Path(wanted).resolve()
        if checkpoint is None:
            return cls(_first_free(wanted) if command == "fit" else wanted / command)
        if checkpoint == "last":
            file = _newest_checkpoint(wanted)
        else:
            file = Path(checkpoint).resolve()
            if not file.is_file():
                raise FileNotFoundError(f"no checkpoint {file}")
        in_run = file.parent.name == LAST.parent.name
        run = file.parent.parent if in_run else wanted
        return cls(run if command == "fit" else run / command, file)


def _newest_checkpoint(wanted: Path) -> Path:
    runs = _numbered(wanted)
    finished = [run for run in runs if (run / LAST).is_file()]
    if not finished:
        raise FileNotFoundError(f"no {LAST} in {wanted}; give --run_dir or a file")
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
