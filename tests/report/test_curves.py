import math

import numpy as np
import pytest

from lightning_reid.report.curves import (
    cmc_curve,
    draw_cmc,
    draw_labellings,
    draw_loss,
    draw_over_epochs,
)
from lightning_reid.report.figures import as_image
from lightning_reid.report.tables import read_losses, write_epoch


def lines(figure):
    return [line for axes in figure.axes for line in axes.get_lines()]


def test_cmc_is_the_share_of_queries_with_a_match_so_early():
    curve = cmc_curve(np.array([1, 1, 3, 70]), num_ranks=5)
    assert curve.tolist() == [0.5, 0.5, 0.75, 0.75, 0.75]


def test_cmc_is_drawn_from_rank_one_and_named():
    figure = draw_cmc({"plain": np.array([0.25, 0.5]), "$other$": np.array([0.5, 1.0])})
    first, second = lines(figure)
    assert first.get_xdata().tolist() == [1, 2]
    assert second.get_ydata().tolist() == [50, 100]
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named == ["plain: 25.0 % at rank 1", "$other$: 50.0 % at rank 1"]
    assert as_image(figure).size == (720, 480)


def test_map_is_drawn_in_order_of_the_epochs():
    figure = draw_over_epochs({"test": [(3, 0.5), (0, 0.25)], "val": [(1, 0.125)]}, "mAP")
    test, val = lines(figure)
    assert test.get_xdata().tolist() == [0, 3]
    assert test.get_ydata().tolist() == [25, 50]
    assert (val.get_xdata().tolist(), val.get_ydata().tolist()) == ([1], [12.5])
    assert as_image(figure).getcolors(1 << 20) is not None


@pytest.mark.parametrize("count", [1, 3])
def test_clusters_outliers_and_churn_are_drawn(count):
    history = [
        {
            "epoch": float(epoch),
            "labels/clusters": 10.0 + epoch,
            "labels/outlier_share": 0.5,
            "labels/stability": 0.75 if epoch else math.nan,
        }
        for epoch in range(count)
    ]
    figure = draw_labellings(history)
    clusters, outliers, churn = lines(figure)
    assert list(clusters.get_xdata()) == list(range(count))
    assert list(clusters.get_ydata()) == [10 + epoch for epoch in range(count)]
    assert list(outliers.get_ydata()) == [50] * count
    np.testing.assert_equal(list(churn.get_ydata()), [math.nan, 25, 25][:count])
    as_image(figure)


def test_losses_stand_at_the_ends_of_their_epochs(tmp_path):
    for epoch, loss in enumerate([3.0, None, -1.0]):
        write_epoch(tmp_path, epoch, loss, seconds=1.0)
    (axes,) = draw_loss(read_losses(tmp_path)).axes
    (line,) = axes.get_lines()
    assert line.get_xydata().tolist() == [[1, 3], [3, -1]]
    assert axes.get_ylim()[0] == -1
    assert read_losses(tmp_path / "other") == []
