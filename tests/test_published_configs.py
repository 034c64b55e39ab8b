"""The published configs do what the published codes do, as ``published_schedules.yaml`` tells.

What the objects made from a config really do is measured: rates by the scheduler's factor, batch
norm in a forward, sampling in a labelling, erasing by its parameters.
"""

import re
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn
from torch.nn import functional

from lightning_reid import CALR, ReIDDataModule, ReIDModule, ReliableSoftLabels
from lightning_reid.cli import run_command_line
from lightning_reid.data import RandomErase, train_transform
from lightning_reid.methods.memory import MemoryModule
from lightning_reid.models import GeneralizedMeanPool
from lightning_reid.models import batch_norm as group_batch_norm

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "published"
FILES = sorted(FOLDER.rglob("*.yaml"))
TABLE = yaml.safe_load((Path(__file__).parent / "published_schedules.yaml").read_text())
TARGET = re.compile(r"aims at (mAP \d+\.\d, )?rank-1 \d+\.\d+: |nothing is published ")
IBN = "weights/resnet50_ibn_a-d9d0bb7b.pth"


def name_of(file):
    return f"{file.parent.name}/{file.stem}"


def header(file):
    lines = file.read_text().splitlines()
    return lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]


def complete(file, root, capsys):
    """The configuration that a run would have, without weights that are not here."""
    options = [f"--config={file}", f"--data.root={root}", "--model.weights=null", "--print_config"]
    with pytest.raises(SystemExit) as stop:
        run_command_line(["fit", *options])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def build(config):
    parser = ArgumentParser()
    parser.add_subclass_arguments(ReIDModule, "model")
    parser.add_subclass_arguments(ReIDDataModule, "data")
    chosen = {name: config[name] for name in ("model", "data")}
    made = parser.instantiate_classes(parser.parse_object(chosen))
    return made.model, made.data


def method_and_variant(stem):
    variants = {"", *TABLE["variants"]}
    (method,) = [method for method in TABLE["methods"] if stem.removeprefix(method) in variants]
    return method, stem.removeprefix(method)


def official(file):
    """The official values of a schedule, with those that are meant to differ replaced."""
    method, variant = method_and_variant(file.stem)
    of_set = TABLE["sets"][file.parent.name]
    values = {
        **TABLE["methods"][method],
        **TABLE["variants"].get(variant, {}),
        **of_set.get(method, {}),
    }
    if method == "calr":
        values["epochs"] += of_set["cameras"] * values["local"]["epochs"]
    for key, deviation in TABLE["deviations"].get(name_of(file), {}).items():
        values[key] = deviation["value"]
    values["data"] = of_set["class"]
    return values


def measured(model, data, config, written):
    """What the objects made from a config do, under the names of the table."""
    optimizers = model.configure_optimizers()
    optimizer = optimizers["optimizer"]
    (group,) = optimizer.param_groups
    factor = optimizers["lr_scheduler"]["scheduler"].lr_lambdas[0]
    weights = written["weights"]
    sources = {IBN: "ibn", "IMAGENET1K_V1": "IMAGENET1K_V1"}
    trunk = model.network.backbone.trunk
    return {
        **of_method(model),
        "class": type(model).__name__,
        "data": type(data).__name__,
        "epochs": config["trainer"]["max_epochs"],
        "batch": data.batch_size * config["trainer"]["devices"],
        "images_per_group": data.images_per_group,
        "batches_per_epoch": data.batches_per_epoch,
        "backbone": written["backbone"],
        "weights": "source" if "pul_source_on_" in weights else sources[weights],
        "pooling": "gem" if isinstance(model.network.pool, GeneralizedMeanPool) else "avg",
        "last_stride": trunk.layer4[0].conv2.stride[0],
        "stem_relu": isinstance(trunk.relu, nn.ReLU),
        "neck": not isinstance(model.network.neck, nn.Identity),
        "dropout": model.network.dropout.p,
        "optimizer": type(optimizer).__name__,
        "optimizer_momentum": group.get("momentum"),
        "weight_decay": group["weight_decay"],
        "rates": lambda epoch: group["initial_lr"] * factor(epoch),
        "batch_norm_images": batch_norm_images(model, data.batch_size),
        **of_augmentation(data),
    }


def of_augmentation(data):
    a = data.augmentation
    (erase,) = [
        part for part in train_transform(data.size, a).transforms if isinstance(part, RandomErase)
    ]
    return {
        "size": list(data.size),
        "flip": a.flip,
        "pad": a.pad,
        "rotate": a.rotate,
        "shift": a.shift,
        "jitter": a.jitter,
        "erase": erase.probability,
        "erase_area": list(erase.area),
        "erase_aspect": [round(value, 4) for value in erase.aspect],
        "erase_attempts": erase.attempts,
        "erase_value": list(erase.value),
    }


