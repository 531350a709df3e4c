"""The same place in another scan: the panel's questions and answers, without Qt."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.workbench.anatomy import MatchRequest, find, look, middle, moved_to_slice, other_cases, prepare
from tests.anatomy.conftest import body

if TYPE_CHECKING:
    from pathlib import Path

TINY = {"matcher": "embedding", "match_iterations": 1, "match_device": "cpu"}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    cuts = {"a": (0, 24), "b": (4, 24), "c": (8, 40), "d": (0, 24)}
    items = [(name, body(i)[z:y, 8:24, 8:28], None, None) for i, (name, (z, y)) in enumerate(cuts.items())]
    return Study.create_from_arrays(tmp_path / "study", items, split=(75, 0, 25))


def test_before_it_is_trained_the_same_fraction_is_shown_and_said(study: Study) -> None:
    state = look(study, TINY)
    assert (state.matcher, state.ready) == ("embedding", False)
    assert "not trained yet" in state.line
    answer = find(MatchRequest(study, "a", (12, 8, 10), "b", TINY))
    assert not answer.ready and answer.match.how == "fraction"


def test_trained_it_answers_with_pictures_and_a_verdict(study: Study) -> None:
    assert drain(prepare(study, TINY)) == "Self-supervised Anatomical eMbedding"
    assert look(study, TINY).ready
    same = find(MatchRequest(study, "a", (12, 8, 10), "a", TINY, axis=1))
    assert same.ready and same.match.point == pytest.approx((12, 8, 10))
    assert same.verdict == (
        "Accepted: embedding match at z 12, y 8, x 10, similarity 1.00, the way back ends 0 mm from the point.",
        True,
    )
    assert same.pictures.similarity is not None and np.nanmax(same.pictures.similarity) <= 1.0
    assert same.pictures.first.axis == 1
    strict = find(MatchRequest(study, "a", (2, 3, 4), "c", {**TINY, "match_score": 1.0}))
    text, accepted = strict.verdict
    assert not accepted and text.startswith("Rejected: ") and strict.guess is not None


def test_a_method_s_settings_are_understood_and_bounds_are_kept(study: Study) -> None:
    assert look(study, {"matcher": "same_field", "mask_ratio": 0.75}).ready
    assert "Same field of view" in look(study, {"matcher": "same_field"}).line
    assert "match_iterations" in look(study, {**TINY, "match_iterations": 0}).problem
    with pytest.raises(UserError, match="match_iterations"):
        find(MatchRequest(study, "a", (1, 1, 1), "b", {**TINY, "match_iterations": 0}))


def test_one_scan_and_no_two_to_train_on(tmp_path: Path) -> None:
    one = Study.create_from_arrays(tmp_path / "one", [("a", body(), None, None)], split=(100, 0, 0))
    assert "no other scan" in look(one, {}).problem
    items = [(name, body(i), None, None) for i, name in enumerate("ab")]
    two = Study.create_from_arrays(tmp_path / "two", items, split=(50, 0, 50))
    assert "train split" in look(two, {}).problem


def test_other_cases_begin_with_those_that_the_embedding_knows(study: Study) -> None:
    test = study.cases("test")[0].id
    for case in study.cases():
        found = other_cases(study.cases(), case.id)
        assert case.id not in found and len(found) == 3
        assert test == case.id or found[-1] == test


def test_the_first_point_and_the_slider(study: Study) -> None:
    case = study.case("a")
    assert middle(case, 5) == (5.0, 7.5, 9.5)
    assert moved_to_slice((5.0, 1.0, 2.0), 7) == (7.0, 1.0, 2.0)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, napari_ssl_seg.workbench.anatomy, napari_ssl_seg.anatomy.matching, napari_ssl_seg.anatomy.settings;"
        "print(*{'torch', 'SimpleITK', 'scipy', 'skimage', 'monai'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
