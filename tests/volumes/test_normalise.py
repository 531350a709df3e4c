"""Normalisation: numbers by hand, odd volumes, nothing modified."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import list_normalisations, normalise

RAMP = np.arange(101, dtype=np.int16).reshape(1, 1, 101)


def test_percentiles_by_hand() -> None:
    out, note = normalise(RAMP).array, normalise(RAMP).note
    assert note is None and out.dtype == np.float32
    # The 1st and 99th percentile of 0..100 are 1 and 99; 50 lies half way.
    assert out[0, 0, [0, 1, 50, 99, 100]].tolist() == [-1, -1, 0, 1, 1]
    assert out[0, 0, 25] == pytest.approx((25 - 1) / 98 * 2 - 1, abs=1e-6)
    free = normalise(RAMP, low=0, high=50, clip=False).array
    assert free[0, 0, 100] == pytest.approx(3.0)


def test_zscore_by_hand() -> None:
    out = normalise(np.array([[[0, 0, 2, 2]]]), "zscore").array
    assert out.ravel().tolist() == [-1, -1, 1, 1]
    out = normalise(np.array([[[0, 0, 2, 4]]]), "zscore", foreground=True).array
    assert out.ravel().tolist() == [-3, -3, -1, 1]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("ct_soft_tissue", [-1000, -160, 40, 240, 3000], [-1, -1, 0, 1, 1]),
        ("ct_lung", [-1350, -600, 150], [-1, 0, 1]),
        ("ct_bone", [-500, 400, 1300], [-1, 0, 1]),
        ("ct_wide", [-1000, 0, 1000], [-1, 0, 1]),
    ],
)
def test_windows_by_hand(name: str, values: list[int], expected: list[float]) -> None:
    np.testing.assert_allclose(normalise(np.array([[values]], np.int16), name).array[0, 0], expected, atol=1e-6)


def test_a_window_of_ones_own_and_one_that_misses() -> None:
    array = np.array([[[0, 50, 100]]])
    assert normalise(array, "ct_wide", centre=50, width=100).array.ravel().tolist() == [-1, 0, 1]
    assert "Hounsfield" in (normalise(array + 5000, "ct_lung").note or "")


def test_constant_volumes_say_so() -> None:
    for value in (0, 7, -3.5):
        result = normalise(np.full((2, 3, 4), value))
        assert (result.array == -1).all() and "every voxel has the value" in (result.note or "")
        assert (normalise(np.full((2, 3, 4), value), "zscore").array == 0).all()


def test_a_sparse_volume_is_not_taken_for_a_constant_one() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    array[0, 0, 0] = 200
    result = normalise(array)
    assert result.array.max() == 1 and "minimum and maximum" in (result.note or "")


def test_what_is_not_finite_takes_the_minimum() -> None:
    array = RAMP.astype(np.float32)
    array[0, 0, 100], array[0, 0, 50], array[0, 0, 60] = np.inf, np.nan, -np.inf
    kept = array.copy()
    result = normalise(array)
    np.testing.assert_array_equal(array, kept)
    assert result.array[0, 0, [50, 60, 100]].tolist() == [-1, -1, -1]
    assert (result.note or "").startswith("3 of 101 voxels were not finite and took the value 0")
    assert np.isfinite(normalise(np.full((2, 2, 2), np.nan)).array).all()


def test_channels_are_normalised_each_by_itself() -> None:
    array = np.stack([RAMP, RAMP * 10 + 5, np.zeros_like(RAMP)])
    result = normalise(array)
    np.testing.assert_allclose(result.array[0], result.array[1], atol=1e-6)
    assert (result.note or "").startswith("channel 2: every voxel")


def test_large_volumes_are_sampled_and_say_so() -> None:
    array = np.random.default_rng(0).random((124, 256, 256), np.float32)
    result = normalise(array)
    low, high = np.percentile(array, [1, 99])
    assert "every" in (result.note or "") and "th voxel" in (result.note or "")
    inside = (result.array > -1) & (result.array < 1)
    back = result.array[inside] * (high - low) / 2 + (high + low) / 2
    assert np.abs(back - array[inside]).max() < 0.002


def test_mistakes_are_named() -> None:
    for call, reason in [
        (lambda: normalise(RAMP, "nope"), "choose one of percentile"),
        (lambda: normalise(RAMP, width=3), "no option 'width'; its options: low, high, clip"),
        (lambda: normalise(RAMP, low=5, high=5), "percentiles"),
        (lambda: normalise(RAMP, "ct_lung", width=0), "width must be positive"),
        (lambda: normalise(RAMP[0]), "3D"),
        (lambda: normalise(RAMP.astype(complex)), "numbers"),
    ]:
        with pytest.raises(VolumeError, match=reason):
            call()
    assert next(iter(list_normalisations())) == "percentile" and "none" in list_normalisations()


@settings(max_examples=80, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64, np.bool_]),
        hnp.array_shapes(min_dims=3, max_dims=4, max_side=5),
    ),
    name=st.sampled_from(list(list_normalisations())),
)
def test_any_volume_comes_out_finite_and_untouched(array: np.ndarray, name: str) -> None:
    before = array.copy()
    result = normalise(array, name)
    np.testing.assert_array_equal(array, before)
    assert result.array.shape == array.shape and result.array.dtype == np.float32
    assert np.isfinite(result.array).all()
    if name not in ("none", "zscore"):
        assert result.array.min() >= -1 and result.array.max() <= 1
