"""The fast setting beside the full one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_ssl_seg.regions.sam_agreement import compare_fast, compare_masks
from napari_ssl_seg.regions.sam_generator import SamMask
from napari_ssl_seg.regions.settings import RegionSettings
from napari_ssl_seg.training.events import drain
from tests.regions.tiny_sam import slice_of, tiny_sam


def mask(*rows):
    full = np.zeros((4, 5), dtype=bool)
    full[list(rows)] = True
    return SamMask(full, int(full.sum()), (0, 0, 0, 0), 1.0, (0.0, 0.0), 1.0, (0, 0, 5, 4))


def test_agreement_by_hand():
    result = compare_masks([mask(0), mask(1, 2)], [mask(1, 2, 3), mask(0), mask(0, 1, 2, 3)], (4, 5))
    assert (result.expected, result.found, result.matched) == (2, 3, 2)
    assert result.mean_iou == pytest.approx((1 + 2 / 3) / 2)
    assert result.coverage == pytest.approx(3 / 4)  # row 3 is covered in one of them
    assert "2 of 2 masks found again with a mean IoU of 0.83, 1 others" in result.describe()


def test_nothing_on_either_side():
    result = compare_masks([], [], (4, 5))
    assert result.matched == 0 and math.isnan(result.mean_iou) and result.coverage == 1
    assert compare_masks([mask(0)], [], (4, 5)).coverage == pytest.approx(3 / 4)
    assert compare_masks([mask(0)], [mask(3)], (4, 5)).matched == 0


def test_both_settings_run_on_the_slices(tmp_path):
    path = tmp_path / "tiny.pth"
    torch.save(tiny_sam(7).state_dict(), path)
    settings = RegionSettings(
        source="sam",
        checkpoint=str(path),
        points_per_side=5,
        stability_score_thresh=0.7,
        box_nms_thresh=0.95,
        sam_device="cpu",
    )
    slices = [slice_of(1) / 255.0, np.zeros((20, 20)), slice_of(2, (64, 70)) / 255.0]
    events = compare_fast(settings, slices)
    assert next(events).kind == "progress"
    result = drain(events)
    assert result.expected > 0 and 0 <= result.coverage <= 1 and result.speed > 0
    assert drain(compare_fast(settings, [np.zeros((9, 9))])).expected == 0
