"""Text in the corner of a cell of the grid, which follows the slider at the cost of one assignment.

napari draws such text for the viewer, and for a layer its name alone; a layer of points with text would cost some five
milliseconds with every move of the slider. What napari lacks is one entry that says how a layer's `TextOverlay` is drawn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

LOG = logging.getLogger(__name__)
KEY = "napari_ssl_seg_text"
_STATE: dict[str, Any] = {}


def cell_text(layer: Layer) -> Any:
    """The text in the corner of the layer's cell, a `TextOverlay`, made when it is first asked for; None: impossible."""
    found = layer._overlays.get(KEY)
    if found is None:
        kind = _kind()
        if kind is None:
            return None
        found = kind(visible=True, box=False, position="top_left")
        layer._overlays[KEY] = found
    return found


def drop_text(layer: Layer) -> None:
    """Take the text of a layer away; napari clips it to the cell in which it was made."""
    layer._overlays.pop(KEY, None)


def _kind() -> Any:
    if "kind" not in _STATE:
        try:
            _STATE["kind"] = _register()
        except (ImportError, AttributeError) as error:  # a later napari, which has these elsewhere
            LOG.warning("this napari has no place for text in a cell (%s): scores are told by the panel alone", error)
            _STATE["kind"] = None
    return _STATE["kind"]


def _register() -> Any:
    from napari._vispy.overlays.text import _VispyLayerTextOverlay
    from napari._vispy.utils.visual import overlay_to_visual
    from napari.components.overlays import TextOverlay

    class CellText(TextOverlay):
        """Text of one cell."""

    class CellTextVisual(_VispyLayerTextOverlay):  # type: ignore[misc]
        """How it is drawn."""

        def _connect_events(self) -> None:
            self.overlay.events.text.connect(self._on_text_change)

        def _on_text_change(self) -> None:
            self.node.text = self.overlay.text
            self._on_position_change()

    overlay_to_visual[CellText] = CellTextVisual
    return CellText
