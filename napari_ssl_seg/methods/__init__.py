"""Pretext methods by name, and what they are made of.

Methods are listed and configured without torch; it is imported when one makes its first sample.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Pretext, View
from napari_ssl_seg.methods.describe import describe_methods
from napari_ssl_seg.methods.registry import get_method, list_methods

if TYPE_CHECKING:
    from napari_ssl_seg.methods.inspection import Inspection, inspect, save_inspection

__all__ = [
    "Batch",
    "Inspection",
    "Losses",
    "Method",
    "MethodConfig",
    "Needs",
    "Pretext",
    "View",
    "describe_methods",
    "get_method",
    "inspect",
    "list_methods",
    "save_inspection",
]


def __getattr__(name: str) -> object:
    if name in ("Inspection", "inspect", "save_inspection"):
        return getattr(import_module("napari_ssl_seg.methods.inspection"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
