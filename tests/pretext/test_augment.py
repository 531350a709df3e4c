from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from napari_ssl_seg.pretext.augment import (
    AugmentationSettings,
    box_overlap,
    change_intensity,
    crop_matrices,
    resample,
    sample_crops,
    two_views,
    view_of,
)

SHAPES = [(12, 20), (6, 12, 10)]
PLAIN = {"gamma": 1.0, "gain": 1.0, "shift": 0.0, "noise": 0.0, "blur": 0.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def patches(shape: tuple[int, ...], batch: int = 3, channels: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, *shape, generator=seeded(9))


def ramp(shape: tuple[int, ...]) -> torch.Tensor:
    """A channel for each axis, holding the index along it."""
    return torch.stack(torch.meshgrid(*(torch.arange(float(side)) for side in shape), indexing="ij"))[None]


@given(st.sampled_from(SHAPES), st.floats(0.1, 1.0), st.floats(0.0, 1.0), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_crops_lie_inside_and_overlap(shape, smallest, overlap, seed):
    dims, sides = len(shape), torch.tensor(shape).float()
    first, second = sample_crops(16, shape, seeded(seed), smallest=smallest, overlap=overlap)
    for box in (first, second):
        size = box[:, dims:] - box[:, :dims]
        assert (box[:, :dims] >= 0).all()
        assert (box[:, dims:] <= sides + 1e-4).all()
        assert (size >= smallest * sides - 1e-4).all()
        assert torch.allclose(size / sides, (size / sides)[:, :1].expand(-1, dims), atol=1e-4)
    start, stop = torch.maximum(first, second)[:, :dims], torch.minimum(first, second)[:, dims:]
    smaller = torch.minimum(first[:, dims:] - first[:, :dims], second[:, dims:] - second[:, :dims])
    assert (stop - start >= overlap * smaller - 1e-3).all()
    assert (box_overlap(first, second) >= overlap**dims - 1e-3).all()


def test_crops_reach_the_borders():
    first, second = sample_crops(2000, (20, 20), seeded(), smallest=0.5, overlap=0.0)
    for box in (first, second):
        assert box[:, :2].min() < 0.1
        assert box[:, 2:].max() > 19.9
    assert box_overlap(first, second).min() < 0.3


def test_overlap_by_hand():
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    assert float(box_overlap(box, torch.tensor([[2.0, 2.0, 4.0, 4.0]]))) == 1.0
    assert float(box_overlap(box, torch.tensor([[2.0, 2.0, 6.0, 6.0]]))) == 0.25
    assert float(box_overlap(box, torch.tensor([[4.0, 0.0, 8.0, 4.0]]))) == 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_views_without_any_change_are_the_patch(shape):
    image = patches(shape)
    for view in two_views(image, seeded(), AugmentationSettings(crop=1.0, turn=0.0, **PLAIN)):
        assert torch.allclose(view.image, image, atol=1e-5)
        assert torch.equal(view.box[:, len(shape) :], torch.tensor(shape).float().expand(3, -1))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_enlarged_crop_by_hand(shape):
    """The second half of the last axis, twice as long: places 2.25, 2.75 ... of a row of n voxels."""
    side, dims = shape[-1], len(shape)
    box = torch.tensor([[0.0] * (dims - 1) + [side / 2] + [float(length) for length in shape]])
    settings = AugmentationSettings(turn=0.0, **PLAIN)
    view = view_of(ramp(shape), seeded(), settings, box=box)
    row = view.image[0, -1].reshape(-1, side)[0]
    wanted = (side / 2 - 0.25 + 0.5 * torch.arange(side)).clamp(max=side - 1)
    assert torch.allclose(row, wanted, atol=1e-4)


def test_a_quarter_turn_is_numpys():
    image = patches((8, 8), channels=1)
    whole = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(3, -1)
    matrix = crop_matrices(whole, (8, 8), torch.full((3,), 90.0), torch.zeros(3, dtype=torch.bool))
    turned = resample(image, matrix)
    quarter = [np.rot90(image.numpy(), turns, axes=(2, 3)) for turns in (1, 3)]
    assert any(np.allclose(turned.numpy(), other, atol=1e-5) for other in quarter)
    mirrored = resample(image, crop_matrices(whole, (8, 8), torch.zeros(3), torch.ones(3, dtype=torch.bool)))
    assert torch.allclose(mirrored, image.flip(-1), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_resampling_against_scipy(shape):
    image = patches(shape, channels=1)
    view = view_of(image, seeded(4), AugmentationSettings(turn=30.0, mirror=True, **PLAIN))
    index = np.stack(np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")).reshape(len(shape), -1)
    for number in range(3):
        matrix = view.to_source[number].numpy().astype(np.float64)
        places = matrix[:, :-1] @ index + matrix[:, -1:]
        read = map_coordinates(image[number, 0].numpy(), places, order=1, mode="nearest").reshape(shape)
        assert np.allclose(read, view.image[number, 0].numpy(), atol=1e-4)


def test_the_box_is_where_a_view_came_from():
    view = view_of(ramp((12, 20)), seeded(1), AugmentationSettings(turn=0.0, **PLAIN))
    start, stop = view.box[0, :2], view.box[0, 2:]
    for axis in (0, 1):
        values = view.image[0, axis]
        assert float(values.mean() + 0.5) == pytest.approx(float(start[axis] + stop[axis]) / 2, abs=0.05)
        assert values.min() >= start[axis] - 0.5
        assert values.max() <= stop[axis]


def test_intensity_keeps_shape_and_says_what_it_did():
    image = patches((6, 12, 10), batch=64)
    settings = AugmentationSettings(noise=0.0, blur=0.0, gamma=1.0)
    changed, changes = change_intensity(image, seeded(), settings)
    gain, shift = (changes[name].view(64, 2, 1, 1, 1) for name in ("gain", "shift"))
    mean, deviation = (
        image.mean(dim=(2, 3, 4), keepdim=True),
        image.std(dim=(2, 3, 4), keepdim=True, correction=0),
    )
    assert torch.allclose(changed, (image - mean) * gain + mean + shift * deviation, atol=1e-4)
    assert 1 / 1.25 <= float(gain.min()) < 0.9 < 1.1 < float(gain.max()) <= 1.25
    unchanged = float((gain == 1.0).float().mean())
    assert 0.1 < unchanged < 0.3


def test_gamma_keeps_order_and_range():
    image = patches((12, 20), batch=8, channels=1)
    changed, changes = change_intensity(image, seeded(), AugmentationSettings(**(PLAIN | {"gamma": 3.0}), chance=1.0))
    assert (changes["gamma"] != 1.0).all()
    for before, after in zip(image.flatten(1), changed.flatten(1), strict=True):
        assert torch.equal(before.argsort(), after.argsort())
        assert float(after.min()) == pytest.approx(float(before.min()), abs=1e-5)
        assert float(after.max()) == pytest.approx(float(before.max()), abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [-1.0, 0.0, 3.0])
def test_a_constant_patch_stays_as_it_is(shape, value):
    image = torch.full((2, 1, *shape), value)
    for view in two_views(image, seeded(), AugmentationSettings()):
        assert torch.allclose(view.image, image, atol=1e-5)


def test_draws_depend_on_the_generator_alone():
    image = patches((12, 20))
    kept = image.clone()
    first, again, other = (two_views(image, seeded(seed), AugmentationSettings()) for seed in (1, 1, 2))
    assert torch.equal(image, kept)
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one.image, same.image)
        assert not torch.equal(one.image, different.image)
    assert not torch.equal(first[0].image, first[1].image)
    assert not torch.equal(first[0].box, first[1].box)


def test_nothing_is_mirrored_by_default():
    image = patches((12, 20), batch=16)
    assert not two_views(image, seeded(), AugmentationSettings())[0].changes["mirrored"].any()
    mirrored = two_views(image, seeded(), AugmentationSettings(mirror=True))[0].changes["mirrored"]
    assert 0 < int(mirrored.sum()) < 16
