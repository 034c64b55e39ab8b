"""The metric alone, on embeddings from anywhere."""

import torch
from torch.nn.functional import normalize

from lightning_reid import RetrievalMetrics

torch.manual_seed(0)
identities = torch.arange(1000) % 50  # 50 people
cameras = torch.arange(1000) // 50 % 4  # in 4 cameras
prototypes = torch.randn(50, 64)
embeddings = normalize(prototypes[identities] + 1.2 * torch.randn(1000, 64), dim=1)

metric = RetrievalMetrics(ranks=(1, 5), confidence=0.95)
for batch in torch.arange(1000).split(128):
    metric.update(
        embeddings[batch],
        identities[batch],
        cameras[batch],
        is_query=batch < 200,  # the others are the gallery
        index=batch,
    )
for name, value in metric.compute().items():
    print(f"{name:20} {value:.3f}")
