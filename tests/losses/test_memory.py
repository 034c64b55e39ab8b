import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.losses import update_memory


def one_by_one(memory, embeddings, targets, momentum):
    memory = memory.clone()
    for f, t in zip(embeddings, targets, strict=True):
        memory[t] = normalize(momentum * memory[t] + (1 - momentum) * f, dim=0)
    return memory


@pytest.mark.parametrize("seed", range(5))
def test_equals_one_image_after_the_other(seed):
    torch.manual_seed(seed)
    memory = normalize(torch.randn(7, 8), dim=1)
    embeddings, targets = normalize(torch.randn(30, 8), dim=1), torch.randint(7, (30,))
    moved = update_memory(memory, embeddings, targets, 0.2)
    torch.testing.assert_close(moved, one_by_one(memory, embeddings, targets, 0.2))
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(7))


def test_order_matters_and_the_input_stays():
    memory = torch.eye(2)
    before = memory.clone()
    embeddings = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
    targets = torch.tensor([0, 0])
    forth = update_memory(memory, embeddings, targets, 0.2)
    back = update_memory(memory, embeddings.flip(0), targets, 0.2)
    assert not torch.allclose(forth, back)
    torch.testing.assert_close(memory, before)


def test_negative_targets_and_empty_batches_move_nothing():
    memory = torch.eye(3)
    nothing = torch.tensor([-1, -1])
    torch.testing.assert_close(update_memory(memory, torch.ones(2, 3), nothing, 0.2), memory)
    empty = torch.empty(0, dtype=torch.int64)
    torch.testing.assert_close(update_memory(memory, torch.empty(0, 3), empty, 0.2), memory)


def test_hardest_moves_once_by_the_least_similar():
    memory = torch.eye(2)
    embeddings = torch.tensor([[0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    moved = update_memory(memory, embeddings, torch.tensor([0, 0, 1]), 0.1, hardest=True)
    expected = normalize(torch.tensor([[0.1, 0.9], [0.54, 0.82]]), dim=1)
    torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize(("variant", "hardest"), [("plain", False), ("hard", True)])
def test_published_numbers(golden, variant, hardest):
    g = {k: torch.as_tensor(v) for k, v in golden("calr_a").items()}
    moved = update_memory(
        g["memory"], normalize(g["inputs"], dim=1), g["targets"], float(g["momentum"]), hardest
    )
    torch.testing.assert_close(moved, g[f"{variant}_memory_after"], rtol=1e-4, atol=1e-6)
