"""Classical superpixels: order, background, traps of intensities, odd slices, real slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import felzenszwalb_regions, foreground_mask, region_areas, slic_regions
from napari_ssl_seg.regions.superpixels import smallest_size
from napari_ssl_seg.volumes import normalise, read_volume

BOTH = pytest.mark.parametrize("make", [felzenszwalb_regions, slic_regions])


def disc(shape=(96, 110), *, noise=0.01, seed=0):
    """A body of two tissues with a hole, in dark air."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape) - np.array(shape)[:, None, None] // 2
    radius = np.hypot(rows, columns)
    image = np.where(radius < 35, np.where(columns < 0, 0.5, 0.8), 0.02)
    image[radius < 6] = 0.03  # air inside the body stays in it
    return np.clip(image + rng.normal(0, noise, shape), 0, 1).astype(np.float32), radius < 35


def assert_ordered(regions):
    areas = np.bincount(regions.ravel())[1:]
    assert regions.dtype == np.int32
    assert regions.min() >= 0
    assert (areas > 0).all()
    assert (np.diff(areas) <= 0).all()


# -- foreground ---------------------------------------------------------------------------------------------------
def test_the_body_is_found_and_its_holes_belong_to_it():
    image, body = disc()
    np.testing.assert_array_equal(foreground_mask(image), body)


def test_two_legs_stay_and_specks_go():
    image = np.full((60, 100), 0.01, np.float32)
    image[20:45, 10:40] = 0.7
    image[20:45, 60:90] = 0.7
    image[2:4, 2:6] = 0.9
    mask = foreground_mask(image)
    assert mask[30, 20] and mask[30, 70]
    assert not mask[:10].any()


def test_a_slice_cropped_out_of_the_body_has_no_background():
    rng = np.random.default_rng(1)
    image = np.where(np.indices((40, 50)).sum(0) % 50 < 25, 0.35, 0.8) + rng.normal(0, 0.1, (40, 50))
    assert foreground_mask(np.clip(image, 0, 1)).all()


def test_slices_outside_the_body_and_constant_ones_have_no_foreground():
    rng = np.random.default_rng(2)
    assert not foreground_mask(rng.random((40, 50)) * 0.05).any()
    for value in (0.0, 0.5, 1.0):
        assert not foreground_mask(np.full((7, 9), value)).any()
    assert foreground_mask(np.zeros((0, 5))).shape == (0, 5)


# -- superpixels --------------------------------------------------------------------------------------------------
@BOTH
def test_regions_fill_the_body_and_are_numbered_by_area(make):
    image, body = disc()
    regions = make(image)
    assert_ordered(regions)
    np.testing.assert_array_equal(regions > 0, body)
    np.testing.assert_array_equal(make(image), regions)


def test_tissues_are_kept_apart():
    image, _ = disc(noise=0.0)
    regions = felzenszwalb_regions(image)
    main = []
    for level in (0.5, 0.8):
        labels = regions[image == np.float32(level)]
        main.append(np.bincount(labels).argmax())
        assert np.mean(labels == main[-1]) > 0.8
    assert sorted(main) == [1, 2]


@BOTH
def test_with_the_background_every_pixel_is_in_a_region(make):
    image, _ = disc()
    regions = make(image, background_out=False)
    assert_ordered(regions)
    assert (regions > 0).all()


def test_the_smallest_size_follows_the_area():
    assert smallest_size((256, 256)) == 52
    assert smallest_size((36, 50)) == 10
    image = np.random.default_rng(0).random((80, 80)).astype(np.float32)
    assert region_areas(felzenszwalb_regions(image, background_out=False)).min() >= 10
    assert region_areas(felzenszwalb_regions(image, min_size=60, background_out=False)).min() >= 60


def test_scale_and_number_do_what_they_say():
    image = np.random.default_rng(0).random((80, 80)).astype(np.float32)
    counts = [felzenszwalb_regions(image, scale=scale, min_size=1).max() for scale in (10, 100, 1000)]
    assert counts[0] > counts[1] > counts[2]
    few, many = (slic_regions(image, segments=n, compactness=10, background_out=False).max() for n in (10, 60))
    assert 5 <= few <= 15 < 40 <= many <= 80


@BOTH
def test_values_beyond_the_range_are_clipped(make):
    image, _ = disc()
    wild = image.copy()
    wild[48, 40] = 7.0
    tame = image.copy()
    tame[48, 40] = 1.0
    np.testing.assert_array_equal(make(wild), make(tame))


@BOTH
@pytest.mark.parametrize("background_out", [True, False])
def test_odd_slices_behave(make, background_out):
    for value in (0.0, 0.5, 1.0):
        assert not make(np.full((31, 17), value), background_out=background_out).any()
    for shape in ((0, 5), (1, 1), (1, 7), (2, 2), (3, 50)):
        image = np.random.default_rng(0).random(shape)
        regions = make(image, background_out=background_out)
        assert regions.shape == shape
        assert_ordered(regions) if image.size else None
    two = np.zeros((9, 9))
    two[4, 4] = 1.0
    assert_ordered(make(two, background_out=background_out))


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(make, value):
    image, _ = disc()
    image[3, 4] = value
    with pytest.raises(UserError, match="1 of 10560 pixels are NaN or infinite"):
        make(image)
    with pytest.raises(UserError, match="height, width"):
        make(np.zeros((2, 3, 4)))


@BOTH
@settings(deadline=None, max_examples=40)
@given(
    image=hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(0, 1, width=32))
)
def test_any_slice_gives_ordered_regions(make, image):
    assert_ordered(make(image))


def test_real_slices(real_data):
    """As many superpixels as the settings were chosen for, and no background in scans cropped to an organ."""
    path = sorted((real_data / "hippocampus" / "images").glob("*.nii.gz"))[0]
    array = (normalise(read_volume(path).array).array + 1) / 2
    for index in (array.shape[0] // 4, array.shape[0] // 2):
        assert foreground_mask(array[index]).all()
        regions = felzenszwalb_regions(array[index])
        assert_ordered(regions)
        assert 8 <= regions.max() <= 60
    torso = read_volume(real_data / "torso" / "example_ct_sm.nii.gz").array
    array = (normalise(torso).array + 1) / 2
    regions = felzenszwalb_regions(array[array.shape[0] // 2])
    assert_ordered(regions)
    assert 20 <= regions.max() <= 200
    assert regions[0, 0] == regions[0, -1] == 0
    assert 0.4 < np.mean(regions > 0) < 0.9
