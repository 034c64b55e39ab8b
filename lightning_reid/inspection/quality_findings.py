"""Images that are too dark, too bright or too blurred to tell people apart by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lightning_reid.data.extremes import Integers
from lightning_reid.inspection.dataset import Inspected
from lightning_reid.inspection.finding import Finding, counted, percent, worst

# Mean luminance, of 255. Video ranges from 16 (black) to 235 (white); the 1,184 crops of PKU-Reid
# and 11,410 drawn ones have means from 49 to 200.
_DARK = 20
_BRIGHT = 235

# Sharpness. Blurred by a Gaussian with a standard deviation of 1/32 of their height, nine in ten of
# the crops of PKU-Reid and of drawn people are below 0.05; as they are, none is below 0.1. Enlarged
# crops (twice to four times: medians from 0.1 to 0.5) are less sharp as a whole, so an image also
# has to stand out from the others. No image of these sets and their enlarged forms does.
_BLURRED = 0.05
_BELOW_OTHERS = 10  # times less sharp than the median

_MANY = 0.1  # share from which it matters for training
_NAMED = 5  # files under a finding


def findings_of_quality(data: Inspected) -> Iterator[Finding]:
    """Yield findings of dark, bright and blurred images; those of one color have their own."""
    measured = data.measured
    rows = np.flatnonzero(measured.readable & ~measured.plain)
    if not len(rows):
        return
    brightness, sharpness = measured.brightness[rows], measured.sharpness[rows]
    levels = [f"{level:.0f}" for level in brightness.tolist()]
    for chosen, kind, limits in (
        (worst(-brightness, -_DARK), "dark", f"below {_DARK}"),
        (worst(brightness, _BRIGHT), "bright", f"above {_BRIGHT}"),
    ):
        what = f"very {kind}, with a mean brightness {limits} of 255"
        yield from _of_worst(data, rows, chosen, levels, kind, what)
    if np.isnan(sharpness).all():
        return
    limit = min(_BLURRED, float(np.nanmedian(sharpness)) / _BELOW_OTHERS)
    yield from _of_worst(
        data,
        rows,
        worst(-sharpness, -limit),
        [f"{value:.2g}" for value in sharpness.tolist()],
        "blurred",
        f"blurred, with a sharpness below {limit:.2g}; typical here is "
        f"{np.nanmedian(sharpness):.2g}",
    )


def _of_worst(
    data: Inspected,
    rows: Integers,
    chosen: Integers,
    values: Sequence[str],
    picture: str,
    what: str,
) -> Iterator[Finding]:
    """Yield a finding of the images ``rows[chosen]``, the worst first, if there are any."""
    if not len(chosen):
        return
    share = len(chosen) / len(rows)
    yield Finding(
        "warning" if share > _MANY else "note",
        f"{counted(len(chosen), 'image', 'images')} ({percent(share)}) "
        f"{'is' if len(chosen) == 1 else 'are'} {what}.",
        "There is little to tell people apart by. Look at the worst of them; the column "
        f"{'sharpness' if picture == 'blurred' else 'brightness'} of check.csv has all.",
        tuple(f"{data.listing.name(rows[i])}: {values[i]}" for i in chosen[:_NAMED].tolist()),
        picture,
        tuple(rows[chosen].tolist()),
    )
