"""A whole step of CALR's memory against the published implementation."""

import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.losses import cluster_contrastive_loss, update_memory
from lightning_reid.losses.camera_alignment import camera_entropy_weights


# the loss of "plain" and its memory: test_cluster.py, test_memory.py
@pytest.mark.parametrize("variant", ["plain_weighted", "hard", "hard_weighted"])
def test_published_step(golden, variant):
    g = {k: torch.as_tensor(v) for k, v in golden("calr_a").items()}
    weighted = variant.endswith("weighted")
    weights = camera_entropy_weights(g["labels"], g["cams"]) if weighted else None
    inputs = g["inputs"].clone().requires_grad_()
    embeddings, targets, memory = normalize(inputs, dim=1), g["targets"], g["memory"]
    loss = cluster_contrastive_loss(embeddings, targets, memory, float(g["temp"]), weights)
    loss.backward()
    moved = update_memory(
        memory, embeddings, targets, float(g["momentum"]), hardest=variant.startswith("hard")
    )
    torch.testing.assert_close(loss, g[f"{variant}_loss"].to(loss), rtol=1e-4, atol=0)
    torch.testing.assert_close(inputs.grad, g[f"{variant}_grad"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(moved, g[f"{variant}_memory_after"], rtol=1e-4, atol=1e-6)
