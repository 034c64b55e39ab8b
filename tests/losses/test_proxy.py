import math

import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid.labels import group_owner
from lightning_reid.losses import (
    association_scores,
    intra_camera_proxy_loss,
    offline_proxy_loss,
    online_proxy_loss,
    sum_of_camera_means,
    update_memory,
)


@pytest.fixture
def problem():
    """40 proxies of 12 clusters in 5 cameras and a batch of 20 images."""
    generator = torch.Generator().manual_seed(0)
    proxies = normalize(torch.randn(40, 16, generator=generator), dim=1)
    proxy_clusters = torch.randint(12, (40,), generator=generator)
    proxy_cameras = torch.arange(40) % 5
    own = torch.randint(40, (20,), generator=generator)
    noise = torch.randn(20, 16, generator=generator)
    embeddings = normalize(proxies[own] + 0.3 * noise, dim=1).requires_grad_()
    return embeddings, own, proxies, proxy_clusters, proxy_cameras


@pytest.mark.parametrize("name", ["o2cap_a", "o2cap_b"])
@pytest.mark.parametrize("loss_name", ["offline", "online", "total"])
def test_published_numbers(golden, name, loss_name):
    g = {k: torch.as_tensor(v) for k, v in golden(name).items()}
    index, proxies = g["index"], g["memory"]
    proxy_clusters = group_owner(g["proxies"], g["labels"])
    proxy_cameras = group_owner(g["proxies"], g["cams"])
    embeddings = g["embeddings"].clone().requires_grad_()
    clusters, cameras, own = g["labels"][index], g["cams"][index], g["proxies"][index]
    common = {"temperature": float(g["temp"]), "num_negatives": int(g["bg_knn"])}
    similarity = embeddings @ proxies.T if loss_name == "total" else None
    offline = offline_proxy_loss(
        embeddings, clusters, cameras, proxies, proxy_clusters, **common, similarity=similarity
    )
    online = online_proxy_loss(
        embeddings,
        own,
        cameras,
        proxies,
        proxy_cameras,
        **common,
        num_positives=int(g["pos_k"]),
        balance=float(g["balance"]),
        similarity=similarity,
    )
    loss = {"offline": offline, "online": online, "total": offline + online}[loss_name]
    loss.backward()
    torch.testing.assert_close(loss, g[f"{loss_name}_loss"].to(loss), rtol=1e-4, atol=0)
    torch.testing.assert_close(embeddings.grad, g[f"{loss_name}_grad"], rtol=1e-4, atol=1e-6)
    moved = update_memory(proxies, embeddings, own, float(g["momentum"]))
    torch.testing.assert_close(moved, g[f"{loss_name}_memory_after"], rtol=1e-4, atol=1e-6)


def test_offline_is_the_written_formula(problem):
    embeddings, own, proxies, proxy_clusters, proxy_cameras = problem
    losses = []
    for f, z in zip(embeddings, own, strict=True):
        logits = (f @ proxies.T / 0.07).tolist()
        positive = [p for p in range(40) if proxy_clusters[p] == proxy_clusters[z]]
        others = sorted((p for p in range(40) if p not in positive), key=lambda p: -logits[p])
        considered = positive + others[:6]
        total = math.log(sum(math.exp(logits[p]) for p in considered))
        losses.append(total - sum(logits[p] for p in positive) / len(positive))
    expected = sum_of_camera_means(torch.tensor(losses), proxy_cameras[own])
    loss = offline_proxy_loss(
        embeddings, proxy_clusters[own], proxy_cameras[own], proxies, proxy_clusters, 0.07, 6
    )
    torch.testing.assert_close(loss, expected)


def test_online_is_the_written_formula(problem):
    embeddings, own, proxies, _, proxy_cameras = problem
    losses = []
    for f, z in zip(embeddings, own, strict=True):
        logits = (f @ proxies.T / 0.07).tolist()
        score = (0.15 * f @ proxies.T + 0.85 * proxies[z] @ proxies.T).tolist()
        best = [max(range(c, 40, 5), key=lambda p: score[p]) for c in range(5)]
        positive = sorted(best, key=lambda p: -score[p])[:3]
        others = sorted((p for p in range(40) if p not in positive), key=lambda p: -score[p])
        considered = positive + others[:6]
        total = math.log(sum(math.exp(logits[p]) for p in considered))
        losses.append(total - sum(logits[p] for p in positive) / 3)
    expected = sum_of_camera_means(torch.tensor(losses), proxy_cameras[own])
    loss = online_proxy_loss(
        embeddings, own, proxy_cameras[own], proxies, proxy_cameras, num_negatives=6
    )
    torch.testing.assert_close(loss, expected)


