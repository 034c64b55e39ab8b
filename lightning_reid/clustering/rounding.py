"""Points in few bits, with a bound on what that does to their distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK_ROWS = 512  # rows in float64 at a time: they stay in the processor's cache


@dataclass(frozen=True)
class Frame:
    """Origin and scale in which points are rounded.

    Distances do not depend on the origin, but what rounding loses grows with the length of the
    points: their mean is the best origin. The scale, a power of two, keeps squares in range.
    """

    origin: Tensor
    scale: float

    @classmethod
    def around(cls, points: Tensor) -> Frame:
        """Choose the frame for points ``(N, D)`` float32."""
        origin = points.mean(dim=0, dtype=torch.float64)
        farthest = (points.amax(dim=0) - origin).maximum(origin - points.amin(dim=0)).max().item()
        exponent = torch.frexp(torch.tensor(farthest, dtype=torch.float64)).exponent.item()
        return cls(origin, 2.0**-exponent)

    def round(self, points: Tensor, rows: Tensor, dtype: torch.dtype) -> RoundedPoints:
        """Round some rows of the points ``(N, D)`` to a floating-point type."""
        count, dimensions = len(rows), points.shape[1]
        rounded = RoundedPoints(
            torch.empty(count, dimensions + 4, dtype=dtype, device=points.device),
            *torch.empty(3, count, dtype=torch.float64, device=points.device),
        )
        for start in range(0, count, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            exact = (points[rows[block]].to(torch.float64) - self.origin) * self.scale
            rounded.fill(block, exact)
        return rounded


@dataclass(frozen=True)
class RoundedPoints:
    """Rounded points; their half squared distances are one matrix product, ``left() @ right.T``.

    ``|a - b|^2 / 2 = -a b + |a|^2 / 2 + |b|^2 / 2``, so that four further columns (ones, and the
    half squares in two parts) are all it takes. A small distance then is a small number, which
    keeps its relative precision in any number type.

    Attributes:
        right: ``(N, D + 4)``, the rounded points, two ones and the half squares.
        norms: ``(N,)`` float64, lengths before rounding.
        lost: ``(N,)`` float64, length of what rounding took off each point.
        half_lost: ``(N,)`` float64, what it took off the half squares.
    """

    right: Tensor
    norms: Tensor
    lost: Tensor
    half_lost: Tensor

    def fill(self, block: slice, exact: Tensor) -> None:
        """Round a block of points, given in float64."""
        right = self.right[block]
        right[:, :-4] = exact
        halves = exact.square().sum(dim=1) / 2
        right[:, -4:-2] = 1
        right[:, -2] = halves
        right[:, -1] = halves - right[:, -2].to(torch.float64)
        self.norms[block] = (2 * halves).sqrt()
        self.lost[block] = (exact - right[:, :-4].to(torch.float64)).square().sum(dim=1).sqrt()
        self.half_lost[block] = (halves - right[:, -2:].to(torch.float64).sum(dim=1)).abs()

    def left(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Give ``(n, D + 4)``: the negative rounded points, the half squares and two ones."""
        rounded = self.right[start:stop]
        return torch.cat([-rounded[:, :-4], rounded[:, -2:], rounded[:, -4:-2]], dim=1)

    def error(self, others: RoundedPoints) -> Tensor:
        """Bound the error of ``left() @ others.right.T`` before its result is rounded, per row.

        By the Cauchy-Schwarz inequality for what was rounded off the points, and one unit in the
        last place of an accumulator of 32 bits (64 for float64) for each of the sums.
        """
        norms, lost, half_lost = others.norms.max(), others.lost.max(), others.half_lost.max()
        points = self.lost * norms + (self.norms + self.lost) * lost
        precise = self.right.dtype == torch.float64
        unit = torch.finfo(torch.float64 if precise else torch.float32).eps
        summands = (self.norms + self.lost + norms + lost).square() / 2
        return points + self.half_lost + half_lost + self.right.shape[1] * unit * summands


def smallest_exact(products: Tensor) -> Tensor:
    """Give, as float32, values that no number below rounds to these."""
    # half a unit in the last place, and what the steps in float32 here lose
    slack = 0.51 * torch.finfo(products.dtype).eps + 2 * torch.finfo(torch.float32).eps
    values = products.to(torch.float32)
    return values - slack * values.abs()
