"""Data to start with: phantoms made here, and public sets by name.

>>> from napari_ssl_seg.sample import make_cardiac
>>> image, label, spacing = make_cardiac(seed=0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ssl_seg.sample.abdomen import make_abdomen
    from napari_ssl_seg.sample.bundled import bundled_study_source
    from napari_ssl_seg.sample.cardiac import make_cardiac
    from napari_ssl_seg.sample.classes import CLASSES, KINDS, PhantomClass
    from napari_ssl_seg.sample.datasets import DatasetInfo, get_dataset, list_datasets
    from napari_ssl_seg.sample.download import fetch
    from napari_ssl_seg.sample.write import make_phantom, write_phantom_study_files

__all__ = [
    "CLASSES",
    "KINDS",
    "DatasetInfo",
    "PhantomClass",
    "bundled_study_source",
    "fetch",
    "get_dataset",
    "list_datasets",
    "make_abdomen",
    "make_cardiac",
    "make_phantom",
    "write_phantom_study_files",
]

_HOME = {
    "CLASSES": "classes",
    "KINDS": "classes",
    "DatasetInfo": "datasets",
    "PhantomClass": "classes",
    "bundled_study_source": "bundled",
    "fetch": "download",
    "get_dataset": "datasets",
    "list_datasets": "datasets",
    "make_abdomen": "abdomen",
    "make_cardiac": "cardiac",
    "make_phantom": "write",
    "write_phantom_study_files": "write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
