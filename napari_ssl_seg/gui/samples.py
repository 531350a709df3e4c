"""The phantoms in napari's File > Open Sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ssl_seg.sample.classes import Kind

LayerData = tuple[Any, dict[str, Any], str]
_WINDOWS = {"cardiac": None, "abdomen": (-160.0, 240.0)}
_SEED = 3


def cardiac() -> list[LayerData]:
    """A cardiac MR phantom: the scan, and its reference with LV, myocardium and RV."""
    return _layers("cardiac")


def abdomen() -> list[LayerData]:
    """An abdominal CT phantom: the scan in a soft-tissue window, and its reference with five organs."""
    return _layers("abdomen")


def _layers(kind: Kind) -> list[LayerData]:
    import numpy as np

    from napari_ssl_seg.sample import CLASSES, make_phantom

    image, label, spacing = make_phantom(kind, _SEED)
    window = _WINDOWS[kind] or tuple(float(v) for v in np.percentile(image, (1, 99.5)))
    names = {c.value: c.name for c in CLASSES[kind]}
    place = {"scale": spacing, "units": ("mm",) * 3, "axis_labels": ("z", "y", "x")}
    case = f"{kind} phantom"
    return [
        (image, {**place, "name": case, "contrast_limits": window, "colormap": "gray"}, "image"),
        (
            label,
            {
                **place,
                "name": f"{case} - reference",
                "opacity": 0.5,
                "features": {"index": [0, *names], "class": ["background", *names.values()]},
                "metadata": {"classes": names},
            },
            "labels",
        ),
    ]
