import importlib
import shutil

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from command_line import run
from small_methods import (
    Cells,
    Log,
    StopAfter,
    make,
    market,
    one_line_error,
    same_state,
    state_of,
    train,
)

from lightning_reid import CALR, PseudoLabels
from lightning_reid.callbacks import NoClustersError, PseudoLabelCallback
from lightning_reid.clustering import (
    AgglomerativeClusterer,
    Clusterer,
    Clustering,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
    graph_scores,
)
from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.labels import find_neighbors, load_local_labels
from lightning_reid.losses import camera_entropy_weights
from lightning_reid.methods.head import keep_in_graph
from lightning_reid.models import CameraDiscriminator

LOCAL = AgglomerativeClusterer(images_per_cluster=4, k1=6, k2=2)
# few clusters of many images, so that local ones contradict them
GLOBAL = KMeansClusterer(num_clusters=4)


class Kept(CALR):
    """Keeps what every epoch began with, what was drawn in it, and what each labelling made."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.made, self.features, self.begun, self.drawn, self.states = {}, {}, [], [], []
        self.heads, self.local_seen = [], []

    def label(self, features, cameras, epoch, known=None):
        self.made[epoch] = super().label(features, cameras, epoch, known)
        self.features[epoch] = features.clone()
        return self.made[epoch]

    def adopt(self, labels, features):
        super().adopt(labels, features)
        self.local_seen.append((self.local_labels.clone(), self.local_silhouettes.clone()))

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.begun.append(state_of(self.network))
            self.heads.append(state_of(self.head))
            self.states.append(len(self.trainer.optimizers[0].state))
            self.drawn.append([])
        self.drawn[-1] += batch["camera"].tolist()
        return super().training_step(batch, batch_idx)


def calr(**kwargs):
    settings = {"clusterer": GLOBAL, "local_clusterer": LOCAL, "local_epochs": 2, **kwargs}
    return make(Kept, **settings)


def fitted(persons, folder, epochs, *callbacks, **kwargs):
    model = calr(**kwargs)
    source = state_of(model.network)
    train(model, market(persons), folder, epochs, *callbacks)
    return model, source


@pytest.fixture(scope="module")
def whole(persons, tmp_path_factory):
    """A run through both stages: two epochs in each of three cameras, then three over all."""
    folder = tmp_path_factory.mktemp("calr")
    log = Log()
    model, source = fitted(persons, folder, 9, log, align_epochs=1, weight_epoch=2)
    return model, source, log, folder


@pytest.fixture(scope="module")
def cameras(persons):
    data = market(persons)
    data.setup("fit")
    return data.train_cameras


@pytest.fixture(scope="module")
def small_camera(persons, tmp_path_factory):
    """The same people, of whom camera c2 has nine images only."""
    copy = tmp_path_factory.mktemp("data") / "small"
    shutil.copytree(persons, copy)
    for file in sorted((copy / "bounding_box_train").glob("*_c2*"))[9:]:
        file.unlink()
    return copy


# phases


def test_epochs_go_to_the_cameras_in_order(whole):
    model, *_ = whole
    phases = [model.phase(epoch) for epoch in range(10)]
    assert phases[:6] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert phases[6:] == [(None, 0), (None, 1), (None, 2), (None, 3)]
    assert [set(drawn) for drawn in model.drawn[:6]] == [{0}, {0}, {1}, {1}, {2}, {2}]
    assert all(set(drawn) == {0, 1, 2} for drawn in model.drawn[6:])


def test_every_camera_and_stage_2_begin_from_the_first_weights(whole):
    model, source, *_ = whole
    begins = [same_state(state, source) for state in model.begun]
    assert begins == [True, False, True, False, True, False, True, False, False]
    assert [count > 0 for count in model.states] == [not begin for begin in begins]
    assert model.source is None  # no longer needed, nor written to checkpoints
    assert not same_state(state_of(model.network), source)


def test_labels_are_made_from_the_network_that_an_epoch_begins_with(whole):
    model, *_ = whole
    for epoch in (2, 4, 6):
        assert torch.equal(model.features[epoch], model.features[0])
    assert not torch.equal(model.features[1], model.features[0])


def test_the_discriminator_of_stage_2_is_new(whole):
    model, *_ = whole
    with torch.random.fork_rng():
        torch.manual_seed(model.seed)
        expected = state_of(CameraDiscriminator(24, 3))
    assert same_state(model.heads[6], expected)
    assert not same_state(model.heads[7], expected)


def test_the_schedule_begins_anew_with_every_phase(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 9, milestones=(1, 2))
    rates = [model.learning_rate_factor(epoch) for epoch in range(9)]
    assert rates == pytest.approx([1, 0.1, 1, 0.1, 1, 0.1, 1, 0.1, 0.01])


def test_local_labels_are_of_the_camera_of_the_phase(whole, cameras):
    model, *_ = whole
    for epoch in range(6):
        hard = model.made[epoch].hard
        assert torch.equal(hard >= 0, cameras == epoch // 2)
        assert model.made[epoch].statistics["camera"] == epoch // 2
    for epoch in range(6, 10):
        assert "camera" not in model.made[epoch].statistics
        assert model.made[epoch].sampling == "cameras"


def test_the_best_separated_local_labels_are_kept(cameras, persons, tmp_path):
    class Scripted(Kept):
        silhouettes = (0.3, 0.5, 0.4, 0.2, 0.1, float("nan"), 0.2, 0.2, -0.5)

        def label(self, *args):
            made = super().label(*args)
            if "camera" in made.statistics:
                made.statistics["silhouette"] = self.silhouettes[len(self.made) - 1]
            return made

    model = make(Scripted, clusterer=GLOBAL, local_clusterer=LOCAL, local_epochs=3)
    train(model, market(persons), tmp_path, 10)
    kept = model.local_labels
    for camera, best in ((0, 1), (1, 5), (2, 6)):  # where nothing tells, the latest
        own = cameras == camera
        made = [model.made[3 * camera + i].hard[own] for i in range(3)]
        assert torch.equal(kept[own], model.made[best].hard[own])
        assert not all(torch.equal(made[0], other) for other in made[1:])


def test_local_labels_of_both_epochs_are_compared(whole, cameras):
    model, *_ = whole
    for camera in range(3):
        epochs = [2 * camera, 2 * camera + 1]
        silhouettes = [model.made[epoch].statistics["silhouette"] for epoch in epochs]
        best = epochs[int(np.argmax(silhouettes))]
        own = cameras == camera
        assert torch.equal(model.local_labels[own], model.made[best].hard[own])


def test_local_outliers_are_in_no_local_cluster(cameras, persons, tmp_path):
    local = DensityClusterer(k1=5, k2=1, eps=0.4, min_samples=3)
    model, _ = fitted(persons, tmp_path, 4, local_clusterer=local, local_epochs=1)
    for camera in range(3):
        own = cameras == camera
        assert (model.made[camera].hard[own] < 0).any()
        assert torch.equal(model.local_labels[own], model.made[camera].hard[own])


# the file of local labels


def test_local_labels_are_written_and_read(whole, persons, tmp_path):
    model, _, _, folder = whole
    file = folder / "local_labels.npz"
    data = market(persons)
    data.setup("fit")
    assert torch.equal(load_local_labels(file, data.paths("train")), model.local_labels)
    again, _ = fitted(persons, tmp_path, 2, local_labels=str(file))
    assert torch.equal(again.local_labels, model.local_labels)
    assert again.phase(0) == (None, 0)
    assert all(len(set(drawn)) > 1 for drawn in again.drawn)  # cameras are mixed
    assert again.local_epochs == 0
    # the network and the local labels are those that stage 2 began with, and so are its labels
    assert torch.equal(again.made[0].hard, model.made[6].hard)
    assert not (tmp_path / "local_labels.npz").exists()


def test_local_labels_of_other_images_are_told(persons, tmp_path, monkeypatch):
    file = tmp_path / "theirs.npz"
    names = np.array([f"9999_c1s1_{i:06}_01.jpg" for i in range(80)])
    numbers = np.arange(80) % 7
    np.savez(file, names=names, cameras=np.zeros(80, dtype=np.int64), local_labels=numbers)
    options = ["--model=CALR", f"--model.local_labels={file}", "--evaluate=false"]
    message = one_line_error(monkeypatch, persons, tmp_path / "run", *options)
    assert str(file) in message
    assert "name other files" in message
    with pytest.raises(InputError, match="theirs.npz"):
        fitted(persons, tmp_path, 2, local_labels=file)


def test_published_local_labels_of_another_set_are_told(shared, persons, tmp_path):
    file = shared / "data" / "calr_local_labels" / "dukemtmcreid.npz"
    with pytest.raises(InputError, match=f"{file} has local labels that name other files"):
        fitted(persons, tmp_path, 2, local_labels=file)


def test_the_run_folder_gets_the_local_labels(persons, tmp_path):
    options = ["--model=CALR", "--model.local_epochs=1", "--trainer.max_epochs=4"]
    options += ["--model.clusterer=KMeansClusterer", "--model.clusterer.num_clusters=4"]
    done = run("fit", persons, tmp_path / "run", *options, "--evaluate=false")
    file = tmp_path / "run" / "local_labels.npz"
    paths = done.datamodule.paths("train")
    assert torch.equal(load_local_labels(file, paths), done.model.local_labels)


# how many epochs stage 1 has


def test_stage_1_takes_at_most_half_of_all_epochs(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 13, StopAfter(1), local_epochs=None)
    assert (model.local_epochs, model.local_cameras) == (2, [0, 1, 2])
    model, _ = fitted(persons, tmp_path, 1000, StopAfter(1), local_epochs=None)
    assert model.local_epochs == 20


def test_too_few_epochs_for_stage_1_are_told(persons, tmp_path):
    model = calr(local_epochs=None)
    with pytest.warns(UserWarning, match="5 epochs are too few to learn 3 cameras"):
        train(model, market(persons), tmp_path, 5)
    assert model.phase(0) == (None, 0)
    assert model.source is None
    assert all(made.statistics["removed_share"] == 0 for made in model.made.values())
    assert not (tmp_path / "local_labels.npz").exists()


@pytest.mark.parametrize("epochs", [5, 6])
def test_asked_for_epochs_have_to_fit(epochs, persons, tmp_path):
    with pytest.raises(InputError, match=f"max_epochs={epochs} leaves nothing for stage 2"):
        fitted(persons, tmp_path, epochs, local_epochs=2)
    with pytest.raises(InputError, match="local_epochs"):
        calr(local_epochs=0)


def test_a_camera_of_few_images_is_left_out(small_camera, tmp_path):
    model, _ = fitted(small_camera, tmp_path, 5)
    data = market(small_camera)
    data.setup("fit")
    own = data.train_cameras == 1
    assert own.sum() == 9
    assert model.local_cameras == [0, 2]
    assert [model.phase(epoch)[0] for epoch in range(5)] == [0, 0, 2, 2, None]
    assert not model.local_labels[own].any()
    assert model.local_labels[~own].unique().numel() > 1
    # which says nothing against any global cluster
    before = model.made[4]
    scores = model._scores(model.features[4], data.train_cameras, neighbours(model, 4, data))
    assert len(scores) == len(before)
    removed = (before.hard < 0) & own
    assert not removed.any()


def neighbours(model, epoch, data):
    return find_neighbors(model.clusterer, model.features[epoch], data.train_cameras)


def test_no_camera_with_images_enough_is_told(small_camera, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_camera, copy)
    for camera in ("c1", "c3"):
        for file in sorted((copy / "bounding_box_train").glob(f"*_{camera}*"))[9:]:
            file.unlink()
    model = calr(local_epochs=None, clusterer=KMeansClusterer(num_clusters=3))
    with pytest.warns(UserWarning, match="not be refined"):
        train(model, market(copy), tmp_path, 2)
    assert model.source is None


def test_a_run_may_be_limited_by_steps(persons, tmp_path):
    model = calr(local_epochs=1)
    train(model, market(persons), tmp_path, -1, max_steps=10)
    assert model.phase(4)[0] is None
    assert len(model.begun) == 5


def test_a_schedule_of_removal_has_to_know_its_end(persons, tmp_path):
    model = calr(local_epochs=1, refinement="cosine")
    with pytest.raises(InputError, match="max_epochs"):
        train(model, market(persons), tmp_path, -1, max_steps=10)


def test_a_labelling_interval_keeps_the_phases(persons, tmp_path):
    model, source = fitted(persons, tmp_path, 12, PseudoLabelCallback(interval=2), local_epochs=3)
    begins = [epoch for epoch, state in enumerate(model.begun) if same_state(state, source)]
    assert begins == [0, 3, 6, 9]
    cameras_of_phase = [{0}] * 3 + [{1}] * 3 + [{2}] * 3 + [{0, 1, 2}] * 3
    assert [set(drawn) for drawn in model.drawn] == cameras_of_phase
    assert (tmp_path / "local_labels.npz").exists()


def test_a_camera_without_clusters_does_not_train_on_another(persons, tmp_path):
    class Blind(Clusterer):
        def cluster(self, features, cameras, neighbors):
            found = torch.arange(len(features)) % 3
            return Clustering(found if (cameras == 0).all() else found * 0 - 1, {})

    model = make(Kept, clusterer=GLOBAL, local_clusterer=Blind(), local_epochs=1)
    with pytest.raises(NoClustersError, match="camera 1"):
        train(model, market(persons), tmp_path, 4)


@pytest.mark.parametrize(("outliers", "advice"), [(0.9, "raise eps"), (0.1, "lower eps")])
def test_without_clusters_it_advises_what_the_outliers_tell(outliers, advice, persons, tmp_path):
    class Blind(Clusterer):
        coarser, finer = "raise eps", "lower eps"

        def cluster(self, features, cameras, neighbors):
            found = torch.zeros(len(features), dtype=torch.int64)
            found[: int(outliers * len(found))] = -1
            whole = torch.arange(len(features)) % 3
            return Clustering(whole if (cameras == 0).all() else found, {})

    model = make(Kept, clusterer=GLOBAL, local_clusterer=Blind(), local_epochs=1)
    with pytest.raises(NoClustersError, match=f"nothing to train on: {advice}"):
        train(model, market(persons), tmp_path, 4)


@pytest.mark.parametrize(
    "setting", [{"min_similarity": 1.5}, {"score_neighbors": 1}, {"pivot": "first"}]
)
def test_impossible_settings_are_told_before_training(setting, persons, tmp_path):
    class Untrained(CALR):
        def training_step(self, batch, batch_idx):
            raise AssertionError("trained before the setting was looked at")

    def attempt():
        stages = {"clusterer": GLOBAL, "local_clusterer": LOCAL, "local_epochs": 1}
        train(make(Untrained, **stages, **setting), market(persons), tmp_path, 4)

    with pytest.raises(InputError):
        attempt()


def test_overfitting_draws_labelled_images(persons, tmp_path):
    model = calr(local_epochs=1)
    train(model, market(persons), tmp_path, 4, overfit_batches=2)
    assert set(model.drawn[0]) == {0}


# losses


def test_the_discriminator_takes_part_at_first(whole):
    _, _, log, _ = whole
    shown = ["train/loss_cameras" in logged for logged in log.epochs]
    assert shown == [False] * 6 + [True] + [False] * 2
    for epoch, logged in enumerate(log.epochs):
        total = logged["train/loss_clusters"] + logged.get("train/loss_cameras", 0)
        assert logged["train/loss"] == pytest.approx(total, rel=1e-5), epoch


def test_the_weight_of_the_discriminator(persons, tmp_path):
    log = Log()
    fitted(persons, tmp_path, 2, log, refinement="none", align_epochs=2, align_weight=0.25)
    for logged in log.epochs:
        total = logged["train/loss_clusters"] + 0.25 * logged["train/loss_cameras"]
        assert logged["train/loss"] == pytest.approx(total, rel=1e-5)


def test_batch_norm_of_the_discriminator_sees_as_many_images_as_that_of_the_network():
    model = calr(samples_per_bn_group=4)
    head = model.make_head(3).train()
    plain = CameraDiscriminator(model.network.embedding_dim, 3).train()
    plain.load_state_dict(head.state_dict())
    for part in (head, plain):
        part.layers[3].p = 0.0  # dropout
    embeddings = torch.randn(12, model.network.embedding_dim)
    groups = [plain(group) for group in embeddings.split(4)]
    torch.testing.assert_close(head(embeddings), torch.cat(groups))


def test_stage_1_draws_as_stage_2(whole):
    model, *_ = whole
    of_stage_1 = [made for epoch, made in model.made.items() if epoch < 6]
    assert {(made.sampling, made.images_per_group) for made in of_stage_1} == {("cameras", 4)}


def test_clusters_are_weighed_later(whole, cameras):
    model, *_ = whole
    for epoch, made in model.made.items():
        assert (made.class_weights is not None) == (epoch >= 8)
    for epoch in (8, 9):
        expected = camera_entropy_weights(model.made[epoch].hard, cameras)
        assert torch.equal(model.made[epoch].class_weights, expected)
    assert len(model.memory) == len(model.current_labels().class_weights)


def stepping(persons, folder, **kwargs):
    """A model after an epoch of stage 2, and a batch."""
    model, _ = fitted(persons, folder, 1, refinement="none", **kwargs)
    data = model.trainer.datamodule
    data.sampler.set_epoch(0)
    model.log = lambda *_, **__: None
    model.move_memory = lambda *_: None  # every step sees the same
    model.train()
    model.zero_grad()
    return model, next(iter(data.train_dataloader()))


def test_a_batch_of_clusters_that_weigh_nothing(persons, tmp_path):
    model, batch = stepping(persons, tmp_path, align_epochs=0)
    labels = model.current_labels()
    weightless = torch.zeros(labels.num_clusters)
    model.labels = PseudoLabels(labels.hard, class_weights=weightless, sampling="cameras")
    loss = model.training_step(batch, 0)
    assert loss == 0
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name


def test_every_parameter_gets_a_gradient(persons, tmp_path):
    model, batch = stepping(persons, tmp_path, align_epochs=0)
    model.training_step(batch, 0).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.head.parameters())
    assert model.network.backbone.trunk.mix.weight.grad.any()
    loss = torch.ones((), requires_grad=True)
    head = CameraDiscriminator(4, 2)
    kept = keep_in_graph(loss * 3, head)
    assert kept == 3
    kept.backward()
    assert loss.grad == 3
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


@pytest.mark.parametrize("double_softmax", [True, False])
def test_the_network_gets_the_reversed_gradient(double_softmax, persons, tmp_path):
    model, batch = stepping(persons, tmp_path, align_epochs=5, double_softmax=double_softmax)
    torch.nn.Module.eval(model.head)  # no dropout
    model.network.eval()

    def gradients(weight):
        model.align_weight = weight
        model.zero_grad()
        model.training_step(batch, 0).backward()
        return (
            model.network.backbone.trunk.mix.weight.grad.clone(),
            model.head.layers[-1].weight.grad.clone(),
        )

    with torch.no_grad():
        model.head.layers[-1].weight *= 20  # so that one softmax more makes a difference
        logits = model.head(model.embed(batch["image"]))
        model.align_weight = 0
        without = model.training_step(batch, 0)
        model.align_weight = 1
        alignment = model.training_step(batch, 0) - without
        logits = logits.softmax(1) if double_softmax else logits
        expected = torch.nn.functional.cross_entropy(logits, batch["camera"])
    torch.testing.assert_close(alignment, expected)

    (none, head0), (once, head1) = gradients(0), gradients(1)
    assert not head0.any()
    alignment = once - none
    # a step along the head's gradient lowers the camera loss, one along the network's raises it
    assert camera_loss(model, batch, head=-1e-2 * head1) < camera_loss(model, batch)
    step = 1e-2 * alignment / alignment.norm()
    assert camera_loss(model, batch, network=-step) > camera_loss(model, batch)


@torch.no_grad()
def camera_loss(model, batch, head=None, network=None):
    changes = [
        (model.head.layers[-1].weight, head),
        (model.network.backbone.trunk.mix.weight, network),
    ]
    for weight, change in changes:
        if change is not None:
            weight += change
    logits = model.head(model.embed(batch["image"]))
    for weight, change in changes:
        if change is not None:
            weight -= change
    return torch.nn.functional.cross_entropy(logits, batch["camera"]).item()


# refinement


@pytest.mark.parametrize("double_softmax", [False, True])
@pytest.mark.parametrize("pivot", ["best", "last"])
@pytest.mark.parametrize("refinement", ["cosine", "constant", "none"])
def test_choices_run_and_refine(
    double_softmax, pivot, refinement, whole, cameras, persons, tmp_path
):
    choices = {"double_softmax": double_softmax, "pivot": pivot, "refinement": refinement}
    file = str(whole[3] / "local_labels.npz")
    log = Log()
    model, _ = fitted(persons, tmp_path, 2, log, local_labels=file, **choices)
    assert all(np.isfinite(logged["train/loss"]) for logged in log.epochs)
    for epoch, made in model.made.items():
        check_refinement(model, epoch, made, cameras)


def check_refinement(model, epoch, made, cameras):
    """What must hold for adopted labels, told anew from the features that they were made from."""
    features = model.features[epoch]
    clusters = model.clusterer(features, cameras).labels
    kept = made.hard >= 0
    assert torch.equal(made.hard[kept], clusters[kept])
    assert set(made.hard[kept].tolist()) == set(clusters[clusters >= 0].tolist())  # none is lost
    removed = (clusters >= 0) & ~kept
    if model.refinement == "none":
        assert not removed.any()
        assert "removed_share" not in made.statistics
        return
    assert made.statistics["removed_share"] == pytest.approx(removed.float().mean().item())
    assert removed.any()
    scores = graph_scores(find_neighbors(InfomapClusterer(k=15), features, cameras))
    for cluster in clusters.unique().tolist():
        members = (clusters == cluster).nonzero()[:, 0].tolist()
        if model.pivot == "best":
            pivot = max(members, key=lambda i: (scores[i], -i))
        else:
            high = [i for i in members if scores[i] > scores.mean()]
            pivot = high[-1] if high else None
        against = {
            i
            for i in members
            if pivot is not None
            and cameras[i] == cameras[pivot]
            and model.local_labels[i] != model.local_labels[pivot]
        }
        gone = {i for i in members if removed[i]}
        assert gone == against if model.refinement == "constant" else gone <= against


def test_refinement_holds_after_both_stages(whole, cameras):
    model, *_ = whole
    for epoch in range(6, 10):
        check_refinement(model, epoch, model.made[epoch], cameras)


def test_no_refinement_needs_no_stage_1(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 2, refinement="none", local_epochs=20)
    assert model.phase(0) == (None, 0)
    assert model.source is None


def test_infomaps_neighbours_are_not_sought_again(persons, tmp_path, monkeypatch):
    pytest.importorskip("infomap")
    sought = []

    def counted(*args):
        sought.append(args[0].k)
        return find_neighbors(*args)

    monkeypatch.setattr("lightning_reid.methods.calr.find_neighbors", counted)
    clusterer = InfomapClusterer(min_size=2)
    model, _ = fitted(persons, tmp_path, 4, clusterer=clusterer, local_epochs=1)
    assert sought == [15, 15]  # for the one epoch of stage 2 and after it
    assert model.current_labels().num_clusters > 1
    fitted(persons, tmp_path, 4, clusterer=clusterer, local_epochs=1, score_neighbors=9)
    assert sought[2:] == [15, 9, 15, 9]


# packages


@pytest.fixture
def without_infomap(monkeypatch):
    # the package has a function of the module's name
    module = importlib.import_module("lightning_reid.clustering.infomap")
    monkeypatch.setattr(module, "find_spec", lambda name: None)


def test_infomap_is_missed_before_anything_is_computed(without_infomap, persons, tmp_path):
    class Blind(CALR):
        def embed(self, images):
            raise AssertionError("computed before the package was looked for")

    with pytest.raises(MissingPackageError, match="pip install"):
        train(make(Blind), market(persons), tmp_path, 20)


def test_the_command_line_misses_infomap_before_testing(
    without_infomap, persons, tmp_path, monkeypatch
):
    monkeypatch.setattr(CALR, "test_step", lambda *_: pytest.fail("tested first"))
    message = one_line_error(monkeypatch, persons, tmp_path / "run", "--model=CALR")
    assert "pip install" in message


def test_another_clusterer_needs_no_infomap(without_infomap, persons, tmp_path):
    clusterer = DensityClusterer(k1=8, k2=2, eps=0.6, min_samples=2)
    model, _ = fitted(persons, tmp_path, 4, clusterer=clusterer, local_epochs=1)
    assert model.phase(3) == (None, 0)
    assert "removed_share" in model.current_labels().statistics


# checkpoints


def test_a_checkpoint_of_stage_1_holds_what_it_needs(persons, tmp_path):
    model = calr(align_epochs=0)
    source = state_of(model.network)
    train(model, market(persons), tmp_path, 9, StopAfter(3)).save_checkpoint(tmp_path / "3.ckpt")
    back = calr(align_epochs=0)
    with torch.no_grad():
        back.network.backbone.trunk.mix.weight.zero_()
    # the new run is longer: stage 1 stays as it was planned
    back.wanted_local_epochs = None
    train(back, market(persons), tmp_path, 40, StopAfter(8), checkpoint=tmp_path / "3.ckpt")
    assert back.local_epochs == 2
    assert len(back.begun) == 5
    begins = [3 + i for i, state in enumerate(back.begun) if same_state(state, source)]
    assert begins == [4, 6]
    assert torch.equal(back.local_labels[:5], load_of(tmp_path, persons)[:5])


def load_of(folder, root):
    data = market(root)
    data.setup("fit")
    return load_local_labels(folder / "local_labels.npz", data.paths("train"))


def test_a_checkpoint_loads_on_its_own(whole, tmp_path):
    model, *_ = whole
    model.trainer.save_checkpoint(tmp_path / "all.ckpt")
    loaded = Kept.load_from_checkpoint(tmp_path / "all.ckpt", backbone=Cells(), weights_only=True)
    assert same_state(state_of(loaded), state_of(model))
    assert torch.equal(loaded.local_labels, model.local_labels)
    assert torch.equal(loaded.memory, model.memory)
    assert loaded.clusterer.settings() == model.clusterer.settings()
    assert loaded.local_clusterer.settings() == model.local_clusterer.settings()
    assert loaded.phase(6) == (None, 0)


def test_testing_a_checkpoint_does_not_talk_of_stages(persons, tmp_path, recwarn):
    runner = train(calr(local_epochs=1), market(persons), tmp_path, 4)
    runner.save_checkpoint(tmp_path / "4.ckpt")
    recwarn.clear()
    other = calr(local_epochs=1)
    runner = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    runner.test(other, market(persons), ckpt_path=tmp_path / "4.ckpt", weights_only=True)
    assert other.local_cameras == [0, 1, 2]
    assert not [w for w in recwarn if "stage 1" in str(w.message)]
