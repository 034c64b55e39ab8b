"""Pictures of a run, drawn while it tests."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from lightning_reid.metrics import RetrievalMetrics
from lightning_reid.report import draw_rankings


class RankingPicture(pl.Callback):
    """After a test, draw query results into ``pictures/rankings.png`` of the run folder.

    Works with a module whose ``retrieval`` is a :class:`~lightning_reid.RetrievalMetrics` and a
    data module with ``paths("test")`` and ``camera_names``; does nothing with others.

    Args:
        num_queries: rows of the picture.
        num_results: gallery images in a row.
    """

    def __init__(self, num_queries: int = 8, num_results: int = 10) -> None:
        self.num_queries = num_queries
        self.num_results = num_results

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw from what the metric has collected, before it is reset."""
        metric = getattr(pl_module, "retrieval", None)
        paths = getattr(trainer.datamodule, "paths", None)  # type: ignore[attr-defined]
        if not isinstance(metric, RetrievalMetrics) or paths is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with metric.sync_context():
            seen = metric.collect()
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asks all ranks
        if trainer.is_global_zero and seen.is_query.any() and not seen.is_query.all():
            picture = draw_rankings(
                seen,
                paths("test"),
                trainer.datamodule.camera_names,  # type: ignore[attr-defined]
                self.num_queries,
                self.num_results,
            )
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            picture.save(folder / "pictures" / "rankings.png")
