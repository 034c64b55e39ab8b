"""What statistics of labels tell, at both sides of every threshold."""

import pytest

from lightning_reid.report.signs import Advice, sentences, signs_of

ADVICE = Advice(coarser="raise eps", finer="lower eps")
SOUND = {
    "clusters": 700.0,
    "outlier_share": 0.5,
    "cross_camera_share": 0.3,
    "silhouette": 0.2,
    "stability": 0.7,
}


def told(kind, first=None, **changes):
    """What is told of labels that would be neither good nor bad without the changes."""
    first = {"epoch": 0.0, **SOUND, **(first or {})}
    last = {"epoch": 10.0, **SOUND, **changes}
    first, last = (
        {name if name == "epoch" else f"labels/{name}": value for name, value in each.items()}
        for each in (first, last)
    )
    return sentences(signs_of(first, last, ADVICE), kind)


def test_labels_between_good_and_bad():
    assert told("bad") == told("good") == []
    assert told("open") == ["700 clusters: compare with the number of individuals you expect"]


@pytest.mark.parametrize(
    ("name", "bad", "sound", "advice"),
    [
        ("clusters", 2.0, 3.0, "same person; lower eps"),
        ("outlier_share", 0.81, 0.8, "outliers: raise eps"),
        ("cross_camera_share", 0.04, 0.05, "try normalize_cameras"),
        ("silhouette", 0.14, 0.16, "fell from 0.20 to 0.14"),
        ("stability", 0.49, 0.5, "keep jumping"),
        ("reliable_share", 0.0, 0.01, "change threshold"),
        ("reliable_share", 1.0, 0.99, "change threshold"),
        ("soft_mass", 0.04, 0.05, "nobody is found"),
        ("removed_share", 0.51, 0.5, "too fine"),
    ],
)
def test_what_is_bad(name, bad, sound, advice):
    (sentence,) = told("bad", **{name: bad})
    assert advice in sentence
    assert told("bad", **{name: sound}) == []


@pytest.mark.parametrize(
    ("name", "good", "sound"),
    [
        ("outlier_share", 0.3, 0.31),
        ("cross_camera_share", 0.5, 0.49),
        ("silhouette", 0.26, 0.24),
        ("stability", 0.9, 0.89),
        ("reliable_share", 0.4, None),
    ],
)
def test_what_is_good(name, good, sound):
    assert len(told("good", **{name: good})) == 1
    assert sound is None or told("good", **{name: sound}) == []


@pytest.mark.parametrize("within", [{"soft_mass": 2.0}, {"camera": 3.0}])
def test_clusters_within_cameras_are_not_judged_by_spanning_them(within):
    assert told("bad", cross_camera_share=0.0, **within) == []
    assert "made within cameras" in told("open", cross_camera_share=0.0, **within)[1]


def test_different_cameras_are_not_compared():
    assert told("bad", first={"camera": 0.0, "silhouette": 0.5}) == []
    assert told("bad", camera=2.0, stability=0.1) == []


def test_labels_may_change_at_first():
    assert told("bad", epoch=4.0, stability=0.1) == []
    assert len(told("bad", epoch=5.0, stability=0.1)) == 1


def test_what_is_not_known_is_not_judged():
    assert signs_of({}, {}, ADVICE) == []
    assert told("bad", first={"silhouette": float("nan")}, stability=float("nan")) == []
