"""The exact nearest rows, against a comparison with all of them in float64."""

import time

import numpy as np
import pytest

from lightning_reid.search.nearest import nearest_rows

BLOCK = 100


def blocks(rows):
    """The rows some at a time, always in the same memory."""
    space = np.empty((BLOCK, rows.shape[1]), dtype=np.float32)
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        space[: len(part)] = part
        yield space[: len(part)]


def unit(rng, count, dimensions):
    rows = rng.standard_normal((count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def directly(rows, queries, count, cameras, excluded):
    similarities = np.full((len(queries), count), -np.inf)
    found = np.full((len(queries), count), -1)
    for number, query in enumerate(queries.astype(np.float64)):
        exact = np.einsum("d,nd->n", query, rows.astype(np.float64))
        exact[cameras == excluded[number]] = -np.inf
        order = np.argsort(-exact, kind="stable")[: min(count, len(rows))]
        order = order[exact[order] > -np.inf]
        similarities[number, : len(order)] = exact[order]
        found[number, : len(order)] = order
    return similarities, found


def gallery(kind, rng, dimensions):
    """Rows that are hard to put in order."""
    rows = unit(rng, 730, dimensions)
    if kind == "identical":
        rows = rows[rng.integers(0, 5, len(rows))]
    elif kind == "nearly identical":  # beyond what float32 tells apart
        rows = rows[:3][rng.integers(0, 3, len(rows))]
        near = rng.random(len(rows)) < 0.7
        rows[near, 0] = np.nextafter(rows[near, 0], np.float32(1))
    elif kind == "ascending":  # every block holds nearer ones than the one before
        rows = rows[np.argsort(rows[:, 0])]
    return rows


@pytest.mark.parametrize("kind", ["random", "identical", "nearly identical", "ascending"])
@pytest.mark.parametrize("count", [1, 10, 99, 250, 730, 900])
def test_they_are_those_of_all_comparisons(kind, count):
    rng = np.random.default_rng(count)
    rows = gallery(kind, rng, dimensions=24)
    queries = np.concatenate([unit(rng, 9, 24), rows[:7], np.eye(1, 24, dtype=np.float32)])
    cameras = rng.choice(4, len(rows), p=[0.9, 0.05, 0.04, 0.01])
    for excluded in (np.full(17, -1), np.zeros(17), rng.integers(-1, 4, 17)):
        expected = directly(rows, queries, count, cameras, excluded)
        found = nearest_rows(blocks(rows), queries, count, cameras, excluded)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-12)


def test_the_number_of_queries_changes_nothing():
    rng = np.random.default_rng(0)
    rows, queries = unit(rng, 300, 16), unit(rng, 700, 16)
    cameras, own = rng.integers(0, 3, 300), rng.integers(0, 3, 700)
    together = nearest_rows(blocks(rows), queries, 5, cameras, own)
    for first in (0, 255, 256, 699):
        alone = slice(first, first + 1)
        one = nearest_rows(blocks(rows), queries[alone], 5, cameras, own[alone])
        np.testing.assert_array_equal(one[1], together[1][alone])
    assert nearest_rows(blocks(rows), queries[:0], 5)[1].shape == (0, 5)


def test_leaving_out_cameras_takes_about_as_long():
    rng = np.random.default_rng(0)
    rows, queries = unit(rng, 20_000, 256), unit(rng, 256, 256)
    cameras = rng.integers(0, 8, len(rows))

    def seconds(excluded):
        start = time.perf_counter()
        nearest_rows(np.split(rows, 5), queries, 10, cameras, excluded)
        return time.perf_counter() - start

    plain = min(seconds(None) for _ in range(5))
    for excluded in (np.zeros(256, dtype=np.int64), rng.integers(0, 8, 256)):
        assert min(seconds(excluded) for _ in range(5)) < 2 * plain


def test_without_rows_nothing_is_found():
    queries = unit(np.random.default_rng(0), 2, 4)
    similarities, rows = nearest_rows(iter(()), queries, 3)
    assert (rows == -1).all()
    assert (similarities == -np.inf).all()
