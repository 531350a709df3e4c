from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext.base_crops import CropGrid
from napari_ssl_seg.pretext.cutout import cutout_mask, filled
from napari_ssl_seg.pretext.cutting import boxes_of, cut_patches, size_for
from napari_ssl_seg.pretext.neighbours import NeighbourGrid, in_words, label_of, offsets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- cutting ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(7, 9), (5, 7, 9)])
def test_cut_patches_are_slices_of_the_image(shape):
    image = torch.rand(2, 2, *shape, generator=generator())
    side = (3, 2, 4)[-len(shape) :]
    starts = torch.tensor([[[0] * len(shape), [1] * len(shape)], [[2] * len(shape), [1] * len(shape)]])
    cut = cut_patches(image, starts, side, side)
    assert cut.shape == (2, 2, 2, *side)
    for sample in (0, 1):
        for number in (0, 1):
            at = starts[sample, number].tolist()
            there = tuple(slice(begin, begin + length) for begin, length in zip(at, side, strict=True))
            assert torch.equal(cut[sample, number], image[(sample, slice(None), *there)])
    assert boxes_of(starts, side)[1, 0].tolist() == [2] * len(shape) + [2 + length for length in side]


def test_nothing_around_a_patch_gets_in_when_it_is_enlarged():
    image = torch.full((1, 1, 8, 8), 100.0)
    image[..., 2:5, 2:5] = 1.0
    cut = cut_patches(image, torch.tensor([[[2, 2]]]), (3, 3), (16, 16))
    assert cut.shape == (1, 1, 1, 16, 16)
    assert (cut == 1.0).all()


def test_patches_have_a_size_that_the_network_takes():
    spec = NetworkSpec(name="unet", dims=2, patch=(64, 64))
    assert size_for(spec, (17, 20), (64, 64)) == (24, 24)
    assert size_for(spec, (3, 64), (64, 64)) == (16, 64)
    assert size_for(None, (3, 3), (64, 64)) == (64, 64)
    assert size_for(NetworkSpec(name="unetr", dims=2, patch=(64, 48)), (16, 12), (64, 48)) == (64, 48)
    swin = NetworkSpec(name="swin_unetr", dims=3, patch=(64, 128, 128))
    assert size_for(swin, (64, 32, 32), swin.patch) == (64, 64, 64)


# -- neighbours -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("axes", "count"), [(2, 8), (3, 26)])
def test_labels_and_steps_are_one_to_one(axes, count):
    assert len(set(offsets(axes))) == count
    assert [label_of(step) for step in offsets(axes)] == list(range(count))
    assert len({in_words(step) for step in offsets(axes)}) == count
    # The opposite of a neighbour is the same number counted from the end.
    assert all(label_of([-part for part in step]) == count - 1 - label for label, step in enumerate(offsets(axes)))


def test_words_are_those_of_the_body():
    assert in_words((-1, 0)) == "in front"
    assert in_words((0, 1)) == "on its left"
    assert in_words((1, 1, -1)) == "above, behind, on its right"


@given(
    st.lists(st.integers(12, 70), min_size=2, max_size=3),
    st.floats(0.5, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 0.25),
    st.booleans(),
    st.integers(0, 99),
)
def test_both_patches_lie_in_the_sample_where_the_label_says(shape, extent, gap, jitter, deep, seed):
    gridded = 3 if deep and len(shape) == 3 else 2
    try:
        grid = NeighbourGrid.fit(shape, gridded, extent=extent, gap=gap, jitter=jitter)
    except UserError:
        assert extent * min(shape) < 2 * 3 + 2 * 2 + 4
        return
    drawn = grid.draw(5, generator(seed))
    size = torch.tensor(grid.side)
    assert (drawn.starts >= 0).all()
    assert (drawn.starts + size <= torch.tensor(shape)).all()
    pitch = torch.tensor([side + space for side, space in zip(grid.side, grid.gap, strict=True)])
    for sample in range(5):
        step = (0,) * (len(shape) - gridded) + offsets(gridded)[drawn.label[sample]]
        moved = drawn.starts[sample, 1] - drawn.starts[sample, 0] - torch.tensor(step) * pitch
        assert (moved.abs() <= 2 * torch.tensor(grid.jitter)).all()
    whole = drawn.places.flatten(0, 1)
    assert (whole >= 0).all()
    assert (whole + size <= torch.tensor(shape)).all()


