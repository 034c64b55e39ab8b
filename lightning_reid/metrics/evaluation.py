"""What an evaluation reports, as one value that configs and checkpoints can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning_reid.errors import require, require_one_of
from lightning_reid.metrics.functional.expansion import Expansion
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import PROTOCOLS, ProtocolName, checked_ranks
from lightning_reid.metrics.functional.verification import checked_rates


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation reports, beside mAP, mINP and CMC of the embeddings as they are.

    Camera-normalised numbers take one more pass over all pairs and are reported by default. All
    that takes longer, or makes more than a few numbers, is reported on request.

    Args:
        ranks: ranks of the CMC curve, from 1.
        normalize_cameras: every number for camera-normalised embeddings too, under
            ``camera_normalized/...`` (see :func:`~lightning_reid.clustering.camera_normalize`).
        expand: every number for expanded queries too, under ``expanded/...`` (see
            :func:`~lightning_reid.metrics.expand_queries`); true takes the defaults of
            :class:`~lightning_reid.metrics.Expansion`.
        rerank: every number for k-reciprocal re-ranking too, under ``reranked/...``; true takes the
            defaults of :class:`~lightning_reid.metrics.Reranking`.
        protocol: "market", or "cuhk03" for galleries with a single image of each identity, as
            :func:`~lightning_reid.metrics.retrieval_metrics` tells; None: that of the data module,
            "market" for every public data set here.
        cross_camera_only: ignore all gallery images of the query's camera, not only those of its
            identity.
        confidence: bootstrap intervals over queries too, as ``<name>_low`` and ``<name>_high``,
            that hold so much of the resampled means, such as 0.95 (see
            :func:`~lightning_reid.metrics.bootstrap_interval`).
        open_set: rates of false alarms at which to report how many queries are found though others
            are in no gallery, as ``dir@<rate>`` (see
            :func:`~lightning_reid.metrics.open_set_rates`); true: 0.01 and 0.1.
        verification: rates of false positives at which to report how many pairs of one identity
            are accepted, as ``tpr@<rate>`` (see
            :func:`~lightning_reid.metrics.verification_rates`); true: 0.0001, 0.001 and 0.01.

    Raises:
        InputError: if a setting is out of its range.

    Example:
        >>> Evaluation(rerank=True, open_set=True).false_alarm_rates
        (0.01, 0.1)
        >>> Evaluation(confidence=95)
        Traceback (most recent call last):
        lightning_reid.errors.InputError: confidence must be from 0 to 1, not 95
    """

    ranks: Sequence[int] = (1, 5, 10)
    normalize_cameras: bool = True
    expand: Expansion | bool = False  # settings first: the parser tells why it refuses the first
    rerank: Reranking | bool = False
    protocol: ProtocolName | None = None
    cross_camera_only: bool = False
    confidence: float | None = None
    open_set: bool | Sequence[float] = False
    verification: bool | Sequence[float] = False

    def __post_init__(self) -> None:
        checked_ranks(self.ranks)
        require("confidence", self.confidence or 0, 0, 1)
        if self.protocol is not None:
            require_one_of("protocol", self.protocol, PROTOCOLS)
        for name in ("open_set", "verification"):
            rates = getattr(self, name)
            if not isinstance(rates, bool):
                checked_rates(name, rates)

    @property
    def false_alarm_rates(self) -> tuple[float, ...]:
        """Those of ``open_set``; none if it is not wanted."""
        return _rates(self.open_set, (0.01, 0.1))

    @property
    def false_positive_rates(self) -> tuple[float, ...]:
        """Those of ``verification``; none if it is not wanted."""
        return _rates(self.verification, (1e-4, 1e-3, 1e-2))

    def settings(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_settings` makes the same."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Evaluation:
        """Make what :meth:`settings` describes."""
        parts = {"expand": Expansion, "rerank": Reranking}
        made = {
            name: kind(**settings[name])
            for name, kind in parts.items()
            if isinstance(settings.get(name), Mapping)
        }
        return cls(**{**settings, **made})


def _rates(given: bool | Sequence[float], usual: tuple[float, ...]) -> tuple[float, ...]:
    if isinstance(given, bool):
        return usual if given else ()
    return tuple(given)
