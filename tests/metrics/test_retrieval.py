import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_retrieval import literal_metrics, literal_scores, random_problem
from sklearn.metrics import average_precision_score

from lightning_reid import RetrievalMetrics
from lightning_reid.errors import InputError
from lightning_reid.metrics import (
    Evaluation,
    Expansion,
    Reranking,
    camera_pair_table,
    open_set_rates,
    query_scores,
    retrieval_metrics,
    verification_rates,
)
from lightning_reid.metrics.functional import retrieval as module
from lightning_reid.metrics.functional.counted import SameIdentity
from lightning_reid.metrics.functional.distances import EuclideanDistances
from lightning_reid.metrics.functional.images import checked_images


def test_published_numbers(golden):
    g = golden("retrieval_a")
    names = ("query_ids", "gallery_ids", "query_cameras", "gallery_cameras")
    ranks = tuple(range(1, 51))
    result = retrieval_metrics(g["query"], g["gallery"], *(g[n] for n in names), ranks=ranks)
    assert result["mAP"] == pytest.approx(float(g["mAP"]), abs=1e-6)
    assert result["mINP"] == pytest.approx(float(g["mINP"]), abs=1e-6)
    np.testing.assert_allclose([result[f"rank{k}"] for k in ranks], g["cmc"], atol=1e-6)
    assert result["num_valid_queries"] == len(g["query"]) - 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_equals_sorting_query_by_query(monkeypatch, seed, block):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block)
    problem = random_problem(seed)
    assert retrieval_metrics(*problem) == pytest.approx(literal_metrics(problem))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cross_camera_only", [False, True])
@pytest.mark.parametrize(
    "sizes", [(40, 90, 5, 3), (50, 60, 40, 2), (30, 200, 2, 4), (20, 30, 6, 1)]
)
def test_ties_count_against_the_match(seed, cross_camera_only, sizes):
    problem = random_problem(seed, *sizes, ties=True)
    scores = query_scores(*problem, cross_camera_only=cross_camera_only)
    precision, penalty, first = literal_scores(problem, cross_camera_only=cross_camera_only)
    valid = scores.valid
    np.testing.assert_allclose(scores.average_precision[valid], precision)
    np.testing.assert_allclose(scores.inverse_penalty[valid], penalty)
    np.testing.assert_array_equal(scores.first_match[valid], first)
    for column in (scores.average_precision, scores.inverse_penalty, scores.first_match):
        assert (column[~valid] == 0).all()
    assert (sizes[-1] == 1) == (not valid.any())


def test_average_precision_is_scikit_learns_where_nothing_is_tied():
    problem = random_problem(3)
    query, gallery, ids, gallery_ids, cameras, gallery_cameras = problem
    scores = query_scores(*problem)
    for i in scores.valid.nonzero().flatten().tolist():
        kept = (gallery_ids != ids[i]) | (gallery_cameras != cameras[i])
        nearness = -((gallery[kept] - query[i]) ** 2).sum(axis=1)
        expected = average_precision_score(gallery_ids[kept] == ids[i], nearness)
        assert scores.average_precision[i].item() == pytest.approx(expected)


def test_nearest_distances():
    problem = random_problem(4, num_cameras=2)
    scores = query_scores(*problem)
    query, gallery, ids, gallery_ids, cameras, gallery_cameras = problem
    for i in range(len(query)):
        distances = ((gallery - query[i]) ** 2).sum(axis=1)
        match = (gallery_ids == ids[i]) & (gallery_cameras != cameras[i])
        counts = match | (gallery_ids != ids[i])
        assert scores.nearest[i].item() == pytest.approx(distances[counts].min(), rel=1e-4)
        expected = distances[match].min(initial=np.inf)
        assert scores.nearest_match[i].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rerank", [False, True])
@pytest.mark.parametrize("num_ids", [2, 50])
def test_only_a_block_of_distances_is_in_memory(monkeypatch, rerank, num_ids):
    blocks, block = [], EuclideanDistances.block

    def watched(self, rows):
        blocks.append(block(self, rows))
        return blocks[-1]

    monkeypatch.setattr(EuclideanDistances, "block", watched)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 40_000)
    query_scores(*random_problem(0, 200, 1500, num_ids), rerank=rerank)
    assert sum(len(distances) for distances in blocks) == 200
    assert max(distances.numel() for distances in blocks) <= 40_000
    assert len({distances.data_ptr() for distances in blocks}) == 1  # all in the same place


