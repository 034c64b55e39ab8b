import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.losses.triplet import (
    batch_hard_triplet_loss,
    pairwise_distances,
    weighted_triplet_loss,
)

# images, dimensions, labels, cameras
SHAPES = [(1, 4, 1, 1), (2, 3, 2, 2), (5, 1, 2, 1), (12, 8, 4, 3), (20, 6, 3, 7), (9, 5, 1, 2)]


def batch(shape, seed, dtype=torch.float64):
    num_images, dim, num_labels, num_cameras = shape
    torch.manual_seed(seed)
    embeddings = torch.randn(num_images, dim, dtype=dtype).requires_grad_()
    labels = torch.randint(num_labels, (num_images,))
    return embeddings, labels, torch.randint(num_cameras, (num_images,))


def mean(losses, embeddings):
    return sum(losses) / len(losses) if losses else embeddings.sum() * 0


def hinge(value):
    return value if value > 0 else value * 0


def batch_hard_by_loops(embeddings, labels, margin, cameras):
    losses = []
    for i in range(len(embeddings)):
        positives, negatives = [torch.zeros((), dtype=embeddings.dtype)], []
        for j in range(len(embeddings)):
            if j != i and (cameras is None or cameras[i] == cameras[j]):
                distance = (embeddings[i] - embeddings[j]).norm()
                (positives if labels[i] == labels[j] else negatives).append(distance)
        if negatives:
            losses.append(hinge(margin + max(positives) - min(negatives)))
    return mean(losses, embeddings)


def weighted_by_loops(embeddings, similarity, cameras, margin):
    losses = []
    for x in range(len(embeddings)):
        others = [y for y in range(len(embeddings)) if cameras[y] != cameras[x]]
        alike = sum(float(similarity[x, y]) for y in others)
        unlike = sum(1 - float(similarity[x, y]) for y in others)
        if alike < 1e-6 or unlike < 1e-6:
            continue
        near, far, total = 0, 0, 0
        for y in others:
            w, distance = float(similarity[x, y]), (embeddings[x] - embeddings[y]).norm()
            near = near + w * distance / alike
            far = far + (1 - w) * (-distance).exp() * distance
            total = total + (1 - w) * (-distance).exp()
        losses.append(hinge(margin + near - far / total))
    return mean(losses, embeddings)


def assert_same(loss, expected, embeddings):
    torch.testing.assert_close(loss, expected)
    gradient, expected_gradient = (
        torch.autograd.grad(value, embeddings, retain_graph=True)[0] for value in (loss, expected)
    )
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("margin", [0.3, 3.0])
@pytest.mark.parametrize("inside_cameras", [False, True])
def test_batch_hard_is_the_written_formula(shape, seed, margin, inside_cameras):
    embeddings, labels, cameras = batch(shape, seed)
    cameras = cameras if inside_cameras else None
    loss = batch_hard_triplet_loss(embeddings, labels, margin=margin, cameras=cameras)
    assert_same(
        loss, batch_hard_by_loops(embeddings, labels, margin=margin, cameras=cameras), embeddings
    )


