import shutil
from pathlib import Path

import pytest
import torch
from small_methods import one_line_error

from lightning_reid import Market1501, PseudoLabels, ReIDDataModule, SyntheticPersons
from lightning_reid.cli import run_command_line
from lightning_reid.data import Sample
from lightning_reid.errors import InputError


def market(root, **kwargs):
    settings = {"size": (32, 16), "batch_size": 8, "batches_per_epoch": 2, "num_workers": 0}
    return Market1501(root, **settings | kwargs)


@pytest.fixture
def ready(persons):
    made = market(persons)
    made.setup()
    made.assign(PseudoLabels(torch.arange(len(made.train_samples)) % 4))
    return made


def test_a_training_batch_holds_no_identity_and_no_path(ready):
    batch = next(iter(ready.train_dataloader()))
    assert set(batch) == {"image", "camera", "index"}
    assert batch["image"].shape == (8, 3, 32, 16)
    assert len(ready.train_dataloader()) == 2


def test_labelling_sees_every_image_once_in_order(ready):
    batches = list(ready.label_dataloader())
    index = torch.cat([b["index"] for b in batches])
    assert index.tolist() == list(range(len(ready.train_samples)))
    assert set(batches[0]) == {"image", "camera", "index"}
    again = torch.cat([b["image"] for b in ready.label_dataloader()])
    torch.testing.assert_close(again, torch.cat([b["image"] for b in batches]))


def test_cameras_are_numbered_from_zero_and_named(ready):
    assert ready.camera_names == ["c1", "c2", "c3"]
    cameras = torch.cat([b["camera"] for b in ready.label_dataloader()])
    expected = [int(s.camera[1:]) - 1 for s in ready.train_samples]
    assert cameras.tolist() == expected


def test_the_test_set_is_query_then_gallery(ready):
    batches = list(ready.test_dataloader())
    is_query = torch.cat([b["is_query"] for b in batches])
    assert is_query.sum() == len(ready.query_samples)
    assert is_query[: len(ready.query_samples)].all()
    identities = torch.cat([b["identity"] for b in batches]).tolist()
    assert identities == [s.identity for s in (*ready.query_samples, *ready.gallery_samples)]
    assert 0 in identities  # distractors stay


@pytest.mark.parametrize("size", [(0, 32), (32, -1), 64, (64,), (8, 8, 8)])
def test_a_size_that_is_no_height_and_width(size):
    with pytest.raises(InputError, match="size must be height and width in pixels, each from 1 to"):
        market("anywhere", size=size)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"images_per_group": 0}, "at least 1"),
        ({"batches_per_epoch": 0}, "at least 1"),
        ({"eval_batch_size": 0}, "at least 1"),
        ({"num_workers": -1}, "at least 0"),
        ({"seed": -1}, "at least 0"),
        ({"val": "train"}, "one of test"),
    ],
)
def test_impossible_settings_are_refused_at_once(setting, allowed):
    ((name, given),) = setting.items()
    with pytest.raises(InputError, match=f"^{name} must be {allowed}, not {given!r}$"):
        market("anywhere", **setting)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"num_train_identities": -1}, "from 0 to 9999"),
        ({"num_test_identities": 9_900}, "from 0 to 9899"),  # beside the usual 100 to train on
        ({"num_cameras": 1}, "at least 2"),
        ({"images_per_camera": 0}, "at least 1"),
        ({"num_distractors": -1}, "at least 0"),
        ({"drawing_seed": -1}, "at least 0"),
    ],
)
def test_people_that_cannot_be_drawn_are_refused_at_once(setting, allowed):
    ((name, given),) = setting.items()
    with pytest.raises(InputError, match=f"^{name} must be {allowed}, not {given}$"):
        SyntheticPersons("anywhere", **setting)


@pytest.mark.parametrize("option", ["batch_size", "eval_batch_size"])
def test_batches_of_nothing_are_told_in_one_line(option, persons, tmp_path, monkeypatch):
    message = one_line_error(monkeypatch, persons, tmp_path / "run", f"--data.{option}=0")
    assert message == f"lightning-reid: {option} must be at least 1, not 0"


@pytest.mark.parametrize("size", ["64", "[64]"])
def test_an_option_that_is_no_height_and_width(size, capsys):
    with pytest.raises(SystemExit):
        run_command_line(
            ["fit", "--model=O2CAP", "--data=Market1501", "--data.root=x", f"--data.size={size}"]
        )
    told = f"--data.size: expected [height,width], such as [256,128], not {size}\n"
    assert told in capsys.readouterr().err


