"""Verb: open."""

from __future__ import annotations

import importlib.util
from typing import Any

from napari_ssl_seg.errors import UserError


def open_study(study: str) -> dict[str, Any]:
    """Open a study in napari; returns when the window is closed."""
    from napari_ssl_seg.study import Study

    opened = Study.open(study)
    if importlib.util.find_spec("napari") is None:
        raise UserError("the window needs napari; install it with `pip install napari-ssl-seg[all]`")
    from napari_ssl_seg.gui.app import show

    show(opened.folder)
    return {"study": str(opened.folder)}
