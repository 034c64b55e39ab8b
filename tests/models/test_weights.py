"""Weights from every layout people have, and what is said about those that do not fit."""

import logging
import sys

import pytest
import torch
import torchvision
from torch import nn

from lightning_reid.errors import MissingPackageError
from lightning_reid.models import EmbeddingNetwork, LoadReport, build_backbone, load_weights
from lightning_reid.models.checkpoint_files import find_state_dicts, is_checkpoint_path
from lightning_reid.models.torchvision_trunks import build_torchvision_trunk

LOGGER = "lightning_reid.models.weights"


@pytest.fixture(scope="module")
def resnet():
    """A torchvision ResNet-18's tensors, with its classifier."""
    torch.manual_seed(0)
    state_dict = torchvision.models.resnet18().state_dict()
    return {
        name: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in state_dict.items()
    }


def prefixed(prefix, state_dict, without=("fc.",)):
    return {
        prefix + name: tensor
        for name, tensor in state_dict.items()
        if not name.startswith(tuple(without))
    }


def torchvision_layout(resnet):
    return resnet, {"fc.weight", "fc.bias"}


def torchreid_layout(resnet):
    head = {"module.classifier.weight": torch.rand(751, 512)}
    return {"state_dict": prefixed("module.", resnet) | head, "epoch": 60, "rank1": 0.9}, set(head)


def fast_reid_layout(resnet):
    others = {
        "pixel_mean": torch.rand(1, 3, 1, 1),
        "pixel_std": torch.rand(1, 3, 1, 1),
        "heads.bnneck.weight": torch.rand(512),
        "heads.bottleneck.0.bias": torch.rand(512),
        "heads.weight": torch.rand(751, 512),
    }
    optimizer = {"state": {0: {"exp_avg": torch.rand(2)}}, "param_groups": [{"lr": 0.1}]}
    model = prefixed("backbone.", resnet) | others
    return {"model": model, "optimizer": optimizer, "iteration": 7}, set(others)


def luperson_layout(resnet):
    """MoCo: the query encoder comes with its slowly moving copy, a projection and a queue."""
    keys = prefixed("module.encoder_k.", {name: 2 * tensor for name, tensor in resnet.items()})
    others = {"module.encoder_q.fc.0.weight": torch.rand(512, 512), "module.queue": torch.rand(2)}
    model = prefixed("module.encoder_q.", resnet) | keys | others
    checkpoint = {"epoch": 200, "arch": "resnet18", "state_dict": model}
    return checkpoint, set(keys) | set(others)


def lightning_layout(resnet):
    others = {"network.neck.weight": torch.rand(512), "memory.centroids": torch.rand(5, 512)}
    model = prefixed("network.backbone.trunk.", resnet) | others
    return {"state_dict": model, "pytorch-lightning_version": "2.6.0", "callbacks": {}}, set(others)


def compiled_layout(resnet):
    return {"model": prefixed("module._orig_mod.base_encoder.", resnet)}, set()


def distilled_layout(resnet):
    student = {name: 2 * tensor for name, tensor in resnet.items()}
    networks = {
        "student": prefixed("module.backbone.", student),
        "teacher": prefixed("backbone.", resnet),
    }
    return networks, set()


@pytest.mark.parametrize(
    "layout",
    [
        torchvision_layout,
        torchreid_layout,
        fast_reid_layout,
        luperson_layout,
        lightning_layout,
        compiled_layout,
        distilled_layout,
    ],
)
def test_layouts(layout, resnet, tmp_path):
    checkpoint, left_over = layout(resnet)
    file = tmp_path / "weights.pth"
    torch.save(checkpoint, file)
    trunk = build_torchvision_trunk("resnet18")

    report = load_weights(trunk, file, "resnet18")

    for name, tensor in trunk.state_dict().items():
        torch.testing.assert_close(tensor, resnet[name], msg=name)
    assert set(report.loaded) == set(trunk.state_dict())
    assert set(report.unused) == left_over
    assert report.missing == report.mismatched == ()


def test_own_checkpoints_load_into_a_backbone(tmp_path):
    trained = EmbeddingNetwork("resnet18", None)
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": prefixed("network.", trained.state_dict())}, file)
    backbone = build_backbone("resnet18", str(file))
    torch.testing.assert_close(backbone.state_dict(), trained.backbone.state_dict())
    report = load_weights(build_backbone("resnet18", None), file, "resnet18")
    assert report.source == f"{file}, names under 'network.backbone.trunk.'"


