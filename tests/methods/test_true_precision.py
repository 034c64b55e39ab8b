"""Networks in half precision; precisions and strategies that do not work."""

import pytest
import pytorch_lightning as pl
import torch
from command_line import run
from every_method import METHODS, options_of
from small_methods import Cells, make, market, state_of, train
from torch import nn

from lightning_reid import O2CAP, Supervised
from lightning_reid.errors import InputError
from lightning_reid.methods.memory import MemoryModule
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.search import TrainedModel

SMALL = {"num_clusters": 4, "epochs_per_round": 1, "soft_epoch": 1}


class Convolutions(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 16, 8, 8), nn.BatchNorm2d(16), nn.ReLU())


def method_of(cls):
    options = {k: v for k, v in SMALL.items() if k in options_of(cls)}
    model = make(cls, samples_per_bn_group=4, **options)
    model.network = EmbeddingNetwork(Convolutions(), None, samples_per_bn_group=4, pooling="gem")
    return model


@pytest.mark.parametrize("cls", METHODS)
def test_a_backbone_in_bfloat16(cls, persons, tmp_path):
    maps, embeddings = set(), set()

    class Watched(cls):
        def embed(self, images):
            rows = super().embed(images)
            embeddings.add(rows.dtype)
            return rows

        def label(self, features, *rest, **kwargs):
            assert features.dtype == torch.float32
            return super().label(features, *rest, **kwargs)

    model = method_of(Watched)
    model.network.backbone.register_forward_hook(lambda *args: maps.add(args[-1].dtype))
    runner = train(model, market(persons), tmp_path, 2, precision="bf16-true")
    runner.save_checkpoint(tmp_path / "2.ckpt")
    assert maps == {torch.bfloat16}
    assert embeddings <= {torch.float32}
    dtypes = {name: value.dtype for name, value in model.state_dict().items()}
    for name, dtype in dtypes.items():
        expected = torch.bfloat16 if ".backbone." in name else torch.float32
        assert dtype in (expected, torch.int64), name
    assert runner.callback_metrics["train/loss"].dtype == torch.float32
    if isinstance(model, MemoryModule):
        assert model.memory.dtype == torch.float32

    again = method_of(Watched)
    resumed = train(
        again, market(persons), tmp_path, 3, precision="bf16-true", checkpoint=tmp_path / "2.ckpt"
    )
    assert resumed.current_epoch == 3
    results = resumed.test(again, market(persons), verbose=False)[0]
    assert 0 < results["test/mAP"] <= 1


def test_the_loss_is_nearly_that_of_float32(persons, tmp_path):
    losses = []
    for precision in ("32-true", "bf16-true"):
        model = method_of(Supervised)
        runner = train(model, market(persons, seed=0), tmp_path, 1, precision=precision)
        losses.append(runner.callback_metrics["train/loss"])
    torch.testing.assert_close(losses[0], losses[1], rtol=0.05, atol=0)


def test_what_is_behind_the_backbone_is_not_rounded_by_another_run(persons, tmp_path):
    model = method_of(Supervised)
    runner = train(model, market(persons), tmp_path, 1, precision="bf16-true")
    before = {k: v for k, v in state_of(model).items() if ".backbone." not in k}
    assert any((v != v.bfloat16()).any() for v in before.values())
    runner.test(model, market(persons), verbose=False)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_converted_module_takes_float32_images_and_back():
    model = method_of(Supervised)
    images = torch.rand(2, 3, 32, 16)
    expected = model.eval().embed(images)
    half = model.bfloat16().embed(images)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.05, rtol=0)
    assert model.double().embed(images).dtype == torch.float64
    assert model.float().embed(images).dtype == torch.float32


def test_the_command_line_and_what_search_and_export_load(persons, tmp_path):
    folder = tmp_path / "run"
    options = ["--trainer.precision=bf16-true", "--trainer.max_epochs=1"]
    run("fit", persons, folder, *options)
    done = run("test", persons, folder, *options, f"--ckpt_path={folder}")
    assert done.trainer.callback_metrics["test/mAP"] > 0
    network = TrainedModel.load(folder).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    images = torch.rand(4, 3, 32, 16)
    expected = done.model.eval().embed(images)
    torch.testing.assert_close(network(images), expected, atol=0.05, rtol=0)


def test_float16_trains_mixed_and_embeds(persons, tmp_path):
    with pytest.raises(
        InputError, match=r"precision 16-true is not supported for training.*bf16-true"
    ):
        train(method_of(O2CAP), market(persons), tmp_path, 1, precision="16-true")
    runner = pl.Trainer(
        accelerator="cpu", precision="16-true", logger=False, enable_progress_bar=False
    )
    (rows, *_) = runner.predict(method_of(O2CAP), market(persons))
    assert rows["embedding"].dtype == torch.float32


class Unheard(pl.plugins.Precision):
    precision = "transformer-engine"


def test_other_precisions_are_refused_by_name(persons, tmp_path):
    with pytest.raises(InputError, match=r"precision transformer-engine is not supported.*32-true"):
        train(make(O2CAP), market(persons), tmp_path, 1, plugins=[Unheard()])


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
def test_strategies_that_split_the_network_are_refused(name, persons):
    cls = getattr(pl.strategies, name)
    # without its constructor, which wants packages and devices that need not be there
    strategy = cls.__new__(cls)
    runner = pl.Trainer(accelerator="cpu", logger=False)
    strategy._precision_plugin = None
    runner._accelerator_connector.strategy = strategy
    model = O2CAP(backbone=Cells(), weights=None)
    model._trainer = runner
    for stage in ("fit", "test"):
        with pytest.raises(InputError, match=rf"strategy {name} splits .*choose ddp"):
            model.setup(stage)
