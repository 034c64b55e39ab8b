import pytest
import pytorch_lightning as pl
import torch
from small_methods import Log, make, market, one_line_error, state_of, train

from lightning_reid import PCSL
from lightning_reid.errors import InputError
from lightning_reid.labels import cross_camera_soft_labels, group_means
from lightning_reid.losses import batch_hard_triplet_loss, weighted_triplet_loss

WITHIN = {"train/loss_intra", "train/loss_intra_triplets"}
ACROSS = {"train/loss_cross", "train/loss_cross_triplets"}

# every choice of the soft labels, whatever the defaults are
PLAIN = {
    "k": 2,
    "kernel": "gaussian",
    "bandwidth": 1.0,
    "confidence": True,
    "mutual": False,
    "normalize_cameras": False,
}


class Kept(PCSL):
    """Keeps what each labelling saw."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kept = {}

    def label(self, features, cameras, epoch, known=None):
        made = super().label(features, cameras, epoch, known)
        self.kept[epoch] = (features.clone(), cameras, known, made)
        return made


def fitted(persons, folder, epochs=2, *callbacks, **kwargs):
    model = make(Kept, **{"soft_epoch": 1, **PLAIN, **kwargs})
    data = market(persons)
    train(model, data, folder, epochs, *callbacks)
    return model, data


def test_soft_labels_and_their_losses_begin_together(persons, tmp_path):
    class Watch(Log):
        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)
            soft = pl_module.current_labels().soft
            assert (soft is None) == (pl_module.soft_columns is None)
            self.epochs[-1]["soft"] = soft is not None

    log = Watch()
    fitted(persons, tmp_path, 4, log, soft_epoch=2)
    assert [logged["soft"] for logged in log.epochs] == [False, False, True, True]
    for logged in log.epochs:
        shown = {name for name in logged if name.startswith("train/loss_")}
        assert shown == (WITHIN | ACROSS if logged["soft"] else WITHIN)


def test_soft_labels_from_the_first_epoch(persons, tmp_path):
    log = Log()
    fitted(persons, tmp_path, 1, log, soft_epoch=0)
    assert set(log.epochs[0]) >= ACROSS


def test_the_loss_is_the_weighted_sum_of_its_parts(persons, tmp_path):
    log = Log()
    # batches and margins so large that every camera has triplets that cost something
    model = make(PCSL, soft_epoch=1, margin=5.0, soft_weight=0.3, soft_triplet_weight=0.7)
    train(model, market(persons, batch_size=32), tmp_path, 3, log)
    weights = {
        "train/loss_intra": 1,
        "train/loss_intra_triplets": 1,
        "train/loss_cross": 0.3,
        "train/loss_cross_triplets": 0.7,
    }
    for epoch, logged in enumerate(log.epochs):
        parts = {name: logged[name] for name in weights if name in logged}
        assert len(parts) == (2 if epoch < 1 else 4)
        assert logged["train/loss"] == pytest.approx(
            sum(weights[name] * value for name, value in parts.items()), rel=1e-5
        )
        assert all(value > 0 for value in parts.values())


class Restated(pl.Callback):
    """Compares the parts of the loss with what a plain reading of them gives for the batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        before = state_of(pl_module)
        with torch.no_grad():
            pooled = pl_module.network.features(batch["image"])
            logits = pl_module.head(pl_module.network.neck(pooled))
        pl_module.load_state_dict(before)
        persons, cameras = pl_module.labels.hard[batch["index"]], batch["camera"]
        assert len(cameras.unique()) > 1
        soft = pl_module.labels.soft.to_dense()[batch["index"]]
        log_p = torch.cat(
            [logits[:, pl_module.person_cameras == c].log_softmax(1) for c in range(3)], dim=1
        )
        places = [(pl_module.person_cameras == c).nonzero()[:, 0] for c in range(3)]
        order = torch.cat(places).argsort()
        log_p = log_p[:, order]
        within = [
            (batch_hard_triplet_loss(pooled[cameras == c], persons[cameras == c]), c)
            for c in cameras.unique().tolist()
            if len(persons[cameras == c].unique()) > 1  # else nobody has a negative
        ]
        counts = [int((cameras == c).sum()) for _, c in within]
        triplets = sum(float(loss) * n for (loss, _), n in zip(within, counts, strict=True))
        self.expected = {
            "intra": float(-log_p[torch.arange(len(persons)), persons].mean()),
            "intra_triplets": triplets / max(1, sum(counts)),
            "cross": float(-(soft * log_p).sum(1).mean()),
            "cross_triplets": float(weighted_triplet_loss(pooled, soft[:, persons], cameras)),
        }

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for name, value in self.expected.items():
            logged = float(trainer.callback_metrics[f"train/loss_{name}"])
            assert logged == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("mutual", [False, True])
