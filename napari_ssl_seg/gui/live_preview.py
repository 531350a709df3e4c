"""What the network makes of a chosen slice while it trains, as one layer that is filled again and again."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import inside
from napari_ssl_seg.gui.layers import (
    class_colours,
    find_own,
    layer_name,
    own_layers,
    remove_own,
    show_image,
    show_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel

    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.run_progress import RunProgress

GROUP = "live"


class LivePreview:
    """Follows the preview events of the run that goes on; only the case that is open is drawn."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel) -> None:
        self._workbench, self._viewer = workbench, viewer
        self._latest: tuple[RunProgress, Event] | None = None

    def show(self, run: RunProgress, events: Iterable[Event]) -> None:
        """Draw the last preview among these events, if it is of the open case."""
        previews = [event for event in events if event.kind == "preview"]
        if previews:
            self._latest = (run, previews[-1])
            self._draw()

    def follow_case(self, _case_id: str | None) -> None:
        """The open case has changed."""
        remove_own(self._viewer, own_layers(self._viewer, group=GROUP))
        self._draw()

    def clear(self) -> None:
        """Forget the run and take the layer away."""
        self._latest = None
        remove_own(self._viewer, own_layers(self._viewer, group=GROUP))

    def _draw(self) -> None:
        case = self._workbench.case
        if self._latest is None or case is None:
            return
        run, event = self._latest
        if event.data.get("case") != case.id or not event.data.get("file"):
            return
        try:
            arrays = _read(run, str(event.data["file"]))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, UserError):
            return  # the next preview replaces it in a few seconds
        placement = slice_placement(case, int(event.data.get("axis") or 0), int(event.data.get("index") or 0))
        tag = {"case": case.id, "role": "live preview", "group": GROUP}
        name = layer_name(case.id, "live preview")
        known = find_own(self._viewer, name)
        options: dict[str, Any] = {"placement": placement, "tag": tag, "visible": known.visible if known else True}
        if "labels" in arrays:
            data = as_slice(arrays["labels"], int(event.data.get("axis") or 0))
            show_labels(self._viewer, name, data, colours=class_colours(self._workbench.classes), **options)
        elif arrays:
            image = np.asarray(next(reversed(arrays.values())), np.float32)
            while image.ndim > 3 or (image.ndim == 3 and image.shape[0] <= 4):
                image = image[0]
            show_image(self._viewer, name, as_slice(image, int(event.data.get("axis") or 0)), **options)


def slice_placement(case: Any, axis: int, index: int) -> dict[str, Any]:
    """Where one slice of a case lies: scale and translate of a layer one voxel thick."""
    spacing = tuple(float(step) for step in case.spacing)
    translate = [0.0, 0.0, 0.0]
    translate[axis] = index * spacing[axis]
    return {"scale": spacing, "translate": tuple(translate), "units": ("mm",) * 3, "axis_labels": ("z", "y", "x")}


def as_slice(data: np.ndarray, axis: int) -> np.ndarray:
    """A 2D slice as a volume one voxel thick along ``axis``; a volume stays as it is."""
    data = np.asarray(data)
    return np.expand_dims(data, axis) if data.ndim == 2 else data


def _read(run: RunProgress, name: str) -> dict[str, np.ndarray]:
    with np.load(inside(run.run.folder, name), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}