def test_pairs_of_one_identity_count_towards_a_block():
    ids = torch.zeros(100, dtype=torch.int64)  # all are the same person
    same = SameIdentity.of(ids, ids)
    blocks = same.blocks(9000)
    assert [rows.stop - rows.start for rows in blocks] == [10] * 10  # 100 distances, 100 pairs
    row, column = same.pairs(blocks[3])
    assert row.tolist() == [i for i in range(10) for _ in range(100)]
    assert column.view(10, 100).sort(dim=1).values.tolist() == [list(range(100))] * 10


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_order_and_names_mean_nothing(seed, cross_camera_only):
    generator = np.random.default_rng(seed)
    problem = random_problem(seed, 12, 40, 5, 3, ties=True)
    queries, images = generator.permutation(12), generator.permutation(40)
    people, cameras = generator.permutation(900)[:5], generator.permutation(50)[:3]
    query, gallery, ids, gallery_ids, query_cameras, gallery_cameras = problem
    shuffled = (
        query[queries],
        gallery[images],
        people[ids[queries]],
        people[gallery_ids[images]],
        cameras[query_cameras[queries]],
        cameras[gallery_cameras[images]],
    )
    one, other = (
        query_scores(*p, cross_camera_only=cross_camera_only) for p in (problem, shuffled)
    )
    for before, after in zip(one, other, strict=True):
        assert torch.equal(before[torch.from_numpy(queries)], after)


