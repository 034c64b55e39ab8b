"""What methods share that compare images with a memory of clusters or proxies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.distributed import follow_first_rank
from lightning_reid.errors import InputError, require, require_positive
from lightning_reid.labels import PseudoLabels, group_means
from lightning_reid.losses import update_memory
from lightning_reid.methods.base import Batch, ReIDModule


class MemoryModule(ReIDModule):
    """Base of methods that hold one representative per group (cluster or proxy).

    ``training_step`` returns, beside the loss, the ``"embeddings"`` of the batch of all ranks and
    the ``"targets"``, the row of the memory that each of them moves.

    Args:
        temperature: of the losses.
        momentum: of the memory.
        hardest: each row moves by its least similar image only (Cluster-Contrast's hard variant;
            ``--use-hard`` in CALR's code, off there).
        kwargs: see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if ``temperature`` is not above 0 or ``momentum`` not from 0 to 1.
    """

    def __init__(
        self, temperature: float, momentum: float, hardest: bool = False, **kwargs: Any
    ) -> None:
        require_positive("temperature", temperature)
        require("momentum", momentum, 0, 1)
        super().__init__(**kwargs)
        self.temperature = temperature
        self.momentum = momentum
        self.hardest = hardest
        # a plain tensor: it changes size with every labelling, which a buffer must not
        self.memory = torch.empty(0)

    def groups(self) -> Tensor:
        """The row of the memory that each training image belongs to, ``(N,)``, -1 for none."""
        return self.current_labels().hard

    def targets(self, index: Tensor) -> Tensor:
        """The row of the memory that each image of a batch belongs to, ``(B,)``.

        Raises:
            InputError: if an image has none.
        """
        targets = self.groups()[index]
        if (targets < 0).any():
            raise InputError(
                "a batch holds images that have no label at present: the training batches must "
                "leave out images i with labels.groups[i] == -1, and be drawn anew after assign() "
                "(Trainer's reload_dataloaders_every_n_epochs=1 makes a new loader every epoch)"
            )
        return targets

    def take_labels(self, labels: PseudoLabels) -> None:
        """Keep labels, on the network's device, and what follows from them."""
        self.labels = labels.to(self.device)

    def adopt(self, labels: PseudoLabels, features: Tensor) -> None:
        """Start the memory anew from the mean feature of every group."""
        self.take_labels(labels)
        self.memory = group_means(features.to(self.device), self.groups())
        # a GPU adds in any order: ranks would differ in the last bits, and the more the longer
        follow_first_rank(self._trainer, [self.memory])

    def training_state(self) -> dict[str, Any]:
        """The memory."""
        return {**super().training_state(), "memory": self.memory}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back the memory, on the network's device."""
        super().load_training_state(state)
        self.take_labels(self.current_labels())
        self.memory = state["memory"].to(self.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the memory, after the losses have seen it as it stood."""
        self.memory = update_memory(
            self.memory, outputs["embeddings"], outputs["targets"], self.momentum, self.hardest
        )
