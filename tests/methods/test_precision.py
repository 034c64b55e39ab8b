"""Mixed precision, accumulated and clipped gradients, compiled networks, losses that explode."""

import pytest
import torch
from every_method import METHODS, options_of
from small_methods import make, market, train
from torch import nn

from lightning_reid.errors import InputError
from lightning_reid.methods.memory import MemoryModule
from lightning_reid.models import EmbeddingNetwork

SMALL = {"num_clusters": 4, "epochs_per_round": 1, "soft_epoch": 1}


def settings_of(method):
    return {name: value for name, value in SMALL.items() if name in options_of(method)}


class Convolutions(nn.Module):
    """A network whose layers autocast runs in half precision."""

    num_features = 16

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, images):
        return self.layers(images)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_keeps_memory_and_labels_in_float32(method, persons, tmp_path):
    seen = []

    class Watched(method):
        def label_features(self, images):
            features = super().label_features(images)
            seen.append(features.dtype)
            return features

        def label(self, features, *rest, **kwargs):
            assert features.dtype == torch.float32
            return super().label(features, *rest, **kwargs)

    model = make(Watched, **settings_of(method))
    model.network = EmbeddingNetwork(Convolutions(), None)
    halves = []
    (first,) = [m for m in model.network.modules() if isinstance(m, nn.Conv2d)]
    first.register_forward_hook(lambda module, inputs, output: halves.append(output.dtype))
    trainer = train(model, market(persons), tmp_path, 4, precision="bf16-mixed")
    assert set(halves) == {torch.bfloat16}
    assert set(seen) == {torch.float32}
    assert trainer.callback_metrics["train/loss"].isfinite()
    if isinstance(model, MemoryModule):
        assert model.memory.dtype == torch.float32
        torch.testing.assert_close(model.memory.norm(dim=1), torch.ones(len(model.memory)))


@pytest.mark.parametrize("method", [m for m in METHODS if issubclass(m, MemoryModule)])
def test_the_memory_moves_with_every_batch_the_weights_with_every_second(method, persons, tmp_path):
    moves, weights = [], []

    class Watched(method):
        def move_memory(self, *args):
            before = self.memory
            super().move_memory(*args)
            moves.append(not torch.equal(before, self.memory))

        def on_train_batch_end(self, *args):
            weights.append(next(self.network.backbone.parameters()).detach().clone())

    model = make(Watched, **settings_of(method))
    data = market(persons, batches_per_epoch=4)
    train(model, data, tmp_path, 1, accumulate_grad_batches=2)
    assert moves == [True] * 4
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("method", METHODS)
def test_clipped_gradients(method, persons, tmp_path):
    norms = []

    class Watched(method):
        def on_before_zero_grad(self, optimizer):
            gradients = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            if gradients:
                norms.append(torch.stack(gradients).norm())

    settings = settings_of(method)
    train(make(Watched, **settings), market(persons), tmp_path, 2, gradient_clip_val=1e-3)
    assert norms
    assert max(norms) <= 1.001e-3


def test_a_compiled_backbone_learns_the_same(persons, tmp_path):
    weights = []
    for compiled in (False, True):
        model = make(METHODS[0], **settings_of(METHODS[0]))
        if compiled:
            # in place: names in checkpoints stay
            model.network.backbone.compile(backend="aot_eager")
        train(model, market(persons, seed=0), tmp_path / str(compiled), 1)
        weights.append(model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_no_number_stops_before_the_weights_and_names_the_batch(
    method, persons, tmp_path
):
    class Exploding(method):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if self.global_step == 1:
                loss.data.fill_(float("nan"))
            return loss

    model = make(Exploding, **settings_of(method))
    with pytest.raises(InputError, match=r"the loss became nan in epoch 0.*batch held .*\.jpg"):
        train(model, market(persons), tmp_path, 4)
    assert all(p.isfinite().all() for p in model.parameters())
