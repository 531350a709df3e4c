"""The verb ``anatomy``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_ssl_seg.cli import main
from napari_ssl_seg.study import Study
from tests.anatomy.conftest import body

if TYPE_CHECKING:
    from pathlib import Path

TINY = ("--set", "match_iterations=1", "match_device=cpu")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    cuts = {"a": (0, 24), "b": (4, 24), "c": (8, 40), "d": (0, 24)}
    items = [(name, body(i)[z:y, 8:24, 8:28], None, None) for i, (name, (z, y)) in enumerate(cuts.items())]
    Study.create_from_arrays(tmp_path / "study", items, split=(75, 0, 25)).close()
    return tmp_path / "study"


def call(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[dict[str, Any], str]:
    assert main(["anatomy", *map(str, arguments), "--json"]) == status
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_prepare_trains_once(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer, _ = call(capsys, study, "--matcher", "embedding", *TINY)
    assert answer["matcher"] == "Self-supervised Anatomical eMbedding"
    assert (answer["scans"], answer["spacing_mm"], answer["same_field_of_view"]) == (3, 1.0, False)
    stamps = {path: path.stat().st_mtime_ns for path in (study / "cache").rglob("*.safetensors")}
    assert len(stamps) == 1
    call(capsys, study, "prepare", "--matcher", "embedding", *TINY)
    assert {path: path.stat().st_mtime_ns for path in (study / "cache").rglob("*.safetensors")} == stamps


def test_match_prints_the_point_and_writes_pictures(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (study, "match", "a", "12,8,10", "a", "--matcher", "embedding", "--out", tmp_path / "out", *TINY)
    answer, _ = call(capsys, *arguments)
    assert answer["point"] == [12, 8, 10]
    assert (answer["score"], answer["cycle_error_mm"], answer["accepted"], answer["reason"]) == (1, 0, True, "")
    assert [path.rsplit("/")[-1] for path in answer["files"]] == ["scan.png", "other.png", "similarity.png"]
    first, second, heat = (np.asarray(Image.open(path)) for path in answer["files"])
    assert np.array_equal(first, second)
    assert first.shape == heat.shape == (192, 192, 3)
    assert (first[96, 96 + 8] == (255, 140, 0)).all()  # an arm of the cross, around the middle


def test_match_by_fraction_needs_no_training(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer, said = call(capsys, study, "match", "a", "12,8,10", "b", "--matcher", "same_field")
    assert answer["point"] == [10, 8, 10]
    assert answer["how"] == "fraction"
    assert answer["score"] is None
    assert said == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["match", "a"], "needs a case, a point and another case"),
        (["match", "a", "1,2", "b"], "'1,2' is not a point"),
        (["match", "a", "1,2,300", "b"], "outside a"),
        (["match", "a", "1,2,3", "nobody"], "nobody"),
        (["prepare", "a"], "takes no case"),
        (["--set", "match_iterations=0"], "match_iterations"),
        (["--set", "sam=1"], "no setting 'sam'"),
    ],
)
def test_mistakes_are_said_in_one_line(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    answer, line = call(capsys, study, *arguments, status=2)
    assert said in answer["error"]
    assert line.count("\n") == 1


def test_a_study_with_one_scan_has_a_clear_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Study.create_from_arrays(tmp_path / "one", [("a", body()[:16, :16, :16], None, None)], split=(100, 0, 0)).close()
    answer, _ = call(capsys, tmp_path / "one", status=2)
    assert "one scan" in answer["error"]
