"""Checkpoints do not depend on whether a network was compiled, or wrapped otherwise."""

import pytest
import pytorch_lightning as pl
import torch
from every_method import METHODS, options_of
from small_methods import Cells, make, market, same_state, state_of, train
from torch import nn

from lightning_reid import O2CAP, ReliableSoftLabels
from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork, build_backbone
from lightning_reid.models.tensor_names import unwrapped, unwrapped_name
from lightning_reid.search import TrainedModel

SMALL = {"num_clusters": 4, "epochs_per_round": 1, "soft_epoch": 1}


def small(method):
    return make(method, **{k: v for k, v in SMALL.items() if k in options_of(method)})


def compiled(module):
    return torch.compile(module, backend="eager")


def whole(model):
    model.network = compiled(model.network)


def inside(model):
    model.network.backbone.trunk = compiled(model.network.backbone.trunk)
    model.network.neck = compiled(model.network.neck)


def both(model):
    model.network.backbone = compiled(model.network.backbone)
    whole(model)


def parallel(model):
    model.network.backbone = nn.DataParallel(model.network.backbone)


def plain(model):
    pass


WAYS = [plain, whole, inside, both, parallel]


@pytest.fixture(scope="module")
def checkpoints(persons, tmp_path_factory):
    """A checkpoint after one epoch for each way to wrap, with the state that it was made of."""
    folder, made = tmp_path_factory.mktemp("compiled"), {}
    for way in WAYS:
        model = make(O2CAP)
        names = list(model.state_dict())
        way(model)
        assert list(model.state_dict()) == names
        runner = train(model, market(persons, seed=0), folder, 1)
        runner.save_checkpoint(folder / way.__name__)
        made[way] = folder / way.__name__, state_of(model)
    return made


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        *((plain, way) for way in WAYS[1:]),
        *((way, plain) for way in WAYS[1:]),
        (whole, whole),
        (both, inside),
        (inside, parallel),
    ],
)
def test_a_run_goes_on_whatever_is_compiled(saved, loaded, checkpoints, persons, tmp_path):
    file, state = checkpoints[saved]
    model = make(O2CAP)
    loaded(model)
    resumed = train(model, market(persons), tmp_path, 2, checkpoint=file)
    assert resumed.current_epoch == 2
    again = make(O2CAP)
    loaded(again)
    resumed.test(again, market(persons), ckpt_path=file, verbose=False)
    assert same_state(again.state_dict(), state)


@pytest.mark.parametrize("saved", WAYS)
def test_a_checkpoint_loads_alone(saved, checkpoints):
    file, state = checkpoints[saved]
    loaded = O2CAP.load_from_checkpoint(file, backbone=Cells(), weights_only=True)
    assert same_state(loaded.state_dict(), state)
    loaded.require_own(torch.load(file, weights_only=True))


def with_wrapped_names(content):
    """What a checkpoint holds that was written before names were made plain."""
    state = {
        name.replace("network.", "network._orig_mod."): value
        for name, value in content["state_dict"].items()
    }
    return {**content, "state_dict": state}


@pytest.mark.parametrize("loaded", [plain, whole])
def test_names_of_a_compiled_network_in_a_file_are_understood(loaded, checkpoints, tmp_path):
    file, state = checkpoints[plain]
    content = with_wrapped_names(torch.load(file, weights_only=True))
    model = make(O2CAP)
    loaded(model)
    model.require_own(content)
    model.load_state_dict(content["state_dict"])
    assert same_state(model.state_dict(), state)


def test_another_network_is_refused_all_the_same(checkpoints):
    content = torch.load(checkpoints[whole][0], weights_only=True)
    model = O2CAP(backbone=nn.Conv2d(3, 8, 5), weights=None)
    whole(model)
    with pytest.raises(InputError, match="another network"):
        model.require_own(content)


def test_a_compiled_method_is_trained(persons, tmp_path):
    model = make(O2CAP)
    runner = train(compiled(model), market(persons), tmp_path, 1)
    runner.save_checkpoint(tmp_path / "model.ckpt")
    loaded = O2CAP.load_from_checkpoint(tmp_path / "model.ckpt", backbone=Cells())
    assert same_state(loaded.state_dict(), state_of(model))


@pytest.mark.parametrize("way", [whole, inside])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on(method, way, persons, tmp_path):
    first, second = small(method), small(method)
    way(first)
    train(first, market(persons), tmp_path, 1).save_checkpoint(tmp_path / "1.ckpt")
    train(second, market(persons), tmp_path, 2, checkpoint=tmp_path / "1.ckpt")


def test_weights_to_begin_again_with_are_those_of_the_network(persons, tmp_path):
    """A round of reliable soft labels begins with the source's weights, compiled or not."""
    models = [small(ReliableSoftLabels) for _ in range(2)]
    whole(models[0])
    for model in models:
        train(model, market(persons, seed=0), tmp_path, 1)
    first, second = (model.training_state()["source"] for model in models)
    assert same_state(first, second)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_averaged_weights_go_on_too(averaging, persons, tmp_path):
    def callback():
        if averaging == "ema":
            return pl.callbacks.EMAWeightAveraging(decay=0.5)
        return pl.callbacks.StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1)

    first, second = make(O2CAP), make(O2CAP)
    whole(first)
    options = {"enable_checkpointing": True, "logger": False}
    train(first, market(persons), tmp_path, 2, callback(), **options)
    (file,) = (tmp_path / "checkpoints").glob("*.ckpt")
    train(second, market(persons), tmp_path, 3, callback(), checkpoint=file)


def test_files_with_such_names_are_weights(tmp_path):
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", None)
    state = {
        f"module._orig_mod.{name.replace('layer1.', 'layer1._orig_mod.')}": value
        for name, value in backbone.trunk.state_dict().items()
    }
    torch.save(state, tmp_path / "weights.pth")
    loaded = build_backbone("resnet18", tmp_path / "weights.pth")
    assert same_state(loaded.state_dict(), backbone.state_dict())


def test_a_checkpoint_with_such_names_is_a_trained_model(tmp_path):
    network = EmbeddingNetwork("shufflenet_v2_x0_5", None)
    content = {
        "lightning_reid": {"method": "O2CAP"},
        "pytorch-lightning_version": "2.6.0",
        "epoch": 0,
        "global_step": 0,
        "hyper_parameters": {"backbone": "shufflenet_v2_x0_5"},
        "state_dict": {f"network._orig_mod.{k}": v for k, v in network.state_dict().items()},
    }
    torch.save(content, tmp_path / "model.ckpt")
    model = TrainedModel.load(tmp_path / "model.ckpt", (64, 32))
    assert same_state(model.network.state_dict(), network.state_dict())


def test_names():
    assert unwrapped_name("_orig_mod.a._orig_mod.b") == "a.b"
    assert unwrapped_name("my_orig_mod.a") == "my_orig_mod.a"
    layer = nn.Linear(1, 1)
    assert unwrapped(nn.DataParallel(compiled(nn.DataParallel(layer)))) is layer
    assert unwrapped(layer) is layer


def test_calling_a_module_embeds_as_its_subclass_says():
    class Mine(O2CAP):
        def embed(self, images):
            return 2 * super().embed(images)

    model = make(Mine).eval()
    images = torch.rand(2, 3, 32, 16)
    assert torch.equal(model(images), model.embed(images))
    assert model(images).norm(dim=1).allclose(torch.full((2,), 2.0))