@pytest.mark.parametrize("kind", ["numpy", "torch", "lists"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_kind_of_numbers(kind, dtype):
    problem = random_problem(2)
    rounded = [x.astype(dtype) for x in problem[:2]] + list(problem[2:])
    given_ = {
        "numpy": rounded,
        "torch": [torch.from_numpy(x) for x in rounded],
        "lists": [x.tolist() for x in rounded],
    }[kind]
    expected = literal_metrics((*rounded[:2], *problem[2:]))
    assert retrieval_metrics(*given_) == pytest.approx(expected)


def test_read_only_arrays_and_strided_tensors():
    problem = random_problem(2)
    expected = retrieval_metrics(*problem)
    frozen = [x.copy() for x in problem]
    for x in frozen:
        x.flags.writeable = False
    assert retrieval_metrics(*frozen) == expected
    strided = [torch.from_numpy(np.repeat(x, 2, axis=0))[::2] for x in problem]
    assert retrieval_metrics(*strided) == expected
    for x, y in zip(frozen, problem, strict=True):
        np.testing.assert_array_equal(x, y)


def test_double_precision_tells_apart_what_single_does_not():
    query, gallery = np.array([[0.0]]), np.array([[1 + 1e-12], [1.0]])
    sides = ([1], [2, 1], [0], [1, 1])
    assert retrieval_metrics(query, gallery, *sides)["rank1"] == 1
    single = retrieval_metrics(query.astype("f4"), gallery.astype("f4"), *sides)
    assert single["rank1"] == 0


def test_queries_without_a_match_in_another_camera_are_left_out():
    eye = torch.eye(3)
    result = retrieval_metrics(eye, eye, [0, 1, 2], [0, 1, 2], [0, 0, 0], [1, 0, 1])
    assert result["num_valid_queries"] == 2
    assert result["mAP"] == 1


def test_collapsed_embeddings_score_low():
    same = torch.ones(1, 4)
    ids = torch.cat([torch.zeros(1), torch.ones(9)]).long()
    result = retrieval_metrics(same, same.expand(10, 4), [0], ids, [0], [1] * 10)
    assert result["mAP"] == pytest.approx(0.1)
    assert result["rank1"] == 0


@pytest.mark.parametrize("protocol", ["market", "cuhk03"])
@pytest.mark.parametrize("rerank", [False, True])
def test_nothing_valid_is_nan(protocol, rerank):
    options = {"protocol": protocol, "rerank": rerank}
    one = torch.ones(1, 4)
    alone = retrieval_metrics(one, one, [0], [0], [0], [0], **options)
    assert np.isnan(alone["mAP"])
    assert np.isnan(alone["rank1"])
    empty = retrieval_metrics(torch.ones(0, 4), one, [], [0], [], [0], **options)
    assert empty["num_valid_queries"] == 0
    assert np.isnan(retrieval_metrics(one, one[:0], [0], [], [0], [], **options)["rank5"])
    scores = query_scores(one, torch.ones(0, 4), [0], [], [0], [], rerank=rerank)
    assert scores.valid.tolist() == [False]
    assert scores.nearest.tolist() == [torch.inf]


def spoilt(value):
    rows = torch.ones(2, 4)
    rows[1, 2] = value
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_ids": [0, 1]}, "query: 1 embeddings, 2 identities"),
        ({"gallery_cameras": [[1], [1]]}, r"2 identities, \(2, 1\) cameras"),
        ({"gallery": torch.ones(2, 3)}, "differ"),
        ({"query": torch.ones(4)}, r"query \(Q, D\)"),
        ({"ranks": 5}, r"ranks must be a list of integers, such as \[1, 5, 10\], not 5"),
        ({"ranks": (1, 2.5)}, "ranks must be a list of integers"),
        ({"ranks": "15"}, "ranks must be a list of integers"),
        ({"ranks": (5, 0)}, "the smallest rank must be at least 1, not 0"),
        ({"gallery": spoilt(float("nan"))}, "1 gallery embeddings hold NaN .* row 1"),
        ({"gallery": spoilt(float("inf"))}, "1 gallery embeddings hold NaN .* row 1"),
        ({"gallery": spoilt(1e30)}, "1 gallery embeddings are too long for float32.* row 1"),
        ({"gallery_ids": ["a", "b"]}, "gallery_ids must be whole numbers.* not <U1"),
        ({"gallery_ids": [0, 0.5]}, "gallery_ids must be whole numbers.* not float64"),
        ({"query_cameras": [float("nan")]}, "query_cameras must be whole numbers"),
        ({"query": torch.ones(1, 4).long()}, "query embeddings must be floating point, not torch"),
        ({"gallery": [[1, 0, 0, 0], [0, 0, 0, 0]]}, "gallery embeddings must be floating point"),
        ({"protocol": "viper"}, "protocol must be one of market, cuhk03"),
    ],
)
def test_bad_input(change, message):
    arguments = {
        "query": torch.ones(1, 4),
        "gallery": torch.ones(2, 4),
        "query_ids": [0],
        "gallery_ids": [0, 1],
        "query_cameras": [0],
        "gallery_cameras": [1, 1],
        **change,
    }
    with pytest.raises(InputError, match=message):
        retrieval_metrics(**arguments)


@pytest.mark.parametrize(
    ("gallery_ids", "gallery_cameras", "reason"),
    [
        ([3, 1], [0, 0], "people who are not in the gallery: 1; .* own camera only: 1$"),
        ([-1, -1], [1, 1], "Queries of people who are not in the gallery: 2$"),
        ([], [], "the gallery is empty. .* limit_test_batches"),
    ],
)
def test_the_reason_is_told_once_where_no_query_has_a_match(gallery_ids, gallery_cameras, reason):
    ids = torch.tensor([0, 1, *gallery_ids])
    cameras = torch.tensor([0, 0, *gallery_cameras])
    rows, is_query = torch.eye(4)[: len(ids)], torch.arange(len(ids)) < 2
    sides = (column.split([2, len(ids) - 2]) for column in (rows, ids, cameras))
    metric = RetrievalMetrics(normalize_cameras=True, rerank=True, expand=True)
    metric.update(rows, ids, cameras, is_query)
    for compute in (
        lambda: retrieval_metrics(*(part for side in sides for part in side)),
        metric.compute,
    ):
        with pytest.warns(
            UserWarning, match=f"mAP and all other means are NaN: .*{reason}"
        ) as told:
            assert np.isnan(compute()["mAP"])
        assert len(told) == 1


