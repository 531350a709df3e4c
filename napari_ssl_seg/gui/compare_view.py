"""The layers of a comparison: a cell of the grid for each method, or all over each other, or one after the other.

Each cell has an image, labels, and errors or distances while these are looked at; its numbers are text in its corner. The
cells come first in the layer list, because napari's grid counts layers from the first; other layers are hidden meanwhile
and shown again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.compare_captions import PADDING, TEXT_POINTS, fitting_zoom, grid_shape, letters
from napari_ssl_seg.gui.compare_cells import (
    DISTANCES,
    LABELS,
    Cell,
    Mode,
    cells_of,
    distance_colours,
    error_colours,
    outline,
    rank_colour,
)
from napari_ssl_seg.gui.compare_text import cell_text, drop_text
from napari_ssl_seg.gui.style import mix, theme_colours
from napari_ssl_seg.workbench.slice_numbers import SliceNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_ssl_seg.study import ClassInfo
    from napari_ssl_seg.workbench.compared_case import CaseComparison

GROUP = "compare"
LINES = 3
"""Of the words in a cell: name, slice, volume."""
STACKED = 1.4
"""Lines that each line takes where those of all cells stand over each other."""
USUAL = "Dice 0.000  ASSD 00.00 mm"


@dataclass
class CellLayers:
    """The layers of one cell; ``extra`` only while errors or distances are looked at."""

    cell: Cell
    image: Image
    labels: Labels
    extra: Labels | None

    @property
    def all(self) -> list[Layer]:
        return [layer for layer in (self.image, self.labels, self.extra) if layer is not None]

    @property
    def front(self) -> Labels:
        """What lies on the image."""
        return self.extra if self.extra is not None and self.cell.extra is not None else self.labels


class CompareView:
    """Shows a `CaseComparison` in a viewer, and puts everything back when it is left."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._hidden: WeakKeyDictionary[Layer, bool] = WeakKeyDictionary()
        self._layers: list[CellLayers] = []
        self._mode: Mode = "side by side"
        self._outlined = False
        self._pair: tuple[str, str] | None = None
        self._blink = 0
        self._index = 0
        self._room = 1.0
        self._syncing = False
        self._arranged: tuple[Any, ...] | None = None
        self._camera: tuple[Any, ...] | None = None
        self._placed: WeakKeyDictionary[Layer, tuple[Any, ...]] = WeakKeyDictionary()
        self._coloured: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()

    @property
    def shown(self) -> bool:
        """Whether a comparison is in the viewer."""
        return bool(self._layers)

    @property
    def cells(self) -> list[CellLayers]:
        """Cells with their layers, in their order."""
        return list(self._layers)

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
        what: str = LABELS,
        extras: Mapping[str, np.ndarray | None] | None = None,
        words: Mapping[int, str] | None = None,
        outlined: bool = False,
        pair: tuple[str, str] | None = None,
        numbers: SliceNumbers | None = None,
        index: int = 0,
    ) -> None:
        """Show a comparison; layers of an earlier one are filled again where they can be.

        Parameters
        ----------
        what, extras, words
            Labels, errors or distances; the latter's maps by a method's key, and what their values say.
        outlined
            Outlines instead of filled labels.
        pair
            Keys of the two cells that blink.
        """
        self._mode, self._outlined, self._pair, self._index = mode, outlined, pair, index
        active = self._viewer.layers.selection.active
        cells = cells_of(case, numbers if numbers is not None else SliceNumbers.of(case), extras or {})
        placement = _placement(case)
        known = layers_.own_layers(self._viewer, group=GROUP)
        images = [layer for layer in known if hasattr(layer, "contrast_limits")]
        contrast = tuple(images[0].contrast_limits) if images else layers_.robust_range(case.image)  # type: ignore[attr-defined]
        self._layers = [self._fill(cell, case, classes, placement, contrast, what, words) for cell in cells]
        wanted = [layer for group in self._layers for layer in group.all]
        layers_.remove_own(self._viewer, [layer for layer in known if layer not in wanted])
        self._order(wanted)
        self._hide_others(wanted)
        self._blink = min(self._blink, max(0, len(cells) - 1))
        if mode == "blink" and self._blink not in self._turns():
            self._blink = self._turns()[0]
        self._arrange()
        if wanted:  # napari chooses what was added last, and a stroke of the brush would land there
            self._viewer.layers.selection.active = active if active in wanted else wanted[0]

    def set_numbers(self, case: CaseComparison, numbers: SliceNumbers) -> None:
        """Say other numbers in the cells: a slice was scored anew."""
        by_key = {cell.key: cell for cell in cells_of(case, numbers, {})}
        for group in self._layers:
            fresh = by_key[group.cell.key]
            group.cell = Cell(**{**vars(group.cell), "text": fresh.text, "rank": fresh.rank, "labels": fresh.labels})
        self.set_slice(self._index)

    def set_slice(self, index: int) -> None:
        """Say the numbers of a slice."""
        self._index = index
        theme = theme_colours(str(self._viewer.theme))
        dark = sum(int(theme["background"][start : start + 2], 16) for start in (1, 3, 5)) < 384
        count = sum(group.cell.method is not None for group in self._layers)
        over = self._mode == "overlay"
        for group in self._layers:
            if not group.front.visible:
                continue
            overlay = cell_text(group.front)
            if overlay is None:
                return
            text = group.cell.text(index)
            if letters().width(USUAL) > self._room:  # narrow: name, Dice and ASSD take the three lines
                text = "\n".join(text.split("\n")[: LINES - 1])
            text = letters().one_line(text, self._room) if over else letters().wrapped(text, self._room)
            color = rank_colour(group.cell.rank(index), count, theme["text"], dark)
            if over and not group.cell.is_reference:
                color = mix(group.cell.color, theme["text"], 0.25)  # the outlines are told by it
            if self._coloured.get(group.front) != color:
                self._coloured[group.front] = color
                if overlay.text == text:
                    overlay.color = color
                else:  # painted once
                    with overlay.events.color.blocked():
                        overlay.color = color
            if overlay.text != text:
                overlay.text = text

    def step_blink(self) -> str | None:
        """Bring the next one to the front, of two where two are chosen; returns its title."""
        if self._mode == "blink" and self._layers:
            turns = self._turns()
            place = turns.index(self._blink) if self._blink in turns else -1
            self._blink = turns[(place + 1) % len(turns)]
            self._arrange(reset=False)
        return self.front

    def leave(self) -> None:
        """Take the comparison away and show what was there before."""
        layers_.remove_own(self._viewer, layers_.own_layers(self._viewer, group=GROUP))
        self._layers, self._arranged = [], None
        if self._viewer.canvas.grid.enabled:  # type: ignore[attr-defined]
            self._viewer.canvas.grid.enabled = False  # type: ignore[attr-defined]
            self._viewer.reset_view()
        for layer, visible in list(self._hidden.items()):
            if layer in self._viewer.layers:
                layer.visible = visible
        self._hidden.clear()

    # -- layers ---------------------------------------------------------------------------------------------------
    def _fill(
        self,
        cell: Cell,
        case: CaseComparison,
        classes: Sequence[ClassInfo],
        placement: dict[str, Any],
        contrast: Any,
        what: str,
        words: Mapping[int, str] | None,
    ) -> CellLayers:
        name = layers_.layer_name(case.case_id, "compare", cell.title)
        viewer, empty = self._viewer, np.zeros(case.image.shape, np.uint8)

        def tag(role: str) -> dict[str, str]:
            return {"case": case.case_id, "role": role, "group": GROUP, "key": cell.key}

        known = layers_.find_own(viewer, name)
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
            contour=getattr(known, "contour", 0),
            editable=cell.labels is not None,
        )
        extra = None
        if what != LABELS:
            extra = layers_.show_labels(
                viewer,
                f"{name} | {what}",
                empty if cell.extra is None else cell.extra,
                placement=placement,
                tag=tag(what),
                colours=distance_colours() if what == DISTANCES else error_colours(),
                opacity=1.0 if what == DISTANCES else 0.75,
                features=None if not words else {"index": list(words), "says": list(words.values())},
            )
        if known is None:
            image.events.contrast_limits.connect(self._share_contrast)
        return CellLayers(cell, image, labels, extra)

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
        """The canvas has another size: arrange the cells and write the words as they have room now."""
        if self._layers:
            if self._camera == self._camera_now():  # nobody has moved it since
                self._arranged = None
            self._arrange()

    def outline(self, _event: Any = None) -> None:
        """Outlines or filled labels, as is wanted; of volumes napari draws no outlines."""
        flat = self._viewer.dims.ndisplay == 2
        for group in self._layers:
            outline(group.labels, group.cell, over=self._mode == "overlay", outlined=self._outlined, flat=flat)

    def _camera_now(self) -> tuple[Any, ...]:
        camera = self._viewer.scene.camera  # type: ignore[attr-defined]
        return (round(float(camera.zoom), 6), *(round(float(part), 6) for part in camera.center))

    def _turns(self) -> list[int]:
        """The cells that blink, in their order."""
        chosen = [place for place, group in enumerate(self._layers) if group.cell.key in (self._pair or ())]
        return chosen if len(chosen) == 2 else list(range(len(self._layers)))

    def _arrange(self, *, reset: bool = True) -> None:
        grid = self._viewer.canvas.grid  # type: ignore[attr-defined]
        side_by_side, over = self._mode == "side by side", self._mode == "overlay"
        for place, group in enumerate(self._layers):
            front = side_by_side or (self._mode == "blink" and place == self._blink)
            _visible(group.image, front or (over and place == 0))
            for layer in group.all[1:]:
                _visible(layer, (front and layer is group.front) or (over and layer is group.labels))
        self.outline()
        height, width = self._viewer.canvas.size  # type: ignore[attr-defined]
        rows, columns = 1, 1
        if side_by_side:
            rows, columns = grid_shape(len(self._layers), (height, width), self._image_size(), letters().line)
            grid.stride, grid.shape, grid.spacing = len(self._layers[0].all) if self._layers else 1, (rows, columns), 4
        grid.enabled = side_by_side
        self._room = width / columns - 2 * PADDING
        lines = round(STACKED * len(self._layers)) if over else LINES
        arranged = (self._mode, rows, columns, lines, tuple(id(group.image) for group in self._layers))
        if arranged != self._arranged:
            if reset and (self._arranged is None or arranged[:4] != self._arranged[:4]):
                self._leave_room((height / rows, width / columns), lines)
            self._arranged = arranged
        self._frame()
        self.set_slice(self._index)

    def _frame(self) -> None:
        """A thin frame in each method's colour, and words in the corner.

        napari clips both to the cell in which they were made first: after another arrangement they would be cut off.
        """
        from napari.components.overlays import BoundingBoxOverlay

        grid = self._viewer.canvas.grid  # type: ignore[attr-defined]
        place = (grid.enabled, tuple(grid.shape), grid.stride, tuple(self._viewer.canvas.size))  # type: ignore[attr-defined]
        for group in self._layers:
            wanted = (*place, group.cell.color)
            if self._placed.get(group.image) != wanted:
                self._placed[group.image] = wanted
                group.image._overlays.pop("bounding_box", None)  # an equal one would not be taken for another
                group.image._overlays["bounding_box"] = BoundingBoxOverlay(
                    points=False, line_color=group.cell.color, line_thickness=2, visible=True
                )
                group.image.events.scale()  # what is new on a layer is half a voxel off until it is placed again
            for layer in group.all[1:]:
                if self._placed.get(layer) != wanted:
                    self._placed[layer] = wanted
                    drop_text(layer)
                    self._coloured.pop(layer, None)
                overlay = cell_text(layer)
                if overlay is not None and overlay.font_size != TEXT_POINTS:
                    overlay.font_size = TEXT_POINTS

    def _image_size(self) -> tuple[float, float]:
        """Height and width of the image as it is shown, in units of the world."""
        if not self._layers:
            return 1.0, 1.0
        low, high = self._layers[0].image.extent.world
        step = self._layers[0].image.extent.step
        down, across = list(self._viewer.dims.displayed)[-2:]
        return float(high[down] - low[down] + step[down]), float(high[across] - low[across] + step[across])

    def _leave_room(self, view: tuple[float, float], lines: int) -> None:
        """Fit the view so that the words stand above the images."""
        self._viewer.reset_view()
        text = lines * letters().line + PADDING
        camera = self._viewer.scene.camera  # type: ignore[attr-defined]
        camera.zoom = fitting_zoom(view, self._image_size(), text)
        z, y, x = camera.center
        camera.center = (z, y - text / 2 / camera.zoom, x)
        self._camera = self._camera_now()


def _placement(case: CaseComparison) -> dict[str, Any]:
    from napari_ssl_seg.volumes import layer_kwargs

    return dict(layer_kwargs(case.geometry))


def _visible(layer: Layer, visible: bool) -> None:
    if layer.visible != visible:
        layer.visible = visible
