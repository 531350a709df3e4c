"""Affine registration as a matcher."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.anatomy import AffineMatcher, MatcherSettings, cached_matcher, prepare_matcher
from napari_ssl_seg.anatomy.grid import Grids
from napari_ssl_seg.training.events import Event, drain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ssl_seg.study import Study


def test_a_crop_is_registered_to_within_a_voxel(body_study: Study, tmp_path: Path) -> None:
    matcher = AffineMatcher(Grids(body_study, 1.0), tmp_path / "maps", None)
    match = matcher.match("whole", (20, 22, 19), "small")
    assert match.point == pytest.approx((16, 18, 15), abs=1.0)
    assert match.accepted
    assert match.how == "affine"
    gone = matcher.match("whole", (0, 0, 0), "small")
    assert not gone.accepted
    assert "outside small" in gone.reason


def test_registrations_are_kept_and_a_damaged_one_is_made_anew(body_study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    first = AffineMatcher(Grids(body_study, 1.0), folder, None).match("whole", (20, 22, 19), "small")
    (path,) = folder.iterdir()
    record = json.loads(path.read_text())
    record["offset"] = [-1.0, -2.0, -3.0]
    record["matrix"] = np.eye(3).tolist()
    path.write_text(json.dumps(record))
    moved = AffineMatcher(Grids(body_study, 1.0), folder, None).match("whole", (20, 22, 19), "small")
    assert moved.point == pytest.approx((19, 20, 16))
    path.write_text("{")
    again = AffineMatcher(Grids(body_study, 1.0), folder, None).match("whole", (20, 22, 19), "small")
    assert again.point == pytest.approx(first.point)


def test_two_scans_through_a_template(body_study: Study) -> None:
    settings = MatcherSettings(matcher="affine")
    ids = [case.id for case in body_study.cases()]
    assert cached_matcher(body_study, ids, settings) is None
    events: list[Event] = []
    generator = prepare_matcher(body_study, ids, settings)
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            matcher = end.value
            break
    assert [event.data["done"] for event in events] == [1, 2, 3]
    assert matcher.template == "shifted"  # of the middle size
    there = matcher.match("whole", (24, 20, 22), "small").point
    assert there == pytest.approx((20, 16, 18), abs=1.5)
    assert matcher.match("small", there, "whole").point == pytest.approx((24, 20, 22), abs=1e-3)
    assert cached_matcher(body_study, ids, settings) is not None
    assert drain(prepare_matcher(body_study, ids, settings)).match(
        "whole", (24, 20, 22), "small"
    ).point == pytest.approx(there)


def test_a_constant_scan_cannot_be_registered_and_the_match_says_so(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    from tests.anatomy.conftest import body

    flat = np.zeros((20, 20, 20))
    study = make_study({"body": (body(), (1, 1, 1)), "flat": (flat, (1, 1, 1))})
    match = AffineMatcher(Grids(study, 1.0), tmp_path / "maps", None).match("body", (20, 20, 20), "flat")
    assert not match.accepted
    assert "could not be registered" in match.reason
    assert match.point == (10, 10, 10)
