"""What the command line takes from Lightning; apart from the rest, as importing it takes time."""

from typing import TYPE_CHECKING

from lightning_reid.lightning import BASE

if TYPE_CHECKING or BASE == "pytorch_lightning":
    from pytorch_lightning.cli import (
        ArgsType,
        LightningArgumentParser,
        LightningCLI,
        SaveConfigCallback,
    )
else:
    from lightning.pytorch.cli import (
        ArgsType,
        LightningArgumentParser,
        LightningCLI,
        SaveConfigCallback,
    )

__all__ = ["ArgsType", "LightningArgumentParser", "LightningCLI", "SaveConfigCallback"]
