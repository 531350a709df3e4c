from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext import Boxes, fuse, paint_levels, sample_boxes
from napari_ssl_seg.pretext.fusion import sample_grid


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def row_boxes(*boxes: tuple[int, int, int]) -> Boxes:
    """Boxes (start, stop, level) of one sample along one axis."""
    start, stop, level = (torch.tensor([[box[part] for box in boxes]], dtype=torch.long) for part in range(3))
    return Boxes(start[..., None], stop[..., None], level)


def test_later_boxes_cover_earlier_ones():
    first, second = (0, 4, 1), (2, 6, 4)
    levels = paint_levels(row_boxes(first, second), (6,))
    assert levels.tolist() == [[1, 1, 4, 4, 4, 4]]
    fused = fuse(torch.full((1, 1, 6), 20.0), torch.full((1, 1, 6), 10.0), levels.float().unsqueeze(1) / 4)
    assert fused.flatten().tolist() == [12.5, 12.5, 20.0, 20.0, 20.0, 20.0]
    assert paint_levels(row_boxes(second, first), (6,)).tolist() == [[1, 1, 1, 1, 4, 4]]


def test_no_boxes_leave_the_background():
    boxes = sample_boxes(2, (8, 8), levels=4, count=(0, 0), smallest=(2, 2), largest=(4, 4), generator=seeded())
    levels = paint_levels(boxes, (8, 8))
    assert boxes.corners.shape == (2, 0, 4)
    assert not levels.any()
    background = torch.randn(2, 1, 8, 8)
    assert torch.equal(fuse(torch.randn(2, 1, 8, 8), background, levels.float().unsqueeze(1)), background)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 8), dims=st.sampled_from([2, 3]), channels=st.integers(1, 3))
def test_fusion_is_exact_at_both_ends_and_between_them_elsewhere(seed, levels, dims, channels):
    generator = seeded(seed)
    shape = (2, channels, *(9, 8, 7)[:dims])
    scale = 10.0 ** torch.randint(-3, 4, (1,), generator=generator)
    donor, background = (torch.randn(shape, generator=generator) * scale for _ in range(2))
    level = torch.randint(0, levels + 1, (2, *shape[2:]), generator=generator)
    alpha = (level.float() / levels).unsqueeze(1)
    kept = donor.clone(), background.clone()
    fused = fuse(donor, background, alpha)
    everywhere = level.unsqueeze(1).expand(shape)
    assert torch.equal(fused[everywhere == 0], background[everywhere == 0])
    assert torch.equal(fused[everywhere == levels], donor[everywhere == levels])
    assert (fused >= torch.minimum(donor, background)).all()
    assert (fused <= torch.maximum(donor, background)).all()
    expected = alpha.double() * donor.double() + (1 - alpha.double()) * background.double()
    assert torch.allclose(fused.double(), expected, rtol=1e-5, atol=float(scale) * 1e-5)
    assert torch.equal(fuse(background, background, alpha), background)
    assert torch.equal(donor, kept[0])
    assert torch.equal(background, kept[1])
    assert fused.shape == shape
    assert fused.dtype == torch.float32


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*[st.integers(4, 20)] * 3),
    count=st.tuples(st.integers(0, 5), st.integers(0, 10)),
    levels=st.integers(1, 5),
)
def test_boxes_keep_their_ranges(seed, shape, count, levels):
    low, high = min(count), max(count)
    boxes = sample_boxes(
        4, shape, levels=levels, count=(low, high), smallest=(2, 2, 2), largest=(4, 3, 4), generator=seeded(seed)
    )
    present = boxes.level > 0
    assert ((boxes.counts >= low) & (boxes.counts <= high)).all()
    assert boxes.level.shape[1] == int(boxes.counts.max())
    sides = (boxes.stop - boxes.start)[present]
    if len(sides):
        assert sides.min() >= 1
        assert (sides.max(dim=0).values <= torch.tensor([4, 3, 4])).all()
        assert boxes.level[present].max() <= levels
        assert boxes.start.min() >= 0
        assert (boxes.stop[present] <= torch.tensor(shape)).all()
    assert not boxes.corners[~present].any()


