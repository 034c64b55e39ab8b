"""What is in a data set, and what it means for training: ``lightning-reid check``."""

from lightning_reid.inspection.finding import Finding
from lightning_reid.inspection.inspection import Inspection, inspect
from lightning_reid.inspection.methods import Suitability
from lightning_reid.inspection.report import print_inspection, write_inspection

__all__ = [
    "Finding",
    "Inspection",
    "Suitability",
    "inspect",
    "print_inspection",
    "write_inspection",
]
