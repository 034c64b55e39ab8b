"""Images of which nobody knows whom they show, query by query against the definitions."""

from itertools import product

import numpy as np
import pytest
import torch
from literal_retrieval import squared_distances

from lightning_reid import RetrievalMetrics
from lightning_reid.clustering import camera_normalize
from lightning_reid.errors import InputError
from lightning_reid.metrics import (
    Expansion,
    Reranking,
    bcubed_quality,
    bootstrap_interval,
    camera_pair_table,
    cluster_quality,
    cross_camera_quality,
    expand_queries,
    open_set_rates,
    quality_by_camera,
    query_scores,
    rand_agreement,
    retrieval_metrics,
    soft_label_accuracy,
    verification_rates,
)
from lightning_reid.metrics.functional import retrieval as retrieval_module
from lightning_reid.metrics.functional.distances import EuclideanDistances
from lightning_reid.metrics.functional.images import checked_images
from lightning_reid.metrics.functional.reranking import reranked

RANKS = (1, 2, 5)


def problem_with_unknown(seed, num_query=14, num_gallery=50, ties=True):
    """Embeddings, identities and cameras of both sides; a fifth of the people are unknown."""
    rng = np.random.default_rng(seed)
    count = num_query + num_gallery
    rows = rng.integers(-2, 3, (count, 3)) if ties else rng.normal(size=(count, 5))
    ids, cameras = rng.integers(7, size=count), rng.integers(3, size=count)
    ids[rng.random(count) < 0.2] = -1
    q, g = slice(num_query), slice(num_query, None)
    rows = rows.astype(np.float32)
    return rows[q], rows[g], ids[q], ids[g], cameras[q], cameras[g]


def literal_queries(problem, distances, cross_camera_only=False, gallery_camera=None):
    """For each query (distance, matches) of the images that count, in order; None: no query."""
    _, _, query_ids, gallery_ids, query_cameras, gallery_cameras = problem
    for i in range(len(query_ids)):
        if query_ids[i] == -1:
            yield None
            continue
        kept = []
        for j in range(len(gallery_ids)):
            same_camera = gallery_cameras[j] == query_cameras[i]
            if gallery_ids[j] == -1:
                continue
            if same_camera and (cross_camera_only or gallery_ids[j] == query_ids[i]):
                continue
            if gallery_camera is not None and gallery_cameras[j] != gallery_camera:
                continue
            kept.append((distances[i, j], gallery_ids[j] == query_ids[i], gallery_ids[j]))
        yield sorted(kept, key=lambda image: image[:2])  # of equals, the match is last


def literal_numbers(problem, distances, protocol="market", cross_camera_only=False, **rest):
    """mAP, mINP, CMC and the number of valid queries."""
    columns = []
    for kept in literal_queries(problem, distances, cross_camera_only, **rest):
        matches = [k for k, (_, match, _) in enumerate(kept or [], 1) if match]
        if not matches:
            continue
        precision = np.mean([n / k for n, k in enumerate(matches, 1)])
        hits = [float(matches[0] <= k) for k in RANKS]
        if protocol == "cuhk03":
            hits = single_shot_chances(kept)
        columns.append([precision, len(matches) / matches[-1], *hits])
    means = np.mean(columns, axis=0) if columns else [np.nan] * (2 + len(RANKS))
    names = ("mAP", "mINP", *(f"rank{k}" for k in RANKS))
    return dict(zip(names, means, strict=True), num_valid_queries=len(columns))


def single_shot_chances(kept):
    """The chance of each rank over all galleries with one image of each identity."""
    chances = []
    of_others = {}
    for distance, match, identity in kept:
        if not match:
            of_others.setdefault(identity, []).append(distance)
    for own in [distance for distance, match, _ in kept if match]:
        before = [np.mean([d <= own for d in others]) for others in of_others.values()]
        ways = np.zeros(len(before) + 1)
        ways[0] = 1
        for chance in before:
            ways[1:], ways[0] = ways[1:] * (1 - chance) + ways[:-1] * chance, ways[0] * (1 - chance)
        chances.append([ways[:k].sum() for k in RANKS])
    return np.mean(chances, axis=0)


