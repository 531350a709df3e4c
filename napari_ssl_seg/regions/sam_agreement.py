"""How far the fast setting of Segment Anything agrees with the full one, on the slices and with the weights at hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_ssl_seg.regions.sam_generator import SamMask
    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.training.events import Event

SAME_OBJECT = 0.5
"""Masks whose IoU is at least this are of the same thing."""


@dataclass(frozen=True)
class Agreement:
    """Masks of one setting beside those of another.

    Attributes
    ----------
    expected, found, matched : int
        Masks of the full setting, of the fast one, and pairs of one each with IoU of at least `SAME_OBJECT`.
    mean_iou : float
        Of the matched pairs; NaN where there is none.
    coverage : float
        Share of the pixels on which both say whether any mask covers them.
    speed : float
        Times faster; NaN where nothing was timed.
    """

    expected: int
    found: int
    matched: int
    mean_iou: float
    coverage: float
    speed: float = float("nan")

    def describe(self) -> str:
        """One line for people."""
        quick = "" if np.isnan(self.speed) else f"{self.speed:.1f} times faster; "
        share = f"{self.matched} of {self.expected} masks found again"
        iou = "" if np.isnan(self.mean_iou) else f" with a mean IoU of {self.mean_iou:.2f}"
        return f"{quick}{share}{iou}, {self.found - self.matched} others; coverage agrees on {self.coverage:.0%} of the pixels"


def compare_masks(expected: Sequence[SamMask], found: Sequence[SamMask], shape: tuple[int, int]) -> Agreement:
    """The best pairing of two sets of masks of one (H, W) slice."""
    ious, same = _pair(expected, found, shape)
    return _summary([ious], [same], len(expected), len(found))


def compare_fast(settings: RegionSettings, slices: Sequence[np.ndarray]) -> Generator[Event, None, Agreement]:
    """Run both settings on a few slices, with the weights read once.

    Parameters
    ----------
    settings : RegionSettings
        Resolved, of the source sam; its ``fast`` does not matter.
    slices : sequence of ndarray
        Each (H, W) in [0, 1]; near-constant ones are left out.

    Yields
    ------
    Event
        ``progress``, one for each slice and setting.
    """
    from napari_ssl_seg.regions.sam import SamSource, to_grey_levels
    from napari_ssl_seg.regions.sam_engine import SamEngine
    from napari_ssl_seg.regions.sam_generator import generate
    from napari_ssl_seg.sample._pace import Pace

    source = SamSource(settings.model_copy(update={"fast": False}))
    full = source.engine
    fast = SamEngine(full.model, device=full.device, fast=True, precision=full.precision)
    grey = [levels for image in slices if (levels := to_grey_levels(image)) is not None]
    pace = Pace("comparing the fast setting with the full one", 2 * len(grey))
    seconds = {full: 0.0, fast: 0.0}
    masks: dict[SamEngine, list[list[SamMask]]] = {full: [], fast: []}
    for image in grey:
        for engine in (full, fast):
            began = time.perf_counter()
            masks[engine] += generate(engine, [image], source.options)
            seconds[engine] += time.perf_counter() - began
            yield from pace.finish(len(masks[full]) + len(masks[fast]))
    pairs = [_pair(a, b, image.shape[:2]) for a, b, image in zip(masks[full], masks[fast], grey, strict=True)]
    return _summary(
        [ious for ious, _ in pairs],
        [same for _, same in pairs],
        sum(map(len, masks[full])),
        sum(map(len, masks[fast])),
        seconds[full] / seconds[fast] if grey else float("nan"),
    )


def _pair(
    expected: Sequence[SamMask], found: Sequence[SamMask], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """IoUs of the matched pairs, and where coverage agrees."""
    from scipy.optimize import linear_sum_assignment

    a, b = (
        np.array([mask.segmentation.ravel() for mask in masks], dtype=np.float32).reshape(
            len(masks), shape[0] * shape[1]
        )
        for masks in (expected, found)
    )
    shared = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None] - shared
    iou = shared / np.maximum(union, 1)
    best = iou[linear_sum_assignment(iou, maximize=True)]
    return best[best >= SAME_OBJECT], a.any(axis=0) == b.any(axis=0)


def _summary(
    ious: list[np.ndarray], same: list[np.ndarray], expected: int, found: int, speed: float = float("nan")
) -> Agreement:
    matched = np.concatenate(ious) if ious else np.zeros(0)
    return Agreement(
        expected=expected,
        found=found,
        matched=len(matched),
        mean_iou=float(matched.mean()) if len(matched) else float("nan"),
        coverage=float(np.concatenate(same).mean()) if same else float("nan"),
        speed=speed,
    )
