"""What cannot work is refused in one or two lines before anything is written."""

import shutil
import sys

import pytest
import torch
from command_line import EASY_CLUSTERS, SMALL, arguments

from lightning_reid import O2CAP, ManifestData, Market1501, Supervised
from lightning_reid.cli import main
from lightning_reid.errors import InputError, UnknownArgumentError


def told(words, monkeypatch, capsys):
    """What the command line says when it refuses something."""
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *map(str, words)])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code not in (0, None)
    message = stop.value.code if isinstance(stop.value.code, str) else capsys.readouterr().err
    assert "Traceback" not in message
    assert message.startswith("lightning-reid: ")
    assert message.strip().count("\n") <= 1
    return message


@pytest.fixture
def refused(persons, tmp_path, monkeypatch, capsys):
    """What is said of further options; nothing may be left in the current folder."""
    monkeypatch.chdir(tmp_path)

    def refuse(*options, command="fit", method="O2CAP", data="Market1501", root=persons):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        given = [f"--model={method}", f"--data={data}"]
        given += [f"--data.root={root}"] if root else []
        said = told([command, *given, *SMALL[1:], *options], monkeypatch, capsys)
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
        return said

    return refuse


CALLBACK = "--trainer.callbacks+="


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([f"{CALLBACK}ErlyStopping"], "no class ErlyStopping; did you mean EarlyStopping?"),
        ([f"{CALLBACK}Foo"], "no class Foo; there are BackboneFinetuning, "),
        ([f"{CALLBACK}foo.Bar"], "--trainer.callbacks: cannot import foo.Bar: No module named"),
        ([f"{CALLBACK}math.Bar"], "cannot import math.Bar: module 'math' has no attribute 'Bar'"),
        ([f"{CALLBACK}EarlyStopping"], "--trainer.callbacks.monitor is required"),
        (["--trainer.logger=TensorBordLogger"], "did you mean TensorBoardLogger?"),
        (["--trainer.logger=Foo"], "no class Foo; there are CSVLogger, "),
        (["--trainer.strategy=foo"], "invalid strategy name: `strategy='foo'`"),
        (["--trainer.strategy=deepspeed"], "must have DeepSpeed installed"),
        (["--trainer.strategy=fsdp"], "requires a GPU accelerator"),
        (["--trainer.strategy=ddp_notebook"], "ddp_notebook is for notebooks"),
        (["--trainer.strategy=ddp_spawn", "--trainer.devices=2"], "take ddp"),
        (["--trainer.accelerator=abc"], "invalid accelerator name"),
        (["--trainer.accelerator=tpu"], "torch_xla"),
        (["--trainer.profiler=foo"], "simple"),
        (["--trainer.max_epochs=-5"], "`max_epochs` must be a non-negative integer"),
        (["--trainer.val_check_interval=7.5"], "7.5 for val_check_interval"),
        ([f"{CALLBACK}EarlyStopping", "--trainer.callbacks.monitor=a"] * 2, "EarlyStopping"),
        (["--model.optimizer=AdamW"], "--model.optimizer: expected adam or sgd, not AdamW"),
        (["--model.lr=1"], "O2CAP has no option --model.lr; did you mean --model.learning_rate?"),
        (["--lr=1"], "there is no option --lr; did you mean --model.learning_rate?"),
        (["--batch_size=1"], "there is no option --batch_size; did you mean --data.batch_size"),
        (["--epochs=1"], "there is no option --epochs; did you mean --trainer.max_epochs"),
        (["--data.batch_size=1"], "batch_size=1 is not a multiple of images_per_group=4"),
        (["--data.batch_size=1", "--data.images_per_group=1"], "must be at least 2"),
        (["--model.samples_per_bn_group=3"], "samples_per_bn_group=3 does not divide"),
        (["--model.weights=nowhere.pth"], "weights file not found: nowhere.pth"),
        (["--ckpt_path=best"], "no checkpoint "),
        (["--ckpt_path=hpc"], "no hpc_ckpt_* in "),
        (["--ckpt_path=last"], "--ckpt_path last_or_none begins where there is none"),
        (["--ckpt_path=https://example.org/x.ckpt"], "is a URL; download it first"),
    ],
)
def test_options(options, message, refused):
    assert message in refused(*options)


@pytest.mark.parametrize("command", ["validate", "test", "predict", "fit"])
def test_data_that_is_not_there(command, refused):
    said = refused("--ckpt_path=none", command=command, root="nowhere")
    assert "no folder nowhere/" in said
    assert "--data.root says where the data is" in said


