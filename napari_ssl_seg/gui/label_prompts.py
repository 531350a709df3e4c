"""The Prompt tool: points and a box to Segment Anything; the answer lights up, and is drawn when it is accepted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.label_canvas import CanvasTool
from napari_ssl_seg.gui.label_regions import GROUP, SHIFT, remove_light, show_light
from napari_ssl_seg.gui.workers import LatestOnly

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel

    from napari_ssl_seg.annotation import PromptSession
    from napari_ssl_seg.gui.label_layer import LabelLayer
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling

TOOL = "prompt"
LEAST_BOX = 3.0
"""Voxels that the mouse moves before a click is a box."""
NEIGHBOURS = (1, -1, 2, -2)
INSIDE, OUTSIDE = "#2e9d6a", "#d1495b"
Key = tuple[str, int]


class PromptTool(CanvasTool):
    """Click: inside; Shift+click: outside; drag: a box.

    Signals
    -------
    told(str)
        What goes on with it.
    answered(bool)
        Whether there is an answer to accept.
    """

    told = Signal(str)
    answered = Signal(bool)

    def __init__(
        self, viewer: ViewerModel, workbench: Workbench, labelling: Labelling, labels: LabelLayer, owner: QObject
    ) -> None:
        super().__init__(viewer, labels, owner)
        self._workbench, self._labelling = workbench, labelling
        self.session: PromptSession | None = None
        self._opening = False
        self._study: Study | None = None
        self._key: Key | None = None
        self.points: list[tuple[float, float, bool]] = []
        self.box: tuple[float, float, float, float] | None = None
        self.mask: np.ndarray | None = None
        self._stop = threading.Event()
        self._encoder = LatestOnly(self._encode, self._encoded, self._failed, owner=self)
        self._asker = LatestOnly(self._ask, self._show, self._failed, owner=self)

    @property
    def busy(self) -> bool:
        return self._opening or self._encoder.busy or self._asker.busy

    def take(self, on: bool = True) -> None:
        super().take(on)
        if self.in_hand:
            self._open()

    def _open(self) -> None:
        """Load the model; it stays until another study is opened."""
        study = self._workbench.study
        if study is not self._study:
            self.session, self._study = None, study
        if self.session is not None:
            self.look()
        elif study is not None and not self._opening:
            self._opening = True
            self.told.emit("Loading Segment Anything …")
            workers.run(
                _open_session, study, on_result=self._opened, on_error=self._failed, on_done=self._done, owner=self
            )

    def _done(self) -> None:
        self._opening = False

    def _opened(self, session: PromptSession) -> None:
        self.session = session
        if self.in_hand:
            self.look()

    def look(self) -> None:
        """Another slice is shown: encode it, and its neighbours ahead."""
        case = self._labelling.case
        if not self.in_hand or self.session is None or case is None:
            return
        key = (case.case_id, self._workbench.slice_index)
        if key == self._key:
            return
        self._key = key
        self.clear()
        self._stop.set()
        if not self.session.ready(key):
            self.told.emit("Segment Anything is looking at this slice …")
        self._encoder.submit((self.session, key), now=True)

    def _encode(self, question: tuple[PromptSession, Key]) -> Key:
        question[0].encode(question[1])
        return question[1]

    def _encoded(self, key: Key) -> None:
        if not self.in_hand or key != self._key or self.session is None:
            return
        self._tell()
        self._stop = threading.Event()
        case_id, z = key
        depth = self._workbench.require_study().case(case_id).shape[0]
        keys = [(case_id, z + step) for step in NEIGHBOURS if 0 <= z + step < depth]
        workers.run(self.session.encode_ahead, keys, stop=self._stop, on_error=lambda _error: None, owner=self)
        if self.points or self.box is not None:
            self._submit()

    def _failed(self, error: Exception) -> None:
        from napari_ssl_seg.workbench import sentence

        self.told.emit(sentence(error))

    def _tell(self, seconds: float | None = None) -> None:
        if self.mask is None:
            self.told.emit("Click what belongs to the class, Shift+click what does not, or drag a box.")
        else:
            took = f" in {1000 * seconds:.0f} ms" if seconds is not None else ""
            self.told.emit(f"{np.count_nonzero(self.mask)} voxels{took}. Accept draws them; more points refine them.")

    # -- the mouse ------------------------------------------------------------------------------------------------
    def dragged(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        first = self.place(event)
        if first is None:
            yield
            return
        last, outside = first, SHIFT in event.modifiers
        yield
        while event.type == "mouse_move":
            here = self.place(event)
            last = here if here is not None else last
            yield
        if np.abs(last - first)[1:].max() >= LEAST_BOX:
            self.set_box((first[1], first[2], last[1], last[2]))
        else:
            self.add_point(first[1], first[2], inside=not outside)

    def add_point(self, y: float, x: float, *, inside: bool = True) -> None:
        """This lies inside what is meant, or outside."""
        self.points.append((float(y), float(x), inside))
        self._submit()

    def set_box(self, box: tuple[float, float, float, float]) -> None:
        """What is meant lies in this box (y0, x0, y1, x1)."""
        self.box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        self._submit()

    def _submit(self) -> None:
        self._show_points()
        if self.session is not None and self._key is not None:
            self._asker.submit((self.session, self._key, tuple(self.points), self.box), now=True)

    def _ask(self, question: Any) -> tuple[Key, np.ndarray, float]:
        session, key, points, box = question
        begun = time.perf_counter()
        mask, _scores = session.mask(key, points, box)
        return key, mask, time.perf_counter() - begun

    def _show(self, answer: tuple[Key, np.ndarray, float]) -> None:
        key, mask, seconds = answer
        if not self.in_hand or key != self._key or not (self.points or self.box):
            return
        self.mask = mask
        show_light(self._viewer, self._workbench, self._labels, self._labelling, mask.astype(np.uint8), key[1])
        self._show_points()
        self._tell(seconds)
        self.answered.emit(True)

    # -- the answer -----------------------------------------------------------------------------------------------
    def accept(self) -> int:
        """Draw the answer in the class in hand; returns how many voxels have changed."""
        mask, key, case, hand = self.mask, self._key, self._labelling.case, self._labelling
        if mask is None or key is None or case is None:
            return 0
        from napari_ssl_seg.annotation import Region, apply_region

        region = Region(mask, (0, 0), 0, int(np.count_nonzero(mask)))
        start, values = apply_region(
            case.labels[key[1]], region, hand.value, protected=hand.protected, overwrite=hand.overwrite
        )
        voxels = 0
        if values.size:
            with self._labels.stroke(TOOL):
                voxels = self._labels.write([((key[1], *start), values[None])])
        self.clear()
        return voxels

    def clear(self) -> None:
        """Forget points, box and answer."""
        self.points, self.box, self.mask = [], None, None
        self._asker.drop()
        remove_light(self._viewer)
        self._show_points()
        self._tell()
        self.answered.emit(False)

    def forget(self) -> None:
        self._stop.set()
        self._encoder.drop()
        self.clear()
        self._key = None
        self.told.emit("")

    def _show_points(self) -> None:
        case, key = self._labelling.case, self._key
        layers = [x for x in layers_.own_layers(self._viewer, group=GROUP) if _role(x) in ("points", "box")]
        if case is None or key is None or not (self.points or self.box):
            layers_.remove_own(self._viewer, layers)
            return
        z, tag = key[1], {"case": case.case_id, "group": GROUP}
        if self.points:
            layer = layers_.show_points(
                self._viewer,
                layers_.layer_name(case.case_id, "prompts"),
                np.array([(z, y, x) for y, x, _ in self.points]),
                placement=case.placement,
                tag={**tag, "role": "points"},
            )
            layer.face_color = [INSIDE if inside else OUTSIDE for *_, inside in self.points]
            layer.symbol = ["disc" if inside else "cross" for *_, inside in self.points]
            layer.size = max(1.5, min(case.labels.shape[1:]) / 60)
        if self.box is not None:
            y0, x0, y1, x1 = self.box
            box = np.array([(z, min(y0, y1), min(x0, x1), z + 1, max(y0, y1) + 1, max(x0, x1) + 1)])
            name = layers_.layer_name(case.case_id, "box")
            layers_.show_boxes(self._viewer, name, box, placement=case.placement, tag={**tag, "role": "box"})
        self._labels.select()


def prompts_problem(study: Study) -> str:
    """Why prompts cannot be used: no weights; empty where they can. A glance at the folder of weights."""
    from napari_ssl_seg.workbench.regions import auto_source

    del study
    if auto_source({}) == "sam":
        return ""
    return "Prompts need weights of Segment Anything; the tab 2 Pretext (method FDAS) fetches them"


def _open_session(study: Study) -> PromptSession:
    from napari_ssl_seg.annotation import open_prompts

    return open_prompts(study)


def _role(layer: Any) -> Any:
    return (layers_.layer_tag(layer) or {}).get("role")
