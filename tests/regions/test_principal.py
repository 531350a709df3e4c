"""Eq. 1 and merging: the worked numbers of the paper's equations, a slow reference, and what holds for any map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import (
    count_for_share,
    cumulative_share,
    felzenszwalb_regions,
    merge_to_anchors,
    paint_masks,
    principal_count,
    region_areas,
)
from napari_ssl_seg.regions.label_maps import relabel_by_area
from napari_ssl_seg.volumes import normalise, read_volume

MAPS = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 9), fill=st.just(1)
)


# -- Eq. 1 --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("areas", "k"),
    [([50, 30, 15, 4, 1], 3), ([90, 6, 4], 2), ([40, 30, 20, 10], 4), ([7], 1), ([], 0), ([0, 0], 0), ([5, 0, 5], 2)],
)
def test_count_is_the_fewest_that_cover_the_share(areas, k):
    assert count_for_share(areas, 0.95) == k
    assert count_for_share(areas[::-1], 0.95) == k


def test_a_share_that_is_met_exactly_counts_as_met():
    """95 of 100, 19 of 20, 950 million of a thousand million: no rounding may lose the last one."""
    for unit in (1, 10, 10_000_000):
        assert count_for_share([80 * unit, 15 * unit, 5 * unit], 0.95) == 2
        assert count_for_share([80 * unit, 15 * unit - 1, 5 * unit + 1], 0.95) == 3
    assert count_for_share([1, 1, 1], 1 / 3) == 1
    assert count_for_share([1] * 10, 0.1 + 0.2) == 3
    assert count_for_share([5, 3, 2], 1.0) == 3


def test_mean_is_rounded_up_but_a_whole_one_stays():
    assert principal_count([[50, 30, 15, 4, 1], [90, 6, 4], [40, 30, 20, 10]]) == 3
    assert principal_count([[50, 30, 15, 4, 1], [90, 6, 4]]) == 3
    assert principal_count([[50, 30, 15, 4, 1], [100]]) == 2
    assert principal_count([[100]] * 49) == 1


def test_images_without_regions_are_left_out_of_the_mean():
    assert principal_count([[], [50, 30, 15, 4, 1], np.zeros(0, np.int64)]) == 3
    assert principal_count([[], []]) == 0
    assert principal_count([]) == 0


def test_cumulative_share_is_sorted_and_ends_with_one():
    np.testing.assert_allclose(cumulative_share([15, 50, 1, 30, 4]), [0.5, 0.8, 0.95, 0.99, 1.0])
    assert cumulative_share([]).shape == (0,)


@pytest.mark.parametrize("alpha", [0, -0.1, 1.01, float("nan")])
def test_alpha_out_of_bounds_is_refused(alpha):
    with pytest.raises(UserError, match="alpha"):
        count_for_share([1, 2], alpha)


@pytest.mark.parametrize("areas", [[1.5, 2.0], [-1, 2], [[1, 2]], [np.inf]])
def test_areas_that_are_no_counts_are_refused(areas):
    with pytest.raises(UserError, match="areas"):
        count_for_share(areas)


@given(st.lists(st.integers(0, 1000), max_size=20), st.floats(0.01, 1.0))
def test_one_region_fewer_does_not_reach_the_share(areas, alpha):
    k = count_for_share(areas, alpha)
    share = cumulative_share(areas)
    if k:
        assert share[k - 1] >= alpha - 1e-6
        assert k == 1 or share[k - 2] < alpha + 1e-6
    else:
        assert not any(areas)


# -- painting -----------------------------------------------------------------------------------------------------
def test_smaller_masks_lie_on_top_and_hidden_ones_are_dropped():
    large = np.zeros((4, 6), bool)
    large[:, :4] = True  # 16, of which 4 stay visible
    small = np.zeros((4, 6), bool)
    small[1:3, 2:6] = True  # 8
    bottom = np.zeros((4, 6), bool)
    bottom[:, :3] = True  # 12
    same = bottom.copy()  # hides `bottom`
    painted = paint_masks(np.stack([large, small, bottom, same]))
    expected = np.zeros((4, 6), int)
    expected[:, 3] = 3  # of `large` two pixels are left
    expected[:, :3] = 1  # ten of `same`
    expected[1:3, 2:6] = 2
    np.testing.assert_array_equal(painted, expected)
    assert painted.dtype == np.int32
    np.testing.assert_array_equal(region_areas(painted), [10, 8, 2])
    np.testing.assert_array_equal(region_areas(painted, uncovered="region"), [10, 8, 4, 2])


def test_no_mask_and_empty_masks_paint_nothing():
    assert not paint_masks(np.zeros((0, 3, 5), bool)).any()
    assert paint_masks(np.zeros((2, 3, 5), bool)).shape == (3, 5)
    with pytest.raises(UserError, match="shape"):
        paint_masks(np.zeros((3, 5), bool))


@given(hnp.arrays(bool, st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))))
def test_painting_covers_the_union_and_puts_no_larger_mask_on_top(masks):
    painted = paint_masks(masks)
    np.testing.assert_array_equal(painted > 0, masks.any(axis=0))
    areas = np.bincount(painted.ravel())[1:]
    assert (np.diff(areas) <= 0).all()
    assert (areas > 0).all()
    for label in range(1, len(areas) + 1):
        inside = painted == label
        owners = [m for m in masks if m[inside].all()]
        smallest = min(m.sum() for m in owners)
        assert all(m.sum() >= smallest for m in masks if m[inside].any())


def test_numbers_follow_area_then_the_first_pixel():
    labels = np.array([[7, 7, 3], [9, 9, 9], [5, 0, 3]])
    np.testing.assert_array_equal(relabel_by_area(labels), [[2, 2, 3], [1, 1, 1], [4, 0, 3]])
    far = np.where(labels == 7, 2**40, labels)
    np.testing.assert_array_equal(relabel_by_area(far), relabel_by_area(labels))


# -- merging ------------------------------------------------------------------------------------------------------
ROW = np.array([[1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2]])
"""The spec's row 1 1 3 3 3 3 3 2 2, with anchors long enough to be the two largest."""


