"""Vision transformers from files that were saved for images of another size."""

import copy
import logging
import pickle

import pytest
import torch
import torchvision
from small_methods import market, same_state, state_of, train
from torch import nn
from torch.nn.functional import cosine_similarity

from lightning_reid import O2CAP
from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork, build_backbone, load_weights
from lightning_reid.models.positions import adapt_on_load, grid_of, resample
from lightning_reid.search import TrainedModel

TINY = "timm/test_vit"


def timm_network(name="test_vit", size=(256, 128), **arguments):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return timm.create_model(name, img_size=size, num_classes=0, **arguments).eval()


def small_transformer(timm_module, size, **arguments):
    torch.manual_seed(0)
    settings = {"patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
    return timm_module.VisionTransformer(img_size=size, **settings | arguments).eval()


@pytest.fixture(scope="module")
def vision_transformer():
    return pytest.importorskip("timm.models.vision_transformer")


@torch.no_grad()
def likeness(first, second, size):
    images = torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(0))
    return cosine_similarity(first.eval()(images), second.eval()(images)).min()


@pytest.mark.parametrize("prefix", ["", "base.", "module.backbone."])
def test_files_of_person_images(prefix, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    saved = timm_network()
    heads = {"bottleneck.weight": torch.rand(64), "classifier.weight": torch.rand(751, 64)}
    state = {prefix + name: value for name, value in saved.state_dict().items()}
    torch.save({"state_dict": state | heads}, tmp_path / "transreid.pth")
    backbone = build_backbone(TINY, tmp_path / "transreid.pth")
    assert likeness(saved, backbone, (256, 128)) > 0.9999
    # the same positions for images of another size
    other = timm_network(dynamic_img_size=True)
    other.load_state_dict(saved.state_dict())
    assert likeness(other, backbone, (384, 128)) > 0.9999
    assert "pos_embed: 16x8 patches" in caplog.text
    assert [record.levelname for record in caplog.records if "weights from" in record.message] == [
        "INFO"
    ]


@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_distilled_patch16_224"])
def test_larger_squares(name, tmp_path):
    saved = timm_network(name, (256, 256))
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone(f"timm/{name}", tmp_path / "weights.pth")
    assert likeness(saved, backbone, (256, 256)) > 0.9999


@pytest.mark.parametrize(
    "tokens",
    [{"reg_tokens": 4}, {"no_embed_class": True, "reg_tokens": 4}, {"class_token": False}],
)
def test_tokens_are_kept_apart(tokens, vision_transformer, tmp_path):
    tokens = tokens if "class_token" not in tokens else {**tokens, "global_pool": "avg"}
    saved = small_transformer(vision_transformer, (256, 128), **tokens)
    network = small_transformer(vision_transformer, (224, 224), dynamic_img_size=True, **tokens)
    adapt_on_load(network, "pos_embed", "patch_embed.grid_size")
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    load_weights(network, tmp_path / "weights.pth", "mine")
    assert likeness(saved, network, (256, 128)) > 0.9999


def test_overlapping_patches(tmp_path):
    """TransReID with a stride of 12 has 21 x 10 patches, on the same images."""
    state = timm_network().state_dict()
    old = state["pos_embed"]
    stretched = resample(old[:, 1:], (16, 8), (21, 10))
    state["pos_embed"] = torch.cat([old[:, :1], stretched], dim=1)
    torch.save(state, tmp_path / "stride12.pth")
    saved = timm_network()
    backbone = build_backbone(TINY, tmp_path / "stride12.pth")
    assert backbone.trunk.patch_embed.grid_size == (21, 10)
    assert likeness(saved, backbone, (256, 128)) > 0.95


@pytest.mark.parametrize("size", [(96, 96), (128, 128)])
def test_torchvision(size, tmp_path, monkeypatch):
    def transformer(image_size):
        torch.manual_seed(0)
        return torchvision.models.VisionTransformer(
            image_size=image_size,
            patch_size=16,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            mlp_dim=64,
        )

    saved = transformer(size[0])
    torch.save({f"module.{k}": v for k, v in saved.state_dict().items()}, tmp_path / "vit.pth")
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: transformer(64))
    backbone = build_backbone("vit_b_16", tmp_path / "vit.pth")
    saved.heads = nn.Identity()
    assert likeness(saved, backbone, size) > 0.9999
    assert backbone(torch.rand(1, 3, 64, 32)).shape == (1, 32)


def test_positions_without_class_token_in_the_file(tmp_path):
    saved = timm_network(size=(160, 160))
    state = saved.state_dict()
    state["pos_embed"] = state["pos_embed"][:, 1:]
    torch.save(state, tmp_path / "weights.pth")
    backbone = build_backbone(TINY, tmp_path / "weights.pth")
    assert torch.equal(backbone.trunk.pos_embed[:, 1:], saved.pos_embed[:, 1:])