def test_the_parts_are_what_they_are_said_to_be(mutual, persons, tmp_path):
    model = make(PCSL, soft_epoch=0, **{**PLAIN, "mutual": mutual})
    train(model, market(persons, batch_size=32, batches_per_epoch=4), tmp_path, 1, Restated())


def test_persons_are_people_of_one_camera(persons, tmp_path):
    model, data = fitted(persons, tmp_path)
    labels, cameras = model.current_labels(), data.train_cameras
    pairs = list(zip(cameras.tolist(), data.train_identities.tolist(), strict=True))
    for person in range(len(set(pairs))):
        assert len({pairs[i] for i in (labels.hard == person).nonzero()[:, 0].tolist()}) == 1
    assert labels.num_clusters == len(set(pairs)) == model.head_size == 17
    assert torch.equal(model.person_cameras[labels.hard], cameras)


@pytest.mark.parametrize("k", [1, 2, 30])
@pytest.mark.parametrize("kernel", ["gaussian", "cosine", "jaccard"])
def test_soft_labels_stay_out_of_the_own_camera(k, kernel, persons, tmp_path):
    model, data = fitted(persons, tmp_path, 1, k=k, kernel=kernel)  # labelled for the second epoch
    soft = model.current_labels().soft.to_dense()
    assert soft.sum() > 0
    assert (soft >= 0).all()
    people = model.person_cameras.bincount()
    for image, row in enumerate(soft):
        own = data.train_cameras[image]
        assert not row[model.person_cameras == own].any()
        for camera in range(3):
            entries = (row[model.person_cameras == camera] > 0).sum()
            assert entries <= min(k, int(people[camera]))
            if kernel == "gaussian" and camera != own:  # never 0
                assert entries == min(k, int(people[camera]))


def test_the_table_holds_the_soft_label_of_every_person(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 1, mutual=True)  # rows of different length
    features, _, _, made = model.kept[1]
    settings = {**PLAIN, "mutual": True}
    del settings["normalize_cameras"]
    soft = cross_camera_soft_labels(
        group_means(features, made.hard), made.proxy_cameras, **settings
    ).toarray()
    lengths = (soft > 0).sum(1)
    assert lengths.min() < lengths.max()
    table = torch.zeros(soft.shape)
    table.scatter_add_(1, model.soft_columns, model.soft_weights)
    assert torch.equal(table, torch.from_numpy(soft))
    # of images as of persons
    images = model.current_labels().soft.to_dense()
    assert torch.equal(images, torch.from_numpy(soft)[made.hard])


def test_the_table_follows_from_the_labels(persons, tmp_path):
    model, _ = fitted(persons, tmp_path)
    other = make(PCSL)
    other.set_labels(model.current_labels())
    assert torch.equal(other.soft_columns, model.soft_columns)
    assert torch.equal(other.soft_weights, model.soft_weights)
    assert torch.equal(other.person_cameras, model.person_cameras)


@pytest.mark.parametrize(
    ("soft_epoch", "interval", "expected"),
    [(1, 1, [0, 1, 2, 3, 4, 5]), (1, 2, [0, 1, 3, 5]), (2, 3, [0, 2, 5]), (0, 2, [0, 2, 4])],
)
def test_soft_labels_are_refreshed_when_asked(soft_epoch, interval, expected, persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 5, soft_epoch=soft_epoch, label_interval=interval)
    assert list(model.kept) == expected