def all_columns(problem):
    rows, ids, cameras = (np.concatenate(problem[i : i + 2]) for i in (0, 2, 4))
    is_query = np.arange(len(rows)) < len(problem[0])
    return [torch.from_numpy(column) for column in (rows, ids, cameras, is_query)]


def updated(columns, batch=13, **options):
    metric = RetrievalMetrics(ranks=RANKS, **options)
    for rows in torch.arange(len(columns[0])).split(batch):
        metric.update(*(column[rows] for column in columns))
    return metric


@pytest.mark.parametrize("protocol", ["market", "cuhk03"])
@pytest.mark.parametrize("cross_camera_only", [False, True])
def test_rankings_with_ties_are_those_of_each_query(monkeypatch, protocol, cross_camera_only):
    for seed, block in product(range(12), (60, 1 << 22)):
        monkeypatch.setattr(retrieval_module, "_BLOCK_ELEMENTS", block)
        problem = problem_with_unknown(seed)
        options = {"protocol": protocol, "cross_camera_only": cross_camera_only}
        expected = literal_numbers(problem, squared_distances(*problem[:2]), **options)
        assert retrieval_metrics(*problem, ranks=RANKS, **options) == pytest.approx(expected)
        assert updated(all_columns(problem), **options).compute() == pytest.approx(expected)


@pytest.mark.parametrize("protocol", ["market", "cuhk03"])
def test_other_rankings_leave_out_the_same_images(protocol):
    """Unknown images stay neighbours, as no identities are used there."""
    settings, expansion = Reranking(k1=5, k2=3), Expansion(k=2)
    for seed in range(4):
        problem = problem_with_unknown(seed, ties=False)
        query, gallery, *sides = problem
        columns = all_columns(problem)
        found = updated(
            columns, rerank=settings, expand=expansion, normalize_cameras=True, protocol=protocol
        ).compute()
        normalized = camera_normalize(columns[0], columns[2]).split([14, 50])
        rows = {"": (query, gallery), "camera_normalized/": tuple(x.numpy() for x in normalized)}
        for prefix, (one, other) in rows.items():
            unit = other / np.linalg.norm(other, axis=1, keepdims=True)
            plain = EuclideanDistances(*checked_images(one, other, *sides))
            distances = {
                "": squared_distances(one, other),
                "reranked/": reranked(plain, settings).block(slice(0, 14)).numpy(),
                "expanded/": squared_distances(expand_queries(one, other, 2), unit),
            }
            for way, between in distances.items():
                expected = literal_numbers(problem, between, protocol)
                count = expected.pop("num_valid_queries")
                own = {name: found[f"{prefix}{way}{name}"] for name in expected}
                assert own == pytest.approx(expected), (prefix, way)
        assert found["num_valid_queries"] == count


def test_a_gallery_without_its_unknown_images_gives_the_same():
    for seed in range(6):
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = (
            problem_with_unknown(seed)
        )
        q, g = query_ids >= 0, gallery_ids >= 0
        known = (query[q], gallery[g], query_ids[q], gallery_ids[g])
        known = (*known, query_cameras[q], gallery_cameras[g])
        whole = (query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
        for function, options in [
            (retrieval_metrics, {}),
            (retrieval_metrics, {"protocol": "cuhk03"}),
            (open_set_rates, {"false_alarm_rates": [0.0, 0.3, 1.0]}),
            (verification_rates, {"false_positive_rates": [0.0, 0.2, 1.0]}),
        ]:
            expected = function(*known, **options)
            assert function(*whole, **options) == pytest.approx(expected, nan_ok=True)
        expected = query_scores(*known)
        found = query_scores(*whole)
        assert found.identified.tolist() == q.tolist()
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one[torch.from_numpy(q)], other)
        unknown = ~torch.from_numpy(q)
        assert not found.valid[unknown].any()
        assert (found.nearest[unknown] == torch.inf).all()
        assert (found.nearest_match[unknown] == torch.inf).all()