def test_the_papers_grid():
    # 96 pixels, 48 between, 7 of jitter: 3 * 96 + 2 * 48 + 2 * 7 = 398.
    grid = NeighbourGrid.fit((398, 398), 2, extent=1.0, gap=0.5, jitter=7 / 96)
    assert (grid.side, grid.gap, grid.jitter) == ((96, 96), (48, 48), (7, 7))


def test_a_sample_too_small_for_the_grid_is_refused():
    with pytest.raises(UserError, match=r"3 by 3.*6x40.*larger patches"):
        NeighbourGrid.fit((6, 40), 2, extent=1.0, gap=0.5, jitter=0.0)
    assert NeighbourGrid.fit((6, 40, 40), 2, extent=1.0, gap=0.5, jitter=0.0).side == (6, 10, 10)


# -- base crops -------------------------------------------------------------------------------------------------------
PAPER = CropGrid.fit((384, 384), (4, 4))


def shares_at(centre: tuple[int, int]) -> torch.Tensor:
    return PAPER.overlaps(torch.tensor([place - 48 for place in centre]))


def test_worked_overlaps():
    even, uneven = shares_at((96, 96)), shares_at((72, 48))
    assert even.view(4, 4)[:2, :2].flatten().tolist() == [0.25] * 4
    assert uneven.view(4, 4)[:2, 0].tolist() == [0.75, 0.25]
    assert float(even.sum()) == float(uneven.sum()) == 1.0
    assert (even > 0).sum() == 4
    assert (uneven > 0).sum() == 2


@given(st.lists(st.integers(4, 40), min_size=2, max_size=3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_shares_sum_to_one_and_are_counted_voxels(shape, deep, wide, seed):
    cells = (deep, wide, wide)[-len(shape) :]
    try:
        grid = CropGrid.fit(shape, cells)
    except UserError:
        assert any(length < 2 * count for length, count in zip(shape, cells, strict=True))
        return
    starts = grid.draw(2, 3, generator(seed))
    shares = grid.overlaps(starts)
    assert shares.shape == (2, 3, grid.count)
    assert torch.allclose(shares.sum(dim=2), torch.ones(2, 3))
    numbers = torch.full(tuple(shape), -1)
    for number, base in enumerate(grid.bases().tolist()):
        numbers[tuple(slice(at, at + side) for at, side in zip(base, grid.side, strict=True))] = number
    crop = numbers[tuple(slice(at, at + side) for at, side in zip(starts[1, 2].tolist(), grid.side, strict=True))]
    counted = torch.bincount(crop.flatten(), minlength=grid.count) / crop.numel()
    assert torch.allclose(counted.float(), shares[1, 2], atol=1e-6)
    # A base crop is all itself.
    assert torch.equal(grid.overlaps(grid.bases()), torch.eye(grid.count))


def test_a_patch_that_the_grid_does_not_divide_has_a_margin():
    grid = CropGrid.fit((39, 42), (4, 4))
    assert (grid.side, grid.first) == ((9, 10), (1, 1))
    with pytest.raises(UserError, match="4 by 4 base crops, and 6x64 voxels"):
        CropGrid.fit((6, 64), (4, 4))


# -- cutout -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(32, 40), (16, 24, 20)])
def test_no_more_is_cut_out_than_asked_for_and_a_box(shape):
    mask = cutout_mask(60, shape, 0.3, generator())
    share = mask.flatten(1).float().mean(dim=1)
    assert mask.shape == (60, *shape)
    assert (share > 0).all()
    assert (share <= 0.3 + 0.25 ** len(shape)).all()
    # Drawn evenly from 0 to 0.3, a little less where boxes lie on each other.
    assert 0.1 < float(share.mean()) < 0.2
    assert float(share.max()) > 0.2
    assert not cutout_mask(3, shape, 0.0, generator()).any()


def test_noise_stays_in_the_patchs_range_and_off_the_rest():
    image = torch.rand(2, 1, 20, 20, generator=generator()) * 3 - 1
    mask = cutout_mask(2, (20, 20), 0.5, generator())
    spoilt = filled(image, mask, generator())
    assert torch.equal(spoilt[~mask.unsqueeze(1)], image[~mask.unsqueeze(1)])
    assert (spoilt[mask.unsqueeze(1)] != image[mask.unsqueeze(1)]).all()
    assert spoilt.min() >= image.min()
    assert spoilt.max() <= image.max()
    constant = torch.full((1, 1, 20, 20), 0.4)
    assert torch.allclose(filled(constant, mask[:1], generator()), constant)
