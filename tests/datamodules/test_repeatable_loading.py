"""Training batches are a function of (seed, epoch), whatever loads them."""

import pytest
import torch
from small_methods import market

from lightning_reid import PseudoLabels
from lightning_reid.data import Augmentation

STRONG = Augmentation(pad=3, jitter=0.2, rotate=10, shift=0.1)


def batches(root, epoch=0, **settings):
    data = market(
        root, seed=3, augmentation=STRONG, images_per_group=2, batches_per_epoch=3, **settings
    )
    data.setup("fit")
    data.assign(PseudoLabels(torch.arange(len(data.train_samples)) % 12))
    loader = data.train_dataloader()
    data.sampler.set_epoch(epoch)
    return torch.cat([batch["image"] for batch in loader])


@pytest.mark.parametrize("settings", [{"num_workers": 1}, {"num_workers": 2}, {"cache": "ram"}])
def test_neither_workers_nor_the_cache_change_a_pixel(persons, settings):
    torch.manual_seed(1)
    expected = batches(persons)
    torch.manual_seed(2)
    assert torch.equal(batches(persons, **settings), expected)


def test_every_epoch_is_augmented_anew(persons):
    assert not torch.equal(batches(persons), batches(persons, epoch=1))
    assert torch.equal(batches(persons, epoch=1), batches(persons, epoch=1))


def test_two_ranks_see_the_pixels_that_one_does(persons):
    alone = batches(persons, batch_size=8)

    def of_rank(rank):
        data = market(persons, seed=3, augmentation=STRONG, images_per_group=2, batch_size=4)
        data.batches_per_epoch = 3
        data._ranks = lambda: {"num_replicas": 2, "rank": rank}
        data.setup("fit")
        data.assign(PseudoLabels(torch.arange(len(data.train_samples)) % 12))
        return torch.cat([batch["image"] for batch in data.train_dataloader()]).split(4)

    shares = [
        half
        for first, second in zip(of_rank(0), of_rank(1), strict=True)
        for half in (first, second)
    ]
    assert torch.equal(torch.cat(shares), alone)


def test_workers_stay_for_the_next_epoch(persons):
    data = market(persons, num_workers=1)
    data.setup("fit")
    assert data.train_dataloader().persistent_workers
    assert not data.label_dataloader().persistent_workers
    assert not market(persons).num_workers


def test_all_loaders_of_a_split_share_a_cache(persons):
    data = market(persons, cache="ram")
    data.setup()
    first, second = data.train_dataloader().dataset, data.label_dataloader().dataset
    assert first.cache is second.cache
    assert first.cache is not data.test_dataloader().dataset.cache
