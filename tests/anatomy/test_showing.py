"""Pictures of a match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.anatomy import SameFieldMatcher
from napari_ssl_seg.anatomy.showing import PIXELS, coloured, heat_colours, match_pictures, plane_at

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study

VOLUME = np.zeros((10, 20, 30), np.float32)
VOLUME[7, 12, 21] = 1.0
SPACING = (4.0, 2.0, 1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("whole", [False, True])
def test_the_cross_lies_on_the_voxel_and_a_click_there_gives_it_back(axis: int, whole: bool) -> None:
    plane = plane_at(VOLUME, SPACING, (7, 12, 21), 60.0, axis=axis, whole=whole)
    assert plane.image.shape == (PIXELS, PIXELS)
    assert plane.index == (7, 12, 21)[axis]
    assert plane.point_at(*plane.cross) == pytest.approx((7, 12, 21))
    row, column = (int(value) for value in plane.cross)
    assert plane.image[row, column] > 0.8
    if not whole:
        assert plane.cross == pytest.approx((PIXELS / 2, PIXELS / 2))


def test_the_head_is_up_and_pixels_are_square() -> None:
    plane = plane_at(VOLUME, SPACING, (7, 12, 21), 60.0, axis=1, whole=True)
    assert plane.point_at(10, 50)[0] > plane.point_at(150, 50)[0]
    step = np.abs(plane.voxels_a_pixel) * (4.0, 1.0)
    assert step == pytest.approx(60.0 / PIXELS)


def test_what_lies_outside_the_scan_is_not_a_number() -> None:
    plane = plane_at(VOLUME, SPACING, (0, 0, 0), 40.0)
    assert np.isnan(plane.image[0, 0]) and np.isfinite(plane.image[-1, -20])
    assert np.isnan(plane.image).mean() == pytest.approx(0.75, abs=0.05)
    assert (coloured(plane)[0, 0] == 40).all()


@given(st.floats(-0.5, 9.5), st.floats(-0.5, 19.5), st.floats(-0.5, 29.5))
def test_points_at_the_border_have_their_pictures(z: float, y: float, x: float) -> None:
    for axis in range(3):
        plane = plane_at(VOLUME, SPACING, (z, y, x), 30.0, axis=axis)
        assert np.isfinite(plane.image).any()
        assert coloured(plane).dtype == np.uint8


def test_only_what_is_nearly_the_most_similar_stands_out() -> None:
    colours, weight = heat_colours(np.array([[0.1, 0.1, 0.1], [0.1, 0.9, np.nan]]))
    assert weight[1, 1] == 0.75 and weight[0, 0] == 0 and weight[1, 2] == 0
    assert colours[1, 1] == pytest.approx((255, 225, 40))


def test_both_scans_are_cut_to_the_same_millimetres(body_study: Study) -> None:
    matcher = SameFieldMatcher(body_study)
    match = matcher.match("whole", (20, 20, 20), "small")
    found = match_pictures(body_study, matcher, "whole", (20, 20, 20), "small", match)
    assert found.side_mm == pytest.approx(40 / 3)
    assert found.first.voxels_a_pixel == found.second.voxels_a_pixel
    assert found.similarity is None
    assert found.second.point_at(*found.second.cross) == pytest.approx(match.point)
