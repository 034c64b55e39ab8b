"""The published schedules parse, build what they name, and say what they aim at."""

import re
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from lightning_reid import ReIDDataModule, ReIDModule
from lightning_reid.cli import run_command_line

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "published"
FILES = sorted(FOLDER.rglob("*.yaml"))
CAMERAS = {"market1501": 6, "dukemtmcreid": 8, "msmt17": 15, "veri776": 20}
DATA = {
    "market1501": "Market1501",
    "dukemtmcreid": "DukeMTMCreID",
    "msmt17": "MSMT17",
    "veri776": "VeRi776",
}
# class, images in a batch, images of a group, learning rate, warm-up, milestones, epochs
PROXIES = (32, 4, 3.5e-4, 10, (20, 40), 50)
PEOPLE = (64, 4, 3.5e-4, 10, (40, 70))
PUBLISHED = {
    "cap": ("CAP", *PROXIES),
    "o2cap": ("O2CAP", *PROXIES),
    "calr": ("CALR", 256, 16, 3.5e-4, 0, (20, 40), None),
    "pcsl": ("PCSL", *PEOPLE, 80),
    "reliable_soft": ("ReliableSoftLabels", 16, None, 1e-3, 0, (), 500),
    "supervised": ("Supervised", *PEOPLE, 120),
}
TARGET = re.compile(r"aims at (mAP \d+\.\d, )?rank-1 \d+\.\d+: |nothing is published ")


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


def test_every_method_has_its_files():
    found = {str(file.relative_to(FOLDER).with_suffix("")) for file in FILES}
    variants = [f"{name}{kind}" for name in ("o2cap", "calr") for kind in ("", "_ibn", "_ibn_gem")]
    everywhere = {f"{name}/{method}" for name in DATA for method in ("cap", *variants)}
    people = [name for name in DATA if name != "veri776"]
    methods = ("pcsl", "reliable_soft", "supervised")
    assert found == everywhere | {f"{name}/{method}" for name in people for method in methods}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_published_schedule(file, tmp_path, capsys):
    assert TARGET.search("\n".join(header(file)))
    assert 3 <= len(header(file)) <= 8
    name, variant = file.parent.name, file.stem
    kind, batch, per_group, rate, warmup, milestones, epochs = PUBLISHED[variant.split("_ibn")[0]]

    config = complete(file, tmp_path, capsys)
    model, data = build(config)

    assert type(model).__name__ == kind
    assert type(data).__name__ == DATA[name]
    assert data.batch_size == batch
    assert data.batch_size % data.images_per_group == 0
    assert per_group in (None, data.images_per_group)
    assert (model.learning_rate, model.warmup_epochs, model.milestones) == (
        rate,
        warmup,
        milestones,
    )
    squares = name == "veri776" or kind == "ReliableSoftLabels"
    assert tuple(data.size) == ((224, 224) if squares else (256, 128))
    written = yaml.safe_load(file.read_text())["model"]["init_args"]
    assert written["backbone"] == ("resnet50_ibn_a" if "_ibn" in variant else "resnet50")
    assert written["pooling"] == ("gem" if variant.endswith("_gem") else "avg")
    assert config["trainer"]["devices"] == 1  # batch_size is that of one device
    if kind == "CALR":
        assert model.wanted_local_epochs == 20
        epochs = CAMERAS[name] * 20 + 50
        assert data.batches_per_epoch == (200 if name == "market1501" else 400)
    assert config["trainer"]["max_epochs"] == epochs


def test_a_source_model_is_made_by_a_file_that_is_there():
    for file in FOLDER.rglob("reliable_soft.yaml"):
        source = yaml.safe_load(file.read_text())["model"]["init_args"]["weights"]
        told = "\n".join(header(file))
        (other,) = re.findall(r"configs/published/(\w+)/supervised\.yaml", told)
        assert other != file.parent.name
        assert (FOLDER / other / "supervised.yaml") in FILES
        (folder,) = re.findall(r"--run_dir (\S+)", told)
        assert source == f"{folder}/checkpoints/last.ckpt"
