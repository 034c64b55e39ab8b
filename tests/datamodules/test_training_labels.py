"""What a data module tells a method about the people on the training images."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from lightning_reid import Market1501, PseudoLabels, ReIDDataModule
from lightning_reid.data import Sample
from lightning_reid.errors import InputError

PEOPLE, IMAGES = 40, 3


class Listed(ReIDDataModule):
    """A data set that is a list."""

    def __init__(self, listed, **kwargs):
        super().__init__("somewhere", num_workers=0, **kwargs)
        self.listed = listed

    def samples(self, split):
        return self.listed


def ready(listed, **kwargs):
    made = Listed(listed, **kwargs)
    made.setup("fit")
    return made


def crowd(cameras=("c1", "c2"), missing=()):
    """Everybody of an odd number range in every camera but for a few, in mixed order."""
    samples = [
        Sample(f"{person}_{camera}_{i}.jpg", camera, 7 * person + 100)
        for person in range(PEOPLE)
        for camera in cameras
        for i in range(IMAGES)
        if (person, camera) not in missing
    ]
    order = np.random.default_rng(0).permutation(len(samples))
    return [samples[i] for i in order]


def test_nothing_is_told_unless_asked_for():
    assert ready(crowd()).training_labels("none") is None
    unknown = [sample._replace(identity=None) for sample in crowd()]
    assert ready(unknown).training_labels("none") is None


def test_full_is_the_identities_numbered_from_zero():
    made = ready(crowd())
    labels = made.training_labels("full")
    assert labels.dtype == torch.int64
    assert labels.tolist() == [(s.identity - 100) // 7 for s in made.train_samples]


def test_numbers_within_a_camera_are_people_without_gaps():
    made = ready(crowd(missing={(0, "c1"), (5, "c1"), (39, "c2")}))
    labels = made.training_labels("intra_camera")
    assert labels.dtype == torch.int64
    for camera, count in ((0, 38), (1, 39)):
        own = made.train_cameras == camera
        assert labels[own].unique().tolist() == list(range(count))
        pairs = set(zip(labels[own].tolist(), made.train_identities[own].tolist(), strict=True))
        assert len(pairs) == count  # one number a person, one person a number


def numbers_by_person(made):
    """``(cameras, people)``: which number each has."""
    labels = made.training_labels("intra_camera")
    numbers = torch.full((2, PEOPLE), -1)
    numbers[made.train_cameras, (made.train_identities - 100) // 7] = labels
    return numbers


def test_equal_numbers_in_two_cameras_mean_nothing():
    shares = []
    for seed in range(20):
        first, second = numbers_by_person(ready(crowd(), seed=seed))
        shares.append((first == second).float().mean().item())
        # nor does the order: ranks would tell as much as numbers
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.6
        assert abs(np.corrcoef(first, np.arange(PEOPLE))[0, 1]) < 0.6
    assert max(shares) <= 0.2
    assert np.mean(shares) < 0.06  # by chance 1 / 40
    # and one permutation for both cameras would give each person one number
    assert np.mean(shares) > 0


def test_the_numbers_follow_the_seed(monkeypatch):
    made = ready(crowd(), seed=3)
    labels = made.training_labels("intra_camera")
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 # the process's own draws must not matter
    assert torch.equal(labels, made.training_labels("intra_camera"))
    assert torch.equal(labels, ready(crowd(), seed=3).training_labels("intra_camera"))
    assert not torch.equal(labels, ready(crowd(), seed=4).training_labels("intra_camera"))
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert torch.equal(labels, ready(crowd()).training_labels("intra_camera"))


@pytest.mark.parametrize("supervision", ["intra_camera", "full"])
@pytest.mark.parametrize("known", [0, 10])
def test_missing_identities_are_told(supervision, known):
    listed = crowd()
    listed = listed[:known] + [sample._replace(identity=None) for sample in listed[known:]]
    some = (
        f"{len(listed) - known} of the {len(listed)} .* somewhere have no identity, such as .*.jpg"
    )
    told = some if known else "somewhere have no identities"
    with pytest.raises(InputError, match=f"{told}.*'{supervision}"):
        ready(listed).training_labels(supervision)


def test_one_person_a_camera_is_told():
    listed = [Sample(f"{i}.jpg", f"c{i % 3}", i % 3) for i in range(12)]
    with pytest.raises(InputError, match="every camera shows one person only"):
        ready(listed).training_labels("intra_camera")
    listed[0] = listed[0]._replace(identity=9)  # a second one, in one camera
    assert ready(listed).training_labels("intra_camera").max() == 1


@pytest.mark.parametrize("supervision", ["none", "intra_camera", "full", None])
def test_batches_hold_labels_exactly_when_the_method_asks(supervision, persons):
    module = pl.LightningModule()
    if supervision is not None:  # a user's own module need not say
        module.supervision = supervision
    made = Market1501(persons, size=(32, 16), batch_size=8, batches_per_epoch=2, num_workers=0)
    made.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    made.trainer.strategy.connect(module)
    made.setup("fit")
    made.assign(PseudoLabels(torch.arange(len(made.train_samples)) % 4))
    told = supervision in ("intra_camera", "full")
    for loader in (made.train_dataloader(), made.label_dataloader()):
        batch = next(iter(loader))
        assert set(batch) == {"image", "camera", "index"} | ({"label"} if told else set())
        if told:
            expected = made.training_labels(supervision)[batch["index"]]
            assert torch.equal(batch["label"], expected)
    made.setup("test")
    batch = next(iter(made.test_dataloader()))
    assert set(batch) == {"image", "camera", "index", "identity", "is_query"}