def random_similarity(num_images):
    """Soft labels like real ones: many zeros, some ones, in camera too."""
    similarity = torch.rand(num_images, num_images, dtype=torch.float64)
    kind = torch.randint(4, similarity.shape)
    return similarity.masked_fill(kind == 0, 1).masked_fill(kind > 1, 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("margin", [0.3, 3.0])
def test_weighted_is_the_written_formula(shape, seed, margin):
    embeddings, _, cameras = batch(shape, seed)
    similarity = random_similarity(len(embeddings))
    loss = weighted_triplet_loss(embeddings, similarity, cameras, margin=margin)
    assert_same(loss, weighted_by_loops(embeddings, similarity, cameras, margin=margin), embeddings)


def test_gradients_are_the_numerical_ones():
    embeddings, labels, cameras = batch((8, 4, 2, 3), 0)
    similarity = torch.rand(8, 8, dtype=torch.float64)
    for loss in (
        lambda e: weighted_triplet_loss(e, similarity, cameras, margin=5.0),
        lambda e: batch_hard_triplet_loss(e, labels, margin=20.0),
        lambda e: pairwise_distances(e).masked_select(~torch.eye(8, dtype=torch.bool)),
    ):
        assert torch.autograd.gradcheck(loss, embeddings)


def test_images_of_different_cameras_are_never_compared():
    embeddings, labels, cameras = batch((24, 6, 3, 4), 1)
    images = batch_hard_triplet_loss(embeddings[cameras == 2], labels[cameras == 2], margin=9.0)
    assert images > 0
    alone = torch.where(cameras == 2, labels, 0)  # no negatives in the other cameras
    loss = batch_hard_triplet_loss(embeddings, alone, margin=9.0, cameras=cameras)
    torch.testing.assert_close(loss, images)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert (gradient[cameras != 2] == 0).all()
    assert (gradient[cameras == 2] != 0).any()


def test_soft_labels_inside_a_camera_are_not_read():
    embeddings, _, cameras = batch((12, 4, 3, 3), 0)
    similarity = torch.rand(12, 12, dtype=torch.float64)
    same_camera = cameras[:, None] == cameras[None]
    torch.testing.assert_close(
        weighted_triplet_loss(embeddings, similarity.masked_fill(same_camera, 0), cameras),
        weighted_triplet_loss(embeddings, similarity.masked_fill(same_camera, 1), cameras),
    )


@pytest.mark.parametrize(
    ("similarity", "cameras"),
    [(0.5, [0, 0, 0]), (0.0, [0, 1, 2]), (1.0, [0, 1, 2]), (4e-7, [0, 1, 2])],
)
def test_nothing_to_compare_costs_nothing_but_can_be_trained_on(similarity, cameras):
    embeddings = torch.randn(3, 4, requires_grad=True)
    pairs, cameras = torch.full((3, 3), similarity), torch.tensor(cameras)
    every = torch.zeros(3, dtype=torch.int64)
    loss = weighted_triplet_loss(embeddings, pairs, cameras)
    loss = loss + batch_hard_triplet_loss(embeddings, every)
    loss.backward()
    assert loss == 0
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e4])
def test_gradients_stay_finite(dtype, scale):
    embeddings, labels, cameras = batch((16, 8, 3, 3), 0, dtype)
    twins = (scale * embeddings).repeat(2, 1)  # every image has one at distance 0
    similarity = torch.rand(32, 32)
    labels, cameras = labels.repeat(2), cameras.repeat(2).roll(5)
    loss = batch_hard_triplet_loss(twins, labels) + batch_hard_triplet_loss(
        twins, labels, cameras=cameras
    )
    loss = loss + weighted_triplet_loss(twins, similarity, cameras)
    loss.backward()
    assert loss.dtype == dtype
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()


def test_float32_under_autocast():
    torch.manual_seed(0)
    embeddings = normalize(torch.randn(20, 64), dim=1)
    embeddings = torch.cat([embeddings, embeddings + 1e-5 * torch.randn(20, 64)])  # close twins
    with torch.autocast("cpu", torch.bfloat16):
        distances = pairwise_distances(embeddings)
        half = pairwise_distances(embeddings.bfloat16())
    assert half.dtype == torch.float32
    expected = (embeddings[:, None] - embeddings[None]).norm(dim=2)
    torch.testing.assert_close(distances, expected, rtol=1e-5, atol=1e-8)
    assert (distances.diag() == 0).all()


@pytest.mark.parametrize(
    ("labels", "cameras"),
    [(torch.zeros(4, 1), None), (torch.zeros(1), None), (torch.zeros(4), torch.zeros(1))],
)
def test_batch_hard_refuses_other_shapes(labels, cameras):
    with pytest.raises(ValueError, match="must be dense, of shape"):
        batch_hard_triplet_loss(torch.randn(4, 3), labels, cameras=cameras)


@pytest.mark.parametrize(
    ("similarity", "cameras"),
    [
        (torch.zeros(4), torch.zeros(4)),
        (torch.zeros(4, 4).to_sparse(), torch.zeros(4)),
        (torch.zeros(4), torch.zeros(4, 4)),
        (torch.zeros(4, 4), torch.zeros(1)),
    ],
)
def test_weighted_refuses_other_shapes(similarity, cameras):
    with pytest.raises(ValueError, match="must be dense, of shape"):
        weighted_triplet_loss(torch.randn(4, 3), similarity, cameras)


@pytest.mark.parametrize("shape", [(0, 3), (4, 3, 2, 2), (4,)])
def test_distances_are_those_of_rows(shape):
    with pytest.raises(ValueError, match="embeddings must be"):
        pairwise_distances(torch.randn(shape))
