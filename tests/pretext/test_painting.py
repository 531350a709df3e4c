from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext.painting import MARGIN, MOST_BOXES, hidden_voxels, sample_painting


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hidden_voxels_by_hand():
    start, stop = torch.tensor([[[0], [3]], [[0], [3]]]), torch.tensor([[[2], [5]], [[2], [5]]])
    present, outside = torch.tensor([[True, True], [True, False]]), torch.tensor([False, True])
    hidden = hidden_voxels(start, stop, present, outside, (6,))
    assert hidden.long().tolist() == [[1, 1, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1]]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), shape=st.lists(st.integers(4, 40), min_size=2, max_size=3).map(tuple))
def test_boxes_have_the_sizes_of_the_original_and_lie_inside(seed, shape):
    outside = torch.arange(8) % 2 == 1
    start, stop, present = sample_painting(8, shape, outside, seeded(seed))
    whole = torch.tensor(shape)
    side = stop - start
    assert start.min() >= 0
    assert (stop <= whole).all()
    assert (side[~outside] <= (whole // 3).clamp(min=1)).all()
    assert (side[~outside] >= (whole // 6).clamp(min=1)).all()
    assert (side[outside] >= whole - 4 * whole // 7).all()
    assert (side[outside] <= whole - 3 * whole // 7).all()
    free = (whole - side) // 2
    assert (start >= torch.minimum(free, torch.tensor(MARGIN))).all()
    assert present[outside, 0].all()
    assert not (present[:, 1:] & ~present[:, :-1]).any()  # boxes come until one does not


def test_counts_are_those_of_a_chain_of_19_in_20():
    present = sample_painting(20_000, (16, 16), torch.zeros(20_000, dtype=torch.bool), seeded())[2]
    for boxes in range(1, MOST_BOXES + 1):
        assert float(present[:, boxes - 1].double().mean()) == pytest.approx(0.95**boxes, abs=0.01)
