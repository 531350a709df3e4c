"""Regions from Segment Anything: slices to masks, masks to one label map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.sam_generator import GeneratorOptions, SamMask, generate
from napari_ssl_seg.regions.sam_weights import WeightsInfo, fetch_weights, find_checkpoint, get_weights, known_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_ssl_seg.regions.sam_engine import Precision
    from napari_ssl_seg.regions.settings import RegionSettings

__all__ = [
    "SamMask",
    "SamSource",
    "WeightsInfo",
    "fetch_weights",
    "find_checkpoint",
    "get_weights",
    "known_weights",
    "to_grey_levels",
]

CONSTANT = 1 / 255
"""A slice whose values, in [0, 1], differ by less is near-constant: less than one of the 256 grey levels."""


class SamSource:
    """Segment Anything as a source of regions; reads the weights when it is made.

    Parameters
    ----------
    settings : RegionSettings
        Resolved: with a checkpoint.
    precision : str, optional
        ``32``, ``bf16`` or ``16``; by default half precision on a GPU that has it, float32 elsewhere.

    Raises
    ------
    UserError
        Missing or damaged weights, no such device, segment-anything not installed.
    """

    def __init__(self, settings: RegionSettings, *, precision: Precision | None = None) -> None:
        from napari_ssl_seg.regions.sam_checkpoint import load_sam
        from napari_ssl_seg.regions.sam_engine import SamEngine
        from napari_ssl_seg.regions.settings import source_title
        from napari_ssl_seg.training import pick_device

        if not settings.checkpoint:
            raise UserError("Segment Anything needs a file of weights; set 'checkpoint', or fetch the weights first")
        device = pick_device(settings.sam_device).name
        self.settings = settings
        self.title = source_title(settings)
        self.options = GeneratorOptions.of(settings)
        self.engine = SamEngine(
            load_sam(settings.checkpoint, settings.model_type),
            device=device,
            fast=settings.fast,
            precision=precision or _half_where_it_pays(device),
        )

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[tuple[str, int]] = ()) -> list[np.ndarray]:
        """The regions of each (H, W) slice in [0, 1]: (H, W) int32, 0 = in none, 1..M by descending visible area."""
        return list(self.segment_each(slices, places=places))

    def segment_each(
        self, slices: Sequence[np.ndarray], *, places: Sequence[tuple[str, int]] = ()
    ) -> Iterator[np.ndarray]:
        """As `segment`, one slice after the other: closing the iterator stops between two slices."""
        from napari_ssl_seg.regions.principal import paint_masks

        for image, masks in zip(slices, self._masks(slices, places), strict=True):
            if masks:
                yield paint_masks(np.stack([mask.segmentation for mask in masks]))
            else:
                yield np.zeros(image.shape, dtype=np.int32)

    def masks(self, image: np.ndarray) -> list[SamMask]:
        """The masks of one (H, W) slice in [0, 1], best predicted IoU first; they may overlap."""
        return next(self._masks([np.asarray(image)], ()))

    def _masks(self, slices: Sequence[np.ndarray], places: Sequence[tuple[str, int]]) -> Iterator[list[SamMask]]:
        levels = [_levels(image, places[i] if i < len(places) else None) for i, image in enumerate(slices)]
        found = generate(self.engine, (grey for grey in levels if grey is not None), self.options)
        for grey in levels:
            yield [] if grey is None else self._next(found)

    def _next(self, found: Iterator[list[SamMask]]) -> list[SamMask]:
        import torch

        try:
            return next(found)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{self.title} does not fit into the memory of {self.engine.device}; set 'points_per_batch' lower than"
                f" {self.options.points_per_batch}, 'fast' on, or 'sam_device' to cpu"
            ) from error


def to_grey_levels(image: np.ndarray) -> np.ndarray | None:
    """The slice stretched from its smallest to its largest value over 0..255, (H, W) uint8; None if near-constant.

    Rounded, not cut off as in FDAS's code: 0.99999 of a grey level that float32 left of 1 is still that level.
    """
    image = np.asarray(image, dtype=np.float32)
    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if high - low < CONSTANT:
        return None
    return np.rint((image - low) * np.float32(255 / (high - low))).clip(0, 255).astype(np.uint8)


def _levels(image: np.ndarray, place: tuple[str, int] | None) -> np.ndarray | None:
    if image.ndim != 2 or not np.isfinite(image).all():
        where = f"slice {place[1]} of {place[0]}" if place else "a slice"
        raise UserError(f"{where} has values that are not finite, or is not two-dimensional; check the scan")
    return to_grey_levels(image)


def _half_where_it_pays(device: str) -> Precision:
    if not device.startswith("cuda"):
        return "32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
