"""Numbers in words."""

from __future__ import annotations

import pytest

from napari_ssl_seg.workbench import words
from tests.workbench.fakes import FakeStudy


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (190, "3:10"), (3900, "1 h 05"), (2 * 86400 + 3 * 3600 + 5, "2 d 3 h"), (-3, "0:00")],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_and_sizes() -> None:
    assert words.count(1, "scan") == "1 scan"
    assert words.count(100_000, "scan") == "100 000 scans"
    assert words.count(2, "entry", "entries") == "2 entries"
    assert words.size((36, 50, 32)) == "36×50×32"
    assert words.spacing((8.0, 1.5, 1.5)) == "8×1.5×1.5 mm"


@pytest.mark.parametrize(
    ("spacing", "text"), [((1, 1, 1), "1 mm"), ((8, 1.5, 1.5), "8×1.5"), ((3, 1.25, 0.7), "3×1.2×0.7")]
)
def test_short_spacing(spacing: tuple[float, float, float], text: str) -> None:
    assert words.short_spacing(spacing) == text


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 bytes"), (1500, "1.5 kB"), (27_000_000, "27 MB"), (4.2e12, "4200 GB")]
)
def test_file_size(size: float, text: str) -> None:
    assert words.file_size(size) == text


def test_a_study_in_one_line() -> None:
    study = FakeStudy()
    assert words.study_line(study, study.cases()) == "fake · 3 scans · 0 labelled"
    assert words.split_line(study.cases()) == "train 3 · validation 0 · test 0"
