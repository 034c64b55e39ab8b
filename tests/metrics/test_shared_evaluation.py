"""Real processes against one: the same numbers to the last bit, each with its share of the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from literal_retrieval import random_problem
from share_evaluation import evaluate

NUM_PROCESSES = 3


@pytest.fixture(scope="module")
def columns():
    query, gallery, *sides = random_problem(0, num_query=37, num_ids=9)
    return {
        "embeddings": np.concatenate([query, gallery]),
        "identities": np.concatenate(sides[:2]),
        "cameras": np.concatenate(sides[2:]),
        "is_query": np.arange(237) < 37,
        "index": np.arange(237),
    }


@pytest.fixture(scope="module")
def alone(columns):
    """What one process finds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("retrieval._BLOCK_ELEMENTS", "single_shot._BLOCK_ENTRIES"):
            patch.setattr(f"lightning_reid.metrics.functional.{name}", 1500)
        return evaluate(0, 1, [torch.from_numpy(column) for column in columns.values()])


@pytest.fixture(scope="module")
def together(columns, tmp_path_factory):
    """What each of several processes finds."""
    folder = tmp_path_factory.mktemp("shared_evaluation")
    np.savez(folder / "columns.npz", **columns)
    script = Path(__file__).with_name("share_evaluation.py")
    words = [script, folder / "columns.npz", folder / "result.json", NUM_PROCESSES]
    finished = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads((folder / "result.json").read_text())


def test_numbers_are_those_of_one_process(alone, together):
    assert all(own["numbers"] == alone["numbers"] for own in together)
    names = {"mAP", "reranked/mAP", "expanded/rank1_low", "camera_normalized/reranked/mINP"}
    assert names <= set(alone["numbers"]["cuhk03"])


def test_queries_are_shared_out(alone, together):
    shares = [own["scored"] for own in together]
    assert sum(shares) == alone["scored"]
    assert max(shares) - min(shares) <= 12  # one block for each of twelve rankings


def test_own_images_are_back_after_computing(together):
    assert [own["kept"] for own in together] == [79, 79, 79 + 4]  # of five that pad, one is its own
