"""The table of scores: one row a case and label, with its means, its file forms and its ways of asking."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.metrics import ABSENT, FALSE_ALARM, MISSED, NAN, TABLE_METRICS
from napari_ssl_seg.evaluation.statistics import Spread, spread
from napari_ssl_seg.files import read_json, write_json, write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FIRST_COLUMNS = ("run", "case", "split", "label")
FIRST_METRICS = ("dice", "assd", "hd95")
AVERAGE = "average"
"""The class name of the row that is a mean over classes."""


@dataclass(frozen=True)
class ScoreRow:
    """One case and label of one run. Distances are mm, volumes ml; NaN where not defined, and ``note`` says why."""

    run: str
    title: str
    case: str
    split: str
    label: int
    class_name: str
    metrics: Mapping[str, float]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Flat plain values; NaN becomes None."""
        numbers = {name: (value if math.isfinite(value) else None) for name, value in self.metrics.items()}
        return {
            "run": self.run,
            "title": self.title,
            "case": self.case,
            "split": self.split,
            "label": self.label,
            "class": self.class_name,
            **numbers,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScoreRow:
        """The inverse of `to_dict`."""
        return cls(
            run=str(data["run"]),
            title=str(data["title"]),
            case=str(data["case"]),
            split=str(data["split"]),
            label=int(data["label"]),
            class_name=str(data["class"]),
            metrics={name: NAN if data[name] is None else float(data[name]) for name in TABLE_METRICS if name in data},
            note=str(data["note"]),
        )


@dataclass(frozen=True)
class ScoreTable:
    """Scores of any number of runs."""

    rows: tuple[ScoreRow, ...] = ()

    @classmethod
    def merged(cls, tables: Iterable[ScoreTable]) -> ScoreTable:
        """The rows of all, in their order."""
        return cls(tuple(row for table in tables for row in table.rows))

    # -- asking ---------------------------------------------------------------------------------------------------
    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics in the table, the usual three first."""
        present = {name for row in self.rows for name in row.metrics}
        return tuple(name for name in dict.fromkeys((*FIRST_METRICS, *TABLE_METRICS)) if name in present)

    @property
    def runs(self) -> dict[str, str]:
        """Run id -> title."""
        return {run: rows[0].title for run, rows in self._by_run.items()}

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @property
    def classes(self) -> dict[int, str]:
        """Label value -> class name, by value."""
        return dict(sorted({row.label: row.class_name for row in self.rows}.items()))

    def of(self, run: str | None = None, *, case: str | None = None, label: int | None = None) -> ScoreTable:
        """Only the rows of that run, case, label."""
        rows = self.rows if run is None else self._by_run.get(run, ())
        return ScoreTable(tuple(row for row in rows if case in (None, row.case) and label in (None, row.label)))

    @cached_property
    def _by_run(self) -> dict[str, tuple[ScoreRow, ...]]:
        rows: dict[str, list[ScoreRow]] = {}
        for row in self.rows:
            rows.setdefault(row.run, []).append(row)
        return {run: tuple(found) for run, found in rows.items()}

    def by_case(self, metric: str, run: str, label: int | None = None) -> dict[str, float]:
        """Case -> value of one label; without a label the mean over the classes for which it is defined.

        NaN where it is not defined. Cases, not slices or classes, are what statistics count.
        """
        found: dict[str, list[float]] = {}
        for row in self.of(run, label=label).rows:
            value = row.metrics.get(metric, NAN)
            found.setdefault(row.case, []).extend([value] if math.isfinite(value) else [])
        return {case: fmean(values) if values else NAN for case, values in found.items()}

    def summary(self, metrics: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One row for each run and class, and one for the average over classes.

        For each metric its mean over cases, ``METRIC_sd`` (sample standard deviation; NaN for a single case) and
        ``METRIC_median``, ``METRIC_lower`` and ``METRIC_upper`` (quartiles), ``METRIC_n`` (the cases for which it is
        defined). ``missed`` and ``false_alarms`` count cases (in the average
        row: cases and classes). The average is taken over the classes of a case first, then over cases.

        Parameters
        ----------
        metrics
            Default: Dice, ASSD and HD95 as far as they are in the table.
        """
        names = metrics or [name for name in FIRST_METRICS if name in self.metrics] or self.metrics
        result = []
        for run, title in self.runs.items():
            mine = self.of(run)
            for label, class_name in [*mine.classes.items(), (None, AVERAGE)]:
                rows = mine.of(label=label).rows
                line: dict[str, Any] = {
                    "run": run,
                    "title": title,
                    "label": label,
                    "class": class_name,
                    "n": len({row.case for row in rows}),
                }
                for name in names:
                    known = self.spread_of(name, run, label)
                    line |= {name: known.mean, f"{name}_sd": known.sd, f"{name}_n": known.n}
                    line |= {f"{name}_median": known.median, f"{name}_lower": known.lower, f"{name}_upper": known.upper}
                line["missed"] = sum(row.note.startswith(MISSED) for row in rows)
                line["false_alarms"] = sum(row.note.startswith(FALSE_ALARM) for row in rows)
                line["absent"] = sum(row.note.startswith(ABSENT) for row in rows)
                result.append(line)
        return result

    def spread_of(self, metric: str, run: str, label: int | None = None) -> Spread:
        """Mean, spread and quartiles over cases."""
        return spread(self.by_case(metric, run, label).values())

    def cases_noted(self, note: str, run: str, label: int | None = None) -> tuple[str, ...]:
        """Cases in which a label has this note: ``missed``, ``false alarm`` or ``absent in both``."""
        found = (row.case for row in self.of(run, label=label).rows if row.note.startswith(note))
        return tuple(dict.fromkeys(found))

    # -- file forms -----------------------------------------------------------------------------------------------
    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """One row a case and label: ``run,case,split,label,dice,assd,hd95,...,note``; returns the text.

        A value that is not defined is an empty cell, and the note says why. Distances are mm, ``volume_difference``
        is ml, the relative one a fraction of the reference.
        """
        metrics = (*FIRST_METRICS, *(name for name in self.metrics if name not in FIRST_METRICS))
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*FIRST_COLUMNS, *metrics, "class", "title", "note"])
        for row in self.rows:
            numbers = [_cell(row.metrics.get(name, NAN)) for name in metrics]
            writer.writerow([row.run, row.case, row.split, row.label, *numbers, row.class_name, row.title, row.note])
        if path is not None:
            write_text(path, stream.getvalue())
        return stream.getvalue()

    def to_json(self, path: str | os.PathLike[str], **more: Any) -> None:
        """Write the rows, with ``more`` plain values beside them; NaN becomes null."""
        write_json(path, {"format": 1, **more, "rows": [row.to_dict() for row in self.rows]})

    @classmethod
    def from_json(cls, path: str | os.PathLike[str] | Path) -> ScoreTable:
        """Read what `to_json` wrote; raises UserError for anything else."""
        data = read_json(path)
        try:
            return cls(tuple(ScoreRow.from_dict(row) for row in data["rows"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} holds no table of scores ({error!r}); evaluate the run again") from error

    def __iter__(self) -> Iterator[ScoreRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _cell(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""
