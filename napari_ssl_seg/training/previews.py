"""The live preview of a run: small 2D arrays in ``previews/latest.npz``, replaced as a whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.files import write_bytes
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.methods.base import View
    from napari_ssl_seg.training.runs import Run

FILE = "previews/latest.npz"
SHOWN = ("image", "labels", "mask")


def write_preview(
    run: Run, arrays: Mapping[str, np.ndarray], *, step: int, case: str, index: int, origin: Sequence[int], **more: Any
) -> Event:
    """Write ``arrays``, each (y, x), and return the event that points at them.

    Parameters
    ----------
    index
        The axial slice that they show.
    origin
        (y, x) of their first pixel in the scan; negative where the patch was padded.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    write_bytes(run.folder / FILE, buffer.getvalue())
    data = {"step": step, "case": case, "axis": 0, "index": index, "file": FILE, "origin": list(origin), **more}
    return Event("preview", data, run.id)


def flat_views(views: Sequence[View]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The first sample of each view that is a picture, its first channel and its middle slice; and what each is."""
    arrays, described = {}, []
    for view in views:
        if view.kind not in SHOWN:
            continue
        data = view.data[0].detach().cpu()
        if view.kind == "image":
            data = data[0]
        if data.ndim == 3:
            data = data[data.shape[0] // 2]
        array = data.numpy()
        arrays[view.name] = array.astype(
            np.uint8 if view.kind == "mask" else np.int32 if view.kind == "labels" else np.float32
        )
        limits = list(view.range) if view.range is not None else None
        described.append({"name": view.name, "title": view.title, "kind": view.kind, "range": limits})
    return arrays, described
