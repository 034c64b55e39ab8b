"""Your own LightningModule with the callback, the clustering and a loss from here."""

import pytorch_lightning as pl
import torch
from torch.nn.functional import normalize
from torchvision.models import shufflenet_v2_x0_5

from lightning_reid import ManifestData, PseudoLabelCallback, PseudoLabels
from lightning_reid.clustering import DensityClusterer, camera_normalize
from lightning_reid.labels import group_means
from lightning_reid.losses import cluster_contrastive_loss, update_memory


class YourModule(pl.LightningModule):
    """Needs three methods more than any other: ``embed``, ``label`` and ``adopt``."""

    def __init__(self):
        super().__init__()
        self.network = shufflenet_v2_x0_5(num_classes=128)
        self.cluster = DensityClusterer(k1=5, eps=0.6, min_samples=2)  # these images are few

    def embed(self, images):  # unit rows
        return normalize(self.network(images), dim=1)

    def label(self, features, cameras, epoch):  # at every epoch boundary
        clusters, statistics = self.cluster(camera_normalize(features, cameras), cameras)
        return PseudoLabels(clusters, statistics=statistics)

    def adopt(self, labels, features):
        self.clusters = labels.hard.to(features.device)
        self.centroids = group_means(features, self.clusters)

    def training_step(self, batch, batch_idx):
        embeddings = self.embed(batch["image"])
        clusters = self.clusters[batch["index"]]
        loss = cluster_contrastive_loss(embeddings, clusters, self.centroids)
        self.centroids = update_memory(self.centroids, embeddings, clusters, momentum=0.1)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3.5e-4)


data = ManifestData(
    "crops", pattern="{camera}/*.jpg", size=(64, 32), batch_size=16, batches_per_epoch=5
)
callback = PseudoLabelCallback()
trainer = pl.Trainer(max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False)
trainer.fit(YourModule(), data)
print(f"{callback.labels.num_clusters} clusters")
