"""No identity reaches the training of a method that must not see it."""

import pytest
import torch
from every_method import METHODS
from small_methods import make, market, train

from lightning_reid import Market1501, PseudoLabelCallback
from lightning_reid.data import Sample, Samples
from lightning_reid.errors import InputError

LABEL_FREE = [method for method in METHODS if method.supervision == "none"]


class Guarded(Samples):
    """Images whose identities and tracklets must not be looked at."""

    armed = False

    def __getattribute__(self, name):
        if name in ("identities", "tracklets") and object.__getattribute__(self, "armed"):
            raise AssertionError(f"an identity was read from {name}")
        return super().__getattribute__(name)


class GuardedMarket(Market1501):
    """A data set that hands out guarded training images."""

    def samples(self, split):
        found = Samples.of(super().samples(split))
        if split != "train":
            return found
        guarded = Guarded(found.paths, found.cameras, found.camera_names, found.identities)
        guarded.armed = True
        return guarded


def fit(method, root, folder, diagnostics):
    data = GuardedMarket(
        root, size=(32, 16), batch_size=8, batches_per_epoch=2, num_workers=0, seed=0
    )
    settings = {"num_clusters": 4, "epochs_per_round": 1} if "Soft" in method.__name__ else {}
    train(make(method, **settings), data, folder, 2, PseudoLabelCallback(diagnostics=diagnostics))


def test_there_are_label_free_methods():
    assert len(LABEL_FREE) >= 4


@pytest.mark.parametrize("method", LABEL_FREE)
def test_a_label_free_method_trains_where_reading_an_identity_is_an_error(
    method, persons, tmp_path
):
    fit(method, persons, tmp_path, diagnostics=False)


def test_the_guard_works(persons, tmp_path):
    with pytest.raises(AssertionError, match="identity was read"):
        fit(LABEL_FREE[0], persons, tmp_path, diagnostics=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_batch_holds_what_the_method_declares_and_no_more(method, persons, tmp_path):
    seen = []

    class Watched(method):
        def training_step(self, batch, batch_idx):
            seen.append(set(batch))
            return super().training_step(batch, batch_idx)

    data = market(persons)
    settings = {"num_clusters": 4} if "Soft" in method.__name__ else {}
    train(make(Watched, **settings), data, tmp_path, 1)
    allowed = {"image", "camera", "index"}
    assert seen
    assert all(
        s == allowed | ({"label"} - allowed if method.supervision != "none" else set())
        for s in seen
    )


class Listed(Market1501):
    """A data set that is a list."""

    listed = ()

    def samples(self, split):
        return self.listed


def with_tracklets(identity=None, **kwargs):
    made = Listed("somewhere", num_workers=0, **kwargs)
    made.listed = [
        Sample(f"{camera}{track}{i}.jpg", camera, identity, track)
        for camera in ("c1", "c2")
        for track in ("t1", "t2", "t3", None)
        for i in range(2)
    ]
    made.setup("fit")
    return made


def test_tracklets_are_labels_within_a_camera():
    made = with_tracklets()
    labels = made.training_labels("intra_camera").view(2, 4, 2)
    assert (labels[:, 3] == -1).all()
    assert torch.equal(labels[:, :, 0], labels[:, :, 1])
    assert all(sorted(labels[camera, :3, 0].tolist()) == [0, 1, 2] for camera in range(2))
    with pytest.raises(InputError, match="identities"):
        made.training_labels("full")


def test_a_track_in_two_cameras_is_two_tracks():
    numbers = {
        tuple(with_tracklets(seed=s).training_labels("intra_camera").view(2, 4, 2)[1, :3, 0])
        for s in range(8)
    }
    assert len(numbers) > 1


def test_identities_come_before_tracklets_unless_asked_for():
    for_both = [Sample(f"{i}.jpg", "c1", i % 2, f"t{i % 3}") for i in range(12)]
    for choice, count in ((None, 2), ("identity", 2), ("tracklet", 3)):
        made = Listed("somewhere", num_workers=0, within_camera=choice)
        made.listed = for_both
        made.setup("fit")
        assert len(made.training_labels("intra_camera").unique()) == count


def test_labels_that_were_asked_for_and_are_not_there():
    unknown = Listed("somewhere", num_workers=0)
    unknown.listed = [Sample("a.jpg", "c1"), Sample("b.jpg", "c2")]
    unknown.setup("fit")
    with pytest.raises(InputError, match="no identities or tracklets"):
        unknown.training_labels("intra_camera")
    with pytest.raises(InputError, match="within_camera must be one of"):
        Listed("somewhere", within_camera="camera")
