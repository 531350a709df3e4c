"""A study from what is open in the viewer. Layers are looked at, never imported: this knows no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_ssl_seg.study import Study

KEY = "napari_ssl_seg"
"""Layers that this program made carry this in their metadata, and are no scans of the user's."""


@dataclass(frozen=True)
class OpenScan:
    """An image layer, and the labels layer that goes with it."""

    name: str
    image: Any
    label: Any | None
    geometry: Any
    """The layer's own `Geometry` where it was read by this program, else its scale (z, y, x) in mm."""


def arrays_from_layers(layers: Iterable[Any]) -> list[OpenScan]:
    """Image layers with three axes, each with the first free labels layer of the same shape and scale."""
    layers = [layer for layer in layers if KEY not in layer.metadata and not getattr(layer, "multiscale", False)]
    images = [layer for layer in layers if _is(layer, "Image") and layer.ndim == 3 and not getattr(layer, "rgb", False)]
    labels = [layer for layer in layers if _is(layer, "Labels") and layer.ndim == 3]
    scans = []
    for image in images:
        label = next((other for other in labels if _same_grid(image, other)), None)
        if label is not None:
            labels.remove(label)
        geometry = image.metadata.get("geometry")
        scans.append(
            OpenScan(
                name=image.name,
                image=image.data,
                label=label.data if label is not None else None,
                geometry=geometry if geometry is not None else tuple(float(v) for v in image.scale[-3:]),
            )
        )
    return scans


def study_from_layers(folder: str | Path, scans: Iterable[OpenScan]) -> Study:
    """Write the layers as NIfTI into the study's folder and make a study of them."""
    from napari_ssl_seg.study import Study

    items = [
        (scan.name, np.asarray(scan.image), None if scan.label is None else np.asarray(scan.label), scan.geometry)
        for scan in scans
    ]
    return Study.create_from_arrays(folder, items)


def _is(layer: Any, kind: str) -> bool:
    return any(base.__name__ == kind for base in type(layer).__mro__)


def _same_grid(image: Any, label: Any) -> bool:
    return tuple(image.data.shape) == tuple(label.data.shape) and np.allclose(image.scale, label.scale)
