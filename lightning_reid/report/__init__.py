"""What people look at."""

from lightning_reid.report.attention import Attended, attention_maps, draw_attention
from lightning_reid.report.curves import draw_cmc, draw_labellings, draw_over_epochs
from lightning_reid.report.embedding_map import (
    draw_map_by_camera,
    draw_map_by_cluster,
    embedding_map,
)
from lightning_reid.report.heat_map import draw_heat_map
from lightning_reid.report.montage import choose_clusters, draw_montage
from lightning_reid.report.ranking import draw_rankings, rank_gallery
from lightning_reid.report.summary import print_summary

__all__ = [
    "Attended",
    "attention_maps",
    "choose_clusters",
    "draw_attention",
    "draw_cmc",
    "draw_heat_map",
    "draw_labellings",
    "draw_map_by_camera",
    "draw_map_by_cluster",
    "draw_montage",
    "draw_over_epochs",
    "draw_rankings",
    "embedding_map",
    "print_summary",
    "rank_gallery",
]