def test_camera_pairs_are_those_of_each_query():
    for seed in range(4):
        problem = problem_with_unknown(seed)
        between = squared_distances(*problem[:2])
        table = camera_pair_table(*problem, ranks=RANKS)
        for i, own in enumerate(table.query_cameras.tolist()):
            rows = problem[4] == own
            part = (problem[0][rows], problem[1], problem[2][rows], problem[3])
            part = (*part, problem[4][rows], problem[5])
            for j, other in enumerate(table.gallery_cameras.tolist()):
                expected = literal_numbers(part, between[rows], gallery_camera=other)
                found = {name: values[i, j].item() for name, values in table.metrics.items()}
                assert found == pytest.approx(expected, nan_ok=True)


def test_open_set_counts_queries_of_unknown_identity_as_neither():
    for seed in range(6):
        problem = problem_with_unknown(seed, num_query=30)
        between = squared_distances(*problem[:2])
        alarms, known = [], []
        for kept in literal_queries(problem, between):
            if kept is None:
                continue
            matches = [k for k, (_, match, _) in enumerate(kept) if match]
            if matches:
                known.append((matches[0] == 0, kept[matches[0]][0]))
            else:
                alarms.append(min(distance for distance, _, _ in kept))
        # accepted is what is nearer than every alarm
        expected = np.mean([first and d < min(alarms, default=np.inf) for first, d in known])
        found = open_set_rates(*problem, false_alarm_rates=[0.0])
        assert found["num_known_queries"] == len(known)
        assert found["num_unknown_queries"] == len(alarms)
        if alarms:
            assert found["dir@0"] == pytest.approx(expected)
        columns = all_columns(problem)
        own = updated(columns, open_set=[0.0], verification=[0.1], confidence=0.9).compute()
        assert own["dir@0"] == pytest.approx(found["dir@0"], nan_ok=True)
        assert own["mAP_low"] <= own["mAP"] <= own["mAP_high"]


def test_verification_has_no_pair_with_an_unknown_image():
    problem = problem_with_unknown(3)
    pairs = [
        (distance, match)
        for kept in literal_queries(problem, squared_distances(*problem[:2]))
        for distance, match, _ in kept or []
    ]
    found = verification_rates(*problem, false_positive_rates=[0.1])
    positive = [distance for distance, match in pairs if match]
    negative = sorted(distance for distance, match in pairs if not match)
    assert found["num_positive_pairs"] == len(positive)
    assert found["num_negative_pairs"] == len(negative)
    limit = negative[int(0.1 * len(negative))]
    assert found["tpr@0.1"] == pytest.approx(np.mean([d < limit for d in positive]))


def test_nobody_known_is_nobody_to_find():
    one = torch.eye(3)
    sides = (one, one, [-1, -1, -1], [-1, -1, -1], [0, 0, 0], [1, 1, 1])
    with pytest.warns(UserWarning, match=r"no query has a match.*of unknown identity \(-1\): 3"):
        result = retrieval_metrics(*sides)
    assert result["num_valid_queries"] == 0
    assert np.isnan(result["mAP"])


@pytest.mark.parametrize("side", ["query_ids", "gallery_ids"])
def test_other_negative_identities_are_refused(side):
    arguments = {"query_ids": [0], "gallery_ids": [0, 1], side: [-2, 0][: 1 + ("g" in side)]}
    with pytest.raises(InputError, match=f"{side} must be at least 0, or -1 .* not -2"):
        retrieval_metrics(
            torch.eye(2)[:1], torch.eye(2), query_cameras=[0], gallery_cameras=[1, 1], **arguments
        )
    metric = RetrievalMetrics()
    ids = torch.tensor([-7, 1, 1])
    metric.update(torch.eye(3), ids, torch.tensor([0, 1, 2]), torch.tensor([True, False, False]))
    with pytest.raises(InputError, match="identities must be at least 0, or -1 .* not -7"):
        metric.compute()


