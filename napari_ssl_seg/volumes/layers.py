"""What a napari layer needs to know of a volume; without napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.volumes.volume import Volume

if TYPE_CHECKING:
    from napari_ssl_seg.volumes.geometry import Geometry


def layer_kwargs(volume: Volume | Geometry) -> dict[str, Any]:
    """Keyword arguments for napari's layers, so that volumes of one patient line up.

    ``scale`` and ``translate`` are in mm along (z, y, x), with z to the head, y to the back and x to the left. A volume
    whose axes are oblique is shown squared: its voxel 0 is placed at its coordinates along its own axes, so that two
    volumes with the same directions line up exactly, whatever their shapes; ``metadata["affine"]`` is the true one
    (held index to RAS+ mm).

    Returns
    -------
    dict
        ``scale``, ``translate``, ``units``, ``axis_labels`` (three entries each) and ``metadata`` with ``affine``,
        ``path`` and ``geometry``.
    """
    geometry, path = (volume.geometry, volume.path) if isinstance(volume, Volume) else (volume, None)
    if geometry.is_oblique:
        translate = np.linalg.solve(geometry.directions, np.array(geometry.origin))
    else:
        translate = np.array(geometry.origin)
    return {
        "scale": geometry.spacing,
        "translate": tuple(float(v) for v in translate),
        "units": ("mm", "mm", "mm"),
        "axis_labels": ("z", "y", "x"),
        "metadata": {
            "affine": geometry.affine.copy(),
            "path": None if path is None else str(path),
            "geometry": geometry,
        },
    }
