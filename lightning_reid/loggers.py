"""A CSV log that survives an interruption."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from lightning_reid.cells import as_cell, of_cell
from lightning_reid.errors import InputError
from lightning_reid.lightning import CSVLogger, ExperimentWriter, pl, rank_zero_only
from lightning_reid.whole_files import unwritable, whole_file


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a resumed run adds to ``metrics.csv`` instead of deleting it.

    Every line is in the file as soon as it is logged, so that a checkpoint never knows of an epoch
    whose lines a kill has taken; of a kill while the file is written it keeps all whole lines. A
    test that is repeated, because a kill came after it, takes the place of the first.

    Args:
        root_dir: as for Lightning's.
        begins: the run begins; what an earlier one left is deleted.
        options: as for Lightning's.
    """

    def __init__(self, root_dir: str | Path, begins: bool = False, **options: Any) -> None:
        super().__init__(root_dir, **options)
        self.begins = begins

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer of the file, which starts with what is in there already."""
        # the other processes write nothing, and must not touch the file either
        if self._experiment is None and not getattr(rank_zero_only, "rank", None):
            self._experiment = ContinuedWriter(self.log_dir, self.begins)
        return cast(ExperimentWriter, super().experiment)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write a line.

        Raises:
            InputError: if the file cannot be written; the lines before are untouched.
        """
        super().log_metrics(metrics, step)
        self.save()

    @rank_zero_only
    def forget(self, epoch: int, step: int) -> None:
        """Take out what was logged from a step on, but for tests of the network as it was then.

        Args:
            epoch: of that step, from 0; what was logged for earlier ones stays.
            step: from 0.
        """
        cast(ContinuedWriter, self.experiment).forget(epoch, step)


class RepeatedEpochs(pl.Callback):
    """Takes what a resumed run is about to repeat out of every :class:`ContinuedCSVLogger`."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The checkpoint has told by now which epoch is next."""
        step = trainer.fit_loop.epoch_loop._batches_that_stepped  # the one that loggers are told
        if len(trainer.optimizers) == 1:
            # within an epoch Lightning corrects it later
            step = max(step, trainer.global_step)
        for logger in trainer.loggers:
            if isinstance(logger, ContinuedCSVLogger) and step:
                logger.forget(trainer.current_epoch, step)


class ContinuedWriter(ExperimentWriter):
    """Writes lines after those that are in the file; its header grows with new columns.

    Args:
        log_dir: folder of the file.
        begins: delete the file.
    """

    def __init__(self, log_dir: str, begins: bool = False) -> None:
        super().__init__(log_dir)
        self.file = Path(self.metrics_file_path)
        if begins:
            self.file.unlink(missing_ok=True)
        self.metrics_keys, rows = self._read()
        if self.metrics_keys:
            self._rewrite(rows)  # without the line that a kill may have cut off

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete what is there."""

    def save(self) -> None:
        """Write the lines logged since the last time.

        Raises:
            InputError: if that fails; the lines before are untouched.
        """
        lines, self.metrics = self.metrics, []
        if not lines:
            return
        new = set().union(*lines) - {*self.metrics_keys}
        repeated = {test for line in lines if (test := _test_of(line))}
        if new or repeated or not self.file.is_file():
            before = [row for row in self._read()[1] if _test_of(row) not in repeated]
            self.metrics_keys = sorted({*self.metrics_keys, *new})
            self._rewrite([*before, *lines])
        else:
            self._append(lines)

    def forget(self, epoch: int, step: int) -> None:
        """See :meth:`ContinuedCSVLogger.forget`."""
        rows = self._read()[1]
        kept = [
            row for row in rows if _epoch(row, epoch) < epoch or _step(row) < step or _tested(row)
        ]
        if len(kept) < len(rows):
            self._rewrite(kept)

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Header and lines of the file, as far as they are whole; nothing if there is none."""
        if not self.file.is_file():
            return [], []
        try:
            whole = self.file.read_bytes().rpartition(b"\n")[0].decode()
            header, *lines = [*csv.reader(whole.splitlines())] or [[]]
            header = [of_cell(name) for name in header]
            rows = [dict(zip(header, line, strict=True)) for line in lines]
            for row in rows:
                _epoch(row), _step(row)
        except (ValueError, csv.Error) as error:
            raise InputError(
                f"{self.file} is damaged ({error}): move it away, and the log begins anew"
            ) from error
        return header, rows

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put a new file in the place of the old one at once."""
        header = {name: as_cell(name) for name in self.metrics_keys}
        with whole_file(self.file) as stream:
            stream.write(self._text([header, *rows]))

    def _append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        before = self.file.stat().st_size
        try:
            with self.file.open("ab") as stream:
                stream.write(self._text(rows))
        except OSError as error:
            os.truncate(self.file, before)
            raise unwritable(self.file, error) from error

    def _text(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.metrics_keys, extrasaction="ignore").writerows(rows)
        return text.getvalue().encode()


def _epoch(row: Mapping[str, Any], unknown: int = 0) -> float:
    return float(row.get("epoch") or unknown)


def _step(row: Mapping[str, Any]) -> float:
    return float(row.get("step") or 0)


def _tested(row: Mapping[str, Any]) -> frozenset[str]:
    """Measures of a test; none for what is no test."""
    return frozenset(
        name for name, value in row.items() if name.startswith("test/") and value not in (None, "")
    )


def _test_of(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Step and measures of a test while training; empty for others, which tell no step."""
    return (_step(row), _tested(row)) if _step(row) and _tested(row) else ()
