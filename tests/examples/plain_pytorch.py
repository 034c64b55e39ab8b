"""The mathematics alone, in a training loop of plain PyTorch."""

from pathlib import Path

import torch
from torch.nn.functional import normalize
from torchvision.io import decode_image
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms.v2.functional import resize

from lightning_reid.clustering import camera_normalize, dbscan, jaccard_distance
from lightning_reid.labels import group_means, group_owner, split_by_camera
from lightning_reid.losses import offline_proxy_loss, update_memory

files = sorted(Path("crops").glob("*/*.jpg"))
names = sorted({file.parent.name for file in files})
cameras = torch.tensor([names.index(file.parent.name) for file in files])
images = torch.stack([resize(decode_image(file), [64, 32]) / 255 for file in files])

network = shufflenet_v2_x0_5(num_classes=128)
optimizer = torch.optim.Adam(network.parameters(), lr=3.5e-4)

for epoch in range(2):
    network.eval()
    with torch.no_grad():
        features = normalize(network(images), dim=1)
    distances = jaccard_distance(camera_normalize(features, cameras), k1=5, k2=2)
    clusters = torch.from_numpy(dbscan(distances, eps=0.6, min_samples=2))
    own_proxies = torch.from_numpy(split_by_camera(clusters, cameras))
    proxies = group_means(features, own_proxies)  # the memory
    proxy_clusters = group_owner(own_proxies, clusters)

    network.train()
    for batch in torch.randperm(len(files)).split(16):
        batch = batch[clusters[batch] >= 0]  # no outliers
        if len(batch) < 2:
            continue
        embeddings = normalize(network(images[batch]), dim=1)
        loss = offline_proxy_loss(
            embeddings, clusters[batch], cameras[batch], proxies, proxy_clusters
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        proxies = update_memory(proxies, embeddings, own_proxies[batch], momentum=0.2)
    print(f"epoch {epoch}: {len(proxy_clusters)} proxies, loss {loss.item():.2f}")