def test_verification_says_which_pairs_are_missing():
    metric = RetrievalMetrics(verification=True)
    columns = torch.eye(2), torch.tensor([3, 3]), torch.tensor([0, 1]), torch.tensor([True, False])
    metric.update(*columns)
    with pytest.warns(UserWarning, match=r"verification: .* is of different identities, so tpr@"):
        assert np.isnan(metric.compute()["tpr@0.001"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_whose_distances_overflow_are_refused(dtype):
    longest = torch.finfo(dtype).max ** 0.5
    query = torch.tensor([[0.7 * longest, 0.0]], dtype=dtype)  # its square is finite
    with pytest.raises(InputError, match=f"query embeddings are too long for {str(dtype)[6:]}"):
        retrieval_metrics(query, -query, [0], [0], [0], [1])
    assert retrieval_metrics(0.5 * query, -0.5 * query, [0], [0], [0], [1])["mAP"] == 1


def columns_of(problem):
    query, gallery, *rest = (torch.as_tensor(x) for x in problem)
    embeddings = torch.cat([query, gallery])
    ids, cameras = torch.cat(rest[:2]), torch.cat(rest[2:])
    is_query = torch.arange(len(embeddings)) < len(query)
    return embeddings, ids, cameras, is_query, torch.arange(len(embeddings))


def test_class_equals_function_in_any_batches_with_repeats():
    problem = random_problem(0)
    columns = columns_of(problem)
    metric = RetrievalMetrics()
    for rows in torch.randperm(230).split(50):
        metric.update(*(c[rows] for c in columns))
    metric.update(*(c[:7] for c in columns))  # seen again: counts once
    assert metric.compute() == pytest.approx(retrieval_metrics(*problem))


def test_embeddings_are_kept_once_and_images_may_come_after_computing():
    problem = random_problem(0)
    columns = columns_of(problem)
    metric = RetrievalMetrics()
    for rows in torch.arange(200).split(50):
        metric.update(*(c[rows] for c in columns))
    metric.compute()
    assert [len(part) for part in metric.embeddings] == [200]
    assert metric.collect().embeddings is metric.embeddings[0]
    metric.update(*(c[200:] for c in columns))
    assert metric.compute() == pytest.approx(retrieval_metrics(*problem))


def test_queries_between_gallery_images():
    problem = random_problem(5)
    *columns, index = columns_of(problem)
    mixed = torch.randperm(230, generator=torch.Generator().manual_seed(0))
    metric = RetrievalMetrics(ranks=(1, 2))
    metric.update(*(c[mixed] for c in columns), index)
    assert metric.compute() == pytest.approx(retrieval_metrics(*problem, ranks=(1, 2)))


@pytest.mark.parametrize(
    "options", [{"protocol": "cuhk03"}, {"cross_camera_only": True}, {"ranks": [2, 7]}]
)
def test_class_takes_the_options_of_the_function(options):
    problem = random_problem(1)
    metric = RetrievalMetrics(**options)
    metric.update(*columns_of(problem))
    assert metric.compute() == pytest.approx(retrieval_metrics(*problem, **options))


def test_other_rankings_are_reported_beside():
    from lightning_reid.clustering import camera_normalize
    from lightning_reid.metrics import expand_queries

    problem = random_problem(1)
    settings_ = Reranking(k1=8, k2=3)
    metric = RetrievalMetrics(
        normalize_cameras=True, expand=Expansion(k=3, alpha=2.0), rerank=settings_
    )
    embeddings, *rest = columns_of(problem)
    metric.update(embeddings, *rest)
    result = metric.compute()
    sides = problem[2:]
    unit = torch.nn.functional.normalize(torch.from_numpy(problem[1]))
    normalized = torch.split(camera_normalize(embeddings, rest[1]), [30, 200])
    expected = {
        "": retrieval_metrics(*problem),
        "reranked/": retrieval_metrics(*problem, rerank=settings_),
        "expanded/": retrieval_metrics(expand_queries(*problem[:2], 3, 2.0), unit, *sides),
        "camera_normalized/": retrieval_metrics(*normalized, *sides),
        "camera_normalized/reranked/": retrieval_metrics(*normalized, *sides, rerank=settings_),
    }
    for prefix, numbers in expected.items():
        own = {name: result[f"{prefix}{name}"] for name in ("mAP", "mINP", "rank1", "rank10")}
        assert own == pytest.approx({name: numbers[name] for name in own}), prefix
    assert len({numbers["mAP"] for numbers in expected.values()}) == len(expected)
    assert [name for name in result if "num_valid" in name] == ["num_valid_queries"]


def test_intervals_hold_the_mean():
    columns = columns_of(random_problem(1, num_ids=4))
    metric = RetrievalMetrics(ranks=(3,), confidence=0.9)
    metric.update(*columns)
    result = metric.compute()
    for name in ("mAP", "mINP", "rank3"):
        assert result[f"{name}_low"] < result[name] < result[f"{name}_high"]
    narrow = RetrievalMetrics(ranks=(3,), confidence=0.5)
    narrow.update(*columns)
    assert narrow.compute()["mAP_low"] > result["mAP_low"]


def test_camera_normalised_numbers_are_reported_beside():
    embeddings, ids, cameras, is_query, index = columns_of(random_problem(1))
    shift = 5 * torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    noise = 0.2 * torch.nn.functional.pad(embeddings, (0, 12))
    camera_part = torch.eye(20)[ids] + noise + shift[cameras]
    metric = RetrievalMetrics(normalize_cameras=True)
    metric.update(camera_part, ids, cameras, is_query, index)
    result = metric.compute()
    assert result["camera_normalized/mAP"] > result["mAP"] + 0.2


def test_update_checks_lengths():
    with pytest.raises(ValueError, match="differ in length"):
        RetrievalMetrics().update(torch.ones(2, 3), *(torch.ones(1) for _ in range(4)))


def test_embeddings_of_another_dimension_leave_those_before_as_they_are():
    metric = RetrievalMetrics()
    columns = columns_of(random_problem(0))
    metric.update(*columns)
    with pytest.raises(InputError, match="have 3 dimensions, those before have"):
        metric.update(torch.ones(230, 3), *columns[1:])
    assert metric.compute() == pytest.approx(retrieval_metrics(*random_problem(0)))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_computing_takes_images():
    with pytest.raises(InputError, match="no image has been added"):
        RetrievalMetrics().compute()


@pytest.mark.parametrize("cross_camera_only", [False, True])
@pytest.mark.parametrize("rerank", [False, True])
def test_rates_of_the_functions_on_request(cross_camera_only, rerank):
    problem = random_problem(1, num_ids=6)
    problem[2][:9] += 50  # people who are not in the gallery
    options = {"rerank": rerank, "cross_camera_only": cross_camera_only}
    metric = RetrievalMetrics(open_set=[0.2, 0.5], verification=[0.03, 0.3], **options)
    metric.update(*columns_of(problem))
    result = metric.compute()
    expected = open_set_rates(*problem, [0.2, 0.5], **options)
    expected |= verification_rates(*problem, [0.03, 0.3], **options)
    assert expected.pop("num_known_queries") == result["num_valid_queries"]
    counts = {name: expected.pop(name) for name in list(expected) if name.startswith("num_")}
    assert {name: result[name] for name in counts} == counts
    prefix = "reranked/" if rerank else ""
    assert {name: result[prefix + name] for name in expected} == pytest.approx(expected)
    assert not np.isnan(list(result.values())).any()
    assert not any("/num_" in name for name in result)


def test_rates_on_request_are_those_of_the_functions_by_default():
    metric = RetrievalMetrics(open_set=True, verification=True)
    metric.update(*columns_of(random_problem(1)))
    names = {"dir@0.01", "dir@0.1", "tpr@0.0001", "tpr@0.001", "tpr@0.01"}
    assert {name for name in metric.compute() if "@" in name} == names


def test_what_was_collected_goes_into_every_function():
    problem = random_problem(1)
    columns = columns_of(problem)
    metric = RetrievalMetrics()
    mixed = torch.randperm(230, generator=torch.Generator().manual_seed(0))
    metric.update(*(column[mixed] for column in columns))
    seen = metric.collect()
    assert retrieval_metrics(*seen.sides()) == metric.compute()
    first = query_scores(*seen.sides()).first_match
    assert torch.equal(first, query_scores(*problem).first_match)
    table = camera_pair_table(*seen.sides()).metrics["mAP"]
    torch.testing.assert_close(table, camera_pair_table(*problem).metrics["mAP"], equal_nan=True)
    assert seen.sides()[0].data_ptr() == seen.embeddings.data_ptr()  # not a copy


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ranks": 5}, "ranks must be a list of integers"),
        ({"open_set": 0.1}, "open_set must be a list of numbers from 0 to 1.* not 0.1"),
        ({"verification": "0.1"}, "verification must be a list of numbers"),
        ({"ranks": (0,)}, "the smallest rank must be at least 1, not 0"),
        ({"protocol": "viper"}, "protocol must be one of market, cuhk03"),
        ({"confidence": 1.5}, "confidence must be from 0 to 1"),
        ({"open_set": [0.1, 2]}, "a rate of open_set must be from 0 to 1, not 2"),
        ({"verification": [-0.1]}, "a rate of verification must be from 0 to 1"),
    ],
)
@pytest.mark.parametrize("kind", [RetrievalMetrics, Evaluation])
def test_refuses_bad_settings(kind, wrong, message):
    with pytest.raises(InputError, match=message):
        kind(**wrong)


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        Evaluation,
        ranks=st.lists(st.integers(1, 50), max_size=3),
        expand=st.booleans() | st.builds(Expansion, k=st.integers(1, 9)),
        rerank=st.booleans() | st.builds(Reranking, k1=st.integers(1, 9)),
        protocol=st.sampled_from([None, "market", "cuhk03"]),
        confidence=st.none() | st.floats(0, 1),
        open_set=st.booleans() | st.lists(st.floats(0, 1), max_size=2),
    )
)
def test_settings_are_plain_and_come_back(evaluation):
    plain = evaluation.settings()
    assert json.loads(json.dumps(plain)) == plain
    assert Evaluation.from_settings(plain) == evaluation
    assert Evaluation.from_settings({"rerank": {"k1": 9}}) == Evaluation(rerank=Reranking(k1=9))


