from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext import generator_for
from napari_ssl_seg.pretext.submasks import (
    channel_areas,
    choose_channels,
    draw_donors,
    kept_voxels,
    masked_channels,
    replace_hidden,
)


def random_regions(seed: int, batch: int, channels: int, shape=(6, 7)) -> torch.Tensor:
    """Labels from -1 (outside) to two more than there are channels, some patches without any."""
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randint(-1, channels + 3, (batch, *shape), generator=generator)
    regions[torch.rand(batch, generator=generator) < 0.2] = -1
    return regions


@pytest.mark.parametrize(
    ("present", "ratio", "expected"),
    [
        (0, 0.7, 0),
        (1, 0.7, 0),  # a patch of one region would be hidden whole
        (2, 0.7, 1),  # 1.4 + 0.5, and one stays
        (3, 0.7, 2),
        (5, 0.7, 4),  # 3.5 is rounded up, not to the even number
        (10, 0.7, 7),
        (15, 0.7, 11),  # 10.5
        (50, 0.29, 15),  # 14.5, which is 14.499999999999998 in floating point
        (3, 0.05, 1),  # one goes
        (3, 0.95, 2),  # one stays
        (9, 0.0, 0),
    ],
)
def test_how_many_are_hidden(present, ratio, expected):
    assert masked_channels(present, ratio) == expected


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_areas_agree_with_counting(seed, batch, channels):
    regions = random_regions(seed, batch, channels)
    areas = channel_areas(regions, channels)
    assert areas.dtype == torch.int64
    assert areas.tolist() == [[int((patch == k).sum()) for k in range(1, channels + 1)] for patch in regions]


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_number_hidden_is_exact_and_none_of_them_is_empty(seed, batch, channels, ratio):
    areas = channel_areas(random_regions(seed, batch, channels), channels)
    hidden = choose_channels(areas, ratio, generator_for(seed, 0))
    for row, chosen in zip(areas, hidden, strict=True):
        present = int((row > 0).sum())
        assert int(chosen.sum()) == masked_channels(present, ratio)
        assert not (chosen & (row == 0)).any()


def test_every_channel_is_hidden_as_often():
    areas = torch.tensor([[9, 5, 0, 3, 1, 1]]).expand(4000, -1)
    shares = choose_channels(areas, 0.6, generator_for(0, 0)).double().mean(dim=0)
    assert shares[2] == 0
    assert torch.allclose(shares[[0, 1, 3, 4, 5]], torch.tensor(0.6, dtype=torch.float64), atol=0.03)


def test_a_patchs_draw_does_not_depend_on_the_regions_of_others():
    first = random_regions(1, 4, 8).clamp(min=0)
    second = first.clone()
    second[1:] = random_regions(2, 3, 8)
    generators = generator_for(5, 0), generator_for(5, 0)
    draws = [
        choose_channels(channel_areas(regions, 8), 0.7, generator)
        for regions, generator in zip((first, second), generators, strict=True)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    donors = [draw_donors(4, generator) for generator in generators]
    assert torch.equal(donors[0], donors[1])


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_agrees_with_looking_at_each_voxel(seed, batch, channels):
    regions = random_regions(seed, batch, channels)
    hidden = torch.rand(batch, channels, generator=generator_for(seed, 1)) < 0.5
    maskable = torch.rand(batch, generator=generator_for(seed, 2)) < 0.7
    kept = kept_voxels(regions, hidden, maskable)
    for index, region in enumerate(regions.flatten(1).tolist()):
        expected = [
            not maskable[index] or label == -1 or (1 <= label <= channels and not hidden[index, label - 1])
            for label in region
        ]
        assert kept[index].flatten().tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_donors_are_others_and_each_as_likely(batch):
    drawn = torch.stack([draw_donors(batch, generator_for(seed, 0)) for seed in range(1500)])
    assert not (drawn == torch.arange(batch)).any()
    for index in range(batch):
        counts = drawn[:, index].bincount(minlength=batch).double() / len(drawn)
        others = counts[torch.arange(batch) != index]
        assert torch.allclose(others, torch.full_like(others, 1 / (batch - 1)), atol=0.06)


def test_one_alone_has_no_donor():
    assert draw_donors(1, generator_for(0, 0)) is None


def test_a_kept_zero_stays_zero():
    image = torch.tensor([[[-1.0, 0.0, 0.5, 1.0]]])
    donor = torch.tensor([[[0.2, 0.3, 0.4, 0.6]]])
    kept = torch.tensor([[True, True, False, False]])
    assert torch.equal(replace_hidden(image, kept, donor), torch.tensor([[[-1.0, 0.0, 0.4, 0.6]]]))
    assert replace_hidden(image, kept, None).tolist() == [[[-1.0, 0.0, 0.0, 0.0]]]


def test_volumes_work_as_slices_do():
    regions = random_regions(3, 2, 5, shape=(3, 4, 5))
    hidden = choose_channels(channel_areas(regions, 5), 0.7, generator_for(0, 0))
    kept = kept_voxels(regions, hidden, torch.tensor([True, True]))
    assert kept.shape == regions.shape
    image = torch.rand(2, 3, 3, 4, 5)
    assert replace_hidden(image, kept, image.flip(0)).shape == image.shape
