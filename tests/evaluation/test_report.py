"""The report is one file that needs nothing else and says what the table says; its pictures and charts are real."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import ScoreTable, collect_slices, draw_slice, evaluate, write_report, write_study_report
from napari_ssl_seg.evaluation.charts import class_bars, nice_ceiling, slice_curves
from napari_ssl_seg.evaluation.collecting import matching_baselines
from napari_ssl_seg.training.events import drain
from tests.evaluation.conftest import add_run
from tests.evaluation.test_tables import row

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study


def shifted(number: int, reference: np.ndarray) -> np.ndarray:
    return np.roll(reference, 1, axis=2)


@pytest.fixture
def scored(study: Study) -> tuple[Study, ScoreTable]:
    runs = [
        add_run(study, "scratch", shifted),
        add_run(study, "Volume Fusion", lambda number, reference: reference, parent="pretrained"),
        add_run(
            study, "<b>odd & title</b>", lambda number, reference: reference if number else reference * 0, parent="x"
        ),
    ]
    return study, drain(evaluate(study, runs))


def test_a_study_report_needs_no_other_file(scored: tuple[Study, ScoreTable], tmp_path: Path) -> None:
    study, table = scored
    path = write_study_report(
        tmp_path / "report.html",
        study,
        table,
        notes=["three methods, two labels"],
        tables=[("Over repeats", [{"method": "scratch", "dice_sd": None, "dice": 0.51234}])],
    )
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and "http://" not in page and "https://" not in page and "<link" not in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]+)', page))
    assert "&lt;b&gt;odd &amp; title&lt;/b&gt;" in page and "<b>odd" not in page
    for word in ("Volume Fusion has the highest mean Dice of 3 methods", "three methods, two labels", "Over repeats",
                 "0.5123", "too few for a Wilcoxon test", "data fingerprint", "processor", "iterations", "torch", "60 s",
                 "missed"):  # fmt: skip
        assert word in page, word
    assert study.fingerprint(list(table.cases)) in page
    pictures = [base64.b64decode(code) for code in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == 4 * 5  # best, median, worst, largest difference; scan, reference, three methods
    assert all(Image.open(io.BytesIO(code)).size[0] > 50 for code in pictures)
    for chart in re.findall(r"<svg class=.*?</svg>", page, re.S):
        ElementTree.fromstring(chart)


def test_the_best_of_each_column_is_bold_and_fewer_cases_are_said(tmp_path: Path) -> None:
    rows = [row("a", str(i), 1, 0.7, 1.0) for i in range(3)] + [row("b", str(i), 1, 0.9, 2.0) for i in range(2)]
    rows.append(row("b", "2", 1, 0.0, float("nan"), "missed"))
    page = write_report(tmp_path / "r.html", study_name="S", table=ScoreTable(tuple(rows))).read_text(encoding="utf-8")
    assert (
        "<b>0.700</b>" in page and "<b>0.600</b>" not in page
    )  # Dice: a's 0.7 beats b's 0.6, of which a third is missed
    assert "<b>1.00</b>" in page and "n = 2 of 3" in page
    assert "1 value with a note" in page


def test_runs_are_tested_against_the_run_from_scratch_with_the_same_labels(study: Study) -> None:
    def right(number: int, reference: np.ndarray) -> np.ndarray:
        return reference

    few, many = (add_run(study, f"scratch, {n} cases", right, cases=n) for n in (2, 5))
    same = add_run(study, "VF, 5 cases", right, cases=5, parent="pretrained")
    alone = add_run(study, "VF, 3 cases", right, cases=3, parent="pretrained")
    table = drain(evaluate(study, [few, many, same, alone], metrics=["dice"]))
    assert matching_baselines(study, table) == {same.id: many.id}


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scores to report"):
        write_report(tmp_path / "r.html", study_name="S", table=ScoreTable())


def test_pictured_slices_are_the_best_and_the_worst(scored: tuple[Study, ScoreTable]) -> None:
    study, table = scored
    pictures, curves, notes = collect_slices(study, table)
    assert [picture.title for picture in pictures][:3] == ["Best slice", "Median slice", "Worst slice"]
    assert [cell.title for cell in pictures[0].cells][:3] == ["Scan", "Reference", "scratch"]
    dice = [float(re.findall(r"Dice (\S+),", cell.caption)[0]) for picture in pictures for cell in picture.cells[2:]]
    assert sum(dice[:3]) >= sum(dice[3:6]) >= sum(dice[6:9])
    assert {curve.metric for curve in curves} == {"dice", "assd"}
    assert all(len(values) == 8 for curve in curves for values in curve.series.values())
    assert notes and "not pictured" in notes[-1]


def test_a_picture_is_square_in_millimetres_and_shows_the_contour() -> None:
    image, labels = np.zeros((10, 20)), np.zeros((10, 20), int)
    labels[3:7, 5:15] = 1
    png = draw_slice(image, (4.0, 1.0), labels, colors={1: "#ff0000"}, side=200)
    picture = np.asarray(Image.open(io.BytesIO(png)))
    assert picture.shape == (200, 100, 3)  # 40 mm by 20 mm
    red = (picture == [255, 0, 0]).all(axis=2)
    assert red.any() and not red[:50].any() and not red[100, 50]
    assert picture[100, 50].tolist()[1:] == [0, 0] and 0 < picture[100, 50, 0] < 255  # filled faintly
    plain = draw_slice(np.full((5, 5), np.nan), (1, 1), None)
    assert np.asarray(Image.open(io.BytesIO(plain))).max() == 0


def test_charts_leave_gaps_and_hold_their_range() -> None:
    drawn = slice_curves(
        {"a < b": np.array([0.5, np.nan, 0.7, 0.8]), "none": np.full(4, np.nan)}, title="t", y_title="Dice"
    )
    root = ElementTree.fromstring(drawn)
    assert drawn.count("<circle") == 1 and "nan" not in drawn  # a point alone is a dot
    assert root.tag == "svg"
    bars = class_bars({"one": {"a": [0.5, 0.7, float("nan")], "b": []}}, title="t", y_title="Dice", high=1.0)
    assert bars.count("<rect") == 1 and "nan" not in bars
    assert [nice_ceiling(value) for value in (0, 0.3, 1, 7, 26, 1000)] == [1, 0.4, 1, 8, 40, 1000]


def test_asking_for_a_name_loads_nothing_heavy() -> None:
    code = (
        "import sys; from napari_ssl_seg.evaluation import score, evaluate, write_report;"
        "print([m for m in ('numba', 'scipy', 'torch', 'PIL', 'SimpleITK', 'skimage', 'monai', 'qtpy', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
