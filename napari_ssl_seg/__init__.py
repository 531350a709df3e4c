"""Self-supervised segmentation of 3D scans: inspect pretexts, pretrain, fine-tune, compare, label.

Nothing heavy is imported here: each public name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.evaluation import evaluate
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion import suggest
    from napari_ssl_seg.training import finetune, predict, pretrain

__version__ = "0.1.0"
__all__ = ["Study", "evaluate", "finetune", "predict", "pretrain", "suggest"]

_HOMES = {
    "Study": "napari_ssl_seg.study",
    "evaluate": "napari_ssl_seg.evaluation",
    "finetune": "napari_ssl_seg.training",
    "predict": "napari_ssl_seg.training",
    "pretrain": "napari_ssl_seg.training",
    "suggest": "napari_ssl_seg.suggestion",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
