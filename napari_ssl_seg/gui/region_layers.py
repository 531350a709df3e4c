"""Regions of the shown slice as label layers, one a source: outlined or filled, reused and never piled up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.gui import layers as layers_

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_ssl_seg.workbench.regions import RegionsAnswer, SourceRegions

GROUP = "regions"
COLOURS = {"sam": "#e69f00", "felzenszwalb": "#56b4e9", "slic": "#f0e442", "masks": "#cc79a7"}
"""One colour a source for its outlines; the layer's name says which it is, too."""
OUTLINE, FILLED = 0.9, 0.45
FINE, MOST = 384, 8
"""Label maps of small slices are drawn enlarged to about so many pixels, at most so many times: outlines are one pixel of
the map wide, which is a bar where the slice has but forty."""


class RegionLayers:
    """Layers named ``CASE | regions | SOURCE``."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._aside: list[Layer] = []
        self._shown: dict[str, tuple[SourceRegions, str, Mapping[str, Any]]] = {}
        self._unmade: set[str] = set()
        self.outlined = True

    def layers(self) -> list[Layer]:
        """Those that are there."""
        return layers_.own_layers(self._viewer, group=GROUP)

    def find(self, source: str) -> Layer | None:
        """The layer of a source."""
        return next((layer for layer in self.layers() if _source(layer) == source), None)

    def show(self, answer: RegionsAnswer) -> None:
        """Show what was found, each source in its layer; hide that of a source that has not looked at the slice."""
        for found in answer.found:
            if found.labels is None:
                self._hide(found.source)
            else:
                self._show(found, answer.request.case_id, answer.placement)

    def set_outlined(self, outlined: bool) -> None:
        """Outlines in the colour of the source, or regions filled in colours of their own."""
        if outlined == self.outlined:
            return
        self.outlined = outlined
        for found, case_id, placement in list(self._shown.values()):
            layer = self.find(found.source)
            if layer is not None:
                layer.opacity = OUTLINE if outlined else FILLED
                self._show(found, case_id, placement)

    def _show(self, found: SourceRegions, case_id: str, placement: Mapping[str, Any]) -> None:
        assert found.labels is not None
        known = self.find(found.source)
        name = layers_.layer_name(case_id, "regions", found.source)
        if known is not None and known.name != name:
            layers_.remove_own(self._viewer, [known])
            known = None
        data, placed = enlarged(found.labels, placement)
        colours: dict[int | None, Any] = {None: COLOURS[found.source], 0: "transparent"}
        layer = layers_.show_labels(
            self._viewer,
            name,
            data,
            placement=placed,
            tag={"case": case_id, "group": GROUP, "role": found.source, "source": found.title},
            colours=colours if self.outlined else layers_.view_colours(data),
            contour=1 if self.outlined else 0,
            opacity=OUTLINE if self.outlined else FILLED,
            features=found.columns,
            visible=True if found.source in self._unmade else None,
        )
        self._unmade.discard(found.source)
        self._shown[found.source] = (found, case_id, placement)
        if known is None:
            self._viewer.layers.selection = {layer}  # the status bar tells about the selected layer

    def _hide(self, source: str) -> None:
        layer = self.find(source)
        if layer is not None and layer.visible:
            layer.visible = False
            self._unmade.add(source)

    def remove(self, source: str) -> None:
        """Take a source's layer away."""
        self._shown.pop(source, None)
        self._unmade.discard(source)
        layer = self.find(source)
        if layer is not None:
            layers_.remove_own(self._viewer, [layer])

    def clear(self) -> None:
        """Take all of them away."""
        self._shown, self._aside = {}, []
        self._unmade.clear()
        layers_.remove_own(self._viewer, self.layers())

    def to_front(self) -> None:
        """Draw them over everything else; the selection stays."""
        own = self.layers()
        count = len(self._viewer.layers)
        if own and list(self._viewer.layers)[count - len(own) :] != own:
            selected = set(self._viewer.layers.selection)
            for layer in own:
                self._viewer.layers.move(self._viewer.layers.index(layer), count)
            self._viewer.layers.selection = selected

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


def enlarged(labels: np.ndarray, placement: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """A label map (y, x) as (1, Y, X), a small one a whole number of times as large, and where it then lies."""
    times = max(1, min(MOST, FINE // max(1, *labels.shape)))
    data = layers_.compact(labels)
    if times > 1:
        data = data.repeat(times, axis=0).repeat(times, axis=1)
    (z, y, x), (dz, dy, dx) = placement["translate"], placement["scale"]
    shift = 0.5 - 0.5 / times
    placed = {
        **placement,
        "scale": (dz, dy / times, dx / times),
        "translate": (z, y - shift * dy, x - shift * dx),
    }
    return data[None], placed


def _source(layer: Layer) -> Any:
    return (layers_.layer_tag(layer) or {}).get("role")
