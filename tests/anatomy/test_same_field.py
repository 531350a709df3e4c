"""The same fraction of the field of view."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.anatomy import SameFieldMatcher
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study import Study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    scans = {"a": (40, 20, 30), "b": (60, 10, 30), "c": (1, 5, 5)}
    generator = np.random.default_rng(0)
    items = [(name, generator.normal(size=shape), None, None) for name, shape in scans.items()]
    return Study.create_from_arrays(tmp_path / "study", items, split=(100, 0, 0))


def test_tenth_of_forty_voxels_is_fifteenth_of_sixty(study: Study) -> None:
    match = SameFieldMatcher(study).match("a", (10, 10, 7), "b")
    assert match.point == (15.0, 5.0, 7.0)
    assert match.accepted
    assert match.how == "fraction"
    assert math.isnan(match.score)


def test_there_and_back_is_the_same_point(study: Study) -> None:
    matcher = SameFieldMatcher(study)
    there = matcher.match("a", (12, 6, 21), "b")
    assert matcher.match("b", there.point, "a").point == pytest.approx((12, 6, 21))


@pytest.mark.parametrize("point", [(0, 0, 0), (39, 19, 29), (-0.5, 19.5, 29.5)])
def test_points_at_the_border_stay_inside(study: Study, point: tuple[float, ...]) -> None:
    for other, shape in [("b", (60, 10, 30)), ("c", (1, 5, 5))]:
        found = SameFieldMatcher(study).match("a", point, other).point
        assert all(0 <= value <= size - 1 for value, size in zip(found, shape, strict=True))


@pytest.mark.parametrize("point", [(40, 0, 0), (-1, 0, 0), (0, 0), (0, 0, math.nan)])
def test_a_point_outside_the_scan_is_refused(study: Study, point: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"\ba[ ,]"):
        SameFieldMatcher(study).match("a", point, "b")


def test_a_case_that_is_not_there_is_named(study: Study) -> None:
    with pytest.raises(UserError, match="nobody"):
        SameFieldMatcher(study).match("a", (0, 0, 0), "nobody")
