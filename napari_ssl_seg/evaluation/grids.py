"""A label map brought to the grid of another, for predictions that were made on one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_ssl_seg.volumes import Geometry, Volume

CLOSE = 1e-6
"""In voxels: a place that rounding alone puts between two voxels goes to the lower one, wherever it is computed."""


def onto_grid(volume: Volume, geometry: Geometry) -> Volume:
    """``volume`` (z, y, x) at the voxels of ``geometry``: for each the nearest voxel's value, 0 outside the volume."""
    to_index = np.linalg.solve(volume.geometry.affine, geometry.affine)
    result = np.zeros(geometry.shape, volume.array.dtype)
    y, x = (part.ravel() for part in np.meshgrid(*(np.arange(n) for n in geometry.shape[1:]), indexing="ij"))
    for z in range(geometry.shape[0]):  # plane by plane: the places of a whole volume would be gigabytes
        places = to_index[:3, :3] @ np.stack([np.full(y.shape, z), y, x]) + to_index[:3, 3:]
        nearest = np.ceil(places - 0.5 - CLOSE).astype(np.int64)
        inside = np.all((nearest >= 0) & (nearest < np.array(volume.array.shape)[:, None]), axis=0)
        result[z].reshape(-1)[inside] = volume.array[tuple(nearest[:, inside])]
    return type(volume)(result, geometry, path=volume.path)
