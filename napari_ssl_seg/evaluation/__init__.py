"""How good a prediction is: per case, per slice, per class; tables, statistics and the report.

The definitions are written down in ``docs/metrics.md``. Nothing heavy is imported here: each public name is fetched when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.evaluation.errors_map import ERROR_CLASSES, error_map
    from napari_ssl_seg.evaluation.evaluating import evaluate, evaluate_folders
    from napari_ssl_seg.evaluation.metrics import METRICS, MetricInfo, score
    from napari_ssl_seg.evaluation.slices import SliceTable, score_slices
    from napari_ssl_seg.evaluation.tables import ScoreRow, ScoreTable

_HOMES = {
    "ERROR_CLASSES": "errors_map",
    "METRICS": "metrics",
    "MetricInfo": "metrics",
    "ScoreRow": "tables",
    "ScoreTable": "tables",
    "SliceTable": "slices",
    "error_map": "errors_map",
    "evaluate": "evaluating",
    "evaluate_folders": "evaluating",
    "score": "metrics",
    "score_slices": "slices",
}
__all__ = [
    "ERROR_CLASSES",
    "METRICS",
    "MetricInfo",
    "ScoreRow",
    "ScoreTable",
    "SliceTable",
    "error_map",
    "evaluate",
    "evaluate_folders",
    "score",
    "score_slices",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
