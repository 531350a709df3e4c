"""What a run's decoder makes of one slice: one vector a pixel."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run


def decoder_features(study: Study, run: Run, case_id: str, z: int, *, device: str = "auto") -> np.ndarray:
    """The full-resolution features of an axial slice, (C, y, x) float32.

    A 3D network sees as many slices around it as its patch has.

    Raises
    ------
    RunError
        When the run has no weights, or the scan has another number of channels or no such slice.
    """
    import torch

    from napari_ssl_seg.training.hardware import pick_device
    from napari_ssl_seg.training.weights import load_backbone

    backbone, spec = load_backbone(run)
    array = study.patches_source(case_id, purpose="show").array
    if array.shape[0] != spec.in_channels:
        raise RunError(f"{case_id} has {array.shape[0]} channels and run {run.id} takes {spec.in_channels}")
    if not 0 <= z < array.shape[1]:
        raise RunError(f"{case_id} has the slices 0 to {array.shape[1] - 1}, not {z}")
    chosen = pick_device(device).name
    backbone = backbone.to(chosen)
    with torch.inference_mode():
        return _run(backbone, array, spec, z, chosen)


def _run(backbone: Any, array: Any, spec: NetworkSpec, z: int, device: str) -> np.ndarray:
    """One pass over windows side by side: each pixel is taken from the window in whose middle it lies most."""
    import torch

    from napari_ssl_seg.pretext.crop import Contrast, crop

    plane = array.shape[2:]
    window = _window(backbone, spec, plane)
    depth = spec.patch_3d[0] if spec.dims == 3 else 1
    fill = Contrast.of(array).floor
    found = np.zeros((backbone.out_features, *plane), np.float32)
    for y, own_y in _places(plane[0], window[0]):
        for x, own_x in _places(plane[1], window[1]):
            cut = crop(array, (z - depth // 2, y, x), (depth, *window), fill=fill)
            image = cut.image if spec.dims == 3 else cut.slice().image
            maps = backbone(torch.from_numpy(np.ascontiguousarray(image))[None].to(device))[0].float().cpu().numpy()
            maps = maps[:, depth // 2] if spec.dims == 3 else maps
            inside = (slice(None), slice(own_y.start - y, own_y.stop - y), slice(own_x.start - x, own_x.stop - x))
            found[:, own_y, own_x] = maps[inside]
    return found


def _window(backbone: Any, spec: NetworkSpec, plane: tuple[int, ...]) -> tuple[int, int]:
    """The whole plane where the network takes any size, else its patch."""
    patch = tuple(spec.patch_3d[1:])
    if not backbone.any_size:
        return patch[0], patch[1]
    stride = backbone.stride[-2:]
    sides = [math.ceil(max(size, step) / step) * step for size, step in zip(plane, stride, strict=True)]
    return sides[0], sides[1]


def _places(length: int, side: int) -> list[tuple[int, slice]]:
    """Where windows start along an axis, and which pixels each one answers for."""
    if length <= side:
        return [(-((side - length) // 2), slice(0, length))]
    count = math.ceil((length - side) / (side / 2)) + 1
    starts = [round(number * (length - side) / (count - 1)) for number in range(count)]
    ends = [(one + other + side) // 2 for one, other in pairwise(starts)] + [length]
    return [(start, slice(low, high)) for start, low, high in zip(starts, [0, *ends], ends, strict=False)]
