"""How the compiled loops are compiled; importing this module loads numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile at the first call, or load what an earlier run compiled; runs without the lock.

    Plain loops instead of numba's own parallel ones compile in a fraction of the time and leave
    no thread pool behind that a forked data-loading worker would trip over.
    """
    # sums may be reordered, which lets them use vector instructions
    return numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})(function)