def test_a_row_between_two_anchors():
    pixel = merge_to_anchors(ROW, 2, assign="pixel")
    np.testing.assert_array_equal(pixel, [[0] * 9 + [1] * 8])
    submask = merge_to_anchors(ROW, 2)  # nearest pixel 1 and mean 3 of both: the larger (first) anchor
    np.testing.assert_array_equal(submask, [[0] * 11 + [1] * 6])


def test_of_anchors_that_touch_the_one_nearer_on_average_wins():
    """Region 3 is a nail between two plates: its point touches the larger one, its head the smaller."""
    labels = np.zeros((11, 9), int)
    labels[:4] = 1  # 36
    labels[8:] = 2  # 27
    labels[4:8, 4] = 3  # at 1, 2, 3, 4 of the first and 4, 3, 2, 1 of the second
    labels[7, 3:6] = 3  # two more at 4 and at 1
    merged = merge_to_anchors(labels, 2, uncovered="fill")
    assert set(merged[labels == 3]) == {1}
    np.testing.assert_array_equal(np.bincount(merged[merged >= 0]), [36, 33])


def test_the_nearest_pixel_decides_before_the_mean():
    """Region 3 touches anchor 2 with one end, and runs along anchor 1 at a distance of 2."""
    labels = np.zeros((10, 24), int)
    labels[0] = 3
    labels[1:, :5] = 2
    labels[2:, 5:] = 1
    merged = merge_to_anchors(labels, 2, uncovered="fill")
    assert set(merged[0]) == {merged[1, 0]}
    assert merged[1, 0] != merged[3, 9]


def test_with_k_or_fewer_regions_nothing_is_merged():
    labels = np.array([[4, 4, 4], [2, 2, 9]])
    for assign in ("submask", "pixel"):
        np.testing.assert_array_equal(merge_to_anchors(labels, 10, assign), [[0, 0, 0], [1, 1, 2]])
        np.testing.assert_array_equal(merge_to_anchors(labels, 3, assign), [[0, 0, 0], [1, 1, 2]])


def test_one_region_no_region_and_no_pixel():
    one = np.zeros((4, 4), int)
    one[:3] = 1
    np.testing.assert_array_equal(merge_to_anchors(one, 5), 1 - one)
    np.testing.assert_array_equal(merge_to_anchors(one, 1), np.zeros((4, 4)))
    np.testing.assert_array_equal(merge_to_anchors(one, 5, uncovered="fill"), one - 1)
    empty = np.zeros((4, 4), int)
    assert (merge_to_anchors(empty, 3) == 0).all()
    assert (merge_to_anchors(empty, 3, uncovered="fill") == -1).all()
    assert merge_to_anchors(np.zeros((0, 4), int), 3).shape == (0, 4)


def test_what_is_uncovered_takes_its_place_by_area():
    labels = np.zeros((4, 5), int)
    labels[0] = 1
    labels[1, :2] = 2
    np.testing.assert_array_equal(np.bincount(merge_to_anchors(labels, 3).ravel()), [13, 5, 2])
    assert merge_to_anchors(labels, 3)[3, 3] == 0