@pytest.mark.skipif(shutil.which("wandb") is not None, reason="it is installed")
@pytest.mark.parametrize("logger", ["WandbLogger", "CometLogger", "MLFlowLogger"])
def test_a_logger_that_is_not_installed(logger, refused):
    said = refused(f"--trainer.logger={logger}")
    assert "not met. HINT: Try running `pip install" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit"], "missing: the data, such as --config manifest or --data ManifestData and the"),
        (["fit", "--config=manifest"], "missing: the method, such as --config o2cap or --model O2"),
        (["fit", "--config=o2cap"], "missing: the data, such as --config manifest"),
        (["fit", "--config=o2cap", "--config=manifest"], "no file data/manifest.csv"),
        (["fit", "--config=o2cap", "--config=manifest"], "--data.root says where the data is"),
        (["fit", "--config=o2cap", "--config=market1501"], "--data.root says where the data is"),
        (["--config", "o2cap", "fit"], "the command comes first: lightning-reid"),
        (["fit", "--config=nothing.yaml"], "--config: File does not exist"),
    ],
)
def test_commands_that_lack_something(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in told(words, monkeypatch, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("model: {class_path: O2CAP, init_args: {learning_rate: '${.nothing}'}}", "'.nothing' not"),
        ("model: ${", "no viable alternative at input '${'"),
        ("seed_everything: ${oc.env:NOT_SET_HERE}", "'NOT_SET_HERE' not found"),
    ],
)
def test_interpolation_that_cannot_work(config, message, refused, tmp_path):
    (tmp_path / "mine.yaml").write_text(config)
    assert message in refused("--config=mine.yaml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "a/1.jpg,gate\na/2.jpg,hall\n",
            "a.csv has no header: its first line is an image",
        ),
        ("a.csv", "1.PNG\n2.PNG\n", "has no header: its first line is an image (1.PNG)"),
        ("a.json", '[{"path": "a.jpg", "camera": "c"}]', "a.json is JSON; save it as CSV"),
        ("a.json", '{"path": ["a.jpg"]}', "a.json is JSON; save it as CSV"),
        ("a.csv", "file,cam\na.jpg,c\n", 'holds the path: --data.columns "{path: ...}"'),
        ("a.csv", "path,cam\na.jpg,c\n", 'holds the camera: --data.columns "{camera: ...}"'),
        ("a.csv", "path,camera\na.jpg,c\n", "/a.jpg, the first in a.csv"),
    ],
)
def test_lists(name, content, message, refused, tmp_path):
    (tmp_path / name).write_text(content)
    assert message in refused(data="ManifestData", root=name)


@pytest.mark.parametrize("root", ["https://example.org/a.csv", "s3://mine/a.csv"])
@pytest.mark.parametrize("data", ["ManifestData", "CUHK03"])
def test_a_url_is_no_root(root, data, refused):
    assert "is a URL; download it first" in refused(data=data, root=root)


def identities(tmp_path, persons, names):
    """A list of as many images as there are names."""
    images = sorted((persons / "bounding_box_train").iterdir())
    rows = [f"{images[i]},c{i % 2},{name}" for i, name in enumerate(names)]
    file = tmp_path / "list.csv"
    file.write_text("\n".join(["path,camera,identity", *rows]))
    return file


def test_a_person_may_be_called_nan(tmp_path, persons):
    data = ManifestData(identities(tmp_path, persons, ["Ann", "Bob", "Nan", "Zoe", "Na"] * 2))
    data.setup("fit")
    assert data.identity_names == ["Ann", "Bob", "Na", "Nan", "Zoe"]
    assert data.training_labels("full") is not None


def test_some_without_an_identity(tmp_path, persons, refused, recwarn):
    file = identities(tmp_path, persons, ["Ann", "Bob", "NA", "Zoe"] * 3)
    said = refused(method="Supervised", data="ManifestData", root=file)
    assert "3 of the 12 training images in" in said
    assert "have no identity, such as /" in said
    warned = [str(warning.message) for warning in recwarn]
    assert any(text.endswith("read as unknown: 'NA' (3 times)") for text in warned), warned
    said = refused(
        method="Supervised", data="ManifestData", root=identities(tmp_path, persons, "  ")
    )
    assert "have no identities, which this method needs" in said


@pytest.mark.parametrize(
    ("cls", "name", "like"),
    [
        (O2CAP, "lr", "learning_rate"),
        (O2CAP, "epz", None),
        (Supervised, "learning_rat", "learning_rate"),
        (Market1501, "bs", "batch_size"),
        (ManifestData, "patern", "pattern"),
    ],
)
def test_arguments_in_python(cls, name, like):
    root = {"root": "x"} if issubclass(cls, Market1501 | ManifestData) else {}
    ending = f"did you mean {like}" if like else "there are backbone, "
    with pytest.raises(
        UnknownArgumentError, match=f"{cls.__name__} has no argument '{name}'; {ending}"
    ):
        cls(**root, **{name: 3})
    assert issubclass(UnknownArgumentError, TypeError)
    assert issubclass(UnknownArgumentError, InputError)


def test_local_labels_that_do_not_fit(tmp_path, refused):
    (tmp_path / "labels.npz").write_bytes(b"nothing")
    said = refused("--model.local_labels=labels.npz", method="CALR")
    assert "labels.npz" in said


def test_a_checkpoint_of_another_method_leaves_nothing(refused, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "was not written by a run" in refused("--ckpt_path=other.ckpt")
    torch.save([1], tmp_path / "other.ckpt")
    assert "was not written by a run" in refused("--ckpt_path=other.ckpt", command="predict")


def test_a_gallery_whose_images_are_elsewhere(tmp_path):
    from lightning_reid.search.listing import list_images

    file = tmp_path / "list.csv"
    file.write_text("path,camera\n" + "".join(f"{i}.jpg,c\n" for i in range(200)))
    with pytest.raises(InputError, match=r"no image .*/0.jpg, the first in .*list.csv; paths are"):
        list_images(file)
    (tmp_path / "7.jpg").touch()
    assert len(list_images(file)) == 200


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_a_measure_that_is_not_logged(callback, persons, tmp_path, monkeypatch, capsys):
    options = [f"{CALLBACK}{callback}", "--trainer.callbacks.monitor=val_loss", "--evaluate=false"]
    given = arguments("fit", persons, tmp_path / "run", *EASY_CLUSTERS, *options)
    said = told(given, monkeypatch, capsys)
    assert f"{callback} watches 'val_loss', which was not logged; there are " in said
    assert "train/loss" in said
    assert "labels/clusters" in said


def test_programming_errors_keep_their_traceback(persons, tmp_path, monkeypatch):
    def broken(self, batch, batch_idx):
        return [][0]

    monkeypatch.setattr(O2CAP, "training_step", broken)
    given = arguments("fit", persons, tmp_path / "run", *EASY_CLUSTERS, "--evaluate=false")
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *given])
    with pytest.raises(IndexError):
        main()