def test_a_given_similarity_changes_nothing(problem):
    embeddings, own, proxies, proxy_clusters, proxy_cameras = problem
    clusters, cameras = proxy_clusters[own], proxy_cameras[own]
    similarity = embeddings @ proxies.T
    for loss, mine, theirs in (
        (offline_proxy_loss, clusters, proxy_clusters),
        (online_proxy_loss, own, proxy_cameras),
    ):
        alone = (embeddings, mine, cameras, proxies, theirs)
        torch.testing.assert_close(loss(*alone, similarity=similarity), loss(*alone))


def test_association_scores_are_the_written_formula(problem):
    embeddings, own, proxies, *_ = problem
    scores = association_scores(embeddings, own, proxies, balance=0.3)
    for i, (image, mine) in enumerate(zip(embeddings, own, strict=True)):
        for j, proxy in enumerate(proxies):
            expected = 0.3 * image.dot(proxy) + 0.7 * proxies[mine].dot(proxy)
            torch.testing.assert_close(scores[i, j], expected.detach())


def test_given_scores_choose_the_positives(problem):
    embeddings, own, proxies, _, proxy_cameras = problem
    alone = (embeddings, own, proxy_cameras[own], proxies, proxy_cameras)
    usual = association_scores(embeddings, own, proxies)
    torch.testing.assert_close(online_proxy_loss(*alone, scores=usual), online_proxy_loss(*alone))
    # positives of each image: proxies 7 and 13, of two cameras; all others are negatives
    scores = usual.index_fill(1, torch.tensor([7, 13]), 9.0)
    loss = online_proxy_loss(*alone, num_positives=2, scores=scores)
    expected = -(embeddings @ proxies.T / 0.07).log_softmax(1)[:, [7, 13]].mean(1)
    torch.testing.assert_close(loss, sum_of_camera_means(expected, proxy_cameras[own]))


def test_intra_camera_is_cross_entropy_within_the_camera(problem):
    embeddings, own, proxies, _, proxy_cameras = problem
    cameras = proxy_cameras[own]
    expected = torch.zeros(())
    for camera in cameras.unique():
        rows = cameras == camera
        logits = embeddings[rows] @ proxies[proxy_cameras == camera].T / 0.07
        # proxies of camera c are c, c + 5, c + 10, ...
        expected = expected + torch.nn.functional.cross_entropy(logits, own[rows] // 5)
    loss = intra_camera_proxy_loss(embeddings, own, cameras, proxies, proxy_cameras)
    torch.testing.assert_close(loss, expected)


def test_one_camera_per_cluster_is_plain_cross_entropy(problem):
    embeddings, own, proxies, _, _ = problem
    every = torch.arange(40)
    loss = offline_proxy_loss(
        embeddings, own, torch.zeros(20, dtype=torch.int64), proxies, every, 0.07, 40
    )
    logits = embeddings @ proxies.T / 0.07
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, own))


def test_the_same_images_under_two_cameras_cost_twice(problem):
    embeddings, own, proxies, proxy_clusters, _ = problem
    twice, owners = embeddings.repeat(2, 1), own.repeat(2)
    cameras = torch.arange(2).repeat_interleave(20)
    args = (proxies, proxy_clusters)
    once = offline_proxy_loss(embeddings, proxy_clusters[own], cameras[:20], *args)
    torch.testing.assert_close(
        offline_proxy_loss(twice, proxy_clusters[owners], cameras, *args), 2 * once
    )


def test_fewer_cameras_than_positives_never_marks_negatives(problem):
    embeddings, own, proxies, _, _ = problem
    cameras = torch.arange(40) % 2
    three = online_proxy_loss(embeddings, own, cameras[own], proxies, cameras, num_positives=3)
    two = online_proxy_loss(embeddings, own, cameras[own], proxies, cameras, num_positives=2)
    torch.testing.assert_close(three, two)


