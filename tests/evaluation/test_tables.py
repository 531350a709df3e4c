"""The table of scores: means by hand, counts of what is missed, and its file forms."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import ScoreRow, ScoreTable

if TYPE_CHECKING:
    from pathlib import Path

NAN = math.nan


def row(run: str, case: str, label: int, dice: float, assd: float, note: str = "") -> ScoreRow:
    metrics = {"dice": dice, "assd": assd, "hd95": assd * 2, "nsd": dice}
    return ScoreRow(run, f"Method {run}", case, "test", label, f"class {label}", metrics, note)


@pytest.fixture
def table() -> ScoreTable:
    return ScoreTable(
        (
            row("a", "one", 1, 0.8, 1.0),
            row("a", "one", 2, 0.6, 3.0),
            row("a", "two", 1, 0.4, 2.0),
            row("a", "two", 2, 0.0, NAN, "missed"),
            row("b", "one", 1, 0.9, 0.5),
            row("b", "one", 2, NAN, NAN, "absent in both"),
        )
    )


def test_summary_by_hand(table: ScoreTable) -> None:
    lines = {(line["run"], line["class"]): line for line in table.summary()}
    assert list(lines) == [
        ("a", "class 1"),
        ("a", "class 2"),
        ("a", "average"),
        ("b", "class 1"),
        ("b", "class 2"),
        ("b", "average"),
    ]
    first = lines["a", "class 1"]
    assert (first["n"], first["dice"], first["assd"], first["hd95"]) == (2, pytest.approx(0.6), 1.5, 3.0)
    assert first["dice_sd"] == pytest.approx(math.sqrt(0.08))
    second = lines["a", "class 2"]
    assert (second["dice_n"], second["assd_n"], second["missed"]) == (2, 1, 1)
    assert second["dice"] == pytest.approx(0.3) and second["assd"] == 3.0 and math.isnan(second["assd_sd"])
    average = lines["a", "average"]
    assert average["dice"] == pytest.approx((0.7 + 0.2) / 2)
    assert average["assd"] == pytest.approx((2.0 + 2.0) / 2), "over the classes of a case first, then over cases"
    assert average["missed"] == 1
    assert lines["b", "class 2"]["dice_n"] == 0 and lines["b", "class 2"]["absent"] == 1
    assert math.isnan(lines["b", "class 2"]["dice"])


def test_csv_has_the_columns_of_the_contract(table: ScoreTable, tmp_path: Path) -> None:
    text = table.to_csv(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text() == text
    header = text.splitlines()[0].split(",")
    assert header[:7] == ["run", "case", "split", "label", "dice", "assd", "hd95"] and header[-1] == "note"
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 6
    assert (lines[0]["dice"], lines[0]["label"], lines[0]["note"]) == ("0.8", "1", "")
    assert (lines[3]["dice"], lines[3]["assd"], lines[3]["note"]) == ("0.0", "", "missed")
    only_dice = ScoreTable((ScoreRow("a", "A", "one", "", 1, "one", {"dice": 0.5}),))
    assert only_dice.to_csv().startswith("run,case,split,label,dice,assd,hd95,")


def test_json_gives_back_the_table(table: ScoreTable, tmp_path: Path) -> None:
    table.to_json(tmp_path / "scores.json", split="test")
    assert "NaN" not in (tmp_path / "scores.json").read_text()
    again = ScoreTable.from_json(tmp_path / "scores.json")
    assert again.to_csv() == table.to_csv()
    (tmp_path / "scores.json").write_text('{"rows": [{"run": "a"}]}')
    with pytest.raises(UserError, match=r"scores\.json holds no table"):
        ScoreTable.from_json(tmp_path / "scores.json")


def test_asking(table: ScoreTable) -> None:
    assert table.runs == {"a": "Method a", "b": "Method b"}
    assert table.cases == ("one", "two")
    assert table.classes == {1: "class 1", 2: "class 2"}
    assert table.metrics == ("dice", "assd", "hd95", "nsd")
    assert len(table.of("a", case="one")) == 2 and len(table.of(label=2)) == 3
    assert table.by_case("dice", "a") == pytest.approx({"one": 0.7, "two": 0.2})
    assert math.isnan(table.by_case("assd", "b", 2)["one"])
    assert len(ScoreTable.merged([table.of("a"), table.of("b")])) == 6
    assert ScoreTable().summary() == []


@given(st.lists(st.floats(0.1, 1), min_size=2, max_size=12), st.data())
def test_missing_more_never_looks_better(values: list[float], data: st.DataObject) -> None:
    missed = data.draw(st.integers(1, len(values)))
    whole = ScoreTable(tuple(row("a", str(i), 1, value, 1.0) for i, value in enumerate(values)))
    holes = ScoreTable(
        tuple(
            row("a", str(i), 1, 0.0, NAN, "missed") if i < missed else row("a", str(i), 1, value, 1.0)
            for i, value in enumerate(values)
        )
    )
    assert holes.summary()[0]["dice"] < whole.summary()[0]["dice"]
    assert holes.summary()[0]["missed"] == missed
    assert holes.summary()[0]["assd_n"] == len(values) - missed
