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
from napari_ssl_seg.gui.compare_captions import PADDING, TEXT_POINTS, fitting_zoom, grid_shape, letters
from napari_ssl_seg.gui.style import mix, theme_colours
from napari_ssl_seg.workbench.compared_case import BEST

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


@dataclass
class _Cell:
    """What one cell shows."""

    title: str
    color: str
    labels: np.ndarray | None
    errors: np.ndarray | None
    captions: list[str]
    lines: list[str]
    """What becomes one line for the overlay."""
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
        self._arranged: tuple[Any, ...] | None = None
        self._framed: WeakKeyDictionary[Layer, tuple[Any, ...]] = WeakKeyDictionary()

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
        self._layers, self._last, self._arranged = [], None, None
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
                "size": TEXT_POINTS,
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
    def fit(self) -> None:
        """The canvas has another size: arrange the cells and write the captions as they have room now."""
        if self._layers:
            self._arrange()

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
        height, width = self._viewer.canvas.size  # type: ignore[attr-defined]
        rows, columns = 1, 1
        if side_by_side:
            rows, columns = grid_shape(len(self._layers), (height, width), self._image_size(), letters().line)
            grid.stride, grid.shape, grid.spacing = len(self._layers[0].all) if self._layers else 1, (rows, columns), 4
        grid.enabled = side_by_side
        lines, widest = self._write_captions(width / columns - 2 * PADDING)
        arranged = (self._mode, rows, columns, lines, tuple(id(group.image) for group in self._layers))
        if arranged != self._arranged:
            if reset and (self._arranged is None or arranged[:4] != self._arranged[:4]):
                self._leave_room((height / rows, width / columns), lines, widest)
            self._arranged = arranged
        self._frame()

    def _frame(self) -> None:
        """A thin frame in each method's colour.

        napari clips a frame to the cell in which it was made first: after another arrangement it would be cut off.
        """
        from napari.components.overlays import BoundingBoxOverlay

        grid = self._viewer.canvas.grid  # type: ignore[attr-defined]
        place = (grid.enabled, tuple(grid.shape), grid.stride, tuple(self._viewer.canvas.size))  # type: ignore[attr-defined]
        for group in self._layers:
            wanted = (*place, group.cell.color)
            if self._framed.get(group.image) != wanted:
                self._framed[group.image] = wanted
                group.image._overlays.pop("bounding_box", None)  # an equal one would not be taken for another
                group.image._overlays["bounding_box"] = BoundingBoxOverlay(
                    points=False, line_color=group.cell.color, line_thickness=2, visible=True
                )
                group.image.events.scale()  # what is new on a layer is half a voxel off until it is placed again

    def _write_captions(self, room: float) -> tuple[int, float]:
        """Write what so many pixels have room for; return lines and pixels that are needed above an image."""
        most, widest = 1, 0.0
        for index, group in enumerate(self._layers):
            if self._mode == "overlay":
                # over each other: one line each, stacked by the empty lines of those that come below
                below = "\n " * (len(self._layers) - 1 - index)
                captions = [letters().one_line(line, room) + below for line in group.cell.lines]
            else:
                captions = [letters().wrapped(caption, room) for caption in group.cell.captions]
            _caption(group.captions, captions)
            most = max(most, *(caption.count("\n") + 1 for caption in captions))
            middle = captions[len(captions) // 2]  # one slice stands for all: names and numbers are as long on each
            widest = max(widest, *(letters().width(line) for line in middle.split("\n")))
        return most, widest

    def _image_size(self) -> tuple[float, float]:
        """Height and width of the image as it is shown, in units of the world."""
        if not self._layers:
            return 1.0, 1.0
        low, high = self._layers[0].image.extent.world
        step = self._layers[0].image.extent.step
        down, across = list(self._viewer.dims.displayed)[-2:]
        return float(high[down] - low[down] + step[down]), float(high[across] - low[across] + step[across])

    def _leave_room(self, view: tuple[float, float], lines: int, widest: float) -> None:
        """Fit the view so that the captions stand above the images, from their left edges on, and within the cells."""
        self._viewer.reset_view()
        text = lines * letters().line
        camera = self._viewer.scene.camera  # type: ignore[attr-defined]
        camera.zoom = fitting_zoom(view, self._image_size(), text)
        z, y, x = camera.center
        beside = (view[1] - self._image_size()[1] * camera.zoom) / 2
        aside = max(0.0, beside - max(PADDING, view[1] - PADDING - widest))
        camera.center = (z, y - text / 2 / camera.zoom, x + aside / camera.zoom)


def _cells(case: CaseComparison, label: int | None) -> list[_Cell]:
    numbers, cells = range(case.n_slices), []
    if case.reference is not None:
        lines = [f"{REFERENCE}\nslice {index}" for index in numbers]
        cells.append(_Cell(REFERENCE, REFERENCE_COLOR, case.reference, None, lines, [REFERENCE] * case.n_slices, True))
    for index, method in enumerate(case.methods):
        captions = [_whole_title(caption, method.entry.title) for caption in case.captions(index, label)]
        cells.append(_Cell(method.entry.title, method.entry.color, method.labels, method.errors, captions, captions))
    for entry in case.missing:
        lines = [f"{entry.title}\nnot predicted yet"] * case.n_slices
        cells.append(_Cell(entry.title, entry.color, None, None, lines, lines))
    return cells


def _whole_title(caption: str, title: str) -> str:
    """How much of a title there is room for is known when it is drawn."""
    head, _, rest = caption.partition("\n")
    return f"{f'{BEST} ' if head.startswith(BEST) else ''}{title}\n{rest}"


def _caption(points: Points, captions: list[str]) -> None:
    if list(points.features["caption"]) != captions:
        points.features = {"caption": captions}


def _placement(case: CaseComparison) -> dict[str, Any]:
    from napari_ssl_seg.volumes import layer_kwargs

    return dict(layer_kwargs(case.geometry))


def _visible(layer: Layer, visible: bool) -> None:
    if layer.visible != visible:
        layer.visible = visible


def _outline(labels: Labels, cell: _Cell, over: bool) -> None:
    """In the overlay the reference stays filled, and each method is an outline in its own colour."""
    from napari.utils.colormaps import DirectLabelColormap

    outlined = over and not cell.is_reference
    key = "napari_ssl_seg_colours"
    # Filled again with another case, the layer has the colours of the classes again.
    in_one_colour = set(labels.colormap.color_dict) <= {None, 0}
    if outlined and not in_one_colour:
        labels.metadata[key] = labels.colormap
        labels.contour = 1
        labels.opacity = 1.0
        labels.colormap = DirectLabelColormap(color_dict={None: cell.color, 0: "transparent"})
    elif not outlined and key in labels.metadata:
        labels.contour = 0
        labels.opacity = 0.5
        colours = labels.metadata.pop(key)
        if in_one_colour:
            labels.colormap = colours