def test_several_groups_of_unknown_queries_are_no_group():
    values = torch.linspace(0, 1, 12)
    alone = bootstrap_interval(values, groups=range(12))
    assert bootstrap_interval(values, groups=[-1] * 12) == alone
    assert bootstrap_interval(values, groups=[5] * 12) != alone


def test_cluster_quality_leaves_out_images_of_unknown_identity():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels, ids, cameras = (rng.integers(low, 5, 80) for low in (-1, -1, 0))
        known = ids >= 0
        part = labels[known], ids[known], cameras[known]
        assert cluster_quality(labels, ids) == pytest.approx(cluster_quality(*part[:2]))
        assert bcubed_quality(labels, ids) == pytest.approx(bcubed_quality(*part[:2]))
        across = bcubed_quality(labels, ids, cameras)
        assert across == pytest.approx(bcubed_quality(*part))
        assert cross_camera_quality(labels, ids, cameras) == pytest.approx(
            cross_camera_quality(*part)
        )
        for camera, numbers in quality_by_camera(labels, ids, cameras).items():
            own = part[2] == camera
            assert numbers == pytest.approx(
                cluster_quality(part[0][own], part[1][own])
                | bcubed_quality(part[0][own], part[1][own])
            )
        assert rand_agreement(labels, ids) == pytest.approx(rand_agreement(*part[:2]))
        soft = torch.from_numpy(rng.random((80, 5)) * (rng.random((80, 1)) < 0.8))
        for layout in (soft, soft.to_sparse()):
            assert soft_label_accuracy(layout, labels, ids) == pytest.approx(
                soft_label_accuracy(soft[known], *part[:2])
            )
    nobody = cluster_quality([0, 0, 1], [-1, -1, -1])
    assert all(np.isnan(value) for value in nobody.values())
    assert np.isnan(soft_label_accuracy(torch.eye(3), [0, 1, 2], [-1, -1, -1]))
    with pytest.raises(InputError, match="identities must be at least 0, or -1"):
        cluster_quality([0, 0], [-2, 0])


INTEGERS = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.uint64,
]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_integers_of_any_width(dtype, kind):
    problem = problem_with_unknown(1)
    problem = (*problem[:2], *(np.where(x < 0, 9, x) for x in problem[2:4]), *problem[4:])
    narrow = [torch.from_numpy(x).to(dtype) for x in problem[2:]]
    if kind == "numpy":
        narrow = [x.numpy() for x in narrow]
    sides, given = problem, (*problem[:2], *narrow)
    for function in (retrieval_metrics, open_set_rates, verification_rates):
        assert function(*given) == pytest.approx(function(*sides), nan_ok=True)
    assert retrieval_metrics(*given, protocol="cuhk03", rerank=True) == pytest.approx(
        retrieval_metrics(*sides, protocol="cuhk03", rerank=True)
    )
    table, expected = camera_pair_table(*given), camera_pair_table(*sides)
    torch.testing.assert_close(table.metrics["mAP"], expected.metrics["mAP"], equal_nan=True)
    options = {"normalize_cameras": True, "rerank": True, "protocol": "cuhk03"}
    rows, ids, cameras, is_query = all_columns(sides)
    narrow_columns = (rows, ids.to(dtype), cameras.to(dtype), is_query)
    index = torch.arange(len(rows))
    assert (
        updated((*narrow_columns, index.to(dtype)), **options).compute()
        == updated((rows, ids, cameras, is_query, index), **options).compute()
    )
    labels, ids, cameras = torch.randint(0, 5, (3, 60), generator=torch.Generator().manual_seed(0))
    columns = [x.to(dtype) if kind == "torch" else x.to(dtype).numpy() for x in (labels, ids)]
    narrow_cameras = cameras.to(dtype) if kind == "torch" else cameras.to(dtype).numpy()
    assert cluster_quality(*columns) == cluster_quality(labels, ids)
    assert cross_camera_quality(*columns, narrow_cameras) == cross_camera_quality(
        labels, ids, cameras
    )
    assert rand_agreement(*columns) == rand_agreement(labels, ids)
    soft = torch.rand(60, 5, generator=torch.Generator().manual_seed(1))
    assert soft_label_accuracy(soft, *columns) == soft_label_accuracy(soft, labels, ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([True, False], "query_ids must be whole numbers that fit int64, not bool"),
        (torch.tensor([True, False]), "query_ids must be whole numbers.* not torch.bool"),
        (np.array([0.0, 1.0]), "query_ids must be whole numbers.* not float64"),
        (torch.tensor([0.0, 1.0]), "query_ids must be whole numbers.* not torch.float32"),
        (["a", "b"], "query_ids must be whole numbers"),
        ([None, 1], "query_ids must be whole numbers.* not object"),
        ([2**63, 2**63], "query_ids must fit int64, and 9223372036854775808 does not"),
        ([10**19 * 10, 1], "query_ids must be whole numbers.* not object"),
        (np.array([2**64 - 1, 1], np.uint64), "query_ids must fit int64"),
        (torch.tensor([-1, 1]).to(torch.uint64), "query_ids must fit int64, and 1844.* does not"),
    ],
)
def test_what_is_no_integer_is_refused(ids, message):
    with pytest.raises(InputError, match=message):
        retrieval_metrics(torch.eye(2), torch.eye(2), ids, [0, 1], [0, 0], [1, 1])


