"""Clicks on the open case in the viewer, as voxels of its scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.gui import layers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_ssl_seg.workbench import Workbench


class CanvasClicks:
    """Calls ``heard((z, y, x))`` for each click without a drag, while it listens and nothing is being painted."""

    def __init__(self, viewer: ViewerModel, workbench: Workbench, heard: Callable[[np.ndarray], None]) -> None:
        self._viewer, self._workbench, self._heard = viewer, workbench, heard

    def listen(self, on: bool) -> None:
        """Start or stop; either may be said again."""
        callbacks = self._viewer.mouse_drag_callbacks
        if on and self._pressed not in callbacks:
            callbacks.append(self._pressed)
        elif not on and self._pressed in callbacks:
            callbacks.remove(self._pressed)

    def image_layer(self) -> Layer | None:
        """The scan of the open case."""
        case_id = self._workbench.case_id
        found = layers.own_layers(self._viewer, case=case_id) if case_id is not None else []
        return next((layer for layer in found if (layers.layer_tag(layer) or {}).get("role") == "image"), None)

    def _pressed(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        active = viewer.layers.selection.active
        if getattr(event, "button", 1) != 1 or str(getattr(active, "mode", "pan_zoom")) != "pan_zoom":
            return
        at = np.array(event.position)
        yield
        while event.type == "mouse_move":
            if not np.allclose(event.position, at):
                return  # it was a drag: the view moves
            yield
        layer = self.image_layer()
        if layer is not None:
            self._heard(np.array(layer.world_to_data(at), float)[-3:])
