"""A CSV log that survives an interruption."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import cast

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a resumed run adds to ``metrics.csv`` instead of deleting it.

    What was logged after the checkpoint that is resumed from then stands there twice.
    """

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer of the file, which starts with what is in there already."""
        if isinstance(self._experiment, ExperimentWriter):
            return self._experiment
        file = Path(self.log_dir, ExperimentWriter.NAME_METRICS_FILE)
        before = file.read_bytes() if file.is_file() else b""
        file.unlink(missing_ok=True)
        with warnings.catch_warnings():  # of a deletion that does not happen
            warnings.filterwarnings("ignore", "Experiment logs directory")
            writer = super().experiment
        if before and not file.exists():
            file.write_bytes(before)
            with file.open(newline="") as lines:
                writer.metrics_keys = next(csv.reader(lines))
        return cast(ExperimentWriter, writer)
