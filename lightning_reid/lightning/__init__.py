"""The Lightning that everything here is built on; it is chosen here, once, when this is imported.

``pytorch_lightning`` and ``lightning.pytorch`` are the same code under two names, and a Trainer of
the one refuses modules of the other. Taken is ``lightning.pytorch`` where the program has imported
it before, and not ``pytorch_lightning``; else ``pytorch_lightning``. The environment variable
``LIGHTNING_REID_BASE``, ``"pytorch_lightning"`` or ``"lightning"``, overrules that.
"""

import os
import sys
from typing import TYPE_CHECKING

from lightning_reid.messages import printable

_VARIABLE = "LIGHTNING_REID_BASE"
_CHOICES = ("pytorch_lightning", "lightning")


def _choose() -> str:
    wanted = os.environ.get(_VARIABLE)
    if wanted is None:
        imported = [name in sys.modules for name in ("pytorch_lightning", "lightning.pytorch")]
        return _CHOICES[imported == [False, True]]
    if wanted not in _CHOICES:
        raise ImportError(f"{_VARIABLE} must be one of {', '.join(_CHOICES)}, not {wanted!r}")
    return wanted


BASE = _choose()

# what type checkers see is one of the two: they are the same
if TYPE_CHECKING or BASE == "pytorch_lightning":
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning.callbacks import (
        BasePredictionWriter,
        BatchSizeFinder,
        EarlyStopping,
        LearningRateFinder,
        ModelCheckpoint,
        ProgressBar,
        RichProgressBar,
        StochasticWeightAveraging,
        WeightAveraging,
    )
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
    from pytorch_lightning.loggers.csv_logs import ExperimentWriter
    from pytorch_lightning.loops.fit_loop import _FitLoop as FitLoop
    from pytorch_lightning.plugins.io import CheckpointIO, TorchCheckpointIO
    from pytorch_lightning.utilities import rank_zero_info as _info
    from pytorch_lightning.utilities import rank_zero_only
    from pytorch_lightning.utilities import rank_zero_warn as _warn
    from pytorch_lightning.utilities.seed import isolate_rng
    from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
else:
    import lightning.pytorch as pl
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.callbacks import (
        BasePredictionWriter,
        BatchSizeFinder,
        EarlyStopping,
        LearningRateFinder,
        ModelCheckpoint,
        ProgressBar,
        RichProgressBar,
        StochasticWeightAveraging,
        WeightAveraging,
    )
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
    from lightning.pytorch.loggers.csv_logs import ExperimentWriter
    from lightning.pytorch.loops.fit_loop import _FitLoop as FitLoop
    from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
    from lightning.pytorch.utilities import rank_zero_info as _info
    from lightning.pytorch.utilities import rank_zero_only
    from lightning.pytorch.utilities import rank_zero_warn as _warn
    from lightning.pytorch.utilities.seed import isolate_rng
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig


def rank_zero_info(message: str) -> None:
    """Log a line in the first process; what does not print as itself is escaped."""
    _info(printable(message), stacklevel=5)


def rank_zero_warn(message: str) -> None:
    """Warn in the first process, in one line; what does not print as itself is escaped."""
    _warn(printable(message), stacklevel=5)


__all__ = [
    "BASE",
    "BasePredictionWriter",
    "BatchSizeFinder",
    "CSVLogger",
    "CheckpointIO",
    "DistributedSamplerWrapper",
    "EarlyStopping",
    "ExperimentWriter",
    "FitLoop",
    "LearningRateFinder",
    "MisconfigurationException",
    "ModelCheckpoint",
    "OptimizerLRSchedulerConfig",
    "ProgressBar",
    "RichProgressBar",
    "SLURMEnvironment",
    "StochasticWeightAveraging",
    "TensorBoardLogger",
    "TorchCheckpointIO",
    "WandbLogger",
    "WeightAveraging",
    "isolate_rng",
    "pl",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]
