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


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_whole_type_are_indices(weights, dtype):
    embeddings = normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    labels, centroids = torch.tensor([2, 0, 1]), torch.eye(8)[:3]
    expected = cluster_contrastive_loss(embeddings, labels, centroids, class_weights=weights)
    given = cluster_contrastive_loss(embeddings, labels.to(dtype), centroids, 0.05, weights)
    assert given == expected


@pytest.mark.parametrize("weights", [None, torch.ones(200)])
def test_no_label_is_ignored(weights):
    embeddings, centroids = torch.eye(256)[:2], torch.eye(256)[:200]
    with pytest.raises(IndexError, match="-100"):
        cluster_contrastive_loss(embeddings, torch.tensor([0, -100]), centroids, 0.05, weights)


@pytest.mark.parametrize("weights", [None, torch.ones(3)])
def test_half_precision_does_not_lose_small_losses(weights):
    centroids = torch.eye(8)[:3]
    embeddings = normalize(centroids + 0.2, dim=1)
    exact = cluster_contrastive_loss(embeddings, torch.arange(3), centroids, 0.1, weights)
    for half in (torch.bfloat16, torch.float16):
        rounded = cluster_contrastive_loss(
            embeddings.to(half), torch.arange(3), centroids.to(half), 0.1, weights
        )
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0)
        with torch.autocast("cpu", dtype=half):
            cast = cluster_contrastive_loss(embeddings, torch.arange(3), centroids, 0.1, weights)
        torch.testing.assert_close(cast, exact, rtol=0.05, atol=0)
    double = cluster_contrastive_loss(embeddings.double(), torch.arange(3), centroids.double())
    assert double.dtype == torch.float64
