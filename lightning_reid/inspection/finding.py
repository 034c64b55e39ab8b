"""One thing that was found out about a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

    Example:
        >>> finding = Finding("warning", "3 of 900 images are copies.", "Leave them out.")
        >>> f"{finding.severity}: {finding.found} {finding.meaning}"
        'warning: 3 of 900 images are copies. Leave them out.'
    """

    severity: Severity
    found: str
    meaning: str
    details: tuple[str, ...] = ()


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts: ``1 camera``, ``1,200 cameras``."""
    return f"{number:,} {one if number == 1 else many}"
