"""Panels, layers and plots in napari: thin. What they show is kept in `workbench`, what they start in the core."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.gui.config_form import ConfigForm
    from napari_ssl_seg.gui.dock import SSLDock

__all__ = ["ConfigForm", "SSLDock"]
_HOMES = {"ConfigForm": "napari_ssl_seg.gui.config_form", "SSLDock": "napari_ssl_seg.gui.dock"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
