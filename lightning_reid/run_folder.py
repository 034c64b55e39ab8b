"""Where a run writes, and where a later command finds it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lightning_reid.errors import InputError
from lightning_reid.lightning import pl, rank_zero_info, rank_zero_only, rank_zero_warn
from lightning_reid.local_paths import local_path
from lightning_reid.run_claim import Claim, claim

LAST = Path("checkpoints", "last.ckpt")
CONFIG = "config.yaml"
RECORD = "run.json"

# what --ckpt_path may say beside a file or folder
NEWEST, NEWEST_OR_NONE, REQUEUED, NONE = "last", "last_or_none", "hpc", "none"

_REQUEUED = re.compile(r"hpc_ckpt_(\d+)\.ckpt")  # what Lightning calls them
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
    held: Claim | None = field(default=None, compare=False, repr=False)

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
        into a folder named after them inside it. A ``fit`` that SLURM has started again resumes
        from the newest checkpoint of the run that the job was at.

        Args:
            command: ``fit``, ``test``, ...
            wanted: folder that the user asked for.
            checkpoint: a file, the folder of a run, None, or a word. ``"last"``: the newest
                checkpoint of the run whose ``config.yaml`` was given, else of the newest run called
                ``wanted``. ``"last_or_none"``: likewise, but a ``fit`` begins where there is none.
                ``"hpc"``: the newest that was written before SLURM requeued the job. ``"none"``:
                none, as with None.
            configs: files that the settings were read from.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            InputError: if another process trains in the folder of a run that is to go on, or
                ``"last_or_none"`` is given for another command than ``fit``.
        """
        # one spelling for one folder: Lightning deletes the checkpoint before by its path
        wanted = local_path(wanted).resolve()
        own = _own_run(configs)
        if checkpoint == NEWEST_OR_NONE:
            if command != "fit":
                raise InputError(f"{command} needs a checkpoint: give --ckpt_path {NEWEST}")
            runs = [own] if own else _numbered(wanted)
            checkpoint = NEWEST if any(map(newest_checkpoint, runs)) else None
        if checkpoint in (None, NONE):
            # a network as it begins, whose results must not replace those of a trained one
            if command != "fit":
                return cls(wanted / f"{command}_untrained")
            interrupted = next(filter(_is_requeued, reversed(_numbered(wanted))), None)
            return cls._resumed(interrupted) if interrupted else _first_free(wanted)
        if checkpoint in (NEWEST, REQUEUED):
            if command == "fit" and checkpoint == NEWEST and (begun := _begun(wanted, own)):
                rank_zero_warn(f"{begun} was interrupted before its first checkpoint: begun again")
                return cls(begun, held=_hold(begun))
            find = newest_checkpoint if checkpoint == NEWEST else requeued_checkpoint
            file = _only(find, own) if own else _newest(find, wanted)
        else:
            file = find_checkpoint(str(checkpoint))
        run = run_of(file, elsewhere=wanted)
        if command != "fit":
            return cls(run / command, file)
        return cls._resumed(run) if _is_requeued(run) else cls(run, file, _hold(run))

    @classmethod
    def _resumed(cls, run: Path) -> RunFolder:
        """Take the folder of a run whose job SLURM has started again."""
        file = newest_checkpoint(run)
        where = f"from {file}" if file else "from the beginning: it has no checkpoint yet"
        rank_zero_info(f"SLURM job {slurm_job()} was started again: {run} goes on {where}")
        return cls(run, file, _hold(run))

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
    """Return a checkpoint file, or the newest one in the folder of a run.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is a URL.
    """
    path = local_path(given).resolve()
    file = (newest_checkpoint(path) or path / LAST) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint {file}: give a file, or the folder of a run")
    return file


def newest_checkpoint(run: Path) -> Path | None:
    """Return the checkpoint of a run with the most training steps; None if it has none."""
    last, requeued = run / LAST, requeued_checkpoint(run)
    if not last.is_file():
        return requeued
    if requeued is None or _steps(requeued) <= _steps(last):
        return last
    return requeued


def requeued_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint that SLURM's requeue left in a run; None if there is none."""
    files = requeued_checkpoints(run)
    return files[-1] if files else None


def requeued_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints that SLURM's requeues left in a run, oldest first."""
    if not run.is_dir():
        return []
    found = [(int(m[1]), path) for path in run.iterdir() if (m := _REQUEUED.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def slurm_job() -> str | None:
    """Return the SLURM job of this process; None if it belongs to none."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return os.environ.get("SLURM_JOB_ID")


def run_of(checkpoint: Path, elsewhere: Path | None = None) -> Path:
    """The folder of the run that wrote a checkpoint.

    Args:
        checkpoint: the file.
        elsewhere: what to take for a file that lies in no run; None: the folder that it lies in.
    """
    folder = checkpoint.parent
    if folder.name == LAST.parent.name:
        return folder.parent
    return folder if elsewhere is None or _REQUEUED.fullmatch(checkpoint.name) else elsewhere


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
    runs = [f for f in folders if newest_checkpoint(f) or (f / RECORD).is_file()]
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
    """Return whether a run has finished an epoch or has a checkpoint."""
    from lightning_reid.report.record import RunRecord

    if (run / LAST).is_file() or requeued_checkpoint(run):
        return True
    record = RunRecord.read(run)
    return record is not None and record.epochs_done > 0


def _is_requeued(run: Path) -> bool:
    """Return whether SLURM has started the job of a run again."""
    from lightning_reid.report.record import RunRecord

    job = slurm_job()
    record = None if job is None else RunRecord.read(run)
    if record is None or record.job != job:
        return False
    # a job may also begin several runs, one after the other
    again = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return again or requeued_checkpoint(run) is not None


def _steps(checkpoint: Path) -> int:
    """Training steps before a checkpoint; -1 if it cannot be read."""
    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
        return int(content["global_step"])
    except Exception:  # whoever loads it says what is wrong with it
        return -1


def _only(find: Callable[[Path], Path | None], run: Path) -> Path:
    if (file := find(run)) is None:
        raise FileNotFoundError(
            f"no {LAST if find is newest_checkpoint else 'hpc_ckpt_*'} in {run}"
        )
    return file


def _newest(find: Callable[[Path], Path | None], wanted: Path) -> Path:
    runs = _numbered(wanted)
    finished = [(run, file) for run in runs if (file := find(run))]
    if not finished:
        name = LAST if find is newest_checkpoint else "hpc_ckpt_*"
        raise FileNotFoundError(
            f"no {name} in {wanted}; give --run_dir or a file, or leave out --ckpt_path to begin "
            f"(--ckpt_path {NEWEST_OR_NONE} begins where there is none)"
        )
    run, file = finished[-1]
    if run != runs[-1]:
        rank_zero_warn(f"{runs[-1]} has no checkpoint yet: the last one is that of {run}")
    return file


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


def _hold(run: Path) -> Claim | None:
    if getattr(rank_zero_only, "rank", 0):
        return None
    if held := claim(run):
        return held
    raise InputError(f"another process is training in {run}: let it end first")
