from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext.shuffling import sample_cuts, sample_swaps, shuffle_within, take_voxels

shapes = st.lists(st.integers(4, 17), min_size=2, max_size=3).map(tuple)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_voxels_are_taken_in_all_channels_alike():
    image = torch.arange(8.0).view(1, 2, 2, 2)
    taken = take_voxels(image, torch.tensor([[1, 0, 3, 3]]))
    assert taken.tolist() == [[[[1, 0], [3, 3]], [[5, 4], [7, 7]]]]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), shape=shapes, largest=st.integers(1, 6))
def test_cuts_make_boxes_no_larger_than_asked(seed, shape, largest):
    blocks = sample_cuts(2, shape, [largest] * len(shape), seeded(seed))
    assert blocks.shape == (2, *shape)
    assert blocks.min() >= 0
    assert blocks.max() < math.prod(shape)
    for number in blocks[0].unique():
        places = (blocks[0] == number).nonzero()
        sides = places.max(dim=0).values - places.min(dim=0).values + 1
        assert sides.max() <= largest
        assert len(places) == int(sides.prod())  # a box without holes


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), shape=shapes, share=st.sampled_from([0.0, 0.5, 1.0]), channels=st.integers(1, 2))
def test_shuffling_keeps_the_intensities_of_every_block(seed, shape, share, channels):
    generator = seeded(seed)
    image = torch.rand(2, channels, *shape, generator=generator)
    blocks = sample_cuts(2, shape, [3] * len(shape), generator)
    order = shuffle_within(blocks, share, generator)
    shuffled = take_voxels(image, order)
    assert torch.equal(order.sort(dim=1).values, torch.arange(math.prod(shape)).expand(2, -1))
    assert torch.equal(take_voxels(blocks.unsqueeze(1), order).squeeze(1), blocks)
    assert torch.equal(shuffled.flatten(2).sort(dim=2).values, image.flatten(2).sort(dim=2).values)
    if share == 0:
        assert torch.equal(shuffled, image)
    # What moved in one channel moved in the other.
    assert torch.equal((shuffled != image).any(dim=1), (shuffled != image).all(dim=1))


def test_a_block_is_shuffled_whole_or_not_at_all_and_every_order_is_as_likely():
    blocks = torch.zeros(6000, 3, dtype=torch.long)
    order = shuffle_within(blocks, 1.0, seeded())
    codes = (order * torch.tensor([9, 3, 1])).sum(dim=1)
    found, counts = codes.unique(return_counts=True)
    assert len(found) == 6
    assert (counts / 6000 - 1 / 6).abs().max() < 0.025
    some = shuffle_within(torch.arange(2).repeat_interleave(50).expand(500, -1).contiguous(), 0.4, seeded())
    moved = (some != torch.arange(100)).view(500, 2, 50).double().mean(dim=2)
    assert ((moved == 0) | (moved > 0.8)).all()
    assert float((moved > 0).double().mean()) == pytest.approx(0.4, abs=0.06)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    shape=st.lists(st.integers(6, 17), min_size=2, max_size=3).map(tuple),
    side=st.integers(1, 3),
    pairs=st.integers(0, 12),
)
def test_swaps_keep_the_intensities_and_undo_themselves(seed, shape, side, pairs):
    generator = seeded(seed)
    order, numbers = sample_swaps(3, shape, [side] * len(shape), pairs, generator)
    voxels = torch.arange(math.prod(shape)).expand(3, -1)
    assert torch.equal(order.sort(dim=1).values, voxels)
    assert torch.equal(order.gather(1, order), voxels)
    assert torch.equal(order.view(3, *shape) != voxels.view(3, *shape), numbers > 0)
    for pair in range(1, int(numbers.max()) + 1):
        assert int((numbers == pair).sum()) == 3 * 2 * side ** len(shape)
    if pairs == 0:
        assert torch.equal(order, voxels)
    elif math.prod(length // side - 1 for length in shape) >= 2 * pairs:
        assert int(numbers.max()) == pairs


def test_a_swap_by_hand():
    # Two patches of 2x2 are all that a strip of 2x5 has room for, from its first column or from its second.
    image = torch.tensor([[[[1.0, 2, 3, 4, 5], [6, 7, 8, 9, 10]]]])
    found = []
    for seed in range(20):
        order, numbers = sample_swaps(1, (2, 5), (2, 2), 5, seeded(seed))
        assert int(numbers.max()) == 1
        found.append(take_voxels(image, order)[0, 0].tolist())
    assert [[3, 4, 1, 2, 5], [8, 9, 6, 7, 10]] in found
    assert [[1, 4, 5, 2, 3], [6, 9, 10, 7, 8]] in found
    assert len({str(swapped) for swapped in found}) == 2


def test_patches_may_lie_anywhere():
    hit = torch.zeros(13, 9)
    for seed in range(200):
        hit += (sample_swaps(1, (13, 9), (3, 2), 2, seeded(seed))[1][0] > 0).float()
    assert hit.min() > 5
