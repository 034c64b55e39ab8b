"""One thing that was found out about a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lightning_reid.data.extremes import Integers

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What was found, and what it means for the user.

    Args:
        severity: ``"error"``: training or testing could not work; ``"warning"``: it would work
            worse, or its numbers would mislead; ``"note"``: good to know.
        found: a sentence with numbers.
        meaning: what it means and what to do.
        details: single cases, such as a few of the images it is about.
        picture: name of a picture of them, which is written with the report; empty: none.
        images: positions of the images in it, the worst first.

    Example:
        >>> finding = Finding("warning", "3 of 900 images are copies.", "Leave them out.")
        >>> f"{finding.severity}: {finding.found} {finding.meaning}"
        'warning: 3 of 900 images are copies. Leave them out.'
    """

    severity: Severity
    found: str
    meaning: str
    details: tuple[str, ...] = ()
    picture: str = ""
    images: tuple[int, ...] = ()


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts: ``1 camera``, ``1,200 cameras``."""
    return f"{number:,} {one if number == 1 else many}"


def percent(share: float) -> str:
    """Format a share in per cent, with two digits."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def worst(badness: npt.NDArray[np.floating[Any]], limit: float) -> Integers:
    """Positions of the values above a limit, the largest first; NaN is below every limit."""
    above = np.flatnonzero(badness > limit)
    return above[np.argsort(-badness[above], kind="stable")]