def test_own_modules_take_files(resnet, tmp_path):
    network = torchvision.models.resnet18(num_classes=3)
    network.fc = nn.Identity()
    torch.save(resnet, tmp_path / "weights.pth")
    build_backbone(network, tmp_path / "weights.pth")
    torch.testing.assert_close(network.conv1.weight.data, resnet["conv1.weight"])


def test_safetensors(resnet, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "weights.safetensors"
    safetensors.save_file(resnet, file)
    trunk = build_torchvision_trunk("resnet18")
    load_weights(trunk, file, "resnet18")
    torch.testing.assert_close(trunk.conv1.weight.data, resnet["conv1.weight"])

    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"weights\.safetensors is not a safetensors file"):
        load_weights(trunk, file, "resnet18")


def test_safetensors_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    file = tmp_path / "weights.safetensors"
    file.touch()
    with pytest.raises(MissingPackageError, match=r"weights\.safetensors needs .*pip install"):
        build_backbone("resnet18", file)


def test_names_of_older_torchvision_files(tmp_path):
    trunk = build_torchvision_trunk("densenet121")
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in trunk.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet.pth")
    report = load_weights(trunk, tmp_path / "densenet.pth", "densenet121")
    assert set(report.loaded) == set(trunk.state_dict())

    trunk = build_torchvision_trunk("vit_b_32")
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in trunk.state_dict().items()
    }
    torch.save(old, tmp_path / "vit.pth")
    report = load_weights(trunk, tmp_path / "vit.pth", "vit_b_32")
    assert report.missing == report.unused == ()


def test_plain_weights_in_an_ibn_network(resnet, tmp_path, caplog):
    torch.save(resnet, tmp_path / "weights.pth")
    trunk = build_torchvision_trunk("resnet18_ibn_a")
    report = load_weights(trunk, tmp_path / "weights.pth", "resnet18_ibn_a")
    assert "layer1.0.bn1.IN.weight" in report.missing
    assert all("bn1.IN" in name or "bn1.BN" in name for name in report.missing)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_few_missing_and_misshapen_tensors_are_reported(resnet, tmp_path, caplog):
    state_dict = dict(resnet)
    del state_dict["bn1.bias"]
    state_dict["conv1.weight"] = torch.rand(64, 1, 7, 7)
    torch.save(state_dict, tmp_path / "weights.pth")
    trunk = build_torchvision_trunk("resnet18")
    report = load_weights(trunk, tmp_path / "weights.pth", "resnet18")
    assert report.missing == ("bn1.bias",)
    assert report.mismatched == (
        "conv1.weight: (64, 1, 7, 7) in the source, (64, 3, 7, 7) in the backbone",
    )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "missing in the source (1): bn1.bias" in caplog.text


def test_a_complete_load_is_only_information(resnet, tmp_path, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    torch.save(resnet, tmp_path / "weights.pth")
    load_weights(build_torchvision_trunk("resnet18"), tmp_path / "weights.pth", "resnet18")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "not used (2): fc.weight, fc.bias" in caplog.text


def test_weights_of_a_deeper_network_are_a_warning(tmp_path, caplog):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "weights.pth")
    report = load_weights(build_torchvision_trunk("resnet18"), tmp_path / "weights.pth", "resnet18")
    assert "layer1.2.conv1.weight" in report.unused
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_long_lists_are_cut_in_print():
    report = LoadReport("a.pth", ("x",), (), tuple(f"head.{i}" for i in range(8)), ())
    assert str(report) == (
        "weights from a.pth: 1 tensors loaded\n"
        "  not used (8): head.0, head.1, head.2, head.3, head.4 and 3 more"
    )


def test_weights_of_another_architecture(resnet, tmp_path):
    torch.save(resnet, tmp_path / "weights.pth")
    trunk = build_torchvision_trunk("resnet50")
    before = trunk.conv1.weight.clone()
    with pytest.raises(ValueError, match=r"weights\.pth does not fit the backbone resnet50") as e:
        load_weights(trunk, tmp_path / "weights.pth", "resnet50")
    assert "of its 265 tensors match" in str(e.value)
    assert "layer1.0.conv1.weight: (64, 64, 3, 3) in the source, (64, 64, 1, 1)" in str(e.value)
    torch.testing.assert_close(trunk.conv1.weight.data, before)


def test_weights_without_any_tensor_of_the_backbone(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"only 0 of its 100 tensors match\n.*0 tensors loaded"):
        build_backbone("resnet18", tmp_path / "weights.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights file not found: .*nowhere\.pth"):
        build_backbone("resnet18", str(tmp_path / "nowhere.pth"))


