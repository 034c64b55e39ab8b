"""What must not matter to a loss does not: order of images, numbers of cameras and clusters."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from lightning_reid import losses


@dataclass(frozen=True)
class Problem:
    """A batch of images, and a memory of proxies."""

    embeddings: Tensor
    own: Tensor  # proxy of each image
    proxies: Tensor
    proxy_clusters: Tensor
    proxy_cameras: Tensor

    @property
    def cameras(self):
        return self.proxy_cameras[self.own]

    @property
    def clusters(self):
        return self.proxy_clusters[self.own]


@st.composite
def problems(draw):
    """Of every size down to one image, one proxy, one camera."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    batch, count = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    cameras, clusters = draw(st.integers(1, 5)), draw(st.integers(1, 6))

    def unit(rows):
        values = torch.randn(rows, 6, generator=generator, dtype=torch.float64)
        return normalize(values, dim=1)

    return Problem(
        unit(batch),
        torch.randint(count, (batch,), generator=generator),
        unit(count),
        torch.randint(clusters, (count,), generator=generator).sort().values,
        torch.randint(cameras, (count,), generator=generator),
    )


def soft(p):
    """Soft labels of some kind between the images, symmetric."""
    return (p.embeddings @ p.embeddings.T).clamp(0, 1)


LOSSES = {
    "offline": lambda p: losses.offline_proxy_loss(
        p.embeddings, p.clusters, p.cameras, p.proxies, p.proxy_clusters, num_negatives=4
    ),
    "online": lambda p: losses.online_proxy_loss(
        p.embeddings, p.own, p.cameras, p.proxies, p.proxy_cameras, num_negatives=4
    ),
    "intra": lambda p: losses.intra_camera_proxy_loss(
        p.embeddings, p.own, p.cameras, p.proxies, p.proxy_cameras
    ),
    "cluster": lambda p: losses.cluster_contrastive_loss(p.embeddings, p.own, p.proxies),
    "triplet": lambda p: losses.batch_hard_triplet_loss(p.embeddings, p.own),
    "triplet within cameras": lambda p: losses.batch_hard_triplet_loss(
        p.embeddings, p.own, cameras=p.cameras
    ),
    "weighted triplet": lambda p: losses.weighted_triplet_loss(p.embeddings, soft(p), p.cameras),
    "blocked": lambda p: losses.camera_cross_entropy(
        losses.camera_log_softmax(p.embeddings @ p.proxies.T, p.proxy_cameras), p.own
    ),
    "soft": lambda p: losses.soft_cross_entropy(
        p.embeddings @ p.proxies.T, torch.softmax(3 * p.embeddings @ p.proxies.T, 1)
    ),
}


def same(loss, first, second):
    torch.testing.assert_close(loss(first), loss(second), atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(problem=problems(), seed=st.integers(0, 99))
def test_the_order_of_images_does_not_matter(name, problem, seed):
    order = torch.randperm(len(problem.own), generator=torch.Generator().manual_seed(seed))
    moved = replace(problem, embeddings=problem.embeddings[order], own=problem.own[order])
    same(LOSSES[name], problem, moved)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(problem=problems(), seed=st.integers(0, 99))
def test_the_numbers_of_cameras_do_not_matter(name, problem, seed):
    numbers = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    same(LOSSES[name], problem, replace(problem, proxy_cameras=numbers[problem.proxy_cameras]))


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(problem=problems(), seed=st.integers(0, 99))
def test_the_order_of_the_memory_does_not_matter(name, problem, seed):
    count = len(problem.proxies)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    moved = replace(
        problem,
        own=order.argsort()[problem.own],
        proxies=problem.proxies[order],
        proxy_clusters=problem.proxy_clusters[order],
        proxy_cameras=problem.proxy_cameras[order],
    )
    same(LOSSES[name], problem, moved)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(problem=problems())
def test_a_loss_is_a_finite_number_with_finite_gradients(name, problem):
    leaf = problem.embeddings.clone().requires_grad_()
    loss = LOSSES[name](replace(problem, embeddings=leaf))
    assert loss.shape == ()
    assert loss.isfinite()
    if loss.requires_grad:
        loss.backward()
        assert leaf.grad.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(problem=problems(), hardest=st.booleans())
def test_only_rows_that_are_aimed_at_move_and_all_stay_unit(problem, hardest):
    moved = losses.update_memory(problem.proxies, problem.embeddings, problem.own, 0.3, hardest)
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(len(moved), dtype=moved.dtype))
    others = torch.ones(len(moved), dtype=torch.bool)
    others[problem.own] = False
    assert torch.equal(moved[others], problem.proxies[others])


@settings(max_examples=25, deadline=None)
@given(problem=problems(), seed=st.integers(0, 99))
def test_weights_of_clusters_follow_their_numbers_and_forget_the_cameras(problem, seed):
    generator = torch.Generator().manual_seed(seed)
    clusters, cameras = problem.own, problem.cameras
    weights = losses.camera_entropy_weights(clusters, cameras)
    order = torch.randperm(len(clusters), generator=generator)
    numbers = torch.randperm(5, generator=generator)
    torch.testing.assert_close(
        losses.camera_entropy_weights(clusters[order], numbers[cameras[order]]), weights
    )
