"""How good a prediction is: per case, per slice, per class; tables, statistics and the report.

The definitions are written down in ``docs/metrics.md``. Nothing heavy is imported here: each public name is fetched when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.evaluation.collecting import Curve, collect_slices
    from napari_ssl_seg.evaluation.engine import is_warm, warm_up
    from napari_ssl_seg.evaluation.errors_map import ERROR_CLASSES, error_map
    from napari_ssl_seg.evaluation.evaluating import evaluate, evaluate_folders
    from napari_ssl_seg.evaluation.lesions import LesionScores, score_lesions
    from napari_ssl_seg.evaluation.many import ManyComparison, compare_many
    from napari_ssl_seg.evaluation.metrics import LESION_METRICS, METRICS, MetricInfo, score
    from napari_ssl_seg.evaluation.pictures import Cell, Picture, draw_slice
    from napari_ssl_seg.evaluation.report import write_report, write_study_report
    from napari_ssl_seg.evaluation.slices import SliceTable, rescore_slice, rescore_slices, score_slices
    from napari_ssl_seg.evaluation.statistics import (
        PairedComparison,
        Spread,
        compare_paired,
        holm,
        mean_interval,
        rank_biserial,
        spread,
    )
    from napari_ssl_seg.evaluation.surface_map import surface_distance_map
    from napari_ssl_seg.evaluation.tables import ScoreRow, ScoreTable

_HOMES = {
    "ERROR_CLASSES": "errors_map",
    "LESION_METRICS": "metrics",
    "METRICS": "metrics",
    "Cell": "pictures",
    "Curve": "collecting",
    "LesionScores": "lesions",
    "ManyComparison": "many",
    "MetricInfo": "metrics",
    "PairedComparison": "statistics",
    "Picture": "pictures",
    "ScoreRow": "tables",
    "ScoreTable": "tables",
    "SliceTable": "slices",
    "Spread": "statistics",
    "collect_slices": "collecting",
    "compare_many": "many",
    "compare_paired": "statistics",
    "draw_slice": "pictures",
    "error_map": "errors_map",
    "evaluate": "evaluating",
    "evaluate_folders": "evaluating",
    "holm": "statistics",
    "is_warm": "engine",
    "mean_interval": "statistics",
    "rank_biserial": "statistics",
    "rescore_slice": "slices",
    "rescore_slices": "slices",
    "score": "metrics",
    "score_lesions": "lesions",
    "score_slices": "slices",
    "spread": "statistics",
    "surface_distance_map": "surface_map",
    "warm_up": "engine",
    "write_report": "report",
    "write_study_report": "report",
}
__all__ = [
    "ERROR_CLASSES",
    "LESION_METRICS",
    "METRICS",
    "Cell",
    "Curve",
    "LesionScores",
    "ManyComparison",
    "MetricInfo",
    "PairedComparison",
    "Picture",
    "ScoreRow",
    "ScoreTable",
    "SliceTable",
    "Spread",
    "collect_slices",
    "compare_many",
    "compare_paired",
    "draw_slice",
    "error_map",
    "evaluate",
    "evaluate_folders",
    "holm",
    "is_warm",
    "mean_interval",
    "rank_biserial",
    "rescore_slice",
    "rescore_slices",
    "score",
    "score_lesions",
    "score_slices",
    "spread",
    "surface_distance_map",
    "warm_up",
    "write_report",
    "write_study_report",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
