import gc

import numpy as np
import pytest
from matplotlib.figure import Figure

from lightning_reid.report.curves import draw_cmc
from lightning_reid.report.figures import as_image, figures_freed


def alive():
    return sum(type(thing) is Figure for thing in gc.get_objects())


def test_figures_are_freed_at_once():
    gc.collect()
    for _ in range(3):
        with figures_freed():
            as_image(draw_cmc({"all cameras": np.linspace(0.1, 1, 50)}))
            assert alive() == 1  # else there would be nothing to free
        assert alive() == 0
    assert gc.isenabled()


def test_the_collector_is_left_as_it_was():
    with pytest.raises(ZeroDivisionError), figures_freed():
        1 / 0  # noqa: B018
    assert gc.isenabled()
    gc.disable()
    try:
        with figures_freed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
