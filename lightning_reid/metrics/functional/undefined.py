"""Warnings of numbers of an evaluation that are NaN."""

from __future__ import annotations

import torch
from torchmetrics.utilities import rank_zero_warn

from lightning_reid.metrics.functional.images import UNKNOWN, Images


def warn_without_match(query: Images, gallery: Images) -> None:
    """Warn that no query has a match, so that all means are NaN, and say why.

    Args:
        query: The queries, none of which is valid.
        gallery: The gallery.
    """
    rank_zero_warn(f"mAP and all other means are NaN: {_why_no_match(query, gallery)}")


def warn_of_open_set(numbers: dict[str, float]) -> None:
    """Warn if all queries are in the gallery or none is: ``dir@...`` is NaN then.

    Args:
        numbers: What ``open_set_rates`` returned.
    """
    if not numbers["num_unknown_queries"]:
        rank_zero_warn(
            "open_set: the gallery has a match for every query, so dir@... is NaN: it takes "
            "queries whose identity is not in the gallery, too"
        )
    elif not numbers["num_known_queries"]:
        rank_zero_warn(
            "open_set: the gallery has no match for any query, so dir@... is NaN: it takes "
            "queries whose identity is in the gallery, too"
        )


def warn_of_verification(numbers: dict[str, float]) -> None:
    """Warn if there are no pairs of one identity or none of two: ``tpr@...`` is NaN then.

    Args:
        numbers: What ``verification_rates`` returned.
    """
    for name, kind in (("positive", "of one identity"), ("negative", "of different identities")):
        if not numbers[f"num_{name}_pairs"]:
            rank_zero_warn(
                f"verification: no pair of a query and a gallery image that counts is {kind}, so "
                "tpr@... is NaN: it takes pairs of both kinds"
            )


def _why_no_match(query: Images, gallery: Images) -> str:
    if not len(query):
        return "no image is a query"
    if not len(gallery):
        return (
            "the gallery is empty. It often comes after the queries, so limit_test_batches or "
            "limit_val_batches may have left it out"
        )
    unknown = query.identities == UNKNOWN
    present = torch.isin(query.identities, gallery.identities) & ~unknown
    numbers = {
        f"of unknown identity ({UNKNOWN})": unknown,
        "of people who are not in the gallery": ~present & ~unknown,
        "of people whom the gallery shows in the query's own camera only": present,
    }
    counts = "; ".join(f"{what}: {int(f.sum()):,}" for what, f in numbers.items() if f.any())
    return (
        f"no query has a match, a gallery image of its identity in another camera. Queries {counts}"
    )
