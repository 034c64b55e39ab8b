"""Methods from their checkpoints alone, and what a stranger's file cannot do."""

import io

import numpy as np
import pytest
import torch
from small_methods import Cells, make, market, same_state, state_of, train
from torch import nn

from lightning_reid import CALR, CAP, O2CAP, ReIDModule, Supervised
from lightning_reid.clustering import Clusterer, KMeansClusterer
from lightning_reid.clustering.clusterers import Clustering
from lightning_reid.errors import InputError
from lightning_reid.lightning import pl
from lightning_reid.methods.proxy_memory import ProxyMemoryModule
from lightning_reid.metrics import Evaluation, Reranking

SHUFFLENET = "shufflenet_v2_x0_5"


class Halves(Clusterer):
    """A clusterer of the user's."""

    def __init__(self, dimension=0):
        self.dimension = dimension

    def cluster(self, features, cameras, neighbors):
        return Clustering((features[:, self.dimension] > 0).long(), {})


def saved(module, file, **more):
    """A checkpoint of a module as a Trainer would write it."""
    checkpoint = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": pl.__version__,
    }
    module.on_save_checkpoint(checkpoint)
    checkpoint["hyper_parameters"] |= more
    torch.save(checkpoint, file)
    return file


@pytest.fixture(scope="module")
def o2cap():
    evaluation = Evaluation(rerank=Reranking(k1=9))
    settings = {"clusterer": KMeansClusterer(7), "evaluation": evaluation, "num_positives": 2}
    return O2CAP(backbone=SHUFFLENET, weights=None, **settings)


@pytest.fixture(scope="module")
def file(o2cap, tmp_path_factory):
    return saved(o2cap, tmp_path_factory.mktemp("saved") / "o2cap.ckpt")


@pytest.mark.parametrize("base", [O2CAP, ReIDModule, ProxyMemoryModule])
def test_the_method_that_wrote_the_file(base, file, o2cap):
    loaded = base.load_from_checkpoint(file)
    assert type(loaded) is O2CAP
    assert same_state(loaded.state_dict(), state_of(o2cap))
    assert vars(loaded.clusterer) == vars(o2cap.clusterer)
    assert loaded.evaluation == o2cap.evaluation
    assert loaded.num_positives == 2


def test_from_an_open_file_an_address_and_the_folder_of_a_run(file, o2cap, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(file.read_bytes())
    for source in (io.BytesIO(file.read_bytes()), f"file://{file}", str(tmp_path)):
        loaded = ReIDModule.load_from_checkpoint(source, map_location="cpu", weights_only=True)
        assert same_state(loaded.state_dict(), state_of(o2cap))


def test_arguments_replace_those_in_the_file(file, tmp_path):
    loaded = O2CAP.load_from_checkpoint(file, num_positives=1, clusterer=Halves(1))
    assert loaded.num_positives == 1
    assert isinstance(loaded.clusterer, Halves)
    (tmp_path / "hparams.yaml").write_text(f"backbone: {SHUFFLENET}\nbalance: 0.5\n")
    loaded = O2CAP.load_from_checkpoint(file, hparams_file=tmp_path / "hparams.yaml")
    assert (loaded.balance, loaded.num_positives) == (0.5, 3)
    with pytest.raises(InputError, match="O2CAP has no argument 'number'"):
        O2CAP.load_from_checkpoint(file, number=1)


def test_another_method_is_named(file):
    with pytest.raises(InputError, match=r"o2cap.ckpt was written by O2CAP; CAP cannot load it"):
        CAP.load_from_checkpoint(file)
    with pytest.raises(InputError, match=r"call O2CAP.load_from_checkpoint"):
        Supervised.load_from_checkpoint(file, backbone=Cells())


def test_a_method_of_the_user_loads_its_own_file_and_no_other_does(tmp_path):
    class Mine(O2CAP):
        def __init__(self, size=3):
            super().__init__(backbone=nn.Conv2d(3, size, 5), weights=None)

    file = saved(Mine(5), tmp_path / "mine.ckpt")
    assert Mine.load_from_checkpoint(file).network.embedding_dim == 5
    for base in (ReIDModule, O2CAP):
        with pytest.raises(InputError, match="by Mine, which is not a method of this library"):
            base.load_from_checkpoint(file)


def test_an_instance_does_not_load():
    with pytest.raises(TypeError, match="instance"):
        make(O2CAP).load_from_checkpoint("last.ckpt")


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        {"weight": torch.zeros(3)},
        {"state_dict": {}, "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.6.0"},
        {"lightning_reid": {}, "state_dict": {}},
        {"lightning_reid": {"method": ["O2CAP"]}},
    ],
)
@pytest.mark.parametrize("base", [O2CAP, ReIDModule])
def test_other_checkpoints_are_refused(content, base, tmp_path):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other.ckpt was not written by a run of lightning_reid"):
        base.load_from_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="not written by a run"):
        make(O2CAP).require_own(content)


