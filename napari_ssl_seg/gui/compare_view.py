"""The layers of a comparison: a cell of the grid for each method, or all over each other, or one after the other.

Each cell has an image, labels, errors and a caption: a point on every slice whose text napari shows with the slice, so
that nothing needs to be called when the slider moves. The cells come first in the layer list, because napari's grid
counts layers from the first; other layers are hidden meanwhile and shown again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.style import mix, theme_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points

    from napari_ssl_seg.study import ClassInfo
    from napari_ssl_seg.workbench.compared_case import CaseComparison

Mode = Literal["side by side", "overlay", "blink"]
MODES: tuple[Mode, ...] = ("side by side", "overlay", "blink")
ERROR_COLORS: dict[int | None, str] = {1: "#D81B60", 2: "#1E88E5", 3: "#FFC107"}
"""Missed, extra, other class: fixed, and told apart with every kind of colour vision."""
ERROR_WORDS = {1: "missed", 2: "extra", 3: "other class"}
REFERENCE = "reference"
REFERENCE_COLOR = "#9AA0AA"
GROUP = "compare"
CAPTION_MARGINS = {1: 0.16, 2: 0.24, 3: 0.36}
"""By rows of cells: the share of a cell left free beside the image, so that three lines of text fit above it."""
CAPTION_SHIFT = 28
"""Pixels by which the image is moved down, so that most of that share is above it."""


@dataclass
class _Cell:
    """What one cell shows."""

    title: str
    color: str
    labels: np.ndarray | None
    errors: np.ndarray | None
    captions: list[str]
    lines: list[str]
    """The caption in one line, for the overlay."""
    is_reference: bool = False


@dataclass
class _Layers:
    """The layers of one cell; errors only while they are looked at."""

    cell: _Cell
    image: Image
    labels: Labels
    errors: Labels | None
    captions: Points

    @property
    def all(self) -> list[Layer]:
        return [layer for layer in (self.image, self.labels, self.errors, self.captions) if layer is not None]


class CompareView:
    """Shows a `CaseComparison` in a viewer, and puts everything back when it is left."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._hidden: WeakKeyDictionary[Layer, bool] = WeakKeyDictionary()
        self._layers: list[_Layers] = []
        self._last: tuple[Any, ...] | None = None
        self._mode: Mode = "side by side"
        self._errors = False
        self._blink = 0
        self._syncing = False

    @property
    def shown(self) -> bool:
        """Whether a comparison is in the viewer."""
        return bool(self._layers)

    @property
    def titles(self) -> list[str]:
        """What the cells are called, in their order."""
        return [group.cell.title for group in self._layers]

    @property
    def front(self) -> str | None:
        """Whose turn it is while blinking."""
        return self._layers[self._blink].cell.title if self._layers and self._mode == "blink" else None

    def show(
        self,
        case: CaseComparison,
        classes: Sequence[ClassInfo],
        *,
        mode: Mode = "side by side",
        errors: bool = False,
        label: int | None = None,
    ) -> None:
        """Show a comparison; layers of an earlier one are filled again where they can be."""
        self._mode, self._errors, self._last = mode, errors, (case, classes, label)
        cells = _cells(case, label)
        placement = _placement(case)
        contrast = layers_.robust_range(case.image)
        known = layers_.own_layers(self._viewer, group=GROUP)
        if known:
            contrast = next(
                (tuple(layer.contrast_limits) for layer in known if hasattr(layer, "contrast_limits")), contrast
            )
        self._layers = [self._fill(cell, case, classes, placement, contrast) for cell in cells]
        wanted = [layer for group in self._layers for layer in group.all]
        layers_.remove_own(self._viewer, [layer for layer in known if layer not in wanted])
        self._order(wanted)
        self._hide_others(wanted)
        self._blink = min(self._blink, max(0, len(cells) - 1))
        self._arrange()
        if self._layers:
            self._viewer.layers.selection.active = self._layers[0].image

    def set_mode(self, mode: Mode) -> None:
        """Side by side, overlay or blink."""
        if mode != self._mode:
            self._mode = mode
            self._arrange()

    def set_errors(self, errors: bool) -> None:
        """Show what is wrong instead of what was predicted."""
        if errors != self._errors and self._last is not None:
            case, classes, label = self._last
            self.show(case, classes, mode=self._mode, errors=errors, label=label)

    def step_blink(self) -> str | None:
        """Bring the next method to the front; returns its title."""
        if self._mode == "blink" and self._layers:
            self._blink = (self._blink + 1) % len(self._layers)
            self._arrange(reset=False)
        return self.front

    def leave(self) -> None:
        """Take the comparison away and show what was there before."""
        layers_.remove_own(self._viewer, layers_.own_layers(self._viewer, group=GROUP))
        self._layers, self._last = [], None
        if self._viewer.canvas.grid.enabled:  # type: ignore[attr-defined]
            self._viewer.canvas.grid.enabled = False  # type: ignore[attr-defined]
            self._viewer.reset_view()
        for layer, visible in list(self._hidden.items()):
            if layer in self._viewer.layers:
                layer.visible = visible
        self._hidden.clear()

    # -- layers ---------------------------------------------------------------------------------------------------
    def _fill(
        self, cell: _Cell, case: CaseComparison, classes: Sequence[ClassInfo], placement: dict[str, Any], contrast: Any
    ) -> _Layers:
        name = layers_.layer_name(case.case_id, "compare", cell.title)

        def tag(role: str) -> dict[str, str]:
            return {"case": case.case_id, "role": role, "group": GROUP}

        viewer, empty = self._viewer, np.zeros(case.image.shape, np.uint8)
        known = layers_.find_own(viewer, f"{name} | image") is not None
        image = layers_.show_image(
            viewer, f"{name} | image", case.image, placement=placement, tag=tag("image"), contrast=contrast
        )
        labels = layers_.show_labels(
            viewer,
            name,
            empty if cell.labels is None else cell.labels,
            placement=placement,
            tag=tag("labels"),
            colours=layers_.class_colours(classes),
        )
        errors = None
        if self._errors:
            errors = layers_.show_labels(
                viewer,
                f"{name} | errors",
                empty if cell.errors is None else cell.errors,
                placement=placement,
                tag=tag("errors"),
                colours={None: "transparent", 0: "transparent", **ERROR_COLORS},
                opacity=0.75,
            )
        if not known:
            image.events.contrast_limits.connect(self._share_contrast)
        _frame(image, cell.color)
        return _Layers(
            cell, image, labels, errors, self._captions(f"{name} | scores", cell, case, placement, tag("scores"))
        )

    def _captions(
        self, name: str, cell: _Cell, case: CaseComparison, placement: dict[str, Any], tag: dict[str, str]
    ) -> Points:
        """A point at the corner of each slice, with the cell's text."""
        positions = np.zeros((case.n_slices, 3))
        positions[:, case.axis] = np.arange(case.n_slices)
        others = [axis for axis in range(3) if axis != case.axis]
        positions[:, others] = -0.5
        known = layers_.find_own(self._viewer, name)
        if known is not None and len(known.data) == case.n_slices and np.array_equal(known.data, positions):
            return known  # type: ignore[return-value]
        if known is not None:
            self._viewer.layers.remove(known)
        return self._viewer.add_points(  # type: ignore[attr-defined]
            positions,
            name=name,
            features={"caption": cell.captions},
            size=0.01,
            face_color="transparent",
            border_color="transparent",
            text={
                "string": "{caption}",
                "size": 9,
                "color": mix(cell.color, theme_colours(str(self._viewer.theme))["text"], 0.4),
                "anchor": "upper_left",  # above the image: on it, no colour is legible on every scan
            },
            **{key: value for key, value in placement.items() if key != "metadata"},
            metadata={**placement.get("metadata", {}), layers_.KEY: tag},
        )

    def _share_contrast(self, event: Any) -> None:
        if self._syncing:
            return
        self._syncing = True
        try:
            for group in self._layers:
                if group.image is not event.source:
                    group.image.contrast_limits = event.source.contrast_limits
        finally:
            self._syncing = False

    def _order(self, wanted: list[Layer]) -> None:
        current = list(self._viewer.layers)
        if current[: len(wanted)] != wanted:
            for target, layer in enumerate(wanted):
                source = self._viewer.layers.index(layer)
                if source != target:
                    self._viewer.layers.move(source, target)

    def _hide_others(self, wanted: list[Layer]) -> None:
        for layer in self._viewer.layers:
            if layer not in wanted and layer not in self._hidden:
                self._hidden[layer] = layer.visible
                layer.visible = False

    # -- arranging ------------------------------------------------------------------------------------------------
    def _arrange(self, *, reset: bool = True) -> None:
        grid = self._viewer.canvas.grid  # type: ignore[attr-defined]
        side_by_side = self._mode == "side by side"
        over = self._mode == "overlay"
        for index, group in enumerate(self._layers):
            front = side_by_side or (self._mode == "blink" and index == self._blink)
            wrong = group.errors is not None and group.cell.errors is not None
            _visible(group.image, front or (over and index == 0))
            _visible(group.labels, (front and not wrong) or over)
            if group.errors is not None:
                _visible(group.errors, front and wrong)
            _visible(group.captions, front or over)
            _outline(group.labels, group.cell, over)
            # over each other: one line each, stacked by the empty lines of those that come below
            below = "\n " * (len(self._layers) - 1 - index)
            _caption(group.captions, [line + below for line in group.cell.lines] if over else group.cell.captions)
        rows = 1
        if side_by_side:
            rows, columns = grid_shape(len(self._layers))
            changed = not grid.enabled or tuple(grid.shape) != (rows, columns)
            grid.stride, grid.shape, grid.spacing = len(self._layers[0].all) if self._layers else 1, (rows, columns), 4
            grid.enabled = True
        else:
            changed = bool(grid.enabled)
            grid.enabled = False
        if reset and changed:
            self._leave_room(rows)

    def _leave_room(self, rows: int) -> None:
        """Fit the view so that the captions stand above the images and not on them."""
        self._viewer.reset_view(margin=CAPTION_MARGINS[min(rows, max(CAPTION_MARGINS))])
        camera = self._viewer.scene.camera  # type: ignore[attr-defined]
        z, y, x = camera.center
        camera.center = (z, y - CAPTION_SHIFT / camera.zoom, x)


