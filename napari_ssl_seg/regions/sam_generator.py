"""The automatic mask generator: every point of the grid is asked, what passes becomes a mask, duplicates go.

Kirillov et al., Segment Anything, ICCV 2023, section 5 and appendix B. Gives what the package's own
``SamAutomaticMaskGenerator`` gives with the same weights and options, without torchvision, OpenCV or pycocotools.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.regions.sam_masks import boxes_of, clean, cut_off, pack, stability, suppress, unpack, upsample
from napari_ssl_seg.regions.sam_prompts import Box, crop_boxes, points_per_layer, thin_flat_areas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_ssl_seg.regions.sam_engine import Embedding, LowMasks, SamEngine

_PIXELS_AT_ONCE = 2**23
"""Logits at the slice's resolution held at a time: 32 MiB."""


@dataclass(frozen=True)
class GeneratorOptions:
    """Names, meaning and defaults of the stock generator's options."""

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    @classmethod
    def of(cls, settings: Any) -> GeneratorOptions:
        """Those of a `RegionSettings`."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class SamMask:
    """One mask, as the stock generator's record of it.

    Attributes
    ----------
    segmentation : ndarray
        (H, W) bool.
    area : int
        Pixels.
    bbox, crop_box : tuple
        (x, y, width, height); of the mask, and of the crop that it was found in.
    predicted_iou, stability_score : float
    point_coords : tuple of float
        (x, y) of the point that was asked.
    """

    segmentation: np.ndarray
    area: int
    bbox: tuple[int, int, int, int]
    predicted_iou: float
    point_coords: tuple[float, float]
    stability_score: float
    crop_box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Crop:
    """One question: a part of a slice with its points."""

    image: np.ndarray
    box: Box
    size: tuple[int, int]
    points: np.ndarray


@dataclass(frozen=True)
class _Found:
    """Masks of one crop; boxes (x0, y0, x1, y1) and points in the slice's coordinates, masks packed in the crop's."""

    masks: np.ndarray
    boxes: np.ndarray
    quality: np.ndarray
    stability: np.ndarray
    points: np.ndarray

    def take(self, positions: np.ndarray) -> _Found:
        return _Found(*(getattr(self, field.name)[positions] for field in fields(self)))


def generate(
    engine: SamEngine, images: Iterable[np.ndarray], options: GeneratorOptions | None = None
) -> Iterator[list[SamMask]]:
    """The masks of each (H, W) uint8 image, in turn; best predicted IoU first.

    Parameters
    ----------
    engine : SamEngine
        If it is fast, points in flat areas are thinned.
    images : iterable of ndarray
        ``engine.slices_at_once`` of them are encoded together.
    options : GeneratorOptions, optional
    """
    options = options or GeneratorOptions()
    images = iter(images)
    while group := list(islice(images, engine.slices_at_once)):
        crops = [_crops(image, options, thin=engine.fast) for image in group]
        found = _find(engine, [crop for several in crops for crop in several], options)
        for several in crops:
            yield _finish(several, [next(found) for _ in several], options)


def _crops(image: np.ndarray, options: GeneratorOptions, *, thin: bool) -> list[_Crop]:
    size = (image.shape[0], image.shape[1])
    grids = points_per_layer(options.points_per_side, options.crop_n_layers, options.crop_n_points_downscale_factor)
    crops = []
    for (x0, y0, x1, y1), layer in crop_boxes(size, options.crop_n_layers, options.crop_overlap_ratio):
        part, grid = image[y0:y1, x0:x1], grids[layer]
        if thin and len(grid):
            grid = grid[thin_flat_areas(part, round(len(grid) ** 0.5))]
        crops.append(_Crop(part, (x0, y0, x1, y1), size, grid * (x1 - x0, y1 - y0)))
    return crops


def _find(engine: SamEngine, crops: list[_Crop], options: GeneratorOptions) -> Iterator[_Found]:
    """What is found in each crop, in order; encoder and decoder take several crops at a time."""
    for start in range(0, len(crops), engine.slices_at_once):
        group = crops[start : start + engine.slices_at_once]
        embeddings = engine.embed([crop.image for crop in group])
        parts: list[list[_Found]] = [[] for _ in group]
        which = np.repeat(np.arange(len(group)), [len(crop.points) for crop in group])
        points = np.concatenate([crop.points for crop in group])
        step = min(options.points_per_batch, engine.points_at_once or options.points_per_batch)
        for first in range(0, len(points), step):
            chunk = slice(first, first + step)
            low = engine.decode(embeddings, which[chunk], points[chunk], options.pred_iou_thresh)
            for index in np.unique(which[chunk]):
                mine = (which[chunk] == index)[low.point.cpu().numpy()]
                crop, embedding = group[index], embeddings[index]
                parts[index] += _accept(
                    engine, _take(low, np.flatnonzero(mine)), points[chunk], crop, embedding, options
                )
        for crop, several in zip(group, parts, strict=True):
            yield _without_duplicates(crop, several, options)


def _take(low: LowMasks, positions: np.ndarray) -> LowMasks:
    import torch

    if len(positions) == len(low.point):
        return low
    where = torch.from_numpy(positions).to(low.point.device)
    return type(low)(low.logits[where], low.quality[where], low.point[where])


def _accept(
    engine: SamEngine,
    low: LowMasks,
    points: np.ndarray,
    crop: _Crop,
    embedding: Embedding,
    options: GeneratorOptions,
) -> Iterator[_Found]:
    """Those that are stable and not cut off by the crop, a few at a time."""
    import torch

    step = max(1, _PIXELS_AT_ONCE // max(1, embedding.size[0] * embedding.size[1]))
    for first in range(0, len(low.point), step):
        part = slice(first, first + step)
        with torch.inference_mode():
            logits = upsample(
                low.logits[part], side=engine.input_side, input_size=embedding.input_size, size=embedding.size
            )
            steady = stability(logits, options.stability_score_offset)
            keep = torch.ones_like(steady, dtype=torch.bool)
            if options.stability_score_thresh > 0:  # at exactly 0 nothing is tested, and empty masks (0/0) stay
                keep = steady >= options.stability_score_thresh
                logits = logits[keep]
            masks = logits > 0
            boxes = boxes_of(masks)
            whole = ~cut_off(boxes, crop.box, crop.size)
            keep[keep.clone()] = whole
            yield _Found(
                masks=pack(masks[whole]),
                boxes=boxes[whole].cpu().numpy(),
                quality=low.quality[part][keep].cpu().numpy(),
                stability=steady[keep].cpu().numpy(),
                points=points[low.point[part][keep].cpu().numpy()],
            )


def _without_duplicates(crop: _Crop, parts: list[_Found], options: GeneratorOptions) -> _Found:
    height, width = crop.image.shape
    if not parts:
        return _Found(
            np.zeros((0, (height * width + 7) // 8), np.uint8),
            np.zeros((0, 4), np.int64),
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
            np.zeros((0, 2)),
        )
    joined = _Found(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Found)))
    joined = joined.take(suppress(joined.boxes, joined.quality, options.box_nms_thresh))
    x0, y0, _, _ = crop.box
    return replace(joined, boxes=joined.boxes + np.array([x0, y0, x0, y0]), points=joined.points + np.array([x0, y0]))


def _finish(crops: list[_Crop], found: list[_Found], options: GeneratorOptions) -> list[SamMask]:
    """Crops put together: duplicates between them go, masks of smaller crops are preferred, and small parts go."""
    owner = np.repeat(np.arange(len(crops)), [len(part.quality) for part in found])
    within = np.concatenate([np.arange(len(part.quality)) for part in found])
    order = np.arange(len(owner))
    if len(crops) > 1:
        sizes = np.array([(x1 - x0) * (y1 - y0) for (x0, y0, x1, y1) in (crop.box for crop in crops)])
        boxes = np.concatenate([part.boxes for part in found])
        order = suppress(boxes, 1 / sizes[owner].astype(np.float32), options.crop_nms_thresh)
    masks = [_record(crops[owner[i]], found[owner[i]], int(within[i])) for i in order]
    return _cleaned(masks, options) if options.min_mask_region_area > 0 else masks


def _record(crop: _Crop, found: _Found, index: int) -> SamMask:
    x0, y0, x1, y1 = crop.box
    part = unpack(found.masks[index : index + 1], crop.image.shape)[0]
    mask = part
    if part.shape != crop.size:
        mask = np.zeros(crop.size, dtype=bool)
        mask[y0:y1, x0:x1] = part
    return SamMask(
        segmentation=mask,
        area=int(part.sum()),
        bbox=_corner_and_size(found.boxes[index]),
        predicted_iou=float(found.quality[index]),
        point_coords=(float(found.points[index, 0]), float(found.points[index, 1])),
        stability_score=float(found.stability[index]),
        crop_box=_corner_and_size(crop.box),
    )


def _cleaned(masks: list[SamMask], options: GeneratorOptions) -> list[SamMask]:
    """Holes and islands gone, then duplicates once more; masks that needed no cleaning are preferred."""
    import torch

    if not masks:
        return masks
    results = [clean(mask.segmentation, options.min_mask_region_area) for mask in masks]
    boxes = np.concatenate([boxes_of(torch.from_numpy(mask[None])).numpy() for mask, _ in results])
    unchanged = np.array([not changed for _, changed in results], dtype=np.float32)
    kept = suppress(boxes, unchanged, max(options.box_nms_thresh, options.crop_nms_thresh))
    final = []
    for index in kept:
        mask, changed = results[index]
        update = {"segmentation": mask, "area": int(mask.sum()), "bbox": _corner_and_size(boxes[index])}
        final.append(replace(masks[index], **update) if changed else masks[index])
    return final


def _corner_and_size(box: Any) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(value) for value in box)
    return x0, y0, x1 - x0, y1 - y0
