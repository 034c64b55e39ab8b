"""From files and cameras to batches."""

from lightning_reid.data.dataset import ImageDataset, UnreadableImageError, read_image
from lightning_reid.data.market import parse_market_folder
from lightning_reid.data.msmt17 import parse_msmt17_list
from lightning_reid.data.sample import Sample
from lightning_reid.data.samplers import LabelSampler, ShardSampler
from lightning_reid.data.transforms import Augmentation, test_transform, train_transform

__all__ = [
    "Augmentation",
    "ImageDataset",
    "LabelSampler",
    "Sample",
    "ShardSampler",
    "UnreadableImageError",
    "parse_market_folder",
    "parse_msmt17_list",
    "read_image",
    "test_transform",
    "train_transform",
]
