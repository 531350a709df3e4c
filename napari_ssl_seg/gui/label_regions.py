"""The Region tool: the region under the pointer lights up, a click gives it to the class in hand, a drag sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.label_canvas import CanvasTool
from napari_ssl_seg.gui.region_layers import enlarged
from napari_ssl_seg.gui.workers import LatestOnly

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel

    from napari_ssl_seg.annotation import Region, RegionLadder
    from napari_ssl_seg.gui.label_layer import LabelLayer
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling

GROUP = "labelling"
TOOL = "region"
SHIFT = "Shift"
START_LEVEL, OUTLINE = 1, 3
Question = tuple[Any, str, int, str, Any]
"""Study, case, slice, source, run."""


class RegionTool(CanvasTool):
    """Hover, click, shift-click, drag; coarser and finer.

    Signals
    -------
    told(str)
        What there is to say about it: what regions these are, how far, what went wrong.
    clicked(case, slice)
        For the log of effort.
    """

    told = Signal(str)
    clicked = Signal()

    def __init__(
        self, viewer: ViewerModel, workbench: Workbench, labelling: Labelling, labels: LabelLayer, owner: QObject
    ) -> None:
        super().__init__(viewer, labels, owner)
        self._workbench, self._labelling = workbench, labelling
        self.level = START_LEVEL
        self.source, self.run = "auto", ""
        self._ladder: RegionLadder | None = None
        self._ladder_of: Question | None = None
        self._place: np.ndarray | None = None
        self._shown: Region | None = None
        self._builder = LatestOnly(_build, self._built, self._failed, owner=self)
        self._ahead = LatestOnly(_build_ahead, lambda _answer: None, lambda _error: None, owner=self)

    @property
    def busy(self) -> bool:
        return self._builder.busy

    @property
    def ladder(self) -> RegionLadder | None:
        """Regions of the shown slice; None while they are made."""
        return self._ladder

    @property
    def region(self) -> Region | None:
        """The one under the pointer."""
        return self._shown

    def set_source(self, source: str, run: str = "") -> None:
        """Where regions come from; ``run`` for those of an embedding."""
        self.source, self.run = source, run
        self.ask()

    def take(self, on: bool = True) -> None:
        super().take(on)
        if self.in_hand:
            self.ask()

    def ask(self) -> None:
        """Regions of the shown slice are wanted (again)."""
        study, case = self._workbench.study, self._labelling.case
        if not self.in_hand or study is None or case is None:
            return
        question: Question = (study, case.case_id, self._workbench.slice_index, self.source, self.run or None)
        if question != self._ladder_of:
            self._ladder, self._ladder_of = None, None
            self._light(None)
            self.told.emit("Looking for regions …")
            self._builder.submit(question, now=True)

    def _built(self, answer: tuple[Question, RegionLadder]) -> None:
        question, ladder = answer
        if not self.in_hand or question[1:3] != (self._workbench.case_id, self._workbench.slice_index):
            return
        self._ladder, self._ladder_of = ladder, question
        self._tell()
        if self._place is not None:
            self.hovered(self._place)
        self._ahead.submit(question)

    def _failed(self, error: Exception) -> None:
        from napari_ssl_seg.workbench import sentence

        self.told.emit(sentence(error))

    def _tell(self) -> None:
        if self._ladder is not None:
            counts = self._ladder.counts
            level = min(self.level, len(counts) - 1)
            self.told.emit(f"{self._ladder.title}: level {level + 1} of {len(counts)}, {counts[level]} regions")

    # -- levels ---------------------------------------------------------------------------------------------------
    def step(self, by: int) -> None:
        """The next finer (1) or coarser (-1) region at the pointer."""
        ladder = self._ladder
        if ladder is None:
            return
        if self._place is not None:
            _, y, x = self._place
            self.level = ladder.finer(self.level, y, x) if by > 0 else ladder.coarser(self.level, y, x)
        else:
            self.level = max(0, min(len(ladder.levels) - 1, self.level + by))
        self._tell()
        if self._place is not None:
            self.hovered(self._place)

    # -- the mouse ------------------------------------------------------------------------------------------------
    def hovered(self, place: np.ndarray) -> None:
        self._place = place
        self._light(self._region_at(place))

    def dragged(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        place = self.place(event)
        if place is None or self._ladder is None:
            yield
            return
        self.clicked.emit()
        erase = SHIFT in event.modifiers
        given: set[tuple[tuple[int, int], int]] = set()
        with self._labels.stroke(TOOL):
            self._give(place, erase, given)
            yield
            while event.type == "mouse_move":
                here = self.place(event)
                if here is not None:
                    # A quick sweep is told in leaps: what lies between is meant, too.
                    for between in on_the_way(place, here):
                        self._give(between, erase, given)
                    self._place = place = here
                yield
        self.hovered(place)

    def _region_at(self, place: np.ndarray) -> Region | None:
        return self._ladder.at(place[1], place[2], self.level) if self._ladder is not None else None

    def _give(self, place: np.ndarray, erase: bool, given: set[tuple[tuple[int, int], int]]) -> None:
        region, case = self._region_at(place), self._labelling.case
        if self._ladder_of is None or round(place[0]) != self._ladder_of[2]:
            return  # the slider has moved, and the regions are on their way
        if region is None or case is None or (region.start, region.voxels) in given:
            return
        given.add((region.start, region.voxels))
        from napari_ssl_seg.annotation import apply_region

        hand, z = self._labelling, self._ladder_of[2]
        if hand.value in hand.protected:
            hand.blocked.emit("The class in hand is protected: its lock is in the list of classes.")
            return
        start, values = apply_region(
            case.labels[z], region, hand.value, protected=hand.protected, erase=erase, overwrite=hand.overwrite
        )
        if values.size:
            self._labels.write([((z, *start), values[None])])
        self._light(region)

    # -- the light ------------------------------------------------------------------------------------------------
    def _light(self, region: Region | None) -> None:
        if region is self._shown or (
            region is not None
            and self._shown is not None
            and (region.start, region.voxels, region.level)
            == (self._shown.start, self._shown.voxels, self._shown.level)
        ):
            return
        self._shown = region
        case, z = self._labelling.case, self._workbench.slice_index
        if case is None:
            return
        mask = np.zeros(case.labels.shape[1:], np.uint8)
        if region is not None:
            (y, x), (height, width) = region.start, region.mask.shape
            mask[y : y + height, x : x + width] = region.mask
        show_light(self._viewer, self._workbench, self._labels, self._labelling, mask, z)

    def forget(self) -> None:
        self._builder.drop()
        self._ahead.drop()
        self._ladder, self._ladder_of, self._place, self._shown = None, None, None, None
        remove_light(self._viewer)
        self.told.emit("")


def on_the_way(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Places (n, 3) from ``start``, which is left out, to ``end``, a voxel or less apart."""
    steps = max(1, int(np.ceil(np.abs(end - start).max())))
    return start + (end - start) * (np.arange(1, steps + 1) / steps)[:, None]


