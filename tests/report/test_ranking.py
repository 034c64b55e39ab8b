import numpy as np
import pytest
import torch
from PIL import Image

from lightning_reid.metrics import Collected, query_scores
from lightning_reid.report.ranking import (
    Ranking,
    draw_rankings,
    rank_gallery,
    typical_queries,
    worst_queries,
)

GREEN, RED = (0, 140, 70), (205, 30, 30)


def on_a_line(identities, cameras, positions, num_queries):
    """Embeddings that lie side by side; the first images are the queries."""
    count = len(positions)
    return Collected(
        embeddings=torch.tensor(positions, dtype=torch.float32)[:, None],
        identities=torch.tensor(identities),
        cameras=torch.tensor(cameras),
        is_query=torch.arange(count) < num_queries,
        index=torch.arange(count),
    )


def scores_of(seen):
    return query_scores(*seen.sides())


@pytest.fixture
def paths(tmp_path):
    for i in range(6):
        Image.new("RGB", (30, 60), (10 * i, 0, 255)).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(6)]


def runs_of(picture, colour):
    """Lengths of the runs of a colour along the middle of the first row of images."""
    pixels = np.asarray(picture)[110]
    same = np.concatenate([[False], (pixels == colour).all(1), [False]])
    edges = np.diff(same.astype(int)).nonzero()[0].reshape(-1, 2)
    return (edges[:, 1] - edges[:, 0]).tolist()


def test_thick_green_frames_match_and_thin_red_ones_do_not(paths):
    ranking = Ranking(query=0, nearest=[1, 2], first_match=1, rank=1, average_precision=1.0)
    identities, cameras = torch.tensor([7, 7, 8]), torch.tensor([0, 1, 1])
    picture = draw_rankings([ranking], identities, cameras, paths, ["c1", "c2"])
    green, red = runs_of(picture, GREEN), runs_of(picture, RED)
    assert len(green) == len(red) == 2  # left and right of one image each
    assert min(green) > max(red)
    # in the order of the ranking: query, match, mismatch
    pixels = np.asarray(picture)[110]
    match, mismatch = ((pixels == colour).all(1).nonzero()[0][0] for colour in (GREEN, RED))
    assert match < mismatch
    blue = np.flatnonzero(np.diff((pixels == (0, 0, 255)).all(1).astype(int)) == 1)
    assert blue[0] < match


def test_the_first_match_is_shown_where_no_other_is(paths):
    identities, cameras = torch.tensor([7, 8, 8, 7]), torch.tensor([0, 1, 1, 1])
    ranking = Ranking(query=0, nearest=[1, 2], first_match=3, rank=3, average_precision=1 / 3)
    picture = draw_rankings([ranking], identities, cameras, paths, ["c1", "c2"])
    assert len(runs_of(picture, RED)) == 4
    assert len(runs_of(picture, GREEN)) == 2
    pixels = np.asarray(picture)[110]
    last = (pixels == GREEN).all(1).nonzero()[0].min()
    assert (pixels[last:] == (30, 0, 255)).all(1).any()  # the fourth image


def test_images_of_the_querys_identity_and_camera_are_left_out():
    seen = on_a_line([7, 7, 8, 7, 8], [0, 0, 0, 1, 1], [0, 0.1, 0.2, 0.3, 0.4], num_queries=1)
    (ranking,) = rank_gallery(seen, scores_of(seen), np.array([0]))
    assert ranking.nearest == [2, 3, 4]
    assert (ranking.first_match, ranking.rank) == (3, 2)
    assert ranking.average_precision == pytest.approx(0.5)
    (across,) = rank_gallery(seen, scores_of(seen), np.array([0]), cross_camera_only=True)
    assert across.nearest == [3, 4]


def test_images_of_unknown_identity_are_left_out():
    seen = on_a_line([7, -1, 8, -1, 7], [0, 1, 1, 0, 1], [0, 0.1, 0.2, 0.3, 0.4], num_queries=1)
    (ranking,) = rank_gallery(seen, scores_of(seen), np.array([0]))
    assert ranking.nearest == [2, 4]
    assert (ranking.first_match, ranking.rank) == (4, 2)


def test_only_so_many_results_are_kept():
    seen = on_a_line([7, 8, 8, 7], [0, 1, 1, 1], [0, 1, 2, 3], num_queries=1)
    (ranking,) = rank_gallery(seen, scores_of(seen), np.array([0]), num_results=2)
    assert ranking.nearest == [1, 2]
    assert (ranking.first_match, ranking.rank) == (3, 3)


@pytest.fixture
def three_people():
    # four queries, the last without a match, then the gallery
    identities = [1, 2, 2, 3, 9, 1, 9, 9, 9, 2]
    positions = [0, 10, 11.5, 20, 0.5, 1, 11, 12, 12.5, 14]
    return on_a_line(identities, [0, 0, 0, 0] + [1] * 6, positions, num_queries=4)


def test_the_worst_queries_come_first_and_each_shows_another_person(three_people):
    scores = scores_of(three_people)
    assert scores.valid.tolist() == [True, True, True, False]
    assert scores.first_match[:3].tolist() == [2, 4, 4]
    identities = three_people.identities[:4]
    assert worst_queries(scores, identities, 8).tolist() == [1, 0]
    assert worst_queries(scores, identities, 1).tolist() == [1]


def test_typical_queries_are_those_around_the_median(three_people):
    scores = scores_of(three_people)
    precision = scores.average_precision[:3].numpy()
    nearest = np.abs(precision - np.median(precision)).argmin()
    chosen = typical_queries(scores, torch.tensor([1, 2, 4, 3]), 3)
    assert chosen[0] == nearest
    assert 3 not in chosen  # it has no match


def test_without_valid_queries_there_is_nothing_to_show():
    seen = on_a_line([1, 2], [0, 1], [0, 1], num_queries=1)
    assert worst_queries(scores_of(seen), torch.tensor([1]), 3).tolist() == []
    assert typical_queries(scores_of(seen), torch.tensor([1]), 3).tolist() == []