def of_method(model):
    """Sampling as a labelling asks for it, clusterers, memory, weights of the losses."""
    found = dict(vars(model))
    for name in ("clusterer", "local_clusterer"):
        if found.get(name) is not None:
            settings = found[name].settings()
            kind = settings["class_path"].rpartition(".")[2]
            found[name] = {"class": kind, **settings["init_args"]}
    found["weights_of_losses"] = found["kmeans"] = found["rounds"] = found
    if isinstance(model, CALR):
        found["local"] = {
            **of_labels(calr_labels(model, epoch=0)),
            "epochs": model.wanted_local_epochs,
        }
        found["refinement"] = {
            **{name: getattr(model, name) for name in ("refinement", "pivot", "min_similarity")},
            "score_neighbors": model.searcher.k,
        }
        found["sampling"] = calr_labels(model, epoch=1).sampling
    elif isinstance(model, ReliableSoftLabels):
        model.num_clusters, kept = 3, (model.num_clusters, model.clusters_per_camera)
        model.clusters_per_camera, model.head_size = 3, 3
        found["sampling"] = some_labels(model).sampling
        model.num_clusters, model.clusters_per_camera = kept
    elif isinstance(model, MemoryModule):
        model.clusterer.eps = 0.9
        found["sampling"] = some_labels(model).sampling
    else:
        found["sampling"] = some_labels(model, torch.arange(60) // 5).sampling
    return found


def some_labels(model, known=None):
    torch.manual_seed(0)
    features = functional.normalize(
        torch.randn(12, 16).repeat_interleave(5, 0) + torch.rand(60, 16)
    )
    return model.label(features, torch.arange(60) % 2, 100, *(() if known is None else (known,)))


def calr_labels(model, epoch):
    """Of stage 1 (epoch 0) or of stage 2."""
    model.local_cameras, model.local_epochs = [0, 1], 1 - epoch
    model.local_labels = torch.zeros(60, dtype=torch.int64)
    model.refinement, kept = "none", model.refinement
    labels = (
        some_labels(model)
        if epoch
        else model.label(functional.normalize(torch.rand(60, 16)), torch.arange(60) % 2, 0)
    )
    model.refinement = kept
    return labels


def of_labels(labels):
    names = ("sampling", "images_per_group", "batches_per_epoch")
    return {name: getattr(labels, name) for name in names}


def batch_norm_images(model, batch_size):
    """How many images batch norms see at a time, counted in a forward of a whole batch."""
    seen, plain = set(), functional.batch_norm

    def counted(images, *rest, **kwargs):
        seen.add(len(images))
        return plain(images, *rest, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "batch_norm", counted)
        patch.setattr(group_batch_norm, "batch_norm", counted)
        model.train()
        with torch.no_grad():
            embeddings = model.embed(torch.rand(batch_size, 3, 32, 32))
            if isinstance(model, CALR):
                model.make_head(6).train()(embeddings)
    return sorted(seen)


def test_every_method_has_its_files():
    variants = [f"{name}{kind}" for name in ("o2cap", "calr") for kind in ("", "_ibn", "_ibn_gem")]
    everywhere = {"cap", *variants, "calr_gem", "calr_self_paced"}
    people = {"pcsl", "reliable_soft", "supervised"}
    sources = {"pul_source", "reliable_soft_single_pass"}
    expected = {
        "market1501": everywhere | people | sources,
        "dukemtmcreid": everywhere | people | sources,
        "msmt17": everywhere | people,
        "veri776": everywhere,
        "cuhk03": {"reliable_soft"},
    }
    found = {
        folder.name: {file.stem for file in folder.glob("*.yaml")} for folder in FOLDER.iterdir()
    }
    assert found == expected


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_config_does_what_the_official_code_does(file, tmp_path, capsys):
    expected = official(file)
    config = complete(file, tmp_path, capsys)
    model, data = build(config)
    found = measured(model, data, config, yaml.safe_load(file.read_text())["model"]["init_args"])
    rates = expected.pop("rates")
    assert {epoch: pytest.approx(found["rates"](epoch), rel=1e-5) for epoch in rates} == rates
    if expected["erase"] == 0:
        found["erase"] = 0
    for key, value in expected.items():
        if isinstance(value, dict):
            assert {name: found[key][name] for name in value} == value, key
        else:
            assert found[key] == value, key


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_the_head_of_a_config_says_what_it_aims_at_and_what_differs(file):
    lines = header(file)
    assert TARGET.search("\n".join(lines))
    assert 3 <= len(lines) <= 8
    for key, deviation in TABLE["deviations"].get(name_of(file), {}).items():
        assert deviation["head"] in "\n".join(lines), key
    if "_ibn" in file.stem:
        assert "resnet50_ibn_a.pth.tar" in "\n".join(lines)


def test_deviations_are_of_configs_that_are_there():
    assert {*TABLE["deviations"]} <= {name_of(file) for file in FILES}


def test_a_source_model_is_made_by_a_file_that_is_there():
    for file in FOLDER.rglob("reliable_soft*.yaml"):
        source = yaml.safe_load(file.read_text())["model"]["init_args"]["weights"]
        told = "\n".join(header(file))
        (other,) = re.findall(r"configs/published/(\w+)/pul_source\.yaml", told)
        assert other != file.parent.name
        assert (FOLDER / other / "pul_source.yaml") in FILES
        (folder,) = re.findall(r"--run_dir (\S+)", told)
        assert source == f"{folder}/checkpoints/last.ckpt"


def test_the_counts_of_clusters_are_those_of_the_sets():
    """One count for each camera of the set."""
    for name, values in TABLE["sets"].items():
        counts = values.get("reliable_soft", {}).get("clusters_per_camera")
        assert counts is None or len(counts) == values["cameras"], name
