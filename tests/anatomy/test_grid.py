"""Scans on a common spacing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.anatomy.grid import Grid, Grids, common_spacing, resampled, weights
from napari_ssl_seg.anatomy.prepare import same_field_of_view
from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.study import Study


def test_twice_the_spacing_averages_voxels_around_each_new_one() -> None:
    assert weights(4, 0.5) == pytest.approx(np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / np.array([[7], [7]]), abs=1e-6)


def test_half_the_spacing_interpolates() -> None:
    assert weights(2, 2.0) == pytest.approx(np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]))


@given(st.integers(1, 30), st.floats(0.1, 5))
def test_each_new_voxel_takes_shares_that_sum_to_one(size: int, ratio: float) -> None:
    found = weights(size, ratio)
    assert found.shape == (max(1, round(size * ratio)), size)
    assert (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_ramp_stays_a_ramp_inside() -> None:
    ramp = np.broadcast_to(np.linspace(-0.9, 0.9, 40, dtype=np.float32)[None, :, None, None], (1, 40, 4, 4))
    small = resampled(ramp, (1, 1, 1), 2.0)
    assert small.shape == (20, 2, 2)
    old = np.interp((np.arange(20) + 0.5) * 2 - 0.5, np.arange(40), np.linspace(0.05, 0.95, 40))
    assert small[1:-1, 0, 0] == pytest.approx(old[1:-1], abs=1e-5)


@given(st.tuples(*[st.floats(-0.5, 60)] * 3))
def test_there_and_back(point: tuple[float, float, float]) -> None:
    grid = Grid("a", np.zeros((1, 1, 1), np.float32), 1.5, (61, 61, 61), (3.0, 1.5, 0.7))
    assert grid.to_scan(grid.from_scan(np.array(point))) == pytest.approx(point)


def test_the_first_edge_is_shared() -> None:
    grid = Grid("a", np.zeros((1, 1, 1), np.float32), 1.0, (9, 9, 9), (2.0, 1.0, 0.5))
    assert grid.from_scan(np.array([-0.5, -0.5, -0.5])) == pytest.approx([-0.5, -0.5, -0.5])
    assert grid.from_scan(np.array([1, 1, 1])) == pytest.approx([2.5, 1, 0.25])


def test_large_scans_get_a_wider_spacing(make_study: Callable[..., Study]) -> None:
    study = make_study({"a": (np.arange(8.0).reshape(2, 2, 2), (100, 100, 100)), "b": (np.eye(3)[None], (1, 2, 4))})
    assert common_spacing(study.cases()[1:]) == 2.0
    assert common_spacing(study.cases()[:1]) == 100.0
    assert common_spacing(study.cases(), 0.5) == 0.5
    huge = [study.cases()[0]._replace(shape=(192, 192, 192), spacing=(1.0, 1.0, 1.0))]
    assert common_spacing(huge) == 2.0


def test_a_channel_that_is_not_there_is_named(body_study: Study) -> None:
    with pytest.raises(UserError, match="whole has 1 channel"):
        Grids(body_study, 1.0, channel=1).get("whole")


def test_same_field_of_view_within_fifteen_per_cent(body_study: Study) -> None:
    whole, small = body_study.case("whole"), body_study.case("small")
    assert same_field_of_view([whole, whole._replace(shape=(20, 44, 40), spacing=(2.0, 1.0, 1.0))])
    assert not same_field_of_view([whole, whole, small])
