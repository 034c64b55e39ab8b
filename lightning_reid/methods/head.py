"""Layers whose size the data decides: classifiers, discriminators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_reid.distributed import seed_of, seeded
from lightning_reid.errors import InputError
from lightning_reid.methods.base import ReIDModule
from lightning_reid.models.tensor_names import unwrapped_name


class HeadModule(ReIDModule):
    """Base of methods with a head: a layer behind the embedding that only training needs.

    The head is made once the data is known, before the optimizer is, or with the size that a
    checkpoint tells; from then on its parameters stay the same objects. Its first weights follow
    from the seed of the run alone: what was drawn before depends on the number of processes.

    Attributes:
        head: the layer; None until it is made.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head: nn.Module | None = None
        self.head_size = 0

    @abstractmethod
    def head_size_of(self, datamodule: Any) -> int:
        """The size that the training data asks for, such as its number of classes."""

    def make_head(self, size: int) -> nn.Module:
        """A head for so many classes; by default a linear layer without bias."""
        return nn.Linear(self.network.embedding_dim, size, bias=False)

    def configure_model(self) -> None:
        """Make the head for the data at hand."""
        if self._trainer is None or self._trainer.state.fn != "fit":
            return
        size = self.head_size_of(self._trainer.datamodule)  # type: ignore[attr-defined]
        if self.head is None or size != self.head_size:
            self._set_head(size)

    def current_head(self) -> Any:
        """The head.

        Raises:
            RuntimeError: if there is none yet.
        """
        if self.head is None:
            raise RuntimeError(f"{type(self).__name__} has no head before a Trainer fits it")
        return self.head

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the size of the head."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["lightning_reid"]["head_size"] = self.head_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the training state; make the head if there is none.

        Raises:
            InputError: if the checkpoint was written by another method or for other data.
        """
        super().on_load_checkpoint(checkpoint)
        size = checkpoint["lightning_reid"].get("head_size")
        if type(size) is not int or size < 0:
            raise InputError(f"the checkpoint is damaged: its head_size is {size!r}")
        if self.head is None:
            self._require_head(size, checkpoint["state_dict"])
            self._set_head(size)
        elif size != self.head_size:
            raise InputError(
                f"the checkpoint was trained on data with {size} classes, this data has "
                f"{self.head_size}; go on with the same data, or start from its backbone with "
                "--model.weights=<file>"
            )

    def _require_head(self, size: int, weights: Mapping[str, Tensor]) -> None:
        """Raise an InputError unless a checkpoint holds a head of the size that it tells of.

        No memory is taken for the head: the size may be any number.
        """
        with torch.device("meta"):
            own = self.make_head(size).state_dict() if size else {}
        saved = {unwrapped_name(name): value for name, value in weights.items()}
        if any(saved[f"head.{k}"].shape != v.shape for k, v in own.items() if f"head.{k}" in saved):
            raise InputError(
                f"the checkpoint is damaged: it tells of a head for {size} classes, and holds "
                "another"
            )
        if own and not any(f"head.{name}" in saved for name in own):
            raise InputError("the checkpoint is damaged: it does not hold its head")

    def _set_head(self, size: int) -> None:
        self.head_size = size
        seed = seed_of(torch.initial_seed())  # not of what has been drawn since
        self.head = self.new_head(seed).to(self.device) if size else None

    def new_head(self, seed: int) -> nn.Module:
        """Make a head of the present size, on the CPU, with weights that follow from a seed."""
        cpu = torch.device("cpu")
        # a Trainer's device is the default one where it asks for layers
        with cpu, seeded(cpu, seed):
            return self.make_head(self.head_size)


def keep_in_graph(loss: Tensor, module: nn.Module) -> Tensor:
    """The same loss, of which a module that took no part is a part nevertheless.

    DDP waits for a gradient of every parameter.
    """
    return loss + 0 * torch.stack([p.sum() for p in module.parameters()]).sum()
