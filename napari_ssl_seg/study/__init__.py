"""Cases, splits, labels and runs: one folder on disk with an embedded database.

`Study` is fetched when it is first used: it brings pydantic along.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.study.records import Case, ClassInfo, Problem, Scan, StudySettings, Target
    from napari_ssl_seg.study.study import Study

__all__ = ["Case", "ClassInfo", "Problem", "Scan", "Study", "StudySettings", "Target"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(f"napari_ssl_seg.study.{'study' if name == 'Study' else 'records'}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
