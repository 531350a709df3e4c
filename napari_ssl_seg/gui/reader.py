"""napari's reader: volumes as layers that line up in mm, label maps as Labels."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import is_volume_file, layer_kwargs, read_header, read_volume, volume_stem
from napari_ssl_seg.volumes.dicom_files import holds_dicom
from napari_ssl_seg.volumes.labels import as_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ssl_seg.volumes import Volume

    LayerData = tuple[np.ndarray, dict[str, Any], str]
    Paths = str | Sequence[str]

LABEL_WORDS = {
    *("label", "labels", "labelmap", "labelstr", "labelsts", "seg", "segs", "segmentation", "segmentations"),
    *("mask", "masks", "gt", "annotation", "annotations", "prediction", "predictions"),
}
IMAGE_WORDS = {"image", "images", "img", "imgs", "imagestr", "imagests"}
FEW_VALUES = 64
LARGEST_LABEL = 1000
MOST_CHANNELS = 8
"""A fourth axis of at most this length is shown as channels side by side, a longer one as time."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """The reader for ``path``, or None when it is no volume of ours; called by napari for each file that is opened."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_ours(Path(p)) for p in paths) else None


def read(path: Paths) -> list[LayerData]:
    """Layers of a file, of a DICOM folder, or of several files that are the channels of one case.

    Raises
    ------
    VolumeError
        Naming the file and the reason; napari shows it.
    """
    paths: Any = path if isinstance(path, str) else list(path)
    first = Path(paths if isinstance(paths, str) else paths[0])
    channels = read_header(first).channels
    volume = read_volume(paths, four_d="channels" if channels <= MOST_CHANNELS else "time")
    words = _named(first)
    if volume.axes == "zyx" and (words == "label" or (words is None and _few_small_integers(volume.array))):
        try:
            array, notes = as_labels(first, volume.array)
        except VolumeError:  # a folder called "mask study" may hold images
            return _images(volume, first)
        return _labels(replace(volume, array=array, warnings=volume.warnings + notes), first)
    return _images(volume, first)


def _ours(path: Path) -> bool:
    return is_volume_file(path) or (path.is_dir() and holds_dicom(path))


def _labels(volume: Volume, path: Path) -> list[LayerData]:
    _say(volume, path)
    return [(volume.array, {"name": volume_stem(path), **layer_kwargs(volume)}, "labels")]


def _images(volume: Volume, path: Path) -> list[LayerData]:
    _say(volume, path)
    kwargs = layer_kwargs(volume)
    stem = volume_stem(path)
    if volume.axes == "tzyx":
        kwargs["scale"] = (1.0, *kwargs["scale"])
        kwargs["translate"] = (0.0, *kwargs["translate"])
        kwargs["units"] = ("pixel", *kwargs["units"])
        kwargs["axis_labels"] = ("t", *kwargs["axis_labels"])
    if volume.axes != "czyx":
        return [(volume.array, {"name": stem, **_contrast(volume.array), **kwargs}, "image")]
    return [
        (
            channel,
            {
                "name": f"{stem} [{number}]",
                **_contrast(channel),
                **kwargs,
                "metadata": {**kwargs["metadata"], "channel": number},
                "visible": number == 0,
            },
            "image",
        )
        for number, channel in enumerate(volume.array)
    ]


def _contrast(array: np.ndarray) -> dict[str, Any]:
    """Contrast limits at the 0.5th and 99.5th percentile of a share of the voxels: no outlier darkens the rest."""
    share = array.reshape(-1)[:: max(1, array.size // 500_000)]
    finite = share[np.isfinite(share)] if share.dtype.kind == "f" else share
    if finite.size == 0:
        return {"contrast_limits": (0.0, 1.0), "colormap": "gray"}
    low, high = (float(v) for v in np.percentile(finite, [0.5, 99.5]))
    if not high > low:
        low, high = float(finite.min()), float(finite.max())
    return {"contrast_limits": (low, high if high > low else low + 1.0), "colormap": "gray"}


def _say(volume: Volume, path: Path) -> None:
    """Show what was odd about the file."""
    notes = list(volume.warnings)
    if volume.geometry.is_oblique:
        notes.append("its axes are oblique, so it is shown squared; files that are written keep the true directions")
    if notes:
        from napari.utils.notifications import show_warning

        show_warning(f"{path.name}: " + "; ".join(notes))


def _named(path: Path) -> str | None:
    """What the name of a file, or of its folder where its own says nothing, calls it: "label", "image" or None."""
    for name in (volume_stem(path), path.parent.name):
        words = set(re.findall(r"[a-z]+", name.lower()))
        if words & LABEL_WORDS:
            return "label"
        if words & IMAGE_WORDS:
            return "image"
    return None


def _few_small_integers(array: np.ndarray) -> bool:
    """Whether the voxels look like labels: a few small whole numbers, most of them next to an equal one."""
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > LARGEST_LABEL or array.max() == 0:
        return False
    if len(np.unique(array)) > FEW_VALUES:
        return False
    alike = [
        np.mean(np.take(array, range(1, n), axis) == np.take(array, range(n - 1), axis)) for axis, n in _long(array)
    ]
    return not alike or float(np.mean(alike)) > 0.7


def _long(array: np.ndarray) -> list[tuple[int, int]]:
    return [(axis, n) for axis, n in enumerate(array.shape) if n > 1]
