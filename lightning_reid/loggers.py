"""A CSV log that survives an interruption."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import cast

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a resumed run adds to ``metrics.csv`` instead of deleting it.

    What was logged after the checkpoint that is resumed from then stands there twice.
    """

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer of the file, which starts with what is in there already."""
        # the other processes write nothing, and must not touch the file either
        if isinstance(self._experiment, ExperimentWriter) or getattr(rank_zero_only, "rank", None):
            return cast(ExperimentWriter, super().experiment)
        file = Path(self.log_dir, ExperimentWriter.NAME_METRICS_FILE)
        before, kept = file.is_file() and file.stat().st_size > 0, file.with_suffix(".before")
        if before:
            file.rename(kept)
        with warnings.catch_warnings():  # of a deletion that does not happen
            warnings.filterwarnings("ignore", "Experiment logs directory")
            writer = super().experiment
        if before:
            kept.replace(file)
            with file.open(newline="") as lines:
                writer.metrics_keys = next(csv.reader(lines))
        return cast(ExperimentWriter, writer)
