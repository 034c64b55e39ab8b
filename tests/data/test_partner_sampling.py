"""``LabelSampler`` with ``sampling="partners"``: groups, each followed by one that resembles it."""

from collections import Counter

import pytest
import torch

from lightning_reid.data import LabelSampler

GROUPS = torch.tensor([0, 0, 0, 0, 2, 2, 2, 2, -1, 3, 3, 3, 3, 5, 5, 5, 5])  # 1 and 4 are empty
CAMERAS = torch.tensor([0] * 4 + [1] * 4 + [0] + [1] * 4 + [0] * 4)
# of the groups; 0 resembles 3 three times as much as 2, and the empty 4; 5 nobody
TABLE = torch.zeros(6, 6)
TABLE[0, 2], TABLE[0, 3], TABLE[0, 4] = 0.2, 0.6, 0.2
TABLE[2, 0] = 0.5
TABLE[3, 0] = 1.0
SOFT = TABLE[GROUPS.clamp(min=0)]


def sampler(soft=SOFT, groups=GROUPS, batch_size=8, batches=400, **kwargs):
    made = LabelSampler(range(len(groups)), batch_size, 2, batches, **kwargs)
    made.assign(groups, "partners", CAMERAS, soft=soft)
    return made


def drawn_groups(made):
    """The group of every second image; the two of a pair are of one group."""
    groups = GROUPS[list(made)].reshape(-1, 2)
    assert torch.equal(groups[:, 0], groups[:, 1])
    return groups[:, 0].tolist()


def test_each_group_is_followed_by_one_that_resembles_it():
    # a pass: four groups and three partners (5 has none), two images of each
    made = sampler(batch_size=2, batches=7 * 300)
    groups = drawn_groups(made)
    partners = Counter()
    for start in range(0, len(groups), 7):
        one_pass = iter(groups[start : start + 7])
        anchors = []
        for anchor in one_pass:
            anchors.append(anchor)
            if anchor != 5:
                partners[anchor, next(one_pass)] += 1
        assert sorted(anchors) == [0, 2, 3, 5]
    assert set(partners) == {(0, 2), (0, 3), (2, 0), (3, 0)}
    assert partners[0, 3] / partners[0, 2] == pytest.approx(3, rel=0.4)


def test_sparse_and_dense_soft_labels_draw_alike():
    assert list(sampler(SOFT.to_sparse())) == list(sampler())


def test_outliers_are_never_drawn():
    assert 8 not in list(sampler())


def test_ranks_see_what_one_with_larger_batches_sees():
    whole = torch.tensor(list(sampler(batch_size=8, batches=5))).reshape(5, 8)
    shares = [
        torch.tensor(list(sampler(batch_size=4, batches=5, num_replicas=2, rank=rank)))
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat([share.reshape(5, 4) for share in shares], 1), whole)


def test_without_any_partner_it_is_drawing_by_groups():
    made = sampler(torch.zeros_like(SOFT), batches=20)
    assert Counter(drawn_groups(made)) == {0: 20, 2: 20, 3: 20, 5: 20}


def test_partners_need_soft_labels():
    with pytest.raises(ValueError, match="needs soft labels"):
        sampler(None)
