"""A tool of ours on the canvas: hears the mouse while it is in hand, and is put down when one of napari's is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel

    from napari_ssl_seg.gui.label_layer import LabelLayer

LEFT = 1
PAN_ZOOM = "pan_zoom"


class CanvasTool(QObject):
    """What is common to them. Places are voxels (z, y, x) of the layer of labels, with fractions.

    Signals
    -------
    in_hand_changed(bool)
        It was taken, or put down.
    """

    in_hand_changed = Signal(bool)

    def __init__(self, viewer: ViewerModel, labels: LabelLayer, owner: QObject) -> None:
        super().__init__(owner)
        self._viewer, self._labels = viewer, labels
        self._in_hand = False
        labels.mode_changed.connect(self._mode_changed)

    @property
    def in_hand(self) -> bool:
        return self._in_hand

    def take(self, on: bool = True) -> None:
        """Take it, or put it down."""
        layer = self._labels.layer
        on = on and layer is not None and layer.editable
        if on == self._in_hand:
            if on:
                self._hold()
            return
        self._in_hand = on
        moves, drags = self._viewer.mouse_move_callbacks, self._viewer.mouse_drag_callbacks
        if on:
            self._hold()
            moves.append(self._moved)
            drags.append(self._pressed)
        else:
            moves.remove(self._moved)
            drags.remove(self._pressed)
            if layer is not None and str(layer.mode) == PAN_ZOOM:
                layer.mouse_pan = True
            self.forget()
        self.in_hand_changed.emit(on)

    def _hold(self) -> None:
        """A drag is the tool's, and no longer moves the view."""
        layer = self._labels.layer
        assert layer is not None
        self._labels.select()
        layer.mode = PAN_ZOOM
        layer.mouse_pan = False

    def _mode_changed(self, mode: str) -> None:
        if self._in_hand and mode != PAN_ZOOM:
            self.take(False)

    # -- for the tools --------------------------------------------------------------------------------------------
    def hovered(self, place: np.ndarray) -> None:
        """The mouse is there, no button down."""

    def dragged(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """The left button went down; goes on while it is."""
        yield

    def forget(self) -> None:
        """It was put down."""

    def place(self, event: Any) -> np.ndarray | None:
        """Where the mouse is; None outside the scan, and where no axial slice is shown."""
        layer, dims = self._labels.layer, self._viewer.dims
        if layer is None or dims.ndisplay != 2 or dims.ndim - 3 in dims.displayed:
            return None
        found = np.asarray(layer.world_to_data(event.position), float)[-3:]
        inside = (found > -0.5) & (found < np.array(layer.data.shape) - 0.5)
        return found if bool(inside.all()) else None

    # -- the mouse ------------------------------------------------------------------------------------------------
    def _moved(self, _viewer: Any, event: Any) -> None:
        place = self.place(event) if isalive(self) else None
        if place is not None:
            self.hovered(place)

    def _pressed(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if isalive(self) and getattr(event, "button", LEFT) == LEFT:
            yield from self.dragged(viewer, event)
        else:
            yield
