import numpy as np
import pytest

from lightning_reid.report.figures import as_image
from lightning_reid.report.heat_map import draw_heat_map


def test_each_cell_has_its_colour_and_number():
    table = np.array([[np.nan, 0.25, 0.5], [0.125, np.nan, 1.0]])
    figure = draw_heat_map(table, ["a", "b"], ["a", "b", "c"])
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown.mask.tolist() == np.isnan(table).tolist()
    assert shown[0, 1] == 25
    assert shown[1, 2] == 100
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(1, 0): "25", (2, 0): "50", (0, 1): "12", (2, 1): "100"}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    pixels = np.asarray(as_image(figure)).astype(int)
    assert (abs(pixels - (253, 231, 37)) < 5).all(
        2
    ).sum() > 1000  # the last cell, in the brightest colour


@pytest.mark.parametrize("count", [1, 30, 300])
def test_any_number_of_cameras_fits(count):
    names = [f"camera $_{{{i}$ with a name that is too long" for i in range(count)]
    figure = draw_heat_map(np.full((count, count), np.nan), names, names)
    assert max(as_image(figure).size) < 2000
    assert 1 <= len(figure.axes[0].get_yticks()) <= 40
    assert not figure.axes[0].texts