def test_more_than_k_after_merging_is_sorted_again():
    """The small anchor takes the residual next to it and becomes the larger one."""
    labels = np.array([[1] * 6 + [0] * 9, [2] * 5 + [0] * 10, [3] * 4 + [0] * 11])
    merged = merge_to_anchors(labels, 2, uncovered="fill")
    np.testing.assert_array_equal(merged[1:, 0], [0, 0])
    assert merged[0, 0] == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: merge_to_anchors(np.zeros((2, 2, 2), int), 2), "height, width"),
        (lambda: merge_to_anchors(np.zeros((2, 2)), 2), "whole numbers"),
        (lambda: merge_to_anchors(np.full((2, 2), -1), 2), "goes down to -1"),
        (lambda: merge_to_anchors(np.ones((2, 2), int), 0), "at least one anchor"),
        (lambda: merge_to_anchors(np.arange(9).reshape(3, 3), 2, "nearest"), "submask"),
        (lambda: merge_to_anchors(np.ones((2, 2), int), 2, uncovered="white"), "uncovered"),
    ],
)
def test_what_cannot_be_merged_is_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()


@settings(deadline=None, max_examples=150)
@given(MAPS, st.integers(1, 6), st.sampled_from(["submask", "pixel"]), st.sampled_from(["region", "fill"]))
def test_anchors_are_a_partition_of_what_was_covered(labels, k, assign, uncovered):
    merged = merge_to_anchors(labels, k, assign, uncovered)
    assert merged.dtype == np.int32
    if uncovered == "region":
        assert (merged >= 0).all()
    else:
        np.testing.assert_array_equal(merged >= 0, labels > 0)
    areas = np.bincount(merged[merged >= 0])
    assert len(areas) <= k
    assert (areas > 0).all()
    assert (np.diff(areas) <= 0).all()
    parts = [labels == value for value in np.unique(labels) if value > 0 or uncovered == "region"]
    whole = [len(np.unique(merged[part])) == 1 for part in parts]
    if assign == "submask":
        assert all(whole)
    else:
        assert sum(whole) >= min(k, len(parts))
    np.testing.assert_array_equal(merged, _slow_merge(labels, k, assign, uncovered))


@settings(deadline=None)
@given(MAPS, st.integers(1, 6), st.sampled_from(["submask", "pixel"]), st.permutations(range(1, 10)))
def test_how_regions_are_numbered_does_not_matter(labels, k, assign, numbers):
    renamed = np.array([0, *(10 * n for n in numbers)])[labels]
    np.testing.assert_array_equal(merge_to_anchors(labels, k, assign), merge_to_anchors(renamed, k, assign))


def test_the_input_is_left_as_it_was():
    labels = np.random.default_rng(0).integers(0, 9, (20, 20)).astype(np.int32)
    before = labels.copy()
    merge_to_anchors(labels, 3)
    merge_to_anchors(labels, 3, "pixel", "fill")
    np.testing.assert_array_equal(labels, before)


def test_real_slices_merge_as_the_slow_reference_does(real_data):
    path = sorted((real_data / "hippocampus" / "images").glob("*.nii.gz"))[3]
    scan = (normalise(read_volume(path).array).array + 1) / 2
    regions = [felzenszwalb_regions(image) for image in scan[5:-5:6]]
    k = principal_count([region_areas(labels) for labels in regions])
    assert 2 <= k < max(labels.max() for labels in regions)
    for labels in regions:
        for assign in ("submask", "pixel"):
            np.testing.assert_array_equal(merge_to_anchors(labels, k // 2, assign), _slow_merge(labels, k // 2, assign))


def _slow_merge(labels, k, assign="submask", uncovered="region"):
    """The spec's words, pixel by pixel, without any distance transform."""
    parts = [labels == v for v in np.unique(labels) if v > 0 or uncovered == "region"]
    parts.sort(key=lambda part: (-part.sum(), np.flatnonzero(part)[0]))
    anchors, rest = parts[:k], parts[k:]
    grown = [anchor.copy() for anchor in anchors]
    for part in rest:
        places = np.argwhere(part)
        distances = [
            np.sqrt(((places[:, None] - np.argwhere(anchor)[None]) ** 2).sum(-1)).min(axis=1) for anchor in anchors
        ]
        if assign == "submask":
            keys = [(d.min(), np.sort(d).mean(), i) for i, d in enumerate(distances)]
            grown[min(keys)[2]] |= part
        else:
            for place, best in zip(places, np.argmin(distances, axis=0), strict=True):
                grown[best][tuple(place)] = True
    grown.sort(key=lambda part: (-part.sum(), np.flatnonzero(part)[0]))
    merged = np.full(labels.shape, -1)
    for number, part in enumerate(grown):
        merged[part] = number
    return merged