DAMAGES = {
    "no weights": (lambda c: c.pop("state_dict"), "it has no state_dict"),
    "a list of weights": (lambda c: c.update(state_dict=[1]), "state_dict is a list"),
    "numbers for weights": (
        lambda c: c["state_dict"].update({"network.neck.weight": 1}),
        "state_dict is not a dictionary of named tensors",
    ),
    "weights of another": (
        lambda c: c.update(state_dict={"a": torch.zeros(1)}),
        "weights in .*damaged.ckpt do not fit",
    ),
    "no dictionary": (lambda c: c.update(hyper_parameters=[1]), "hyper_parameters is a list"),
    "numbers for names": (lambda c: c.update(hyper_parameters={1: 2}), "hyper_parameters are not"),
    "unknown argument": (lambda c: c["hyper_parameters"].update(lr=1), "argument 'lr'"),
    "out of range": (lambda c: c["hyper_parameters"].update(balance=3), "balance must be"),
    "another type": (lambda c: c["hyper_parameters"].update(balance="a"), "does not make a O2CAP"),
    "settings of no clusterer": (
        lambda c: c["hyper_parameters"].update(clusterer={"init_args": {}}),
        "none of this library's clusterers",
    ),
    "settings that it does not take": (
        lambda c: c["hyper_parameters"]["clusterer"]["init_args"].update(eps=1),
        "KMeansClusterer cannot be made",
    ),
    "settings of no evaluation": (
        lambda c: c["hyper_parameters"].update(evaluation={"rank": 1}),
        "does not make a O2CAP",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(damage, file, tmp_path):
    change, words = DAMAGES[damage]
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(InputError, match=words) as raised:
        O2CAP.load_from_checkpoint(tmp_path / "damaged.ckpt")
    assert "damaged.ckpt" in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.fixture
def chain(tmp_path):
    """A setting that jsonargparse would run a program from, and what that would leave."""
    sign = tmp_path / "sign"
    command = {"class_path": "subprocess.Popen", "init_args": {"args": ["mkdir", str(sign)]}}
    yield {"class_path": "torch.nn.Sequential", "init_args": {"args": [command]}}
    assert not sign.exists()


INSTANTIATOR = {"_instantiator": "pytorch_lightning.cli.instantiate_module"}


@pytest.mark.parametrize("base", [O2CAP, ReIDModule])
@pytest.mark.parametrize("name", ["backbone", "clusterer", "evaluation", "pooling", "unheard_of"])
def test_classes_in_a_file_are_not_made(name, base, o2cap, chain, tmp_path):
    hostile = {**INSTANTIATOR, name: chain, "_class_path": "lightning_reid.O2CAP"}
    file = saved(o2cap, tmp_path / "stranger.ckpt", **hostile)
    with pytest.raises(InputError, match=rf"stranger.ckpt.*{name}=torch.nn.Sequential, a class"):
        base.load_from_checkpoint(file, weights_only=True)


@pytest.mark.parametrize("nested", [lambda c: [c], lambda c: {"expand": {"deep": [c]}}])
def test_nor_are_those_inside_other_values(nested, o2cap, chain, tmp_path):
    file = saved(o2cap, tmp_path / "stranger.ckpt", **INSTANTIATOR, evaluation=nested(chain))
    with pytest.raises(InputError, match="a checkpoint does not decide which code runs"):
        O2CAP.load_from_checkpoint(file)


def test_a_value_that_contains_itself_is_refused(o2cap, tmp_path):
    endless = {}
    endless["again"] = endless
    file = saved(o2cap, tmp_path / "endless.ckpt", evaluation=endless)
    with pytest.raises(InputError, match="a container in it contains itself"):
        O2CAP.load_from_checkpoint(file)


def test_a_clusterer_of_the_user_is_passed(tmp_path):
    method = O2CAP(backbone=SHUFFLENET, weights=None, clusterer=Halves(1))
    file = saved(method, tmp_path / "halves.ckpt")
    with pytest.raises(InputError, match=r"clusterer=.*Halves.*load_from_checkpoint\(file, clus"):
        O2CAP.load_from_checkpoint(file)
    assert O2CAP.load_from_checkpoint(file, clusterer=Halves(1)).clusterer.dimension == 1


def test_a_class_called_like_one_of_this_library_is_not_made(o2cap, tmp_path):
    class KMeansClusterer(Halves):
        pass

    settings = {"class_path": "lightning_reid.clustering.Halves", "init_args": {}}
    file = saved(o2cap, tmp_path / "named.ckpt", clusterer=settings)
    with pytest.raises(InputError, match="Halves is none of this library's clusterers"):
        O2CAP.load_from_checkpoint(file)
    own = {"class_path": "KMeansClusterer", "init_args": {"num_clusters": 3}}
    assert type(Clusterer.from_settings(own)) is not KMeansClusterer


def test_a_backbone_that_was_a_module_is_passed(tmp_path):
    file = saved(make(O2CAP), tmp_path / "cells.ckpt", backbone="resnet18")
    with pytest.raises(InputError, match="do not fit the network that it tells of"):
        O2CAP.load_from_checkpoint(file)
    assert O2CAP.load_from_checkpoint(file, backbone=Cells()).network.embedding_dim == 24


def test_weights_in_a_file_are_not_looked_for(o2cap, tmp_path):
    file = saved(o2cap, tmp_path / "o2cap.ckpt", weights="/nowhere/else.pth")
    assert O2CAP.load_from_checkpoint(file).hparams["weights"] is None


def test_numpy_numbers_as_arguments_are_kept(persons, tmp_path):
    model = make(O2CAP, learning_rate=np.float64(1e-3))
    train(model, market(persons), tmp_path, 1).save_checkpoint(tmp_path / "model.ckpt")
    loaded = O2CAP.load_from_checkpoint(tmp_path / "model.ckpt", backbone=Cells())
    assert loaded.learning_rate == 1e-3


def test_every_setting_of_calr_comes_back(tmp_path):
    method = CALR(
        backbone=SHUFFLENET, weights=None, local_clusterer=KMeansClusterer(3), pivot="last", seed=4
    )
    loaded = CALR.load_from_checkpoint(saved(method, tmp_path / "calr.ckpt"))
    assert vars(loaded.local_clusterer) == vars(method.local_clusterer)
    assert loaded.seed == 4
