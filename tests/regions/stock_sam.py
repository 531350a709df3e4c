"""The stock automatic mask generator, for comparison: segment-anything as installed, with a stand-in for torchvision.

The package needs two functions of torchvision for boxes and two for images, and one of OpenCV. While `stock` lasts,
small modules that hold just these are in ``sys.modules``; afterwards they, and the package, are out of it again.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

PATCHED = ("torchvision", "segment_anything", "cv2")


@contextmanager
def stock():
    """Yield the package ``segment_anything``."""
    before = {name: module for name, module in sys.modules.items() if _ours(name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(_stand_ins())
    try:
        yield importlib.import_module("segment_anything")
    finally:
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _ours(name):
    return name.partition(".")[0] in PATCHED


def _stand_ins():
    modules = {
        name: ModuleType(name)
        for name in (
            "torchvision",
            "torchvision.ops",
            "torchvision.ops.boxes",
            "torchvision.transforms",
            "torchvision.transforms.functional",
            "cv2",
        )
    }
    modules["torchvision.ops.boxes"].batched_nms = batched_nms
    modules["torchvision.ops.boxes"].box_area = box_area
    modules["torchvision.transforms.functional"].resize = resize
    modules["torchvision.transforms.functional"].to_pil_image = Image.fromarray
    modules["cv2"].connectedComponentsWithStats = connected_components
    return modules


def box_area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes, scores, idxs, iou_threshold):
    """The textbook loop over a full matrix of IoUs; categories are all alike in the generator."""
    assert not idxs.any()
    area = box_area(boxes)
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    iou = shared / (area[:, None] + area[None] - shared)
    kept = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not any(iou[index, other] > iou_threshold for other in kept):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


def resize(image, size):
    return image.resize(tuple(size[::-1]), Image.Resampling.BILINEAR)


def connected_components(mask, connectivity):
    assert connectivity == 8
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    stats = np.zeros((count + 1, 5), dtype=int)
    stats[:, -1] = np.bincount(labels.ravel(), minlength=count + 1)
    return count + 1, labels, stats, None
