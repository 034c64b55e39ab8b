"""Fewer pictures of a run: drawing all of them takes longer than training in most tests."""

import sys
from functools import partial

# one of each kind: of an evaluation, over the epochs, of the labels
FEW = ("cmc", "loss_over_epochs", "clusters")


def draw_only(names):
    """Let the command line of this process draw these pictures only; all of them if None."""
    from lightning_reid import cli
    from lightning_reid.callbacks import Pictures

    cli.Pictures = Pictures if names is None else partial(Pictures, only=names)


def pictures_drawn():
    """Return the names that :func:`draw_only` was given."""
    cli = sys.modules.get("lightning_reid.cli")
    return getattr(getattr(cli, "Pictures", None), "keywords", {}).get("only")
