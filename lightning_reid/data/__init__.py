"""From files and cameras to batches."""

from lightning_reid.data.dataset import ImageDataset, OnError, UnreadableImageError, read_image
from lightning_reid.data.image_cache import ImageCache
from lightning_reid.data.market import parse_market_folder
from lightning_reid.data.msmt17 import parse_msmt17_list
from lightning_reid.data.samplers import Draw, LabelSampler, ShardSampler
from lightning_reid.data.samples import Sample, Samples
from lightning_reid.data.strings import Strings
from lightning_reid.data.transforms import Augmentation, test_transform, train_transform

__all__ = [
    "Augmentation",
    "Draw",
    "ImageCache",
    "ImageDataset",
    "LabelSampler",
    "OnError",
    "Sample",
    "Samples",
    "ShardSampler",
    "Strings",
    "UnreadableImageError",
    "parse_market_folder",
    "parse_msmt17_list",
    "read_image",
    "test_transform",
    "train_transform",
]
