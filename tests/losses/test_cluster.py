import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.losses import cluster_contrastive_loss


@pytest.mark.parametrize("weighted", [False, True])
def test_published_numbers(golden, weighted):
    g = {k: torch.as_tensor(v) for k, v in golden("calr_a").items()}
    inputs = g["inputs"].clone().requires_grad_()
    weights = g["class_weights"] if weighted else None
    loss = cluster_contrastive_loss(
        normalize(inputs, dim=1), g["targets"], g["memory"], float(g["temp"]), weights
    )
    loss.backward()
    name = "plain_weighted" if weighted else "plain"
    torch.testing.assert_close(loss, g[f"{name}_loss"].to(loss), rtol=1e-4, atol=0)
    torch.testing.assert_close(inputs.grad, g[f"{name}_grad"], rtol=1e-4, atol=1e-6)


def test_weights_that_are_all_zero_cost_nothing():
    embeddings = normalize(torch.randn(4, 8), dim=1).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    loss = cluster_contrastive_loss(embeddings, labels, torch.eye(8)[:3], 0.05, torch.zeros(3))
    loss.backward()
    assert loss == 0
    assert (embeddings.grad == 0).all()
