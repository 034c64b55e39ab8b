import numpy as np
import pytest
import torch
from literal_retrieval import random_problem

from lightning_reid.metrics import camera_pair_table, query_scores, retrieval_metrics
from lightning_reid.metrics.functional import camera_pairs as module


def within(problem, query_camera, gallery_camera):
    """The queries of one camera and the gallery of another."""
    query, gallery, ids, gallery_ids, cameras, gallery_cameras = problem
    q, g = cameras == query_camera, gallery_cameras == gallery_camera
    return query[q], gallery[g], ids[q], gallery_ids[g], cameras[q], gallery_cameras[g]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("entries", [1, 2000, 1 << 24])
def test_every_cell_is_a_retrieval_of_its_own(monkeypatch, ties, entries):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
    problem = list(random_problem(0, ties=ties))
    names = np.array([40, 7, 9, 23])  # cameras may have any numbers
    problem[4], problem[5] = names[problem[4]], names[problem[5]]
    table = camera_pair_table(*problem, ranks=(1, 4))
    assert table.query_cameras.tolist() == table.gallery_cameras.tolist() == [7, 9, 23, 40]
    for row, query_camera in enumerate(table.query_cameras.tolist()):
        for column, gallery_camera in enumerate(table.gallery_cameras.tolist()):
            expected = retrieval_metrics(
                *within(problem, query_camera, gallery_camera), ranks=(1, 4)
            )
            cell = {name: float(values[row, column]) for name, values in table.metrics.items()}
            assert cell == pytest.approx(expected, nan_ok=True)
            assert np.isnan(cell["mAP"]) == (row == column)


def test_cameras_that_only_one_side_has():
    query, gallery = torch.eye(2), torch.eye(2)
    table = camera_pair_table(query, gallery, [0, 1], [0, 1], [3, 3], [1, 5], ranks=(1,))
    assert table.metrics["num_valid_queries"].tolist() == [[1.0, 1.0]]
    assert table.metrics["rank1"].tolist() == [[1.0, 1.0]]


def test_nothing_to_rank():
    table = camera_pair_table(torch.ones(0, 3), torch.ones(2, 3), [], [0, 1], [], [4, 5])
    assert table.metrics["num_valid_queries"].shape == (0, 2)
    table = camera_pair_table(torch.ones(2, 3), torch.ones(0, 3), [0, 1], [], [4, 5], [])
    assert table.metrics["num_valid_queries"].shape == (2, 0)


def test_re_ranked_distances_are_those_of_the_whole_gallery():
    problem = random_problem(1, 20, 60, 6, 2)
    table = camera_pair_table(*problem, rerank=True)
    assert not np.isclose(
        table.metrics["mAP"][0, 1], camera_pair_table(*problem).metrics["mAP"][0, 1]
    )
    # with two cameras, what is left of a gallery across cameras is the other camera's
    scores = query_scores(*problem, rerank=True, cross_camera_only=True)
    first = torch.from_numpy(problem[4] == 0) & scores.valid
    assert table.metrics["mAP"][0, 1].item() == pytest.approx(
        scores.average_precision[first].mean().item()
    )