def test_a_grid_that_is_not_told_is_refused_until_the_size_is_given(tmp_path):
    saved = timm_network(size=(384, 128))  # 192 patches: 24x8 or 16x12
    file = tmp_path / "weights.pth"
    torch.save(saved.state_dict(), file)
    with pytest.raises(InputError, match=r"192 patches of pos_embed.*16x12, .*24x8.*weights_size"):
        build_backbone(TINY, file)
    network = EmbeddingNetwork(TINY, file, weights_size=(384, 128))
    assert likeness(saved, network.backbone, (384, 128)) > 0.9999
    with pytest.raises(InputError, match=r"weights_size \[256, 128\] does not fit .*16x12"):
        build_backbone(TINY, file, weights_size=(256, 128))


def test_a_size_that_is_given_holds_against_a_square(tmp_path):
    saved = timm_network(size=(400, 64))  # 25x4, as many as 10x10
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone(TINY, tmp_path / "weights.pth", weights_size=(400, 64))
    assert likeness(saved, backbone, (400, 64)) > 0.9999


def test_the_size_of_the_run_that_wrote_the_file(tmp_path):
    saved = timm_network(size=(384, 128))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text("data: {init_args: {size: [384, 128]}}")
    file = tmp_path / "checkpoints" / "last.ckpt"
    torch.save(saved.state_dict(), file)
    assert likeness(saved, build_backbone(TINY, file), (384, 128)) > 0.9999


def test_a_network_for_one_size_gets_them_resampled(vision_transformer, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    saved = small_transformer(vision_transformer, (256, 128), reg_tokens=2)
    network = small_transformer(vision_transformer, (192, 96), reg_tokens=2)
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    report = load_weights(network, tmp_path / "weights.pth", "mine")
    expected = vision_transformer.resample_abs_pos_embed(
        saved.pos_embed, [12, 6], [16, 8], num_prefix_tokens=3
    )
    torch.testing.assert_close(network.pos_embed, expected)
    assert report.resampled == ("pos_embed: 16x8 patches to 12x6",)
    assert report.mismatched == ()


def test_networks_with_another_number_of_tokens(vision_transformer, tmp_path):
    saved = small_transformer(vision_transformer, (256, 128))
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    network = small_transformer(vision_transformer, (256, 128), no_embed_class=True)
    load_weights(network, tmp_path / "weights.pth", "mine")
    assert likeness(saved, network, (256, 128)) > 0.9999  # the token has its position added

    torch.save(network.state_dict(), tmp_path / "weights.pth")
    own = saved.pos_embed[:, :1].clone()
    load_weights(saved, tmp_path / "weights.pth", "mine")
    torch.testing.assert_close(saved.pos_embed[:, :1], own)
    torch.testing.assert_close(saved.pos_embed[:, 1:], network.pos_embed)


def test_positions_on_a_map(tmp_path):
    class Net(nn.Module):
        def __init__(self, channels_first, rows):
            super().__init__()
            shape = (1, 4, rows, 3) if channels_first else (1, rows, 3, 4)
            self.pos_embed = nn.Parameter(torch.rand(shape))
            self.layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(9)))

    for channels_first in (True, False):
        saved, network = Net(channels_first, 6), Net(channels_first, 4)
        torch.save(saved.state_dict(), tmp_path / "weights.pth")
        load_weights(network, tmp_path / "weights.pth", "net")
        maps = [
            n.pos_embed if channels_first else n.pos_embed.permute(0, 3, 1, 2)
            for n in (saved, network)
        ]
        expected = nn.functional.interpolate(maps[0], (4, 3), mode="bicubic", antialias=True)
        torch.testing.assert_close(maps[1], expected)