def show_light(
    viewer: ViewerModel, workbench: Workbench, labels: LabelLayer, labelling: Labelling, mask: np.ndarray, z: int
) -> None:
    """Light a mask (y, x) of a slice up in the colour of the class in hand."""
    case = labelling.case
    if case is None:
        return
    data, placed = enlarged(mask, _slice_placement(case.placement, z))
    colour = next((item.color for item in workbench.classes if item.value == labelling.value), "#ffffff")
    name = layers_.layer_name(case.case_id, "region")
    new = layers_.find_own(viewer, name) is None
    layers_.show_labels(
        viewer,
        name,
        data,
        placement=placed,
        tag={"case": case.case_id, "group": GROUP, "role": "region"},
        colours={None: colour, 0: "transparent", 1: colour},
        contour=OUTLINE,
        opacity=1.0,
    )
    if new:
        labels.select()


def remove_light(viewer: ViewerModel) -> None:
    """Take the light away."""
    found = [layer for layer in layers_.own_layers(viewer, group=GROUP) if _role(layer) == "region"]
    layers_.remove_own(viewer, found)


def _slice_placement(placement: Any, z: int) -> dict[str, Any]:
    scale, translate = placement["scale"], placement["translate"]
    return {**placement, "translate": (translate[0] + z * scale[0], *translate[1:])}


def _role(layer: Any) -> Any:
    return (layers_.layer_tag(layer) or {}).get("role")


def _build(question: Question) -> tuple[Question, RegionLadder]:
    from napari_ssl_seg.annotation import build_ladder

    study, case_id, z, source, run = question
    return question, build_ladder(study, case_id, z, source=source, run=run)  # type: ignore[arg-type]


def _build_ahead(question: Question) -> None:
    """The neighbours of a slice: what is asked for next."""
    study, case_id, z, source, run = question
    depth = study.case(case_id).shape[0]
    for near in (z + 1, z - 1):
        if 0 <= near < depth:
            _build((study, case_id, near, source, run))
