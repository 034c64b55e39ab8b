import warnings

import numpy as np
import pytest
import torch
from literal_retrieval import random_problem, rankings

from lightning_reid.errors import InputError
from lightning_reid.metrics import RetrievalMetrics, open_set_rates

RATES = (0.0, 0.1, 0.35, 0.7, 1.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("cross_camera_only", [False, True])
def test_against_trying_every_threshold(seed, ties, rank, cross_camera_only):
    problem = list(random_problem(seed, 40, 60, 12, 3, ties=ties))
    problem[3] = problem[3] % 7  # five of twelve people are not in the gallery
    found, alarms, known = [], [], 0
    for distances, match in rankings(problem, cross_camera_only):
        if not match.any():
            alarms.append(distances[0])
            continue
        known += 1
        first = np.flatnonzero(match)[0]
        found += [distances[first]] if first < rank else []
    found, alarms = np.array(found), np.array(alarms)
    thresholds = np.concatenate([[-np.inf], found, alarms, [np.inf]])
    result = open_set_rates(*problem, RATES, rank, cross_camera_only=cross_camera_only)
    for rate in RATES:
        allowed = [t for t in thresholds if (alarms <= t).mean() <= rate + 1e-12]
        expected = max((found <= t).sum() / known for t in allowed)
        assert result[f"dir@{rate:g}"] == pytest.approx(expected)
    assert result["num_known_queries"] == known
    assert result["num_unknown_queries"] == len(alarms)


def test_without_both_kinds_of_queries_there_is_no_rate():
    one = torch.ones(2, 3)
    all_known = open_set_rates(one, one, [0, 1], [0, 1], [0, 0], [1, 1], (0.1,))
    assert np.isnan(all_known["dir@0.1"])
    assert all_known["num_unknown_queries"] == 0
    all_unknown = open_set_rates(one, one, [0, 1], [2, 3], [0, 0], [1, 1], (0.1,))
    assert np.isnan(all_unknown["dir@0.1"])
    assert all_unknown["num_known_queries"] == 0


@pytest.mark.parametrize(
    ("gallery_ids", "missing"),
    [([0, 1], "is not in the gallery"), ([2, 3], "is in the gallery"), ([0, 3], None)],
)
def test_the_metric_tells_once_why_there_is_no_rate(gallery_ids, missing):
    metric = RetrievalMetrics(open_set=[0.1], normalize_cameras=True, rerank=True)
    is_query = torch.tensor([True, True, False, False])
    ids, cameras = torch.tensor([0, 1, *gallery_ids]), torch.tensor([0, 0, 1, 1])
    metric.update(torch.eye(4), ids, cameras, is_query, torch.arange(4))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        numbers = metric.compute()
    assert np.isnan(numbers["dir@0.1"]) == (missing is not None)
    texts = [str(w.message) for w in told if "open_set" in str(w.message)]
    assert len(texts) == (missing is not None)
    assert all(missing in text for text in texts)


def test_an_empty_gallery_alarms_nobody():
    one = torch.ones(2, 3)
    result = open_set_rates(one, one[:0], [0, 1], [], [0, 0], [])
    assert result["num_unknown_queries"] == 2


@pytest.mark.parametrize("options", [{"rank": 0}, {"false_alarm_rates": (-0.1,)}])
def test_bad_settings(options):
    with pytest.raises(InputError):
        open_set_rates(*random_problem(0), **options)
