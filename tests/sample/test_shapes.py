"""The implicit shapes, against geometry worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.sample._shapes import (
    Grid,
    block_mean,
    ellipsoid,
    majority_label,
    merge,
    random_field,
    tube,
)


def test_the_grid_is_centred_and_samples_lie_evenly_within_voxels():
    grid = Grid((2, 1, 3), (10.0, 2.0, 1.0), (2, 1, 2))
    z, y, x = grid.axes()
    assert grid.fine_shape == (4, 1, 6)
    np.testing.assert_allclose(z, [-7.5, -2.5, 2.5, 7.5])
    np.testing.assert_allclose(y, [0])
    np.testing.assert_allclose(x, [-1.25, -0.75, -0.25, 0.25, 0.75, 1.25])


def test_a_sphere_has_the_exact_distance():
    z, y, x = Grid((9, 9, 9), (1, 1, 1), (1, 1, 1)).coordinates()
    distance = ellipsoid(z, y, x, (1, 0, 2), (3, 3, 3), 30)
    expected = np.sqrt((z - 1) ** 2 + y**2 + (x - 2) ** 2) - 3
    away = expected > -2.9  # in the very middle the slope of the implicit function vanishes
    np.testing.assert_allclose(distance[away], expected[away], atol=1e-4)


def test_a_turned_ellipsoid_reaches_as_far_as_its_axes():
    z, y, x = np.float32(0), np.float32(5), np.float32(5)
    along = ellipsoid(z, y, x, (0, 0, 0), (1, 1, np.sqrt(50)), -45)
    across = ellipsoid(z, y, -x, (0, 0, 0), (1, 1, np.sqrt(50)), -45)
    assert abs(float(along)) < 1e-4 or abs(float(across)) < 1e-4
    assert max(float(along), float(across)) > 1


def test_a_tube_widens_from_one_end_to_the_other():
    points, radii = ((0, 0, 0), (10, 0, 0)), (1, 3)
    assert float(tube(np.float32(5), np.float32(4), np.float32(0), points, radii)) == pytest.approx(2)
    assert float(tube(np.float32(13), np.float32(0), np.float32(0), points, radii)) == pytest.approx(0)
    with pytest.raises(ValueError, match="two points"):
        tube(np.float32(0), np.float32(0), np.float32(0), ((0, 0, 0),), (1,))


def test_a_merged_shape_holds_both():
    a, b = np.linspace(-3, 3, 13), np.linspace(2, -4, 13)
    both = merge(a, b, 1.5)
    assert (both <= np.minimum(a, b) + 1e-6).all()
    np.testing.assert_allclose(merge(a, a + 10, 1.5), a, atol=1e-6)


def test_a_random_field_has_unit_variance_and_the_length_asked_for():
    axes = Grid((40, 60, 60), (2, 2, 2), (1, 1, 1)).axes()
    fields = np.stack([random_field(np.random.default_rng(seed), axes, 20) for seed in range(40)])
    assert fields.std() == pytest.approx(1, abs=0.05)
    assert fields.mean() == pytest.approx(0, abs=0.05)
    ten_steps_on = (fields[:, :, :-10] * fields[:, :, 10:]).mean()  # 20 mm: 1/e
    assert ten_steps_on == pytest.approx(np.exp(-1), abs=0.1)


def test_the_label_of_a_voxel_is_what_fills_most_of_it():
    fine = np.array([[[0, 0, 1, 1, 2, 1], [0, 1, 1, 1, 2, 2]]])
    assert majority_label(fine, (1, 2), (1, 2, 2)).tolist() == [[[0, 1, 2]]]
    assert majority_label(np.array([[[0, 1]]]), (1,), (1, 1, 2)).tolist() == [[[0]]]


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), st.tuples(*[st.integers(1, 3)] * 3), st.integers(0, 99))
def test_partial_volume_keeps_the_amount_of_signal(shape, oversampling, seed):
    fine = np.random.default_rng(seed).normal(size=[n * f for n, f in zip(shape, oversampling, strict=True)])
    coarse = block_mean(fine, oversampling)
    assert coarse.shape == shape
    assert coarse.mean() == pytest.approx(fine.mean(), abs=1e-5)
