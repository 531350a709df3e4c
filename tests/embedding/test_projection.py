"""Maps in the plane: against scikit-learn's and numpy's own numbers, and the edges."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_ssl_seg.embedding import flatten, list_projections
from napari_ssl_seg.errors import UserError


@pytest.mark.parametrize("shape", [(50, 7), (7, 50)])
def test_principal_components_are_those_of_the_singular_value_decomposition(shape):
    vectors = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    centred = vectors - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found = flatten(vectors)
    expected = left[:, :2] * values[:2]
    assert np.abs(found.points) == pytest.approx(np.abs(expected))
    share = values**2 / (values**2).sum()
    assert found.axes == (
        f"first principal component ({share[0]:.0%} of the variance)",
        f"second ({share[1]:.0%})",
    )


def test_points_on_a_line_by_hand():
    found = flatten(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    assert found.points == pytest.approx(np.array([[-5.0, 0], [0, 0], [5, 0]]))
    assert found.axes[0].startswith("first principal component (100%")


@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-1e3, 1e3)))
def test_any_vectors_have_a_finite_map_that_is_always_the_same(vectors):
    found = flatten(vectors)
    assert found.points.shape == (len(vectors), 2)
    assert np.isfinite(found.points).all()
    assert np.array_equal(found.points, flatten(vectors.copy()).points)


def test_what_does_not_exist_is_refused():
    with pytest.raises(UserError, match="no map 'tsne'"):
        flatten(np.zeros((3, 2)), "tsne")
    if importlib.util.find_spec("umap") is None:
        assert list(list_projections()) == ["pca"]
        with pytest.raises(UserError, match="umap-learn"):
            flatten(np.zeros((3, 2)), "umap")
