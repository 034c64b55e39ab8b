"""What methods share that compare images with a memory of clusters or proxies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.distributed import follow_first_rank
from lightning_reid.errors import InputError, require, require_positive
from lightning_reid.labels import PseudoLabels, group_means
from lightning_reid.losses import update_memory
from lightning_reid.methods.base import ReIDModule


class MemoryModule(ReIDModule):
    """Base of methods that hold one representative per group (cluster or proxy).

    ``training_step`` ends with :meth:`move_memory`.

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

    def adopt(self, labels: PseudoLabels, features: Tensor) -> None:
        """Restart the memory from the mean feature of every group."""
        super().adopt(labels, features)
        self.memory = group_means(features.to(self.device), self.groups())
        # a GPU adds in any order: ranks would differ in the last bits, and the more the longer
        follow_first_rank(self._trainer, [self.memory])

    def training_state(self) -> dict[str, Any]:
        """The memory."""
        return {**super().training_state(), "memory": self.memory}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back the memory, on the network's device.

        Raises:
            ValueError: It is no memory of embeddings of this network.
        """
        super().load_training_state(state)
        memory = state["memory"]
        fits = memory.numel() == 0 or memory.shape[1:] == (self.network.embedding_dim,)
        if not fits or not memory.is_floating_point() or memory.layout is not torch.strided:
            raise ValueError(
                f"a memory has rows of {self.network.embedding_dim} numbers, got "
                f"{tuple(memory.shape)} {memory.dtype}"
            )
        self.memory = memory.to(self.device)

    def on_fit_start(self) -> None:
        """Check that a memory from a checkpoint has a row for each of the groups.

        Raises:
            InputError: It has other rows.
        """
        super().on_fit_start()
        if self.labels is not None and len(self.memory) <= int(self.groups().max()):
            raise InputError(
                f"the checkpoint is damaged: its memory has {len(self.memory)} rows, and its "
                f"labels {int(self.groups().max()) + 1} groups"
            )

    @torch.no_grad()
    def move_memory(self, embeddings: Tensor, targets: Tensor) -> None:
        """Move the memory by a batch, once its losses have seen the memory as it was.

        Called at the end of ``training_step``, as callbacks may save a checkpoint right after it.

        Args:
            embeddings: The batch of all ranks, ``(B, D)`` unit rows.
            targets: The row of the memory that each of them moves, ``(B,)`` int64.
        """
        self.memory = update_memory(self.memory, embeddings, targets, self.momentum, self.hardest)