def test_tables_of_relative_positions(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    settings = {"embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "num_classes": 0}
    make = timm.models.swin_transformer.SwinTransformer
    saved = make(img_size=96, window_size=12, **settings)
    network = make(img_size=56, window_size=7, **settings)
    torch.save(saved.state_dict(), tmp_path / "swin.pth")
    report = load_weights(network, tmp_path / "swin.pth", "swin")
    assert len(report.resampled) == 2
    for before, after in zip(saved.layers, network.layers, strict=True):
        old = before.blocks[0].attn.relative_position_bias_table.T.reshape(1, 2, 23, 23)
        expected = nn.functional.interpolate(old, (13, 13), mode="bicubic", antialias=True)
        table = after.blocks[0].attn.relative_position_bias_table
        torch.testing.assert_close(table, expected.flatten(2)[0].T)


def test_what_is_left_random_is_told_with_its_share(vision_transformer, tmp_path, caplog):
    saved = small_transformer(vision_transformer, (256, 128), patch_size=32)
    network = small_transformer(vision_transformer, (256, 128))
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    report = load_weights(network, tmp_path / "weights.pth", "mine")
    values = sum(p.numel() for p in network.parameters())
    assert report.initial == pytest.approx(network.patch_embed.proj.weight.numel() / values)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "patch_embed.proj.weight: (32, 3, 32, 32) in the source" in caplog.text
    assert f"{report.initial:.2%} of the backbone's values were not loaded" in caplog.text


class Transformer(O2CAP):
    """A method of a small transformer."""

    def __init__(self, **kwargs):
        super().__init__(backbone=TINY, **{"weights": None, **kwargs})


def test_a_run_keeps_the_grid(persons, tmp_path):
    torch.save(timm_network(size=(384, 128)).state_dict(), tmp_path / "weights.pth")
    options = {"learning_rate": 1e-4, "warmup_epochs": 0}
    data = market(persons)
    first = Transformer(weights=tmp_path / "weights.pth", weights_size=(384, 128), **options)
    assert first.hparams["weights_size"] is None
    train(first, data, tmp_path, 1).save_checkpoint(tmp_path / "model.ckpt")

    second = Transformer(**options)
    second.require_own(torch.load(tmp_path / "model.ckpt", weights_only=True))
    runner = train(second, data, tmp_path, 2, checkpoint=tmp_path / "model.ckpt")
    assert second.network.backbone.trunk.pos_embed.shape == (1, 193, 64)
    assert second.network.backbone.trunk.patch_embed.grid_size == (24, 8)
    held = {id(p) for group in runner.optimizers[0].param_groups for p in group["params"]}
    assert id(second.network.backbone.trunk.pos_embed) in held

    third = Transformer(**options)
    runner.test(third, data, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    assert same_state(third.state_dict(), torch.load(tmp_path / "model.ckpt")["state_dict"])


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A network with positions of 24x8 patches, and a checkpoint of it."""
    folder = tmp_path_factory.mktemp("adapted")
    torch.save(timm_network(size=(384, 128)).state_dict(), folder / "weights.pth")
    network = EmbeddingNetwork(TINY, folder / "weights.pth", weights_size=(384, 128)).eval()
    content = {
        "lightning_reid": {"method": "O2CAP"},
        "pytorch-lightning_version": "2.6.0",
        "epoch": 0,
        "global_step": 0,
        "hyper_parameters": {"backbone": TINY},
        "state_dict": {f"network.{k}": v for k, v in network.state_dict().items()},
    }
    torch.save(content, folder / "model.ckpt")
    return network, folder / "model.ckpt"


def test_a_trained_model_has_the_grid_of_its_checkpoint(adapted):
    network, file = adapted
    model = TrainedModel.load(file, (64, 32))
    assert same_state(model.network.state_dict(), state_of(network))
    assert likeness(model.network, network, (64, 32)) > 0.9999


def test_a_checkpoint_as_weights_needs_no_size(adapted):
    network, file = adapted
    assert likeness(build_backbone(TINY, file), network.backbone, (384, 128)) > 0.9999


def test_copies_adapt_themselves(adapted):
    network, _ = adapted
    fresh = EmbeddingNetwork(TINY, None)
    for again in (copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):
        again.load_state_dict(network.state_dict())
        assert again.backbone.trunk.patch_embed.grid_size == (24, 8)
    assert fresh.backbone.trunk.patch_embed.grid_size == (10, 10)


@pytest.mark.parametrize("grid", [[0.0, 0.0], [-1.0, 5.0], [float("nan"), 1], [1e9, 1e9], [7, 7]])
def test_a_forged_grid_is_refused(grid, adapted):
    network, _ = adapted
    state = network.state_dict()
    state["backbone.trunk.position_grid"] = torch.tensor(grid)
    with pytest.raises(InputError, match="how the 192 patches"):
        EmbeddingNetwork(TINY, None).load_state_dict(state)


def test_grids():
    assert [grid_of(n) for n in (49, 128, 162, 196, 210, 288)] == [
        (7, 7), (16, 8), (18, 9), (14, 14), (21, 10), (24, 12),
    ]  # fmt: skip
    assert [grid_of(n) for n in (0, 7, 192, 150, 131)] == [None] * 5
    assert grid_of(192, (256, 192)) == (16, 12)
    assert grid_of(128, (128, 256)) == (8, 16)
    assert grid_of(128, (128, 128)) is None
