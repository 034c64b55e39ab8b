import numpy as np
import pytest
import torch

from lightning_reid.data import LabelSampler, ShardSampler
from lightning_reid.errors import InputError

GROUPS = torch.tensor([0] * 6 + [1] * 4 + [2] * 2 + [3] + [-1] * 3 + [4] * 9)


def sampler(batch_size=8, images=4, batches=12, groups=GROUPS, **kwargs):
    made = LabelSampler(range(len(groups)), batch_size, images, batches, **kwargs)
    made.assign(groups)
    return made


def batches_of(made):
    return np.array(list(made)).reshape(made.num_batches, -1, made.images_per_group)


def test_batches_hold_whole_distinct_groups():
    made = sampler()
    assert len(made) == len(list(made)) == 96
    labels = GROUPS.numpy()[batches_of(made)]
    assert (labels == labels[..., :1]).all()
    assert (labels >= 0).all()
    assert (labels[:, 0, 0] != labels[:, 1, 0]).all()


def test_enough_images_means_none_twice():
    for batch in batches_of(sampler()):
        for group in batch:
            size = (GROUPS[group[0]] == GROUPS).sum()
            if size >= 4:
                assert len(set(group)) == 4
            else:
                assert set(GROUPS[group].tolist()) == {int(GROUPS[group[0]])}


def test_groups_come_equally_often():
    labels = GROUPS.numpy()[batches_of(sampler(batches=200))][..., 0].ravel()
    counts = np.bincount(labels)
    assert counts.sum() == 400
    assert counts.min() > 60


def test_every_image_is_drawn_in_time():
    seen = set(batches_of(sampler(batches=200)).ravel().tolist())
    assert seen == set(np.flatnonzero(GROUPS.numpy() >= 0).tolist())


def test_ranks_share_the_batches_of_one():
    alone = batches_of(sampler(batch_size=16, images=4))
    shares = [batches_of(sampler(batch_size=8, images=4, num_replicas=2, rank=r)) for r in range(2)]
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), alone)


def test_a_draw_depends_on_seed_and_epoch_alone():
    made = sampler(seed=3)
    first = list(made)
    made.set_epoch(1)
    second = list(made)
    made.set_epoch(0)
    assert list(made) == first != second
    assert list(sampler(seed=4)) != first


def test_overfitting_repeats_the_same_batches():
    made = sampler(reshuffle=False)
    first = list(made)
    made.set_epoch(5)
    assert list(made) == first


def test_new_labels_count_from_the_next_epoch():
    made = sampler()
    made.assign(torch.where(GROUPS == 4, -1, GROUPS))
    assert (GROUPS[list(made)] != 4).all()


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_groups_than_a_batch_needs_repeat(count):
    groups = torch.arange(6) % count
    made = sampler(batch_size=32, batches=5, groups=groups)
    assert len(list(made)) == 160


def test_errors_name_the_cause():
    with pytest.raises(ValueError, match="batch_size=10 is not a multiple"):
        sampler(batch_size=10)
    with pytest.raises(ValueError, match="2 labels for 3 images"):
        LabelSampler(range(3), 4, 4, 1).assign(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="every image is an outlier"):
        sampler(groups=torch.full((3,), -1))
    with pytest.raises(RuntimeError, match="no labels yet"):
        next(iter(LabelSampler(range(3), 4, 4, 1)))


@pytest.mark.parametrize("name", ["batch_size", "images_per_group", "num_batches"])
def test_nothing_to_draw_is_refused_at_once(name):
    settings = {"batch_size": 4, "images_per_group": 2, "num_batches": 1, name: 0}
    with pytest.raises(InputError, match=f"^{name} must be at least 1, not 0$"):
        LabelSampler(range(3), **settings)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shards_hold_everything_once(world):
    shards = [list(ShardSampler(range(10), world, rank)) for rank in range(world)]
    assert sorted(i for shard in shards for i in shard) == list(range(10))
    assert [len(ShardSampler(range(10), world, r)) for r in range(world)] == [
        len(s) for s in shards
    ]
