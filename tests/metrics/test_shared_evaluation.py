"""Real processes against one: the same numbers to the last bit, each with its share of the work."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_commands import run_python
from literal_retrieval import random_problem
from share_evaluation import BLOCKS, GROUPS, RULES, evaluate

NAMES = ("mAP", "mINP", "rank1_low", "dir@0.1", "tpr@0.2")


@pytest.fixture(scope="module")
def columns():
    query, gallery, *sides = random_problem(0, num_query=37, num_ids=9)
    identities = np.concatenate(sides[:2])
    identities[:6] += 100  # queries of people who are not in the gallery
    identities[[8, 12, *range(50, 230, 9)]] = -1
    return {
        "embeddings": np.concatenate([query, gallery]),
        "identities": identities,
        "cameras": np.concatenate(sides[2:]),
        "is_query": np.arange(237) < 37,
        "index": np.arange(237),
    }


@pytest.fixture(scope="module")
def alone(columns):
    """What one process finds."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in BLOCKS.items():
            patch.setattr(f"lightning_reid.metrics.functional.{module}.{name}", 1500)
        return evaluate(0, 1, [torch.from_numpy(column) for column in columns.values()])


@pytest.fixture(scope="module")
def in_groups(columns, tmp_path_factory):
    """What each process finds, by the number of those that work together."""
    folder = tmp_path_factory.mktemp("shared_evaluation")
    np.savez(folder / "columns.npz", **columns)
    script = Path(__file__).with_name("share_evaluation.py")
    finished = run_python(script, folder / "columns.npz", folder / "result.json", limit=600)
    assert finished.status == 0, finished.errors
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(params=GROUPS)
def together(request, in_groups):
    """What each of so many processes finds."""
    return in_groups[str(request.param)]


def test_numbers_are_those_of_one_process(alone, together):
    assert all(own["numbers"] == alone["numbers"] for own in together)
    ways = ("", "reranked/", "expanded/", "camera_normalized/", "camera_normalized/reranked/")
    for numbers in alone["numbers"].values():
        assert all(f"{way}{name}" in numbers for way in ways for name in NAMES)
        assert not any(np.isnan(number) for number in numbers.values())


def test_queries_are_shared_out(alone, together):
    shares = [own["scored"] for own in together]
    assert sum(shares) == alone["scored"]
    rankings = 6 * len(RULES)
    assert max(shares) - min(shares) <= rankings  # one block of each


def test_own_images_are_back_after_computing(together):
    # of the five that pad, the last process has some itself
    assert [own["kept"] for own in together] == {2: [119, 118 + 3], 3: [79, 79, 79 + 4]}[
        len(together)
    ]


def test_without_an_index_every_row_of_every_process_counts(alone, together):
    assert alone["without_index"]["num_valid_queries"] > 0
    for own in together:
        assert own["without_index"] == pytest.approx(alone["without_index"])


def test_every_process_refuses_an_index_that_merges_images(together):
    for own in together:
        assert "have the index 0 but differ in identities" in own["refused"]
