"""The layer that is drawn on: napari's tools and ours write to it, and every change in it is heard.

Ours write by ``data_setitem``, so that one Ctrl+Z takes back whatever was last. An undo is not told by napari: the layer is
filled again while the slider stands still, and then it is looked whether a stroke is gone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.case_view import GROUP
from napari_ssl_seg.workbench.labelling_changes import Box, box_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling
    from napari_ssl_seg.workbench.labelling_case import LabelledCase
    from napari_ssl_seg.workbench.labelling_changes import Change

MODES = {"paint": "paint", "erase": "erase", "fill": "fill", "polygon": "polygon"}


class LabelLayer(QObject):
    """Shows the case of ``labelling`` as ``CASE | labels``.

    Signals
    -------
    mode_changed(str)
        napari's tool: pan_zoom, paint, ...
    """

    mode_changed = Signal(str)

    def __init__(self, viewer: ViewerModel, workbench: Workbench, labelling: Labelling, owner: QObject) -> None:
        super().__init__(owner)
        self._viewer, self._workbench, self._labelling = viewer, workbench, labelling
        self.layer: Labels | None = None
        self._tool = ""
        self._late: list[Box] = []
        self._quiet = False
        self._shown: tuple[int, ...] = ()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._look_late)
        labelling.hand_changed.connect(self._show_hand)

    @property
    def tool(self) -> str:
        """What draws: ours while one writes, else napari's."""
        if self._tool:
            return self._tool
        return MODES.get(str(self.layer.mode), "") if self.layer is not None else ""

    @property
    def alive(self) -> bool:
        """Whether the layer is there."""
        return self.layer is not None and self.layer in self._viewer.layers

    def show(self, case: LabelledCase, *, editable: bool) -> None:
        """Show a case's labels; the layer's array becomes what is drawn on."""
        name = layers_.layer_name(case.case_id, "labels")
        self.leave()
        layer = layers_.show_labels(
            self._viewer,
            name,
            case.labels,
            placement=case.placement,
            tag={"case": case.case_id, "group": GROUP, "role": "labels"},
            colours=layers_.class_colours(self._workbench.classes),
            editable=editable,
        )
        self.layer = layer
        self._labelling.adopt(layer.data)
        layer.n_edit_dimensions = 2
        self._shown = tuple(self._viewer.dims.current_step)
        self._show_hand()
        for name, call in self._calls().items():
            getattr(layer.events, name).connect(call)
        self.select()

    def _calls(self) -> dict[str, Any]:
        return {
            "paint": self._stroke,
            "labels_update": self._part,
            "set_data": self._filled,
            "data": self._replaced,
            "mode": self._mode,
            "selected_label": self._class_taken,
            "preserve_labels": self._overwrite_changed,
        }

    def leave(self) -> None:
        """Hear of the layer no longer; what was not heard of yet is looked for in all of it."""
        if self.layer is None:
            return
        for name, call in self._calls().items():
            getattr(self.layer.events, name).disconnect(call)
        self.settle()
        self.layer = None

    def settle(self) -> None:
        """Look in all of the layer for what nobody told of: a script that wrote into its array."""
        self._soon.stop()
        self._late = []
        if self.layer is not None:
            self._labelling.look_at(Box((0, 0, 0), self.layer.data.shape), self.tool or "paint")

    def remove(self) -> None:
        """Take the layer away, and with it what could be undone in it."""
        case = self._labelling.case
        name = layers_.layer_name(case.case_id, "labels") if case is not None else ""
        self.leave()
        layer = layers_.find_own(self._viewer, name)
        if layer is not None:
            layers_.remove_own(self._viewer, [layer])

    def select(self) -> None:
        """Make it the layer that napari's tools work on, drawn over the scan."""
        if self.alive and self._viewer.layers.selection.active is not self.layer:
            self._viewer.layers.selection = {self.layer}

    def recolour(self, hidden: Iterable[int] = ()) -> None:
        """Classes were added, have other colours, or are hidden."""
        if self.layer is None:
            return
        from napari.utils.colormaps import DirectLabelColormap

        colours = layers_.class_colours(self._workbench.classes)
        colours.update((value, "transparent") for value in hidden)
        self.layer.colormap = DirectLabelColormap(color_dict=colours)

    def set_editable(self, on: bool) -> None:
        if self.layer is not None and self.layer.editable != on:
            self.layer.editable = on

    # -- ours -----------------------------------------------------------------------------------------------------
    @contextmanager
    def stroke(self, tool: str) -> Iterator[None]:
        """What is written meanwhile is one stroke: one Ctrl+Z takes it back."""
        assert self.layer is not None
        self._tool, before = tool, self._tool
        try:
            with self.layer.block_history():
                yield
        finally:
            self._tool = before

    def write(self, boxes: Iterable[tuple[Sequence[int], np.ndarray]]) -> int:
        """Give boxes, each a start (z, y, x) and values, to the layer; returns how many voxels have changed."""
        layer, voxels = self.layer, 0
        if layer is None or not layer.editable:
            return 0
        for start, values in boxes:
            now = layer.data[tuple(slice(low, low + length) for low, length in zip(start, values.shape, strict=True))]
            places = np.nonzero(now != values)
            if places[0].size:
                voxels += places[0].size
                indices = tuple(part + low for part, low in zip(places, start, strict=True))
                layer.data_setitem(indices, values[places].astype(layer.data.dtype))
        return voxels

    # -- hearing --------------------------------------------------------------------------------------------------
    def _stroke(self, event: Any) -> None:
        """A stroke is done (or, written by ``data_setitem`` alone, is about to be)."""
        box = box_of(event.value)
        if box is None or not isalive(self):
            return
        self._look_late()
        change = self._look(box, stroke=True)
        if change is None:
            self._late.append(box)
            self._soon.start(0)

    def _part(self, event: Any) -> None:
        """Something was drawn in what is shown: a part of a stroke."""
        if not isalive(self) or self.layer is None:
            return
        self._look_late()
        dims, layer = self._viewer.dims, self.layer
        more = dims.ndim - 3
        start = [round(value) for value in np.asarray(layer.world_to_data(dims.point))[-3:]]
        reach = 0 if layer.n_edit_dimensions < 3 else int(np.ceil(layer.brush_size / 2)) + 1
        stop = [value + 1 + reach for value in start]
        start = [value - reach for value in start]
        shown = [axis - more for axis in dims.displayed]
        for axis, low, length in zip(shown, event.offset, np.shape(event.data), strict=True):
            start[axis], stop[axis] = int(low), int(low) + int(length)
        self._look(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))

    def _filled(self, event: Any = None) -> None:
        """The layer was filled again: by an undo, where the slider has not moved."""
        if self._quiet or not isalive(self):
            return
        here = tuple(self._viewer.dims.current_step)
        if here == self._shown:
            self._look_late()
            self._show_kept(self._labelling.look_for_undo())
        self._shown = here

    def _replaced(self, event: Any = None) -> None:
        if self.layer is not None and isalive(self) and self.layer.data.shape == self._labelling.labels_shape:
            self._labelling.replaced(self.layer.data)

    def _look(self, box: Box, *, stroke: bool = False) -> Change | None:
        change = self._labelling.look_at(box, self.tool or "paint", stroke=stroke)
        self._show_kept([change] if change is not None else [])
        return change

    def _show_kept(self, changes: Sequence[Change]) -> None:
        """Draw anew where voxels of a protected class were put back."""
        if self.layer is not None and any(change.kept for change in changes):
            self._quiet = True
            try:
                self.layer.refresh(extent=False)
            finally:
                self._quiet = False

    def _look_late(self) -> None:
        late, self._late = self._late, []
        for box in late:
            self._look(box)

    # -- the class in hand ----------------------------------------------------------------------------------------
    def _show_hand(self) -> None:
        layer, hand = self.layer, self._labelling
        if layer is None or not isalive(self):
            return
        if layer.selected_label != hand.value:
            layer.selected_label = hand.value
        if layer.preserve_labels == hand.overwrite:
            layer.preserve_labels = not hand.overwrite

    def _class_taken(self, event: Any = None) -> None:
        if self.layer is not None and isalive(self) and self.layer.selected_label:
            self._labelling.take(int(self.layer.selected_label))

    def _overwrite_changed(self, event: Any = None) -> None:
        if self.layer is not None and isalive(self):
            self._labelling.set_overwrite(not self.layer.preserve_labels)

    def _mode(self, event: Any = None) -> None:
        if self.layer is not None and isalive(self):
            self.mode_changed.emit(str(self.layer.mode))