def test_cameras_without_proxies_are_no_positives(problem):
    embeddings, own, proxies, _, proxy_cameras = problem
    spread = proxy_cameras * 3  # cameras 1, 2, 4, 5, ... own no proxy
    gaps = online_proxy_loss(embeddings, own, spread[own], proxies, spread, num_positives=9)
    dense = online_proxy_loss(
        embeddings, own, proxy_cameras[own], proxies, proxy_cameras, num_positives=9
    )
    torch.testing.assert_close(gaps, dense)


def test_equal_proxies_are_marked_once():
    proxies = normalize(torch.ones(6, 4), dim=1)
    embeddings = proxies[:2].clone().requires_grad_()
    cameras = torch.tensor([0, 0, 0, 1, 1, 1])
    own = torch.tensor([0, 1])
    loss = online_proxy_loss(embeddings, own, cameras[own], proxies, cameras, num_negatives=50)
    torch.testing.assert_close(loss, torch.tensor(6.0).log())  # 2 positives and 4 others, all alike


@pytest.mark.parametrize("num_proxies", [1, 2, 5])
def test_fewer_proxies_than_negatives(num_proxies):
    proxies = normalize(torch.randn(num_proxies, 8), dim=1)
    embeddings = normalize(torch.randn(4, 8), dim=1).requires_grad_()
    own, clusters = torch.zeros(4, dtype=torch.int64), torch.arange(num_proxies)
    cameras = torch.zeros(4, dtype=torch.int64)
    offline = offline_proxy_loss(embeddings, own, cameras, proxies, clusters)
    online = online_proxy_loss(embeddings, own, cameras, proxies, clusters)
    (offline + online).backward()
    assert embeddings.grad.isfinite().all()


INDEX_TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32]


@pytest.mark.parametrize("dtype", INDEX_TYPES)
def test_whole_numbers_of_any_type_are_indices(problem, dtype):
    embeddings, own, proxies, proxy_clusters, proxy_cameras = problem
    clusters, cameras = proxy_clusters[own], proxy_cameras[own]

    def losses(cast):
        of_own, of_cameras = cast(own), cast(cameras)
        return torch.stack(
            [
                offline_proxy_loss(
                    embeddings, cast(clusters), of_cameras, proxies, cast(proxy_clusters)
                ),
                online_proxy_loss(embeddings, of_own, of_cameras, proxies, cast(proxy_cameras)),
                intra_camera_proxy_loss(
                    embeddings, of_own, of_cameras, proxies, cast(proxy_cameras)
                ),
                association_scores(embeddings, of_own, proxies).sum(),
                update_memory(proxies, embeddings, of_own, 0.2).sum(),
                group_owner(of_own, cast(clusters)).sum(),
            ]
        )

    assert torch.equal(losses(lambda x: x.to(dtype)), losses(lambda x: x))
    few, cameras = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2, 0, 0], dtype=dtype)
    assert sum_of_camera_means(few, cameras) == 5
    with pytest.raises(ValueError, match=r"cameras must be 3 whole numbers, not torch\.bool"):
        sum_of_camera_means(few, cameras.bool())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_lose_small_losses(problem, half):
    embeddings, own, proxies, _, proxy_cameras = problem
    rows, cameras = embeddings.detach(), proxy_cameras[own]
    near = normalize(proxies[own] + 0.02 * rows, dim=1)

    def losses(embeddings, proxies):
        return torch.stack(
            [
                offline_proxy_loss(embeddings, own, cameras, proxies, torch.arange(40)),
                online_proxy_loss(embeddings, own, cameras, proxies, proxy_cameras),
                intra_camera_proxy_loss(embeddings, own, cameras, proxies, proxy_cameras),
            ]
        )

    exact, rounded = losses(near, proxies), losses(near.to(half), proxies.to(half))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.15, atol=0)
    assert losses(near.double(), proxies.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=half):
        torch.testing.assert_close(losses(near, proxies), exact, rtol=0.15, atol=0)
