import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, one_hot

from lightning_reid.losses.soft import soft_cross_entropy


def problem(num_images, num_classes, dtype=torch.float64):
    torch.manual_seed(0)
    logits = (3 * torch.randn(num_images, num_classes, dtype=dtype)).requires_grad_()
    targets = (3 * torch.randn(num_images, num_classes, dtype=dtype)).softmax(1)
    return logits, targets


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (8, 3), (5, 40)])
def test_is_the_written_formula(shape):
    logits, targets = problem(*shape)
    expected = 0
    for row, p in zip(logits, targets, strict=True):
        for j in range(shape[1]):
            expected = expected - p[j] * (row[j].exp() / row.exp().sum()).log() / shape[0]
    loss = soft_cross_entropy(logits, targets)
    torch.testing.assert_close(loss, expected)
    gradients = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(lambda z: soft_cross_entropy(z, targets), logits)


def test_one_hot_rows_are_ordinary_cross_entropy():
    logits, _ = problem(6, 4)
    labels = torch.randint(4, (6,))
    torch.testing.assert_close(
        soft_cross_entropy(logits, one_hot(labels, 4)), cross_entropy(logits, labels)
    )


def test_kl_divergence_has_the_same_gradient():
    logits, targets = problem(6, 4)
    divergence = kl_div(logits.log_softmax(1), targets, reduction="batchmean")
    loss = soft_cross_entropy(logits, targets)
    torch.testing.assert_close(loss - divergence, torch.special.entr(targets).sum(1).mean())
    gradients = (torch.autograd.grad(value, logits)[0] for value in (loss, divergence))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    loss = soft_cross_entropy(logits, torch.tensor([[0.2, 0.3, 0.5]]))
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(1.1e4), rtol=1e-2, atol=0)
    assert logits.grad.isfinite().all()
