from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext.bezier import KNOTS, apply_curves, curve_tables, sample_curves

unit = st.floats(0.0, 1.0)


def table_of(first: tuple[float, float], second: tuple[float, float], *, falling: bool = False) -> torch.Tensor:
    x, y = [0.0, first[0], second[0], 1.0], [0.0, first[1], second[1], 1.0]
    points = torch.tensor([x, y[::-1] if falling else y], dtype=torch.float64).T
    return curve_tables(points.unsqueeze(0))


def test_evenly_spaced_points_on_the_diagonal_change_nothing():
    straight = table_of((1 / 3, 1 / 3), (2 / 3, 2 / 3))
    assert torch.allclose(straight[0], torch.linspace(0, 1, KNOTS + 1, dtype=torch.float64), atol=1e-9)
    image = torch.linspace(-1, 1, 7).view(1, 1, 7, 1)
    assert torch.allclose(apply_curves(image, straight, torch.tensor([-1.0]), torch.tensor([1.0])), image, atol=1e-6)


def test_a_curve_by_hand():
    # At t = 1/2: x = (0 + 3 * 0 + 3 * 1 + 1) / 8 = 0.5 and y = (0 + 3 * 1 + 3 * 1 + 1) / 8 = 0.875.
    table = table_of((0.0, 1.0), (1.0, 1.0))
    assert float(table[0, KNOTS // 2]) == pytest.approx(0.875, abs=1e-6)
    image = torch.tensor([[[[-1.0, 0.0, 1.0]]]])
    assert apply_curves(image, table, torch.tensor([-1.0]), torch.tensor([1.0])).flatten().tolist() == pytest.approx(
        [-1.0, 0.75, 1.0]
    )


@settings(deadline=None, max_examples=60)
@given(first=st.tuples(unit, unit), second=st.tuples(unit, unit), falling=st.booleans())
def test_curves_are_monotone_from_corner_to_corner(first, second, falling):
    table = table_of(first, second, falling=falling)[0]
    low, high = (1.0, 0.0) if falling else (0.0, 1.0)
    assert float(table[0]) == low
    assert float(table[-1]) == high
    steps = table.diff() * (-1 if falling else 1)
    assert steps.min() >= -1e-9


@settings(deadline=None, max_examples=25)
@given(first=st.tuples(unit, unit), second=st.tuples(unit, unit))
def test_curves_agree_with_a_fine_interpolation_in_numpy(first, second):
    t = np.linspace(0, 1, 100_001)
    weights = np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    x, y = np.array([0, first[0], second[0], 1]) @ weights, np.array([0, first[1], second[1], 1]) @ weights
    slow = np.interp(np.linspace(0, 1, KNOTS + 1), x, y)
    # Where a curve stands upright, a thousandth in x is more in y.
    assert np.abs(table_of(first, second)[0].numpy() - slow).mean() < 2e-3


def test_ends_stay_exactly_and_order_is_kept():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(6, 2, 5, 6, 7, generator=generator) * 2 - 1
    image[:, 0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    tables = curve_tables(sample_curves(6, 0.0, generator))
    mapped = apply_curves(image, tables, torch.full((6,), -1.0), torch.ones(6))
    assert torch.equal(mapped[:, 0, 0, 0, :2], image[:, 0, 0, 0, :2])
    for sample in range(6):
        order = image[sample].flatten().argsort()
        assert mapped[sample].flatten()[order].diff().min() >= -1e-6
    assert mapped.min() >= -1
    assert mapped.max() <= 1


def test_the_share_of_falling_curves_is_as_asked():
    points = sample_curves(2000, 0.3, torch.Generator().manual_seed(0))
    falling = points[:, 0, 1] == 1
    assert float(falling.double().mean()) == pytest.approx(0.3, abs=0.04)
    assert torch.equal(points[:, 3, 1], (~falling).double())
    assert (points[:, 0, 0] == 0).all()
    assert (points[:, 3, 0] == 1).all()
    assert not (sample_curves(50, 0.0, torch.Generator().manual_seed(0))[:, 0, 1] == 1).any()
