"""From a network and a scan to a label map: sliding windows over any size, the very patches that training saw."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.pretext.crop import Contrast

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.networks import NetworkSpec

WINDOWS = 16
"""Windows that go through the network together in 2D; 2 in 3D."""
GROWTH = 1.5
"""A scan that is at most so many times longer than the patch is covered by one larger window instead of two or more."""
SINGLE_IS_SLOW = 100_000
"""On one CPU thread torch takes its slow convolution for a single 3D patch of fewer voxels: two cost half of one (measured)."""
STITCH_ON_CPU_BYTES = 4 * 2**30
"""Scores of all classes that take more than this are put together in main memory."""


def segment(
    network: nn.Module,
    array: np.ndarray,
    spec: NetworkSpec,
    *,
    device: torch.device | str = "cpu",
    overlap: float = 0.5,
    precision: str = "32",
    probabilities: bool = False,
    each: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Segment one scan.

    Parameters
    ----------
    network
        In eval mode, on ``device``: (B, C, *patch) to logits (B, K, *patch).
    array
        Normalised, float32 (C, z, y, x). 2D networks go through it slice by slice, in batches.
    overlap
        Of neighbouring windows, 0 to 0.9; they are blended with a Gaussian (MONAI's ``sliding_window_inference``).
    precision
        ``bf16`` runs the network in autocast.
    probabilities
        Return these, float32 (K, z, y, x), instead of channel numbers.
    each
        Called as ``each(done, total)`` between chunks of a 2D scan; what it raises goes up.

    Returns
    -------
    ndarray
        Channel numbers (z, y, x), uint8, or uint16 where there are more than 255 classes; or the probabilities.
    """
    import torch

    device = torch.device(device)
    fill = Contrast.of(array).floor
    window = window_size(array.shape[-spec.dims :], spec.patch, _stride(network, spec))
    with torch.inference_mode(), _autocast(device, precision):
        if spec.dims == 3:
            volume = torch.from_numpy(np.array(array, order="C"))[None]  # a copy: the study's own is read-only
            return _finish(_windows(network, volume, window, fill, device, overlap)[0], probabilities)
        depth, pieces = array.shape[1], []
        chunk = max(1, 2 * WINDOWS * math.prod(window) // math.prod(array.shape[2:]))
        for first in range(0, depth, chunk):
            if each is not None:
                each(first, depth)
            slices = torch.from_numpy(np.array(array[:, first : first + chunk].swapaxes(0, 1), order="C"))
            scores = _windows(network, slices, window, fill, device, overlap)
            pieces.append(_finish(scores.movedim(0, 1), probabilities))
        return np.concatenate(pieces, axis=1 if probabilities else 0)


def window_size(shape: tuple[int, ...], patch: tuple[int, ...], stride: tuple[int, ...] | None) -> tuple[int, ...]:
    """The window for a scan of that shape: the patch, or along axes up to `GROWTH` times as long the whole scan.

    One window of 41 voxels costs a quarter more than one of 32; two windows of 32 cost twice as much. ``stride`` is what the
    network needs sizes to be multiples of; None for networks that take the patch alone.
    """
    if stride is None:
        return tuple(patch)
    return tuple(
        math.ceil(size / step) * step if side < size <= GROWTH * side else side
        for size, side, step in zip(shape, patch, stride, strict=True)
    )


def _stride(network: nn.Module, spec: NetworkSpec) -> tuple[int, ...] | None:
    backbone = getattr(network, "backbone", None)
    stride = getattr(backbone, "stride", None)
    if stride is None or not getattr(backbone, "any_size", True):
        return None
    return (stride,) * spec.dims if isinstance(stride, int) else tuple(stride)


def _windows(
    network: nn.Module, batch: Tensor, patch: tuple[int, ...], fill: float, device: Any, overlap: float
) -> Tensor:
    """Logits (B, K, *spatial) of a batch (B, C, *spatial) of any size, padded as training pads."""
    from torch.nn import functional

    sizes = batch.shape[2:]
    before = [max(0, (side - size) // 2) for size, side in zip(sizes, patch, strict=True)]
    after = [max(0, side - size) - low for size, side, low in zip(sizes, patch, before, strict=True)]
    margins = [width for pair in reversed(list(zip(before, after, strict=True))) for width in pair]
    if any(margins):
        batch = functional.pad(batch, margins, value=fill)
    if tuple(batch.shape[2:]) == tuple(patch):  # one window; MONAI would give the same and load for seconds
        step = WINDOWS if len(patch) == 2 else 2
        scores = [_run(network, part.to(device)) for part in batch.split(step)]
        logits = scores[0] if len(scores) == 1 else _concatenate(scores)
    else:
        logits = _slide(network, batch, patch, device, overlap)
    inside = tuple(slice(low, low + size) for low, size in zip(before, sizes, strict=True))
    return logits[(slice(None), slice(None), *inside)]


def _slide(network: nn.Module, batch: Tensor, patch: tuple[int, ...], device: Any, overlap: float) -> Tensor:
    from monai.inferers import sliding_window_inference

    channels = getattr(network, "n_classes", 8)
    bytes_needed = 4 * channels * batch[:, 0].numel()
    stitch = "cpu" if device.type != "cpu" and bytes_needed > STITCH_ON_CPU_BYTES else device
    scores: Any = sliding_window_inference(
        batch if stitch == "cpu" else batch.to(device),
        roi_size=patch,
        sw_batch_size=WINDOWS if len(patch) == 2 else 2,
        predictor=lambda windows: _run(network, windows),
        overlap=overlap,
        mode="gaussian",
        sw_device=device,
        device=stitch,
    )
    return scores


def _run(network: nn.Module, windows: Tensor) -> Tensor:
    if windows.ndim == 5 and len(windows) == 1 and windows.device.type == "cpu" and windows.numel() < SINGLE_IS_SLOW:
        return network(windows.expand(2, *windows.shape[1:]))[:1].float()
    return network(windows).float()


def _finish(scores: Tensor, probabilities: bool) -> np.ndarray:
    """(K, z, y, x) logits to probabilities or channel numbers, on the CPU."""
    if probabilities:
        return scores.softmax(dim=0).float().cpu().numpy()
    numbers = scores.argmax(dim=0)
    return numbers.cpu().numpy().astype(np.uint8 if scores.shape[0] <= 256 else np.uint16)


def _concatenate(parts: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(parts)


def _autocast(device: torch.device, precision: str) -> Any:
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
