"""Random erasing has the distribution of the published codes."""

import math
import random

import pytest
import torch

from lightning_reid.data import RandomErase, erase_boxes, erasing_boxes
from lightning_reid.errors import InputError

DRAWS = 20_000
MEAN = [0.485, 0.456, 0.406]


def published_box(rng, size, area, aspect, attempts=100):
    """One box as the published codes draw it: top, left, height, width; None if none fits."""
    height, width = size
    for _ in range(attempts):
        target = rng.uniform(*area) * height * width
        ratio = rng.uniform(*aspect)
        h, w = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if w < width and h < height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    return None


def quantiles(values):
    return torch.as_tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("size", "area", "aspect"),
    [
        ((256, 128), (0.02, 0.4), (0.3, 1 / 0.3)),  # O2CAP, CALR
        ((256, 128), (0.02, 0.2), (0.3, 3.0)),  # CAP
        ((224, 224), (0.02, 0.4), (0.3, 1 / 0.3)),  # CALR on VeRi-776
        ((40, 200), (0.02, 0.4), (0.3, 1 / 0.3)),  # most attempts do not fit
    ],
)
def test_boxes_are_distributed_as_published(size, area, aspect):
    rng = random.Random(0)
    torch.manual_seed(0)
    own = erasing_boxes(DRAWS, size, area, aspect).double()
    other = torch.tensor(
        [published_box(rng, size, area, aspect) for _ in range(DRAWS)], dtype=torch.float64
    )
    for measure in (
        lambda b: b[:, 2] / b[:, 3],
        lambda b: b[:, 2] * b[:, 3] / (size[0] * size[1]),
        lambda b: b[:, 0] / (size[0] - b[:, 2]),
        lambda b: b[:, 1] / (size[1] - b[:, 3]),
    ):
        torch.testing.assert_close(
            quantiles(measure(own)), quantiles(measure(other)), rtol=0.05, atol=0.02
        )


def test_a_fifth_of_the_boxes_is_wider_than_tall():
    """19 % with a uniform aspect; torchvision's log-uniform one gives 41 %."""
    torch.manual_seed(0)
    boxes = erasing_boxes(DRAWS, (256, 128)).double()
    ratio = boxes[:, 2] / boxes[:, 3]
    assert float((ratio < 1).double().mean()) == pytest.approx(0.19, abs=0.02)
    assert 1.7 < float(ratio.median()) < 2.0


def test_boxes_lie_within_the_image_and_reach_its_edges():
    torch.manual_seed(0)
    boxes = erasing_boxes(DRAWS, (32, 16))
    ends = boxes[:, :2] + boxes[:, 2:]
    assert boxes[:, :2].min() == 0
    assert ends.max(0).values.tolist() == [32, 16]


def test_where_no_box_fits_nothing_is_erased():
    boxes = erasing_boxes(50, (1, 1))
    assert not boxes[:, 2:].any()
    images = torch.zeros(50, 3, 1, 1)
    assert torch.equal(erase_boxes(images, boxes, MEAN), images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_images_of_any_dtype_are_erased_by_their_own_box(dtype):
    images = torch.zeros(3, 3, 8, 6, dtype=dtype)
    boxes = torch.tensor([[0, 0, 2, 3], [5, 4, 3, 2], [1, 1, 0, 0]])
    value = [124.4, 1.0, 2.0] if dtype == torch.uint8 else [0.5, 1.0, 2.0]
    erased = erase_boxes(images, boxes, value)
    expected = images.clone()
    colour = torch.tensor([124, 1, 2] if dtype == torch.uint8 else value).to(dtype)
    expected[0, :, 0:2, 0:3] = colour[:, None, None]
    expected[1, :, 5:8, 4:6] = colour[:, None, None]
    assert erased.dtype == dtype
    assert torch.equal(erased, expected)
    assert not images.any()


def test_the_probability_is_of_each_image():
    torch.manual_seed(0)
    images = torch.zeros(4000, 1, 16, 8)
    erased = RandomErase(0.5, value=[1.0])(images).flatten(1).any(1)
    assert float(erased.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert torch.equal(RandomErase(0.0, value=[1.0])(images), images)


@pytest.mark.parametrize("settings", [{"count": 0}, {"count": 1, "attempts": 0}])
def test_numbers_below_one_are_refused(settings):
    with pytest.raises(InputError):
        erasing_boxes(size=(8, 8), **settings)