def test_box_sides_levels_and_counts_are_uniform_with_both_bounds():
    # Sides are looked at before the cut: boxes far from the border are whole.
    boxes = sample_boxes(3000, (400, 400), levels=4, count=(2, 5), smallest=(3, 5), largest=(6, 5), generator=seeded())
    whole = (boxes.start > 0).all(dim=2) & (boxes.stop < 400).all(dim=2) & (boxes.level > 0)
    sides = (boxes.stop - boxes.start)[whole]
    assert set(sides[:, 1].tolist()) == {5}
    for values, possible in (
        (sides[:, 0], range(3, 7)),
        (boxes.level[whole], range(1, 5)),
        (boxes.counts, range(2, 6)),
    ):
        shares = values.bincount(minlength=possible.stop)[possible.start :].double() / len(values)
        assert len(shares) == len(possible)
        assert (shares - 1 / len(possible)).abs().max() < 0.04


def test_a_centre_may_lie_anywhere():
    boxes = sample_boxes(4000, (5,), levels=1, count=(1, 1), smallest=(1,), largest=(1,), generator=seeded())
    shares = boxes.start.flatten().bincount(minlength=5).double() / 4000
    assert (shares - 0.2).abs().max() < 0.03


def test_painting_equals_a_loop_over_voxels():
    boxes = sample_boxes(2, (6, 7), levels=3, count=(4, 6), smallest=(2, 2), largest=(5, 5), generator=seeded(2))
    painted = paint_levels(boxes, (6, 7))
    for sample in range(2):
        for y in range(6):
            for x in range(7):
                level = 0
                for start, stop, value in zip(
                    boxes.start[sample], boxes.stop[sample], boxes.level[sample], strict=True
                ):
                    if start[0] <= y < stop[0] and start[1] <= x < stop[1]:
                        level = int(value)
                assert painted[sample, y, x] == level


def test_a_slice_through_boxes_is_a_slice_of_what_they_paint():
    boxes = sample_boxes(
        6, (5, 8, 9), levels=3, count=(0, 9), smallest=(1, 2, 2), largest=(4, 5, 5), generator=seeded(3)
    )
    volume = paint_levels(boxes, (5, 8, 9))
    rows = torch.tensor([0, 1, 2, 3, 4, 2])
    cut = boxes.at_slices(rows)
    assert torch.equal(paint_levels(cut, (8, 9)), torch.stack([volume[sample, row] for sample, row in enumerate(rows)]))
    assert cut.corners.shape == (6, int(cut.counts.max()), 4)
    assert ((cut.stop > cut.start).all(dim=2) == (cut.level > 0)).all()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_all_channels_share_one_map(alpha):
    donor, background = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    assert torch.equal(fuse(donor, background, torch.full((1, 1, 2, 2), alpha)), torch.full((1, 3, 2, 2), alpha))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    shape=st.lists(st.integers(4, 18), min_size=2, max_size=3).map(tuple),
    levels=st.integers(1, 6),
    foreground=st.sampled_from([0.0, 0.5, 0.7, 1.0]),
)
def test_a_grid_has_blocks_of_one_size_of_which_exactly_a_share_is_foreground(seed, shape, levels, foreground):
    smallest, largest = [2] * len(shape), [4] * len(shape)
    grid = sample_grid(
        3, shape, levels=levels, foreground=foreground, smallest=smallest, largest=largest, generator=seeded(seed)
    )
    assert grid.shape == (3, *shape)
    assert grid.dtype == torch.uint8
    assert grid.max() <= levels
    for sample in grid:
        # Some block size within the bounds explains every border, and with it the share is exact.
        assert any(explains(sample, side, foreground) for side in itertools.product(range(2, 5), repeat=len(shape))), (
            sample
        )


def explains(levels: torch.Tensor, side: tuple[int, ...], foreground: float) -> bool:
    counts = [-(-length // step) for length, step in zip(levels.shape, side, strict=True)]
    painted = 0
    for cell in itertools.product(*map(range, counts)):
        block = levels[tuple(slice(at * step, (at + 1) * step) for at, step in zip(cell, side, strict=True))]
        if block.min() != block.max():
            return False
        painted += int(block.max() > 0)
    return abs(painted - foreground * math.prod(counts)) <= 0.5 + 1e-4  # a tie may go either way in single precision


def test_grid_sides_and_levels_are_uniform_with_both_bounds():
    grid = sample_grid(2000, (24,), levels=3, foreground=1.0, smallest=[3], largest=[5], generator=seeded())
    assert (grid.flatten().bincount(minlength=4)[1:].double() / grid.numel() - 1 / 3).abs().max() < 0.02
    counted = sample_grid(3000, (60,), levels=1, foreground=1 / 20, smallest=[3], largest=[5], generator=seeded(1)).sum(
        dim=1
    )  # one block of 20, 15 or 12: the size of the block itself, but where it is rounded to one
    shares = counted.bincount(minlength=6)[3:6].double() / 3000
    assert (shares - 1 / 3).abs().max() < 0.04
