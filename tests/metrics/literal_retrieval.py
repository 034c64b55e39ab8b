"""Random retrieval problems, and their answers one query after the other."""

import numpy as np


def random_problem(seed, num_query=30, num_gallery=200, num_ids=12, num_cameras=4, ties=False):
    """Query, gallery, and the identities and cameras of both; small whole numbers with ties."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_query + num_gallery, 8)).astype(np.float32)
    if ties:
        features = features[:, :3].round()
    ids = generator.integers(num_ids, size=num_query + num_gallery)
    cameras = generator.integers(num_cameras, size=num_query + num_gallery)
    q, g = slice(num_query), slice(num_query, None)
    return features[q], features[g], ids[q], ids[g], cameras[q], cameras[g]


def squared_distances(query, gallery):
    query, gallery = (np.asarray(x, np.float64) for x in (query, gallery))
    return ((query[:, None] - gallery[None]) ** 2).sum(axis=2)


def rankings(problem, cross_camera_only=False, distances=None):
    """For each query the images that count: distances, and whether they match, in rank order."""
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = problem
    if distances is None:
        distances = squared_distances(query, gallery)
    for row, identity, camera in zip(distances, query_ids, query_cameras, strict=True):
        match, near = gallery_ids == identity, gallery_cameras == camera
        kept = ~near if cross_camera_only else ~(match & near)
        order = np.lexsort((match[kept], row[kept]))  # of equals, the match is last
        yield row[kept][order], match[kept][order]


def literal_scores(problem, **options):
    """Average precision, mINP summand, first rank; a column for each valid query."""
    results = []
    for _, match in rankings(problem, **options):
        ranks = np.flatnonzero(match) + 1
        if len(ranks):
            precision = np.arange(1, len(ranks) + 1) / ranks
            results.append((precision.mean(), len(ranks) / ranks[-1], ranks[0]))
    return np.array(results).reshape(-1, 3).T


def literal_metrics(problem, ranks=(1, 5, 10), **options):
    precision, penalty, first = literal_scores(problem, **options)
    hits = {f"rank{k}": (first <= k).mean() for k in ranks}
    return {
        "mAP": precision.mean(),
        "mINP": penalty.mean(),
        **hits,
        "num_valid_queries": len(first),
    }
