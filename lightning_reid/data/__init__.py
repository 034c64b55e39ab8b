"""From files and cameras to batches."""

from lightning_reid.data.dataset import ImageDataset, OnError
from lightning_reid.data.duke_video import parse_duke_video_folder
from lightning_reid.data.erasing import RandomErase, erase_boxes, erasing_boxes
from lightning_reid.data.image_cache import ImageCache
from lightning_reid.data.images import UnreadableImageError, read_image
from lightning_reid.data.manifest import read_manifest
from lightning_reid.data.market import parse_market_folder
from lightning_reid.data.mars import parse_mars, parse_mars_tracks
from lightning_reid.data.msmt17 import parse_msmt17_list
from lightning_reid.data.prid2011 import parse_prid2011_multi, parse_prid2011_single
from lightning_reid.data.samplers import Draw, LabelSampler, ShardSampler
from lightning_reid.data.samples import Sample, Samples
from lightning_reid.data.strings import Strings
from lightning_reid.data.transforms import Augmentation, test_transform, train_transform
from lightning_reid.data.viper import parse_viper_folder

__all__ = [
    "Augmentation",
    "Draw",
    "ImageCache",
    "ImageDataset",
    "LabelSampler",
    "OnError",
    "RandomErase",
    "Sample",
    "Samples",
    "ShardSampler",
    "Strings",
    "UnreadableImageError",
    "erase_boxes",
    "erasing_boxes",
    "parse_duke_video_folder",
    "parse_market_folder",
    "parse_mars",
    "parse_mars_tracks",
    "parse_msmt17_list",
    "parse_prid2011_multi",
    "parse_prid2011_single",
    "parse_viper_folder",
    "read_image",
    "read_manifest",
    "test_transform",
    "train_transform",
]
