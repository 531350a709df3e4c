"""The open case in the viewer: its image and labels as layers, and the slider tied to the workbench's slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.workers import LatestOnly

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench

SLICE_DELAY = 30
GROUP = "case"
OBLIQUE = "lies obliquely in the patient: it is shown squared, and what is saved of it keeps its true place"


class CaseView(QObject):
    """Follows the workbench's case and slice, and tells it where the slider stands."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self._moving = False
        self._reader = LatestOnly(read_case, self._show, workbench.fail, owner=self)
        self._slider = QTimer(self)
        self._slider.setSingleShot(True)
        self._slider.setInterval(SLICE_DELAY)
        self._slider.timeout.connect(self._slider_moved)
        self._following = False
        self.follow()

    @property
    def busy(self) -> bool:
        """Whether a case is being read."""
        return self._reader.busy

    def follow(self) -> None:
        """Follow workbench and slider (again)."""
        if self._following:
            return
        self._following = True
        self._workbench.case_changed.connect(self._case_changed)
        self._workbench.slice_changed.connect(self._slice_changed)
        self._viewer.dims.events.current_step.connect(self._step_changed)

    def close(self) -> None:
        """Follow nothing any more."""
        if not self._following:
            return
        self._following = False
        self._slider.stop()
        self._workbench.case_changed.disconnect(self._case_changed, missing_ok=True)
        self._workbench.slice_changed.disconnect(self._slice_changed, missing_ok=True)
        self._viewer.dims.events.current_step.disconnect(self._step_changed)
        self._reader.drop()

    def image_layer(self) -> Layer | None:
        """The (first) image layer of the open case."""
        case_id = self._workbench.case_id
        found = layers_.own_layers(self._viewer, case=case_id, group=GROUP) if case_id is not None else []
        return next((layer for layer in found if (layers_.layer_tag(layer) or {}).get("role") == "image"), None)

    # -- the case -------------------------------------------------------------------------------------------------
    def _case_changed(self, case_id: str | None) -> None:
        if case_id is None:
            self._reader.drop()
            layers_.remove_own(self._viewer, layers_.own_layers(self._viewer))
            return
        self._reader.submit((self._workbench.require_study(), case_id), now=True)

    def _show(self, opened: OpenedCase) -> None:
        if opened.case_id != self._workbench.case_id or opened.study is not self._workbench.study:
            return
        others = [
            layer
            for layer in layers_.own_layers(self._viewer)
            if (layers_.layer_tag(layer) or {}).get("case") != opened.case_id
        ]
        layers_.remove_own(self._viewer, others)
        name, tag = opened.case_id, {"case": opened.case_id, "group": GROUP}
        for number, channel in enumerate(opened.channels):
            role = "image" if len(opened.channels) == 1 else f"image {number + 1}"
            layers_.show_image(
                self._viewer,
                layers_.layer_name(name, role),
                channel,
                placement=opened.placement,
                tag={**tag, "role": "image"},
                visible=number == 0,
            )
        known = layers_.find_own(self._viewer, layers_.layer_name(name, "labels"))
        if opened.labels is not None and (known is None or not known.editable):  # what is being drawn on is newer
            layers_.show_labels(
                self._viewer,
                layers_.layer_name(name, "labels"),
                opened.labels,
                placement=opened.placement,
                tag={**tag, "role": "labels"},
                colours=layers_.class_colours(self._workbench.classes),
            )
        self._look(opened)
        if opened.oblique:
            self._workbench.say(f"{opened.case_id} {OBLIQUE}")
        if opened.warnings:
            self._workbench.say(f"{opened.case_id}: {'; '.join(opened.warnings)}", "warning")
        self._workbench.case_shown.emit(opened.case_id)

    def _look(self, opened: OpenedCase) -> None:
        """Axial slices, fitting the canvas, at the slice that was last looked at or the best labelled one."""
        viewer = self._viewer
        if viewer.dims.ndisplay != 2:
            viewer.dims.ndisplay = 2
        viewer.dims.order = tuple(range(viewer.dims.ndim))
        if viewer.dims.ndim == 3:
            viewer.dims.axis_labels = ("z", "y", "x")
        if opened.best_slice is not None and not self._workbench.slice_was_chosen(opened.case_id):
            self._workbench.set_slice(opened.best_slice)
        self._slice_changed(self._workbench.slice_index)
        viewer.reset_view()

    # -- the slice ------------------------------------------------------------------------------------------------
    def _slice_changed(self, index: int) -> None:
        layer = self.image_layer()
        if layer is None:
            return
        world = float(layer.translate[-3] + index * layer.scale[-3])
        axis = self._slider_axis()
        if axis is not None and abs(self._viewer.dims.point[axis] - world) > 1e-3 * abs(layer.scale[-3]):
            self._moving = True
            try:
                self._viewer.dims.set_point(axis, world)
            finally:
                self._moving = False

    def _step_changed(self, event: Any = None) -> None:
        if not self._moving:
            self._slider.start()

    def _slider_moved(self) -> None:
        layer, axis = self.image_layer(), self._slider_axis()
        if layer is None or axis is None:
            return
        self._workbench.set_slice(round((self._viewer.dims.point[axis] - layer.translate[-3]) / layer.scale[-3]))

    def _slider_axis(self) -> int | None:
        """The axis from feet to head where it has a slider; None where it is drawn (3D, sagittal, coronal)."""
        axis = self._viewer.dims.ndim - 3
        return axis if axis >= 0 and axis not in self._viewer.dims.displayed else None


class OpenedCase:
    """A case as read for the viewer: plain arrays and where they lie."""

    def __init__(self, study: Study, case_id: str) -> None:
        from napari_ssl_seg.volumes import layer_kwargs

        self.study, self.case_id = study, case_id
        image = study.image(case_id, purpose="show")
        label = study.label(case_id, purpose="show")
        self.channels = [image.array] if image.array.ndim == 3 else list(image.array)
        self.placement = layer_kwargs(image.geometry)
        self.labels = None if label is None else layers_.compact(label.array)
        self.warnings, self.oblique = image.warnings, image.geometry.is_oblique
        self.best_slice: int | None = None
        if self.labels is not None:
            per_slice = np.count_nonzero(self.labels, axis=(1, 2))
            self.best_slice = int(per_slice.argmax()) if per_slice.any() else None


def read_case(question: tuple[Study, str]) -> OpenedCase:
    """Read image and labels of a case (in a worker)."""
    return OpenedCase(*question)