def grid_shape(cells: int) -> tuple[int, int]:
    """Rows and columns for so many cells: as square as they go, wide rather than high."""
    columns = max(1, int(np.ceil(np.sqrt(cells))))
    return max(1, int(np.ceil(cells / columns))), columns


def _cells(case: CaseComparison, label: int | None) -> list[_Cell]:
    numbers, cells = range(case.n_slices), []
    if case.reference is not None:
        lines = [f"{REFERENCE}\nslice {index}" for index in numbers]
        cells.append(_Cell(REFERENCE, REFERENCE_COLOR, case.reference, None, lines, [REFERENCE] * case.n_slices, True))
    for index, method in enumerate(case.methods):
        captions = case.captions(index, label)
        lines = ["  ".join(caption.split("\n")[:2]) for caption in captions]
        cells.append(_Cell(method.entry.title, method.entry.color, method.labels, method.errors, captions, lines))
    for entry in case.missing:
        lines = [f"{entry.title}\nnot predicted yet"] * case.n_slices
        cells.append(_Cell(entry.title, entry.color, None, None, lines, [line.replace("\n", ": ") for line in lines]))
    return cells


def _caption(points: Points, captions: list[str]) -> None:
    if list(points.features["caption"]) != captions:
        points.features = {"caption": captions}


def _placement(case: CaseComparison) -> dict[str, Any]:
    from napari_ssl_seg.volumes import layer_kwargs

    return dict(layer_kwargs(case.geometry))


def _visible(layer: Layer, visible: bool) -> None:
    if layer.visible != visible:
        layer.visible = visible


def _frame(image: Image, color: str) -> None:
    """A thin frame in the method's colour."""
    box = image.bounding_box
    box.points, box.line_color, box.line_thickness, box.visible = False, color, 2, True


def _outline(labels: Labels, cell: _Cell, over: bool) -> None:
    """In the overlay the reference stays filled, and each method is an outline in its own colour."""
    from napari.utils.colormaps import DirectLabelColormap

    outlined = over and not cell.is_reference
    key = "napari_ssl_seg_colours"
    if outlined and key not in labels.metadata:
        labels.metadata[key] = labels.colormap
        labels.contour = 1
        labels.opacity = 1.0
        labels.colormap = DirectLabelColormap(color_dict={None: cell.color, 0: "transparent"})
    elif not outlined and key in labels.metadata:
        labels.contour = 0
        labels.opacity = 0.5
        labels.colormap = labels.metadata.pop(key)