def test_published_weights(pretrained_mobilenet):
    backbone = build_backbone("mobilenet_v2", "IMAGENET1K_V1")
    published = torch.load(pretrained_mobilenet, weights_only=True)
    torch.testing.assert_close(
        backbone.trunk.features[18][0].weight.data, published["features.18.0.weight"]
    )
    report = load_weights(backbone, "IMAGENET1K_V1", "mobilenet_v2")
    assert report.unused == ("classifier.1.weight", "classifier.1.bias")
    assert report.missing == ()
    assert str(report).startswith("weights from IMAGENET1K_V1 of mobilenet_v2: 312 tensors")


def test_published_weights_as_a_local_file(pretrained_mobilenet):
    named = build_backbone("mobilenet_v2", "IMAGENET1K_V1").eval()
    local = build_backbone("mobilenet_v2", str(pretrained_mobilenet)).eval()
    images = torch.rand(1, 3, 64, 32)
    torch.testing.assert_close(local(images), named(images))


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V2"])
def test_a_failed_download_says_what_to_do(weights, empty_hub):
    with pytest.raises(RuntimeError, match="no connection") as raised:
        build_backbone("resnet50", weights)
    message = str(raised.value)
    assert "https://download.pytorch.org/models/resnet50-11ad3fa6.pth" in message
    assert f"place it as resnet50-11ad3fa6.pth in {empty_hub}" in message
    assert "TORCH_HOME" in message
    assert "null for random initialisation" in message


def test_a_damaged_download_says_what_to_do(empty_hub):
    empty_hub.mkdir(parents=True)
    (empty_hub / "resnet18-f37072fd.pth").write_bytes(b"half a file")
    with pytest.raises(RuntimeError, match=r"could not get .*resnet18-f37072fd\.pth"):
        build_backbone("resnet18", "DEFAULT")


def test_ibn_networks_ask_for_the_plain_network_s_weights(empty_hub):
    with pytest.raises(RuntimeError, match="resnet50-0676ba61"):
        build_backbone("resnet50_ibn_a", "IMAGENET1K_V1")


def test_unknown_published_weights():
    with pytest.raises(ValueError, match="no weights 'IMAGENET' for 'resnet50'; there are IMAGE"):
        build_backbone("resnet50", "IMAGENET")


def test_position_embedding_has_the_size_of_the_published_weights(monkeypatch):
    published = torchvision.models.vit_b_32(image_size=384).state_dict()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: published)
    backbone = build_backbone("vit_b_32", "IMAGENET1K_V1")
    assert backbone.trunk.encoder.pos_embedding.shape == (1, 145, 768)


def test_timm_weights(monkeypatch):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    published = timm.create_model("resnet10t")
    create = timm.create_model
    asked = []

    def create_model(name, pretrained=False, **arguments):
        asked.append((name, pretrained))
        return published if pretrained else create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", create_model)
    backbone = build_backbone("timm/resnet10t", "DEFAULT")
    torch.testing.assert_close(
        backbone.trunk.layer4[0].conv1.weight, published.layer4[0].conv1.weight
    )
    build_backbone("timm/resnet10t", "c3_in1k")
    assert [name for name, pretrained in asked if pretrained] == ["resnet10t", "resnet10t.c3_in1k"]


def test_timm_weights_that_do_not_exist():
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"timm has no weights 'v9' for 'resnet10t'.*c3_in1k"):
        build_backbone("timm/resnet10t", "v9")


def test_timm_download_fails(monkeypatch):
    timm = pytest.importorskip("timm")
    create = timm.create_model

    def create_model(name, pretrained=False, **arguments):
        if pretrained:
            raise OSError("no connection")
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(
        RuntimeError, match=r"timm's weights 'resnet10t'.*no connection.*local file"
    ):
        build_backbone("timm/resnet10t", "DEFAULT")


def test_what_counts_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "without_ending").touch()
    assert is_checkpoint_path("a.pth.tar")
    assert is_checkpoint_path("without_ending")
    assert is_checkpoint_path(tmp_path / "IMAGENET1K_V1")
    assert not is_checkpoint_path("IMAGENET1K_V1")
    assert not is_checkpoint_path("a1_in1k")


def test_state_dicts_are_found_at_any_depth():
    inner, other = ({"weight": torch.full((1,), i)} for i in (0, 1))
    checkpoint = {"a": {"student": other, "net": inner}, 0: inner, "epoch": 3, "list": [inner]}
    assert list(find_state_dicts(checkpoint)) == [inner, other]
    assert list(find_state_dicts([1, 2])) == []
