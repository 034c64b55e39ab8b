import numpy as np
import pytest
import torch

from lightning_reid.errors import InputError
from lightning_reid.metrics import bootstrap_interval
from lightning_reid.metrics.functional import bootstrap as module


def test_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(0).normal(3, 2, size=4000)
    low, high = bootstrap_interval(values, num_resamples=4000)
    error = values.std() / np.sqrt(4000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    intervals = [
        bootstrap_interval(generator.random(60) ** 2, confidence=0.8, num_resamples=200)
        for _ in range(300)
    ]
    covered = np.mean([low <= 1 / 3 <= high for low, high in intervals])
    assert 0.73 < covered < 0.86


def test_queries_of_one_person_are_drawn_together():
    generator = np.random.default_rng(2)
    people = np.repeat(np.arange(50), 20)
    values = torch.from_numpy(generator.normal(size=50)[people])  # twenty times the same
    single = bootstrap_interval(values)
    grouped = bootstrap_interval(values, people + 7)
    ratio = (grouped[1] - grouped[0]) / (single[1] - single[0])
    assert ratio == pytest.approx(np.sqrt(20), rel=0.15)


def test_groups_of_any_size_weigh_by_their_values():
    low, high = bootstrap_interval([0, 0, 0, 1], [5, 5, 5, 5])
    assert low == high == pytest.approx(0.25)  # the only group is always drawn


def test_repeats_with_its_seed_in_any_portions(monkeypatch):
    values = np.random.default_rng(3).random(40)
    expected = bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) == expected
    assert bootstrap_interval(values, seed=6) != expected
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 400)
    assert bootstrap_interval(values, seed=5) == expected


def test_nothing_has_no_interval():
    assert all(np.isnan(bootstrap_interval([])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.2}, "confidence must be from 0 to 1, not 1.2"),
        ({"num_resamples": 0}, "num_resamples must be at least 1, not 0"),
        ({"groups": [1, 2, 3]}, "2 values and 3 groups: each value needs its group"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        bootstrap_interval([0.5, 0.7], **options)
