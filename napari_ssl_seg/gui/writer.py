"""napari's writers: a layer goes back into the grid of the file that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import Geometry, Volume, layer_kwargs, write_volume
from napari_ssl_seg.volumes.scaling import smallest_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

MOVED_VOXELS = 0.1
"""A layer that was scaled or shifted by more than this since it was opened has a grid of its own."""


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an Image layer; called by napari.

    Raises
    ------
    VolumeError
        When the layer is a colour picture or has too many axes.
    """
    if attributes.get("rgb"):
        raise VolumeError(f"{path} cannot be written: the layer holds colours; split it into its channels first")
    return _write(path, np.asarray(_full(data)), attributes)


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer in the smallest unsigned type that holds it; called by napari.

    Raises
    ------
    VolumeError
        When it holds negative labels or has too many axes.
    """
    array = np.asarray(_full(data))
    least, largest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    dtype = smallest_integer(0, largest, unsigned=True)
    if least < 0 or dtype is None:
        raise VolumeError(f"{path} cannot be written: labels run from 0, but the layer's go down to {least}")
    return _write(path, array.astype(dtype, copy=False), attributes)


def layer_geometry(shape: tuple[int, int, int], attributes: Mapping[str, Any]) -> Geometry:
    """The grid of a layer of ``shape`` (z, y, x): its source's, or the one that its scale and translation give."""
    scale = np.array(attributes.get("scale", (1.0, 1.0, 1.0)), dtype=float)[-3:]
    translate = np.array(attributes.get("translate", (0.0, 0.0, 0.0)), dtype=float)[-3:]
    scale = np.concatenate([np.ones(3 - len(scale)), scale])
    translate = np.concatenate([np.zeros(3 - len(translate)), translate])
    geometry = (attributes.get("metadata") or {}).get("geometry")
    if isinstance(geometry, Geometry) and geometry.shape == shape:
        opened = layer_kwargs(geometry)
        far = np.array(shape) - 1
        shift = np.abs(translate - opened["translate"]) + np.abs(scale - opened["scale"]) * far
        if np.all(shift <= MOVED_VOXELS * np.array(opened["scale"])):
            return geometry
    return Geometry.from_spacing(shape, scale.tolist(), translate.tolist())


def _full(data: Any) -> Any:
    """The finest level of a layer with several."""
    return data[0] if isinstance(data, list | tuple) or type(data).__name__ == "MultiScaleData" else data


def _write(path: str, array: np.ndarray, attributes: Mapping[str, Any]) -> list[str]:
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim not in (3, 4):
        raise VolumeError(f"{path} cannot be written: the layer has {array.ndim} axes, a volume has two to four")
    geometry = layer_geometry(array.shape[-3:], attributes)
    labels = tuple(attributes.get("axis_labels") or ())
    axes: Any = "zyx" if array.ndim == 3 else ("tzyx" if labels[:1] == ("t",) else "czyx")
    return [str(write_volume(path, Volume(array, geometry, axes)))]
