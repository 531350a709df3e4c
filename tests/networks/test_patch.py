from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import build_network, plan_patch, plan_spec, plan_strides, total_stride
from napari_ssl_seg.networks.patch import SLICE_LIMITS, VOXEL_LIMITS


@pytest.mark.parametrize(
    ("dims", "shape", "stride", "preset", "patch"),
    [
        (3, (36, 50, 36), 8, "small", (32, 48, 32)),
        (2, (36, 50, 36), 8, "small", (56, 40)),
        (2, (50, 36), (8, 8), "small", (56, 40)),
        (2, (10, 256, 256), 8, "small", (128, 128)),
        (2, (10, 256, 216), 16, "fdas", (256, 224)),
        (3, (200, 512, 512), 16, "unet3d", (96, 96, 112)),
        (3, (4, 4, 4), 8, "small", (16, 16, 16)),
        (3, (10, 200, 200), (1, 8, 8), "small", (10, 112, 112)),
    ],
)
def test_worked_examples(dims, shape, stride, preset, patch):
    assert plan_patch(dims, shape, stride, preset) == patch


@given(
    dims=st.sampled_from([2, 3]),
    shape=st.tuples(*[st.integers(1, 700)] * 3),
    stride=st.tuples(*[st.sampled_from([1, 2, 4, 8, 16])] * 3),
)
def test_a_patch_is_a_multiple_of_the_stride_within_the_limits(dims, shape, stride):
    patch = plan_patch(dims, shape, stride, "small")
    steps = stride[-dims:]
    assert all(
        size % step == 0 and size >= (2 * step if step > 1 else 1) for size, step in zip(patch, steps, strict=True)
    )
    if dims == 2:
        assert max(patch) <= SLICE_LIMITS["small"]
    else:
        assert math.prod(patch) <= VOXEL_LIMITS["small"]


def test_thick_slices_are_pooled_in_plane_first():
    # 10 mm slices of 1.25 mm pixels: z is pooled once pixels have grown beyond 5 mm, that is after three levels.
    assert plan_strides(3, (16, 256, 256), (10.0, 1.25, 1.25), 6) == ((1, 2, 2),) * 3 + ((2, 2, 2), (2, 2, 2))
    assert plan_strides(3, (40, 50, 40), (1, 1, 1), 4) == ((2, 2, 2),) * 3
    assert plan_strides(2, (16, 256, 256), (10.0, 1.25, 1.25), 4) == ((2, 2),) * 3


def test_short_axes_are_not_pooled_away():
    assert plan_strides(3, (6, 64, 64), (1, 1, 1), 4) == ((1, 2, 2),) * 3


@settings(deadline=None, max_examples=25)
@given(
    dims=st.sampled_from([2, 3]),
    shape=st.tuples(*[st.integers(3, 300)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 2.5, 8.0])] * 3),
    preset=st.sampled_from(["small", "standard"]),
)
def test_a_planned_network_can_be_built(dims, shape, spacing, preset):
    spec = plan_spec(dims, 1, shape, spacing, preset=preset)
    assert build_network(spec).stride == total_stride(spec)


def test_the_papers_own_layouts_keep_their_strides():
    assert plan_spec(3, 1, (16, 256, 256), (10, 1, 1), preset="unet3d").options == {}
    with pytest.raises(UserError, match="fdas"):
        plan_spec(2, 1, (16, 256, 256), (10, 1, 1), preset="unet3d")