def test_without_an_index_every_row_counts():
    columns = all_columns(problem_with_unknown(2))
    expected = updated((*columns, torch.arange(64))).compute()
    assert updated(columns).compute() == expected
    assert updated(columns).collect().index.tolist() == list(range(64))
    doubled = [torch.cat([column, column]) for column in columns]
    twice = updated(doubled).compute()
    assert twice["num_valid_queries"] == 2 * expected["num_valid_queries"]
    again = updated((*doubled, torch.arange(64).repeat(2))).compute()
    assert again == pytest.approx(expected)
    metric = updated(columns)
    before = metric.compute()
    metric.update(*(column[:5] for column in columns))
    assert metric.compute() != before
    assert len(metric.collect().index) == 69


def test_an_index_for_some_rows_is_none():
    columns = all_columns(problem_with_unknown(2))
    metric = updated(columns)
    metric.update(*columns, torch.arange(64))
    with pytest.raises(InputError, match="64 of 128 rows came without an index: give index in"):
        metric.compute()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_repeated_rows_may_differ_by_rounding(dtype):
    columns = all_columns(problem_with_unknown(2, ties=False))
    index = torch.arange(64)
    expected = updated((*columns, index)).compute()
    metric = updated((*columns, index))
    metric.update(columns[0][:9].to(dtype), *(column[:9] for column in columns[1:]), index[:9])
    assert metric.compute() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("identities", lambda ids: torch.where(ids < 0, 0, ids + 1)),
        ("cameras", lambda cameras: cameras + 1),
        ("is_query", torch.logical_not),
        ("embeddings", lambda rows: rows.flip(0)),
        ("embeddings", lambda rows: rows * 1.2),
        ("embeddings", torch.zeros_like),
    ],
)
def test_repeated_rows_that_differ_are_refused(name, change):
    names = ("embeddings", "identities", "cameras", "is_query")
    columns = dict(zip(names, all_columns(problem_with_unknown(2, ties=False)), strict=True))
    metric = updated((*columns.values(), torch.arange(64)))
    part = {key: column[10:16] for key, column in columns.items()}
    part[name] = change(part[name])
    metric.update(**part, index=torch.arange(10, 16))
    message = f"rows 1. and 6. have the index 1. but differ in {name}. index is the position"
    with pytest.raises(InputError, match=message):
        metric.compute()


def test_an_index_of_zeros_is_refused():
    columns = all_columns(problem_with_unknown(2))
    metric = updated((*columns, torch.zeros(64, dtype=torch.int64)))
    with pytest.raises(InputError, match="have the index 0 but differ in identities"):
        metric.compute()
