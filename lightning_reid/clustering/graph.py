"""The sparse graph of close pairs, which knows up to which distance it is complete."""

from __future__ import annotations

from scipy.sparse import csr_array

TOLERANCE = 1e-6
"""Jaccard distances fall exactly on round thresholds; rounding must not decide there."""


def reach(threshold: float) -> float:
    """Give the largest distance that counts as within the threshold."""
    return threshold + TOLERANCE


class JaccardGraph(csr_array):  # type: ignore[misc]  # SciPy is untyped
    """A ``csr_array`` of distances with the largest distance that was kept.

    Attributes:
        max_distance: Every pair up to this distance is stored; None where that is not known,
            as in what slicing or arithmetic make of a graph.
    """

    max_distance: float | None = None

    @classmethod
    def of(cls, distances: csr_array, max_distance: float) -> JaccardGraph:
        """Wrap the arrays of a sparse matrix, without a copy.

        Args:
            distances: (N, N) distances.
            max_distance: Every pair up to this distance is stored.
        """
        graph = cls(distances)
        graph.max_distance = max_distance
        return graph