def gradient_of_camera(model, data, camera):
    """What a step on some images of one camera asks of the classifier, ``(P,)`` lengths."""
    model.log = model.log_dict = lambda *_, **__: None
    dataset = data.label_dataloader().dataset
    rows = (data.train_cameras == camera).nonzero()[:, 0].tolist()[::3]
    batch = torch.utils.data.default_collate([dataset[i] for i in rows])
    model.zero_grad()
    model.train()
    model.training_step(batch, 0).backward()
    return model.head.weight.grad.norm(dim=1)


@pytest.mark.parametrize("camera", [0, 1, 2])
def test_images_move_persons_of_other_cameras_by_soft_labels_only(camera, persons, tmp_path):
    model, data = fitted(persons, tmp_path, 1, soft_epoch=5)
    lengths = gradient_of_camera(model, data, camera)
    abroad = model.person_cameras != camera
    assert (lengths[abroad] == 0).all()
    assert (lengths[~abroad] > 0).all()
    model, data = fitted(persons, tmp_path, 1, soft_epoch=1)
    assert (gradient_of_camera(model, data, camera) > 0).all()


def test_no_softmax_pushes_persons_of_two_cameras_apart(persons, tmp_path):
    model, data = fitted(persons, tmp_path, 1, soft_epoch=5)
    before = gradient_of_camera(model, data, 0)
    with torch.no_grad():
        model.head.weight[model.person_cameras != 0] *= 100
    torch.testing.assert_close(gradient_of_camera(model, data, 0), before, rtol=0, atol=0)


def test_missing_identities_are_told_in_one_line(persons, tmp_path, monkeypatch):
    options = ["--model=PCSL", "--data=small_methods.Unlabelled", "--evaluate=false"]
    message = one_line_error(monkeypatch, persons, tmp_path / "run", *options)
    assert "have no identities or tracklets, which this method needs" in message
    assert "\n" not in message


@pytest.mark.parametrize("soft_epoch", [0, 1])
def test_a_dry_run_makes_soft_labels(soft_epoch, persons, tmp_path):
    model = make(PCSL, soft_epoch=soft_epoch)
    train(model, market(persons), tmp_path, None, fast_dev_run=True)


class Untrained(PCSL):
    def training_step(self, batch, batch_idx):
        raise AssertionError("trained before the setting was looked at")


@pytest.mark.parametrize("setting", [{"k": 0}, {"bandwidth": 0.0}, {"label_interval": 0}])
def test_impossible_settings_are_told_before_training(setting, persons, tmp_path):
    with pytest.raises(InputError):
        train(make(Untrained, soft_epoch=1, **setting), market(persons), tmp_path, 2)


def test_persons_keep_their_rows_when_a_run_goes_on_with_another_seed(persons, tmp_path):
    file = tmp_path / "one.ckpt"
    first, second = make(PCSL, soft_epoch=1), make(PCSL, soft_epoch=1)
    train(first, market(persons, seed=0), tmp_path, 1).save_checkpoint(file)
    train(second, market(persons, seed=1), tmp_path, 2, checkpoint=file)
    assert second.current_labels().hard.tolist() == first.current_labels().hard.tolist()


def test_a_run_too_short_for_soft_labels_says_so(persons, tmp_path):
    with pytest.warns(UserWarning, match="soft labels begin with epoch 5"):
        train(make(PCSL, soft_epoch=5), market(persons), tmp_path, 1)


def test_batches_hold_persons_that_resemble_each_other(persons, tmp_path):
    """More images than in random batches meet one that their soft label relates them to."""
    met = {}
    for partners in (True, False):

        class Watch(pl.Callback):
            def __init__(self):
                self.shares = []

            def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
                labels = pl_module.current_labels()
                if labels.soft is not None:
                    soft = labels.soft.to_dense()[batch["index"]]
                    related = soft[:, labels.hard[batch["index"]]] > 0
                    self.shares.append(related.any(1).float().mean())

        watch = Watch()
        model, _ = fitted(persons, tmp_path, 6, watch, partners=partners)
        assert model.labels.sampling == ("partners" if partners else "groups")
        met[partners] = torch.stack(watch.shares).mean()
    assert met[True] > 0.75
    assert met[True] > met[False] + 0.1
