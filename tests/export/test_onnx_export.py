"""ONNX files compute what the network does, or are not left."""

import shutil

import numpy as np
import pytest
import torch
from briefly_trained import SIZE
from command_line import one_line, run
from PIL import Image, ImageOps

from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.export import export_onnx, onnx_file
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.search import TrainedModel

onnxruntime = pytest.importorskip("onnxruntime")


def untrained(backbone, size=(64, 32), **settings):
    """A network as it begins, whose batch norms have seen images."""
    torch.manual_seed(0)
    network = EmbeddingNetwork(backbone, None, **settings)
    for norm in network.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.momentum = None  # a plain mean
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(8, 3, *size))
    return TrainedModel(network.eval(), size, backbone, {"backbone": backbone, **settings})


@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        pytest.param("shufflenet_v2_x0_5", {}, marks=pytest.mark.slow),
        ("mobilenet_v2", {"pooling": "gem"}),
        ("resnet18_ibn_a", {"samples_per_bn_group": 4}),
        pytest.param("resnet50", {"pooling": "gem", "neck": False}, marks=pytest.mark.slow),
    ],
)
def test_it_computes_what_the_network_does(tmp_path, backbone, settings):
    model = untrained(backbone, **settings)
    exported = export_onnx(model, tmp_path / "model.onnx")
    assert max(exported.differences.values()) < 1e-5
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert taken.type == "tensor(uint8)"
    assert taken.shape[1:] == [64, 32, 3]
    assert isinstance(taken.shape[0], str)  # any number of images
    images = np.random.default_rng(1).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    images[1:3] //= 4
    (embeddings,) = session.run(["embeddings"], {"images": images})
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.network(torch.from_numpy(normalized).float()).numpy()
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images are told apart
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_a_vision_transformer_of_another_grid(tmp_path):
    exported = export_onnx(untrained("vit_b_16"), tmp_path / "model.onnx")
    assert max(exported.differences.values()) < 1e-5


def test_from_the_raw_file_with_pillow_and_onnxruntime_alone(
    persons, exported_checkpoint, tmp_path, capsys
):
    folder = shutil.copytree(exported_checkpoint.parents[1], tmp_path / "run")
    persons = shutil.copytree(persons, tmp_path / "persons")
    for file in sorted((persons / "query").glob("*.jpg"))[:3]:  # as a camera held upright saves it
        lying = Image.open(file).transpose(Image.Transpose.ROTATE_90)
        exif = lying.getexif()
        exif[0x0112] = 6
        lying.save(file, exif=exif, quality=95)
    run("predict", persons, folder, f"--ckpt_path={folder}/checkpoints/last.ckpt")
    capsys.readouterr()
    assert run_command_line(["export", "--ckpt_path", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "largest difference" in printed
    assert str(folder / "export" / "model.onnx") in printed
    predicted = np.load(folder / "predict" / "embeddings.npz")

    session = onnxruntime.InferenceSession(folder / "export" / "model.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert (int(told["height"]), int(told["width"])) == SIZE
    images = [ImageOps.exif_transpose(Image.open(p)).convert("RGB") for p in predicted["paths"]]
    assert images[0].size != SIZE[::-1]  # they are resized
    resized = [image.resize(SIZE[::-1], Image.Resampling.BICUBIC) for image in images]
    (embeddings,) = session.run(None, {"images": np.stack([np.asarray(i) for i in resized])})
    # Pillow and torchvision may round a pixel of a resized image to neighbouring values
    np.testing.assert_allclose(embeddings, predicted["embeddings"], atol=2e-3)
    assert (embeddings * predicted["embeddings"]).sum(1).min() > 0.9999
    assert predicted["embeddings"].std(0).max() > 0.01


def test_images_of_the_right_size_need_nothing(persons, exported_checkpoint, tmp_path):
    model = TrainedModel.load(exported_checkpoint)
    exported = export_onnx(model, tmp_path / "model.onnx")
    from lightning_reid.search import Embedder

    file = sorted((persons / "query").glob("*.jpg"))[0]
    small = tmp_path / "small.png"
    Image.open(file).resize(SIZE[::-1]).save(small)
    expected = Embedder(model, device="cpu").all([str(small)]).vectors
    session = onnxruntime.InferenceSession(exported.file)
    (embedding,) = session.run(None, {"images": np.asarray(Image.open(small))[None]})
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_a_file_that_disagrees_is_not_left(tmp_path, monkeypatch):
    compare = onnx_file.compare
    there = tmp_path / "there.onnx"
    there.write_text("before")

    def disturbed(content, network, size):
        with torch.no_grad():
            network.network.neck.weight[0] += 1  # as if the exporter had computed it otherwise
        return compare(content, network, size)

    monkeypatch.setattr(onnx_file, "compare", disturbed)
    for file in (there, tmp_path / "new.onnx"):
        with pytest.raises(InputError, match=f"not written: {file}; onnxruntime computes other"):
            export_onnx(untrained("shufflenet_v2_x0_5"), file)
    assert there.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["there.onnx"]


def refused(monkeypatch, *options):
    """Return the one line that the program ends with."""
    return one_line(monkeypatch, "export", *options)


def test_bad_input_ends_in_one_line(exported_checkpoint, tmp_path, monkeypatch):
    ours = f"--ckpt_path={exported_checkpoint}"
    alone = shutil.copy(exported_checkpoint, tmp_path / "alone.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "file").write_text("mine")
    assert "no checkpoint" in refused(monkeypatch, f"--ckpt_path={tmp_path}/nowhere.ckpt")
    assert "not written by" in refused(monkeypatch, f"--ckpt_path={tmp_path}/other.ckpt")
    assert "--size" in refused(monkeypatch, f"--ckpt_path={alone}")
    assert "must end in .onnx" in refused(monkeypatch, ours, "--output=model.pt")
    blocked = f"--output={tmp_path}/file/model.onnx"
    assert "another place with --output" in refused(monkeypatch, ours, blocked)
    for package in ("onnx", "onnxruntime", "onnxscript"):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_file, "find_spec", lambda name, gone=package: name != gone or None)
            message = refused(monkeypatch, ours)
        assert f'needs {package}: pip install "lightning-reid[onnx]"' in message


def test_a_network_that_cannot_be_exported(tmp_path):
    class Sorted(torch.nn.Module):
        num_features = 4

        def forward(self, images):
            return torch.tensor(sorted(images.flatten(1).tolist()))[:, :4]

    model = TrainedModel(EmbeddingNetwork(Sorted(), None).eval(), (8, 4), "mine", {})
    with pytest.raises(InputError, match="mine cannot be exported as ONNX|not written"):
        export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
