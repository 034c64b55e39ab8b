"""Which queries a gallery can answer."""

from __future__ import annotations

import numpy as np

from lightning_reid.data.extremes import Booleans, Extremes
from lightning_reid.data.samples import UNKNOWN, Samples
from lightning_reid.data.text_columns import natural_order


def has_match(query: Samples, gallery: Samples) -> Booleans:
    """``(Q,)`` whether the gallery has the identity of a query in another camera."""
    names = sorted({*query.camera_set, *gallery.camera_set}, key=natural_order)
    identities = np.concatenate([query.identities, gallery.identities])
    distinct, groups = np.unique(identities, return_inverse=True)
    wanted, own = np.split(groups, [len(query)])
    known = gallery.identities != UNKNOWN
    cameras = np.where(known, gallery.camera_numbers(names), UNKNOWN)
    seen = Extremes.of(cameras, own, len(distinct))
    elsewhere = seen.differ(query.camera_numbers(names), wanted)
    found: Booleans = elsewhere & (query.identities != UNKNOWN)
    return found
