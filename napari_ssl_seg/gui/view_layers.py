"""The views of a pretext as layers of the open case: at the place where the patch was cut, reused and never piled up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.gui import layers as layers_

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_ssl_seg.workbench.pretexts import InspectionAnswer, Picture

GROUP = "pretext"
DIMMED = 0.45


class ViewLayers:
    """Layers named ``CASE | METHOD | VIEW``; one set at a time."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._opacity: dict[str, float] = {}
        self._hidden: list[Layer] = []
        self._aside: list[Layer] = []

    # -- showing --------------------------------------------------------------------------------------------------
    def show(self, answer: InspectionAnswer) -> None:
        """Show an answer: what the network gets is visible at first, the rest a click away."""
        request = answer.request
        self.dim(False)
        wanted = {self.name(answer, picture) for picture in answer.pictures if picture.array is not None}
        old = self.layers()
        layers_.remove_own(self._viewer, [layer for layer in old if layer.name not in wanted])
        fresh = not any(layer.name in wanted for layer in old)
        first_output = next((picture.name for picture in answer.pictures if picture.output), None)
        selected = list(self._viewer.layers.selection)
        for picture in answer.pictures:
            if picture.array is None:
                continue
            known = any(layer.name == self.name(answer, picture) for layer in old)
            # What the network gets is shown at first; once a run is chosen, what it makes of that.
            shown = None if known else picture.name == (first_output if picture.output and not fresh else answer.front)
            self._show_one(answer, picture, shown, request.case_id)
        if selected and all(layer in self._viewer.layers for layer in selected):
            self._viewer.layers.selection = set(selected)

    def _show_one(self, answer: InspectionAnswer, picture: Picture, visible: bool | None, case_id: str) -> None:
        tag = {"case": case_id, "group": GROUP, "role": picture.name}
        common: dict[str, Any] = {"placement": answer.placement, "tag": tag, "visible": visible}
        name, array = self.name(answer, picture), picture.array
        assert array is not None
        if picture.kind == "image":
            layers_.show_image(self._viewer, name, array, contrast=picture.limits, **common)
        elif picture.kind == "mask":
            layers_.show_mask(self._viewer, name, array, **common)
        elif picture.kind == "labels":
            layers_.show_labels(self._viewer, name, array, colours=layers_.view_colours(array), opacity=0.7, **common)
        elif picture.kind == "points":
            layers_.show_points(self._viewer, name, array, **common)
        else:
            layers_.show_boxes(self._viewer, name, array, **common)

    @staticmethod
    def name(answer: InspectionAnswer, picture: Picture) -> str:
        """``hippocampus_003 | simmim | masked``."""
        return layers_.layer_name(answer.request.case_id, answer.request.method, picture.name.replace("_", " "))

    def layers(self) -> list[Layer]:
        """Those that are shown or hidden now."""
        return layers_.own_layers(self._viewer, group=GROUP)

    def clear(self) -> None:
        """Take all of them away."""
        self._opacity, self._hidden, self._aside = {}, [], []
        layers_.remove_own(self._viewer, self.layers())

    # -- which one is in front ------------------------------------------------------------------------------------
    def find(self, view: str) -> Layer | None:
        """The layer of a view."""
        return next((layer for layer in self.layers() if (layers_.layer_tag(layer) or {}).get("role") == view), None)

    def bring_to_front(self, view: str) -> None:
        """Show a view on top of all."""
        layer = self.find(view)
        if layer is None:
            return
        layer.visible = True
        last = len(self._viewer.layers) - 1
        index = self._viewer.layers.index(layer)
        if index != last:
            self._viewer.layers.move(index, last + 1)
        self._viewer.layers.selection = {layer}

    def show_alone(self, view: str) -> None:
        """Hide every other layer of ours; asked for again, show them as they were."""
        layer = self.find(view)
        if layer is None:
            return
        others = [other for other in layers_.own_layers(self._viewer) if other is not layer and other.visible]
        if others:
            self._hidden = others
            for other in others:
                other.visible = False
        else:
            for other in self._hidden:
                if other in self._viewer.layers:
                    other.visible = True
            self._hidden = []
        layer.visible = True

    def visible_views(self) -> list[str]:
        """Names of the views that are visible."""
        return [str((layers_.layer_tag(layer) or {}).get("role")) for layer in self.layers() if layer.visible]

    # -- while another tab is looked at ---------------------------------------------------------------------------
    def set_aside(self) -> None:
        """Hide them all, and remember which were visible."""
        self._aside = [layer for layer in self.layers() if layer.visible]
        for layer in self._aside:
            layer.visible = False

    def bring_back(self) -> None:
        """Show again what was set aside."""
        for layer in self._aside:
            if layer in self._viewer.layers:
                layer.visible = True
        self._aside = []

    # -- while a new one is made ----------------------------------------------------------------------------------
    def dim(self, dimmed: bool) -> None:
        """Draw what is shown paler, or as it was."""
        if dimmed:
            for layer in self.layers():
                if layer.name not in self._opacity and layer.visible:
                    self._opacity[layer.name] = layer.opacity
                    layer.opacity = layer.opacity * DIMMED
            return
        for layer in self.layers():
            if layer.name in self._opacity:
                layer.opacity = self._opacity[layer.name]
        self._opacity = {}

    def follow(self, world_z: float) -> None:
        """Take one-slice layers along to another slice, until what belongs there is ready."""
        for layer in self.layers():
            if layer.visible and layer.ndim == 3 and _one_slice(layer):
                layer.translate = (world_z, *layer.translate[1:])


def _one_slice(layer: Layer) -> bool:
    shape = getattr(layer.data, "shape", None)
    return shape is not None and len(shape) == 3 and shape[0] == 1
