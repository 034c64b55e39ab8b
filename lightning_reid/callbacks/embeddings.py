"""What ``predict`` leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch

from lightning_reid.distributed import gather_rows
from lightning_reid.errors import InputError, MissingPackageError, require_one_of
from lightning_reid.lightning import BasePredictionWriter, pl, rank_zero_info
from lightning_reid.whole_files import whole_file


class EmbeddingWriter(BasePredictionWriter):
    """Write the embeddings of ``predict`` to a file in the run folder.

    It has a row for each image and the columns ``embeddings``, float32 of length 1; ``paths``;
    ``cameras``, their names; ``splits``, ``query``, ``gallery`` or ``train``. Rows are in the order
    of the data module's ``paths("predict")``: query, then gallery, or, where there is no test set,
    the training images.

    Args:
        format: ``"npz"`` for ``embeddings.npz``, which NumPy reads: ``embeddings (N, D)`` and
            three arrays ``(N,)``; ``"parquet"`` for ``embeddings.parquet``, a table, for which
            pyarrow has to be installed.

    Raises:
        InputError: for another format; when writing, if the file cannot be written.
        MissingPackageError: when ``predict`` begins, if pyarrow is needed and not installed.

    Example:
        >>> EmbeddingWriter("parquet").format
        'parquet'
        >>> EmbeddingWriter("csv")
        Traceback (most recent call last):
            ...
        lightning_reid.errors.InputError: format must be one of npz, parquet, not 'csv'
    """

    def __init__(self, format: Literal["npz", "parquet"] = "npz") -> None:  # noqa: A002 # its name
        super().__init__("epoch")
        require_one_of("format", format, ("npz", "parquet"))
        self.format = format

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Before anything is embedded."""
        super().setup(trainer, pl_module, stage)
        if stage == "predict" and self.format == "parquet" and find_spec("pyarrow") is None:
            raise MissingPackageError(
                'format=parquet needs pyarrow: pip install "lightning-reid[parquet]", or take '
                "format=npz"
            )

    def write_on_epoch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Collect the batches of all ranks and write them."""
        columns = [torch.cat([p[name] for p in predictions]) for name in predictions[0]]
        # ranks exchange on their device; predictions have been moved off it
        gathered = [gather_rows(trainer, c.to(pl_module.device)).cpu() for c in columns]
        values = dict(zip(predictions[0], gathered, strict=True))
        if not trainer.is_global_zero:
            return
        order = values["index"].argsort()
        index = values["index"][order].numpy()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        paths = data.paths("predict")
        table = {
            "embeddings": values["embedding"][order].float().numpy(),
            "paths": np.array([paths[i] for i in index.tolist()]),
            "cameras": np.array(data.camera_names)[values["camera"][order].numpy()],
            "splits": _splits(index, len(data.query_samples)),
        }
        file = Path(trainer.default_root_dir) / f"embeddings.{self.format}"
        write = _write_parquet if self.format == "parquet" else _write_npz
        with whole_file(file) as stream:
            write(stream, table)
        rank_zero_info(f"{len(index)} embeddings written to {file}")


def _splits(index: npt.NDArray[np.int64], queries: int) -> npt.NDArray[np.str_]:
    """Without queries there is no test set, and the training images were embedded."""
    if not queries:
        return np.full(len(index), "train")
    return np.where(index < queries, "query", "gallery")


def _write_npz(stream: BinaryIO, table: Mapping[str, Any]) -> None:
    np.savez(stream, **table)


def _write_parquet(stream: BinaryIO, table: Mapping[str, npt.NDArray[Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    embeddings = table["embeddings"]
    rows = pyarrow.FixedSizeListArray.from_arrays(embeddings.reshape(-1), embeddings.shape[1])
    names = {name: _texts(name, table[name]) for name in ("paths", "cameras", "splits")}
    parquet.write_table(pyarrow.table({"embeddings": rows, **names}), stream)


def _texts(name: str, column: npt.NDArray[np.str_]) -> Any:
    import pyarrow

    try:
        return pyarrow.array(column.tolist(), pyarrow.string())
    except UnicodeEncodeError as error:
        raise InputError(
            f"Parquet holds text only, and among the {name} there is one that is no UTF-8: "
            f"{error.object!r}; take format=npz"
        ) from error
