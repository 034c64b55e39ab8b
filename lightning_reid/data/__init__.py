"""From files and cameras to batches."""

from lightning_reid.data.dataset import ImageDataset, UnreadableImageError, read_image
from lightning_reid.data.market import parse_market_folder
from lightning_reid.data.sample import Sample
from lightning_reid.data.samplers import ProxySampler, ShardSampler
from lightning_reid.data.transforms import Augmentation, test_transform, train_transform

__all__ = [
    "Augmentation",
    "ImageDataset",
    "ProxySampler",
    "Sample",
    "ShardSampler",
    "UnreadableImageError",
    "parse_market_folder",
    "read_image",
    "test_transform",
    "train_transform",
]
