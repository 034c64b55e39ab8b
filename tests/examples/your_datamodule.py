"""One of the methods here on a data module of your own."""

from pathlib import Path

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset
from torchvision.io import decode_image
from torchvision.transforms.v2.functional import resize

from lightning_reid import O2CAP
from lightning_reid.clustering import DensityClusterer
from lightning_reid.data import LabelSampler


class Crops(Dataset):
    """Images in ``crops/<camera>/``."""

    def __init__(self):
        self.files = sorted(Path("crops").glob("*/*.jpg"))
        self.cameras = sorted({file.parent.name for file in self.files})

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        file = self.files[index]
        return {
            "image": resize(decode_image(file), [64, 32]) / 255,
            "camera": self.cameras.index(file.parent.name),
            "index": int(index),
        }


class YourData(pl.LightningDataModule):
    """Needs two methods more than any other: ``label_dataloader`` and ``assign``."""

    def setup(self, stage):
        self.crops = Crops()
        self.sampler = LabelSampler(
            self.crops,
            batch_size=16,
            images_per_group=4,
            num_batches=5,
            num_replicas=self.trainer.world_size,
            rank=self.trainer.global_rank,
        )

    def label_dataloader(self):  # every image once
        return DataLoader(self.crops, batch_size=64)

    def assign(self, labels):  # batches are drawn by these from now on
        self.sampler.assign(labels.groups)

    def train_dataloader(self):
        return DataLoader(self.crops, batch_size=16, sampler=self.sampler)


model = O2CAP(
    backbone="shufflenet_v2_x0_5",
    weights=None,
    clusterer=DensityClusterer(k1=5, eps=0.6, min_samples=2),  # these images are few
)
trainer = pl.Trainer(max_epochs=2, accelerator="auto", logger=False, enable_checkpointing=False)
trainer.fit(model, YourData())
print(f"{model.current_labels().num_clusters} clusters")
