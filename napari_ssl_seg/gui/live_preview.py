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
    layer_tag,
    own_layers,
    remove_own,
    show_image,
    show_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari.components import ViewerModel

    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.run_progress import RunProgress

GROUP = "live"
PREFERRED = ("labels", "predicted", "prediction", "pasted", "restored", "output")
"""Which of a pretext's views is shown: what the network makes of it, first of all."""


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
        chosen = next((name for name in PREFERRED if name in arrays), None) or next(reversed(arrays), None)
        if chosen is None:
            return
        axis, data = int(event.data.get("axis") or 0), arrays[chosen]
        name = layer_name(case.id, "live preview")
        known = find_own(self._viewer, name)
        options: dict[str, Any] = {
            "placement": slice_placement(self._base(case), axis, event.data),
            "tag": {"case": case.id, "role": "live preview", "group": GROUP},
            "visible": known.visible if known else True,
        }
        picture = np.expand_dims(data, axis) if data.ndim == 2 else data
        if chosen == "labels":
            show_labels(self._viewer, name, picture, colours=class_colours(self._workbench.classes), **options)
        elif np.issubdtype(data.dtype, np.floating):
            show_image(self._viewer, name, picture, **options)
        else:
            show_labels(self._viewer, name, picture, **options)

    def _base(self, case: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and translate of the open case's image; where it is not shown yet, its spacing at the origin."""
        for layer in own_layers(self._viewer, case=case.id):
            if (layer_tag(layer) or {}).get("role") == "image":
                return tuple(layer.scale[-3:]), tuple(layer.translate[-3:])
        return tuple(float(step) for step in case.spacing), (0.0, 0.0, 0.0)


def slice_placement(
    base: tuple[tuple[float, ...], tuple[float, ...]], axis: int, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Where one slice lies in a case placed at ``base``: scale and translate of a layer one voxel thick.

    ``data`` holds ``index``, the slice along ``axis``, and perhaps ``origin``, the place of its first pixel in it.
    """
    scale, translate = base
    start = [float(value) for value in data.get("origin") or (0, 0)]
    start.insert(axis, float(data.get("index") or 0))
    moved = tuple(t + s * n for t, s, n in zip(translate, scale, start, strict=True))
    return {"scale": scale, "translate": moved, "units": ("mm",) * 3, "axis_labels": ("z", "y", "x")}


def _read(run: RunProgress, name: str) -> dict[str, np.ndarray]:
    with np.load(inside(run.run.folder, name), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}