def test_camera_names_sort_as_people_count(tmp_path):
    class Own(ReIDDataModule):
        def samples(self, split):
            return [Sample(f"{c}.jpg", c) for c in ("c10", "c2", "yard", "c1")]

    own = Own(tmp_path)
    own.setup("fit")
    assert own.camera_names == ["c1", "c2", "c10", "yard"]
    assert own.train_identities is None


@pytest.mark.parametrize("split", ["train", "query", "gallery"])
def test_an_image_without_a_camera_is_named(persons, split):
    class Lacking(Market1501):
        def samples(self, which):
            listed = list(super().samples(which))
            for i in (2, 5) if which == split else ():
                listed[i] = listed[i]._replace(camera=None)
            return listed

    made = Lacking(persons)
    third = Market1501(persons).samples(split)[2].path
    with pytest.raises(InputError, match=f"the {split} image {third} has no camera .nor have 1"):
        made.setup()


def test_paths_and_numbers_of_cameras_are_taken(persons):
    class Numbered(Market1501):
        def samples(self, split):
            for sample in super().samples(split):
                yield sample._replace(path=Path(sample.path), camera=int(sample.camera[1:]))

    made, plain = Numbered(persons), Market1501(persons)
    made.setup()
    plain.setup()
    assert made.camera_names == [name[1:] for name in plain.camera_names]
    assert made.train_cameras.equal(plain.train_cameras)
    assert list(made.paths("test")) == list(plain.paths("test"))


def test_labels_must_fit_the_data(ready):
    with pytest.raises(ValueError, match="3 labels for"):
        ready.assign(PseudoLabels(torch.zeros(3, dtype=torch.int64)))


def test_no_validation_unless_asked_for(persons):
    made = market(persons, val="test")
    made.setup("fit")
    assert len(made.val_dataloader().dataset) == len(made.query_samples + made.gallery_samples)


def test_training_data_alone_is_enough_to_train(persons, tmp_path):
    shutil.copytree(persons / "bounding_box_train", tmp_path / "bounding_box_train")
    made = market(tmp_path)
    made.setup("fit")
    assert not made.has_test
    with pytest.raises(InputError, match="query"):
        made.setup("test")


def test_the_seed_follows_seed_everything(persons, monkeypatch):
    def order(**kwargs):
        made = market(persons, **kwargs)
        made.setup("fit")
        made.assign(PseudoLabels(torch.arange(len(made.train_samples)) % 4))
        return list(made.sampler)

    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    five = order()
    monkeypatch.setenv("PL_GLOBAL_SEED", "6")
    assert order() != five
    assert order(seed=5) == five


def test_real_images(shared):
    made = Market1501(shared / "data/pku_reid", num_workers=0)
    made.setup()
    assert (len(made.train_samples), len(made.query_samples)) == (800, 96)
    assert len(made.gallery_samples) == 288
    assert made.camera_names == ["c1", "c2"]


def test_persons_are_drawn_once(tmp_path):
    settings = {"num_train_identities": 2, "num_test_identities": 2, "num_cameras": 2}
    made = SyntheticPersons(tmp_path / "persons", num_distractors=1, **settings, num_workers=0)
    assert made.has_test
    made.prepare_data()
    made.setup()
    first = made.train_samples[0].path
    assert len({s.identity for s in made.train_samples}) == 2
    before = (tmp_path / "persons").stat().st_mtime_ns, len(made.train_samples)
    made.prepare_data()
    assert ((tmp_path / "persons").stat().st_mtime_ns, len(made.train_samples)) == before
    assert first.endswith(".jpg")
    other = SyntheticPersons(tmp_path / "persons", num_distractors=2, **settings)
    with pytest.raises(ValueError, match="persons"):
        other.prepare_data()


def test_more_processes_than_images_are_refused(persons):
    data = market(persons)
    data.setup("fit")
    count = len(data.train_samples)
    data._ranks = lambda: {"num_replicas": count, "rank": count - 1}
    assert [batch["index"].tolist() for batch in data.label_dataloader()] == [[count - 1]]
    data._ranks = lambda: {"num_replicas": count + 1, "rank": 0}
    with pytest.raises(InputError, match=rf"{count} images cannot be shared by {count + 1}"):
        data.label_dataloader()
