import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_reid.losses.camera_blocked import (
    camera_cross_entropy,
    camera_log_softmax,
    cross_camera_cross_entropy,
)

# images, camera of every person
PATTERNS = [
    (1, [0]),
    (1, [5]),  # cameras 0 to 4 have no person
    (4, [0, 1, 2]),  # one person a camera
    (3, [2, 0, 2, 7, 0, 2]),
    (9, [1, 1, 1, 1]),
    (16, [(7 * p) % 5 for p in range(40)]),
]


def problem(pattern, dtype=torch.float64):
    num_images, cameras = pattern
    torch.manual_seed(0)
    logits = (5 * torch.randn(num_images, len(cameras), dtype=dtype)).requires_grad_()
    persons = torch.randint(len(cameras), (num_images,))
    columns = torch.randint(len(cameras), (num_images, 4))
    weights = torch.rand(num_images, 4, dtype=dtype) * torch.randint(2, (num_images, 4))
    return logits, torch.tensor(cameras), persons, columns, weights


def by_loops(logits, cameras):
    rows = []
    for row in logits:
        columns = []
        for p in range(len(cameras)):
            block = [row[q] for q in range(len(cameras)) if cameras[q] == cameras[p]]
            columns.append(row[p] - torch.stack(block).exp().sum().log())
        rows.append(torch.stack(columns))
    return torch.stack(rows)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_is_the_written_formula(pattern):
    logits, cameras, persons, columns, weights = problem(pattern)
    actual, expected = camera_log_softmax(logits, cameras), by_loops(logits, cameras)
    torch.testing.assert_close(actual, expected)
    own = camera_cross_entropy(actual, persons)
    soft = cross_camera_cross_entropy(actual, columns, weights)
    expected_own, expected_soft = 0, 0
    for i, row in enumerate(expected):
        expected_own = expected_own - row[persons[i]] / len(logits)
        for column, weight in zip(columns[i], weights[i], strict=True):
            expected_soft = expected_soft - weight * row[column] / len(logits)
    torch.testing.assert_close(own, expected_own)
    torch.testing.assert_close(soft, expected_soft)
    gradients = (
        torch.autograd.grad(loss, logits)[0] for loss in (own + soft, expected_own + expected_soft)
    )
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("pattern", PATTERNS[:-1])
def test_gradients_are_the_numerical_ones(pattern):
    logits, cameras, persons, columns, weights = problem(pattern)
    for loss in (
        lambda z: camera_log_softmax(z, cameras),
        lambda z: camera_cross_entropy(camera_log_softmax(z, cameras), persons),
        lambda z: cross_camera_cross_entropy(camera_log_softmax(z, cameras), columns, weights),
    ):
        assert torch.autograd.gradcheck(loss, logits)


def test_one_camera_is_an_ordinary_classifier():
    logits, _, persons, _, _ = problem(PATTERNS[-1])
    log_probabilities = camera_log_softmax(logits, torch.full((40,), 3))
    torch.testing.assert_close(log_probabilities, logits.log_softmax(1))
    torch.testing.assert_close(
        camera_cross_entropy(log_probabilities, persons), cross_entropy(logits, persons)
    )


def test_persons_of_other_cameras_are_never_pushed_away():
    logits, cameras, persons, _, _ = problem(PATTERNS[-1])
    loss = camera_cross_entropy(camera_log_softmax(logits, cameras), persons)
    (gradient,) = torch.autograd.grad(loss, logits)
    own_camera = cameras[persons][:, None] == cameras[None]
    assert (gradient[~own_camera] == 0).all()
    assert (gradient[own_camera] != 0).all()


def test_probabilities_of_every_camera_sum_to_one():
    logits, cameras, *_ = problem(PATTERNS[-1])
    probabilities = camera_log_softmax(logits, cameras).exp()
    for camera in cameras.unique():
        total = probabilities[:, cameras == camera].sum(1)
        torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_huge_logits_stay_finite(dtype):
    logits = torch.tensor([[3e4, -3e4, 2e4, -1e4, -1.1e4]], dtype=dtype, requires_grad=True)
    cameras = torch.tensor([0, 0, 0, 1, 1])
    log_probabilities = camera_log_softmax(logits, cameras)
    assert log_probabilities.dtype == torch.promote_types(dtype, torch.float32)
    expected = by_loops(logits[:, :3].double() / 1e3, cameras[:3]) * 1e3
    torch.testing.assert_close(log_probabilities[:, :3].double(), expected, rtol=1e-2, atol=1)
    log_probabilities.sum().backward()
    assert logits.grad.isfinite().all()


def test_images_without_soft_labels_count_in_the_mean_only():
    logits, cameras, _, columns, weights = problem(PATTERNS[-1])
    log_probabilities = camera_log_softmax(logits, cameras)
    weights[8:] = 0
    half = cross_camera_cross_entropy(log_probabilities, columns, weights)
    whole = cross_camera_cross_entropy(log_probabilities[:8], columns[:8], weights[:8])
    torch.testing.assert_close(half, whole / 2)
    nothing = cross_camera_cross_entropy(log_probabilities, columns, weights * 0)
    nothing.backward()
    assert nothing == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_persons_of_any_whole_type_are_indices(dtype):
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    log_probabilities = camera_log_softmax(logits, torch.tensor([0, 0, 1, 1], dtype=dtype))
    persons = torch.tensor([3, 0, 1])
    expected = camera_cross_entropy(log_probabilities, persons)
    assert camera_cross_entropy(log_probabilities, persons.to(dtype)) == expected


def test_no_person_is_ignored():
    with pytest.raises(IndexError, match="-100"):  # which torch would ignore
        camera_cross_entropy(torch.zeros(2, 3), torch.tensor([0, -100]))
    with pytest.raises(ValueError, match="persons must be 2 whole numbers"):
        camera_cross_entropy(torch.zeros(2, 3), torch.zeros(2))
