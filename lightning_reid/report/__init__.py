"""What people look at."""

from lightning_reid.report.ranking import draw_rankings
from lightning_reid.report.summary import print_summary

__all__ = ["draw_rankings", "print_summary"]
