from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.pretext.turning import draw_turns, turnable, turned, uncover

SIDES = st.integers(2, 9)


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@given(st.integers(-4, 8), SIDES, SIDES, st.booleans())
def test_turning_there_and_back_changes_nothing(quarters, height, width, deep):
    scan = image(3, 2, 3, height, width) if deep else image(3, 2, height, width)
    turns = torch.tensor([quarters, quarters + 1, 0])
    there = turned(scan, turns)
    assert torch.equal(turned(there, -turns), scan)
    assert torch.equal(there[2], scan[2])
    assert torch.equal(there.flatten(1).sort(dim=1).values, scan.flatten(1).sort(dim=1).values)


def test_a_quarter_turn_is_counterclockwise():
    # As shown: a mark at the top right moves to the top left.
    scan = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    assert turned(scan, torch.tensor([1])).flatten().tolist() == [1.0, 3.0, 0.0, 2.0]
    assert turned(scan, torch.tensor([2])).flatten().tolist() == [3.0, 2.0, 1.0, 0.0]


def test_only_the_middle_square_moves():
    scan = image(1, 1, 4, 8)
    there = turned(scan, torch.tensor([1]))
    assert torch.equal(there[..., :2], scan[..., :2])
    assert torch.equal(there[..., 6:], scan[..., 6:])
    assert torch.equal(there[..., 2:6], torch.rot90(scan[..., 2:6], 1, (-2, -1)))


@given(SIDES, SIDES, st.integers(-3, 4), st.integers(-3, 4), st.booleans())
def test_what_is_shown_looks_the_same_from_all_sides(height, width, top, left, disc):
    keep = turnable((height, width), [(0, top, left)], disc=disc)
    assert keep.any()
    for quarter in (1, 2, 3):
        assert torch.equal(turned(keep, torch.tensor([quarter])), keep)


@pytest.mark.parametrize("length", [3, 6, 7, 8])
def test_padding_is_never_shown(length):
    # A scan of that many rows in the middle of a patch of 8: `crop.random_start` puts as much before as after, or one less.
    padding = 8 - length
    rows = torch.zeros(8, dtype=torch.bool)
    rows[padding // 2 : padding // 2 + length] = True
    keep = turnable((8, 8), [(5, -(padding // 2), 20)])[0]
    assert not keep[~rows].any()
    assert turnable((8, 8), [(5, 3, 20)]).all()


def test_around_the_shown_part_is_the_lowest_value():
    scan = image(2, 1, 3, 4, 6) + torch.tensor([0.0, 5.0]).view(2, 1, 1, 1, 1)
    shown, part = uncover(scan, [(0, 2, 2)] * 2)
    assert part.shape == (2, 3, 4, 6)
    assert torch.equal(shown[part.unsqueeze(1)], scan[part.unsqueeze(1)])
    for sample in (0, 1):
        assert (shown[sample, 0][~part[sample]] == scan[sample].min()).all()


def test_all_turns_are_drawn():
    drawn = draw_turns(4000, torch.Generator().manual_seed(0))
    assert (drawn.bincount() > 900).all()
    assert drawn.max() == 3
