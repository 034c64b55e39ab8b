"""Beginning again, in place, from the weights that a run began with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lightning_reid.distributed import first_rank_only
from lightning_reid.lightning import WeightAveraging, pl
from lightning_reid.models.tensor_names import unwrapped


class SourceWeights:
    """The weights of a module at the start of a run.

    Args:
        weights: by name, as in ``state_dict``.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    @classmethod
    def of_state(cls, weights: Mapping[str, Tensor], module: nn.Module) -> SourceWeights:
        """Take the weights of a module from a checkpoint.

        Raises:
            ValueError: They are not those of such a module.
        """
        own = {name: value.shape for name, value in unwrapped(module).state_dict().items()}
        if own != {name: value.shape for name, value in weights.items()}:
            raise ValueError("the source model is that of another network")
        return cls(dict(weights))

    @classmethod
    def of(cls, module: nn.Module, trainer: pl.Trainer) -> SourceWeights:
        """Remember the weights that a module has now, on the CPU.

        Every rank must call this. The weights are those of the first, as DDP will make them.
        """
        state = unwrapped(module).state_dict()
        return first_rank_only(
            trainer, lambda: cls({k: v.detach().to("cpu", copy=True) for k, v in state.items()})
        )

    @torch.no_grad()
    def restore(self, module: nn.Module, trainer: pl.Trainer) -> None:
        """Restart a module from the weights, in place.

        Optimizers forget their moments, and averages of weights (``WeightAveraging``) begin anew.

        Args:
            module: What the weights were taken of, a part of the module that is trained.
            trainer: Trains it.
        """
        unwrapped(module).load_state_dict(self.weights)
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            average = getattr(callback, "_average_model", None)
            if isinstance(callback, WeightAveraging) and average is not None:
                average.n_averaged.zero_()
                average.module.load_state_dict(trainer.lightning_module.state_dict())
