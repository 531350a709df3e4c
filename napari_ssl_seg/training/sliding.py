"""From a network and a scan to a label map: sliding windows over any size, the very patches that training saw."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.pretext.crop import Contrast, crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.networks import NetworkSpec

WINDOWS = 16
"""Windows that go through the network together in 2D."""
ROW_WINDOWS = 2
"""In 3D."""
FINISHED_SLICES = 8
"""Slices whose scores become an answer together."""
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
    overlapping: bool = False,
    each: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Segment one scan, of which only the windows that are at work are read.

    Memory in 3D: the answer (1 byte a voxel), and the scores of as many slices as a window has (4 bytes a voxel and class).

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
    overlapping
        The channels are targets that may overlap, each with a sigmoid of its own and without a background channel; the
        numbers are those of `paint`.
    each
        Called as ``each(done, total)`` between chunks of slices (2D) or rows of windows (3D); what it raises goes up.

    Returns
    -------
    ndarray
        Channel numbers (z, y, x), uint8, or uint16 where there are more than 255 classes; or the probabilities.
    """
    import torch

    device = torch.device(device)
    fill = Contrast.of(array).floor
    window = window_size(array.shape[-spec.dims :], spec.patch, _stride(network, spec))
    finish = _Finish(probabilities, overlapping)
    with torch.inference_mode(), _autocast(device, precision):
        if spec.dims == 3:
            return _by_rows(network, array, window, fill, device, overlap, finish, each)
        depth, pieces = array.shape[1], []
        chunk = max(1, 2 * WINDOWS * math.prod(window) // math.prod(array.shape[2:]))
        for first in range(0, depth, chunk):
            if each is not None:
                each(first, depth)
            slices = torch.from_numpy(np.array(array[:, first : first + chunk].swapaxes(0, 1), order="C"))
            scores = _windows(network, slices, window, fill, device, overlap)
            pieces.append(finish(scores.movedim(0, 1)))
        return np.concatenate(pieces, axis=1 if probabilities else 0)


def _by_rows(
    network: nn.Module,
    array: np.ndarray,
    window: tuple[int, ...],
    fill: float,
    device: torch.device,
    overlap: float,
    finish: _Finish,
    each: Callable[[int, int], None] | None,
) -> np.ndarray:
    """A volume in rows of windows from its first slice on: slices that no further row touches are finished at once.

    So only as many slices of scores are held as a window has, whatever the length of the scan. Windows lie where MONAI's
    ``sliding_window_inference`` puts them, and are blended as there.
    """
    import torch

    size = array.shape[1:]
    starts = [_starts(length, side, overlap) for length, side in zip(size, window, strict=True)]
    rows, columns = starts[0], list(product(*starts[1:]))
    outer = [max(length, side) for length, side in zip(size, window, strict=True)]
    margins = [start if start < 0 else 0 for start, *_ in starts]
    alone = len(rows) * len(columns) == 1  # then what the network says is left as it is, to the bit
    weight = (torch.ones(window) if alone else _importance(window)).to(device)
    channels, out = 0, np.empty(0)
    sums = counts = torch.empty(0)
    for number, row in enumerate(rows):
        if each is not None:
            each(number, len(rows))
        for first in range(0, len(columns), ROW_WINDOWS):
            at = [(row, y, x) for y, x in columns[first : first + ROW_WINDOWS]]
            batch = np.stack([crop(array, (z, y, x), _three(window), fill=fill).image for z, y, x in at])
            scores = _run(network, torch.from_numpy(batch).to(device))
            if not channels:
                channels = scores.shape[1]
                plane = outer[1] * outer[2]
                stitch = torch.device("cpu") if 4 * channels * window[0] * plane > STITCH_ON_CPU_BYTES else device
                sums = torch.zeros((channels, window[0], outer[1], outer[2]), device=stitch)
                counts = torch.zeros((1, window[0], outer[1], outer[2]), device=stitch)
                out = finish.empty(channels, size)
            for (_, y, x), of_window in zip(at, scores, strict=True):
                place = (slice(None), slice(None), *_beside((y, x), margins[1:], window[1:]))
                sums[place] += (of_window * weight).to(sums.device)
                counts[place] += weight.to(sums.device)
        done = (rows[number + 1] if number + 1 < len(rows) else row + window[0]) - row
        inside = tuple(slice(-low, -low + length) for low, length in zip(margins[1:], size[1:], strict=True))
        last = min(row + done, size[0])
        for low in range(max(row, 0), last, FINISHED_SLICES):
            high = min(low + FINISHED_SLICES, last)
            kept = (slice(None), slice(low - row, high - row), *inside)
            out[..., low:high, :, :] = finish(sums[kept] / counts[kept])
        if number + 1 < len(rows):  # what the next row adds to moves to the front
            for held in (sums, counts):
                for index in range(window[0] - done):
                    held[:, index] = held[:, index + done]
                held[:, window[0] - done :] = 0
    return out


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along an axis; one that is longer than the axis is centred on it."""
    if length <= side:
        return [-((side - length) // 2)]
    step = max(int(side * (1 - overlap)), 1)
    return [min(start, length - side) for start in range(0, length - side + step, step)]


def _beside(start: tuple[int, ...], margins: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(at - low, at - low + side) for at, low, side in zip(start, margins, window, strict=True))


def _importance(window: tuple[int, ...]) -> Tensor:
    """A Gaussian with a deviation of an eighth of the window, nowhere below a thousandth, as in MONAI."""
    import torch

    weight = torch.ones(())
    for side in window:
        place = torch.arange(-(side - 1) / 2.0, (side - 1) / 2.0 + 1)
        weight = weight.unsqueeze(-1) * torch.exp(place**2 / (-2 * (0.125 * side) ** 2))
    return weight.clamp(min=max(float(weight.min()), 1e-3))


def _three(window: tuple[int, ...]) -> tuple[int, int, int]:
    return window[0], window[1], window[2]


@dataclass(frozen=True)
class _Finish:
    """From logits (K, z, y, x) to what was asked for, on the CPU."""

    probabilities: bool
    overlapping: bool

    def empty(self, channels: int, size: tuple[int, ...]) -> np.ndarray:
        """What takes the answers for a whole scan."""
        if self.probabilities:
            return np.empty((channels, *size), np.float32)
        return np.empty(size, self._dtype(channels))

    def __call__(self, scores: Tensor) -> np.ndarray:
        if self.probabilities:
            return (scores.sigmoid() if self.overlapping else scores.softmax(dim=0)).float().cpu().numpy()
        numbers = paint(scores > 0) if self.overlapping else scores.argmax(dim=0)
        return numbers.cpu().numpy().astype(self._dtype(scores.shape[0]))

    def _dtype(self, channels: int) -> Any:
        return np.uint8 if channels - (not self.overlapping) < 256 else np.uint16


def paint(inside: Tensor) -> Tensor:
    """The number of the last target (1, 2, ...) that a voxel is in, 0 where it is in none; ``inside`` is (K, ...).

    nnU-Net's rule for regions: they are painted one after the other.
    """
    import torch

    numbers = torch.zeros(inside.shape[1:], dtype=torch.int32, device=inside.device)
    for channel, of_target in enumerate(inside, start=1):
        numbers[of_target] = channel
    return numbers


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
    """Logits (B, K, y, x) of slices (B, C, y, x) of any size, padded as training pads."""
    from torch.nn import functional

    sizes = batch.shape[2:]
    before = [max(0, (side - size) // 2) for size, side in zip(sizes, patch, strict=True)]
    after = [max(0, side - size) - low for size, side, low in zip(sizes, patch, before, strict=True)]
    margins = [width for pair in reversed(list(zip(before, after, strict=True))) for width in pair]
    if any(margins):
        batch = functional.pad(batch, margins, value=fill)
    if tuple(batch.shape[2:]) == tuple(patch):  # one window; MONAI would give the same and load for seconds
        scores = [_run(network, part.to(device)) for part in batch.split(WINDOWS)]
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
        sw_batch_size=WINDOWS,
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


def _concatenate(parts: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(parts)


def _autocast(device: torch.device, precision: str) -> Any:
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