def test_class_names_bad_embeddings():
    metric = RetrievalMetrics()
    embeddings, *rest = columns_of(random_problem(1))
    embeddings[40] = float("nan")
    metric.update(embeddings, *rest)
    with pytest.raises(InputError, match="gallery embeddings hold NaN.*row 10"):
        metric.compute()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_gallery", [2, 5, 17, 333])
def test_identical_gallery_images_are_equally_far_to_the_last_bit(num_gallery, dtype):
    generator = torch.Generator().manual_seed(num_gallery)
    for dimensions in (7, 100, 512, 2048):
        kinds = torch.randn(3, dimensions, generator=generator, dtype=dtype)
        which = torch.randint(3, (num_gallery,), generator=generator)
        query, gallery = torch.randn(30, dimensions, generator=generator).to(dtype), kinds[which]
        people, cameras = torch.zeros(30 + num_gallery).long(), torch.arange(30 + num_gallery)
        sides = checked_images(query, gallery, people[:30], people[30:], cameras[:30], cameras[30:])
        distances = EuclideanDistances(*sides).block(slice(0, 30))
        for kind in range(3):
            columns = distances[:, which == kind]
            assert (columns == columns[:, :1]).all()


def test_a_collapsed_model_finds_nobody():
    one = torch.nn.functional.normalize(torch.randn(1, 2048), dim=1)
    for num_gallery in (3, 5, 6, 7):
        everyone, cameras = torch.arange(num_gallery), torch.ones(num_gallery).long()
        columns = everyone, everyone, 0 * cameras, cameras
        found = retrieval_metrics(*[one.repeat(num_gallery, 1)] * 2, *columns, ranks=(1,))
        assert found["rank1"] == 0
        assert found["mAP"] == pytest.approx(1 / num_gallery)
