"""The pictures of an evaluation, each drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from torch import Tensor

from lightning_reid.clustering import camera_normalize
from lightning_reid.metrics import (
    CameraPairTable,
    Collected,
    QueryScores,
    camera_pair_table,
    query_scores,
)
from lightning_reid.report.attention import Attended, draw_attention
from lightning_reid.report.curves import cmc_curve, draw_cmc
from lightning_reid.report.figures import as_image
from lightning_reid.report.heat_map import draw_heat_map
from lightning_reid.report.lettering import writable
from lightning_reid.report.ranking import (
    Integers,
    draw_rankings,
    rank_gallery,
    typical_queries,
    worst_queries,
)


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation has seen, and how to look at it.

    Args:
        seen: the evaluation set; some query must have a match.
        camera_names: by camera number.
        paths: image files by ``seen.index``; None: there are none to show.
        attend: from ``index`` to ``(B, h, w)`` maps, see
            :func:`~lightning_reid.report.attention_maps`; it may give None.
        normalized: draw the CMC curve of camera-normalised embeddings too.
        cross_camera_only: as for :class:`~lightning_reid.RetrievalMetrics`.
        num_queries: rows of the rankings.
        num_results: gallery images in a row.
    """

    seen: Collected
    camera_names: Sequence[str]
    paths: Sequence[str] | None = None
    attend: Callable[[list[int]], Tensor | None] | None = None
    normalized: bool = False
    cross_camera_only: bool = False
    num_queries: int = 8
    num_results: int = 10

    @cached_property
    def scores(self) -> QueryScores:
        """Of every query."""
        return query_scores(*self.seen.sides(), cross_camera_only=self.cross_camera_only)

    @cached_property
    def pairs(self) -> CameraPairTable:
        """From camera to camera."""
        return camera_pair_table(*self.seen.sides(), ranks=())

    def cmc(self) -> Image.Image:
        """CMC curves."""
        curves = {"embeddings as they are": self._curve(self.scores)}
        if self.normalized:
            rows = camera_normalize(self.seen.embeddings, self.seen.cameras)
            sides = Collected(**{**vars(self.seen), "embeddings": rows}).sides()
            scores = query_scores(*sides, cross_camera_only=self.cross_camera_only)
            curves["camera-normalised"] = self._curve(scores)
        return as_image(draw_cmc(curves))

    def camera_pairs(self) -> Image.Image:
        """Heat map of mAP."""
        names = writable(self.camera_names)
        table = self.pairs
        rows, columns = (
            [names[camera] for camera in cameras.tolist()]
            for cameras in (table.query_cameras, table.gallery_cameras)
        )
        return as_image(draw_heat_map(table.metrics["mAP"].cpu().numpy(), rows, columns))

    def pair_rows(self) -> tuple[list[str], list[list[str | float]]]:
        """Header and rows of the table of mAP."""
        table, names = self.pairs, self.camera_names
        header = ["query camera", *(names[camera] for camera in table.gallery_cameras.tolist())]
        numbers = table.metrics["mAP"].tolist()
        cameras = table.query_cameras.tolist()
        rows = [[names[c], *values] for c, values in zip(cameras, numbers, strict=True)]
        return header, rows

    def worst_rankings(self) -> Image.Image | None:
        """Queries whose first match comes last."""
        return self._rankings(worst_queries(self.scores, self._query_ids, self.num_queries))

    def typical_rankings(self) -> Image.Image | None:
        """Queries around the median."""
        return self._rankings(typical_queries(self.scores, self._query_ids, self.num_queries))

    def attention(self) -> Image.Image | None:
        """The worst queries, then typical ones."""
        if self.attend is None or self.paths is None:
            return None
        few = max(1, self.num_queries // 2)
        names = writable(self.camera_names)
        queries = self.seen.is_query.nonzero()[:, 0].cpu()
        rows: dict[str, list[Attended]] = {}
        for kind, choose in {"worst": worst_queries, "typical": typical_queries}.items():
            chosen = queries[choose(self.scores, self._query_ids, few)]
            index = self.seen.index.cpu()[chosen].tolist()
            maps = self.attend(index)
            if maps is None:
                return None
            captions = [names[camera] for camera in self.seen.cameras.cpu()[chosen].tolist()]
            rows[f"{kind} queries"] = [
                Attended(self.paths[i], each, caption)
                for i, each, caption in zip(index, maps.cpu().numpy(), captions, strict=True)
            ]
        return draw_attention(rows)

    @property
    def _query_ids(self) -> Tensor:
        return self.seen.identities[self.seen.is_query]

    def _curve(self, scores: QueryScores) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return cmc_curve(scores.first_match[scores.valid].cpu().numpy())

    def _rankings(self, chosen: Integers) -> Image.Image | None:
        if self.paths is None or not len(chosen):
            return None
        rankings = rank_gallery(
            self.seen, self.scores, chosen, self.num_results, self.cross_camera_only
        )
        return draw_rankings(
            rankings,
            self.seen.identities.cpu(),
            self.seen.cameras.cpu(),
            _Listed(self.paths, self.seen.index.cpu()),
            writable(self.camera_names),
        )


class _Listed(Sequence[str]):
    """Some of many paths, in another order, without a list of them."""

    def __init__(self, paths: Sequence[str], places: Tensor) -> None:
        self._paths = paths
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: int) -> str:  # type: ignore[override]
        return self._paths[int(self._places[position])]
