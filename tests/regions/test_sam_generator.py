"""Our generator beside the stock one, with the same weights."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from napari_ssl_seg.regions.sam_engine import SamEngine
from napari_ssl_seg.regions.sam_files import PRIVATE_NAME, sam_modeling
from napari_ssl_seg.regions.sam_generator import GeneratorOptions, generate
from napari_ssl_seg.regions.sam_masks import boxes_of, clean, pack, suppress, unpack, upsample
from napari_ssl_seg.regions.sam_prompts import crop_boxes, point_grid, thin_flat_areas
from tests.regions.stock_sam import PATCHED, batched_nms, stock
from tests.regions.tiny_sam import slice_of, tiny_sam


def ours(sam, image, **options):
    return next(generate(SamEngine(sam), [image], GeneratorOptions(**options)))


def theirs(sam, image, **options):
    with stock() as package:
        generator = package.SamAutomaticMaskGenerator(sam, **options)
        return generator.generate(np.repeat(image[..., None], 3, axis=2))


def mean_iou(found, expected):
    """Of the best pairing; two empty masks are the same mask."""
    a = np.stack([mask.segmentation.ravel() for mask in found]).astype(np.float64)
    b = np.stack([record["segmentation"].ravel() for record in expected]).astype(np.float64)
    shared = a @ b.T
    union = a.sum(1)[:, None] + b.sum(1)[None] - shared
    iou = np.where(union == 0, 1.0, shared / np.maximum(union, 1))
    return iou[linear_sum_assignment(-iou)].mean()


def test_twenty_random_models_and_slices_give_the_stock_masks():
    counts, ious = np.zeros(2, dtype=int), []
    for seed in range(20):
        sam, image = tiny_sam(seed), slice_of(seed, (60 + 4 * seed, 110 - seed))
        options = {
            "points_per_side": 5 + seed % 3,
            "points_per_batch": (64, 10)[seed % 2],
            "pred_iou_thresh": (0.88, 0.8)[seed % 2],
            "stability_score_thresh": (0.8, 0.9, 0.85, 0.7, 0.6)[seed % 5],
            "box_nms_thresh": (0.7, 1.0, 0.95)[seed % 3],
            "min_mask_region_area": (0, 12)[seed % 2],
        }
        found, expected = ours(sam, image, **options), theirs(sam, image, **options)
        counts += len(found), len(expected)
        if found and expected:
            ious.append(mean_iou(found, expected))
    assert counts[1] > 200
    assert abs(counts[0] - counts[1]) <= 0.01 * counts[1]
    assert np.mean(ious) >= 0.99


@pytest.mark.parametrize(("seed", "layers", "downscale"), [(21, 1, 1), (15, 2, 2), (1, 1, 1)])
def test_crops_give_the_stock_masks(seed, layers, downscale):
    options = {
        "points_per_side": 4,
        "stability_score_thresh": 0.7,
        "crop_n_layers": layers,
        "crop_n_points_downscale_factor": downscale,
        "box_nms_thresh": 0.95,
        "crop_nms_thresh": 0.8,
        "crop_overlap_ratio": 0.4,
    }
    sam, image = tiny_sam(seed), slice_of(seed, (96, 130))
    found, expected = ours(sam, image, **options), theirs(sam, image, **options)
    assert len(found) == len(expected) > 0
    assert mean_iou(found, expected) >= 0.99
    assert len({mask.crop_box for mask in found}) > 1
    assert {mask.crop_box for mask in found} == {tuple(record["crop_box"]) for record in expected}


def test_each_entry_of_a_record_is_the_stock_one():
    options = {"points_per_side": 6, "stability_score_thresh": 0.8, "box_nms_thresh": 0.95}
    sam, image = tiny_sam(7), slice_of(3)
    found, expected = ours(sam, image, **options), theirs(sam, image, **options)
    assert len(found) == len(expected) > 5
    for mask, record in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask.segmentation, record["segmentation"])
        assert mask.area == record["area"]
        assert list(mask.bbox) == record["bbox"]
        assert list(mask.crop_box) == record["crop_box"]
        assert mask.predicted_iou == pytest.approx(record["predicted_iou"], abs=1e-4)
        assert mask.stability_score == pytest.approx(record["stability_score"], abs=1e-4)
        assert mask.point_coords == pytest.approx(tuple(record["point_coords"][0]))


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_empty_masks_stay_only_where_stability_is_not_tested(threshold):
    """0/0 is no stability: a threshold of exactly 0 tests nothing, any other drops them, as in the stock generator."""
    options = {"points_per_side": 6, "stability_score_thresh": threshold, "box_nms_thresh": 1.0}
    sam, image = tiny_sam(11), slice_of(11)
    found, expected = ours(sam, image, **options), theirs(sam, image, **options)
    assert len(found) == len(expected)
    assert any(mask.area == 0 for mask in found) == any(record["area"] == 0 for record in expected)
    assert any(np.isnan(mask.stability_score) for mask in found) == (threshold == 0)


def test_no_mask_passes_and_no_crop_fails():
    assert ours(tiny_sam(0), slice_of(0), points_per_side=3, pred_iou_thresh=100.0) == []
    assert ours(tiny_sam(0), slice_of(0), points_per_side=3, pred_iou_thresh=100.0, crop_n_layers=1) == []


def test_several_slices_at_once_give_what_each_gives_alone():
    sam, images = tiny_sam(7), [slice_of(1, (70, 90)), slice_of(2, (90, 90)), slice_of(3, (90, 64))]
    options = GeneratorOptions(points_per_side=5, points_per_batch=40, stability_score_thresh=0.7, box_nms_thresh=0.9)
    engine = SamEngine(sam)
    engine.slices_at_once = 2
    together = list(generate(engine, images, options))
    for image, masks in zip(images, together, strict=True):
        alone = next(generate(SamEngine(sam), [image], options))
        assert [mask.area for mask in masks] == [mask.area for mask in alone]
        assert len(masks) > 0


def test_neither_the_package_nor_torchvision_is_imported(monkeypatch):
    unwanted = {"segment_anything", "torchvision", "timm", "lightly"}

    for name in [name for name in sys.modules if name.startswith(PRIVATE_NAME)]:
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    assert sam_modeling().Sam
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & unwanted


def test_the_stand_ins_are_gone_afterwards():
    before = set(sys.modules)
    with stock() as package:
        assert package.__name__ in sys.modules
    assert not {name for name in set(sys.modules) - before if name.startswith(PATCHED)}


@pytest.mark.parametrize(
    ("side", "inner", "size"), [(128, (128, 80), (200, 125)), (128, (128, 128), (64, 64)), (64, (33, 64), (35, 70))]
)
def test_one_upsampling_equals_the_models_two(side, inner, size):
    low = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    middle = torch.nn.functional.interpolate(low[None], (side, side), mode="bilinear", align_corners=False)
    middle = middle[..., : inner[0], : inner[1]]
    expected = torch.nn.functional.interpolate(middle, size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(upsample(low, side=side, input_size=inner, size=size), expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_suppression_equals_the_textbook(count, seed, threshold):
    random = np.random.default_rng(seed)
    corner = random.integers(0, 12, (count, 2))
    boxes = np.concatenate([corner, corner + random.integers(0, 8, (count, 2))], axis=1)
    scores = random.integers(0, 4, count).astype(np.float32)  # with ties
    expected = batched_nms(
        torch.from_numpy(boxes).float(), torch.from_numpy(scores), torch.zeros(count), iou_threshold=threshold
    )
    assert suppress(boxes, scores, threshold).tolist() == expected.tolist()


def test_boxes_by_hand():
    masks = torch.zeros(3, 5, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4, 0] = True
    assert boxes_of(masks).tolist() == [[2, 1, 4, 2], [0, 4, 0, 4], [0, 0, 0, 0]]


def test_clean_by_hand():
    mask = np.zeros((12, 12), dtype=bool)
    mask[2:9, 2:9] = True
    mask[4, 4] = False  # a hole of 1
    mask[11, 11] = mask[10, 10] = True  # an island of 2, joined at a corner
    cleaned, changed = clean(mask, 3)
    assert changed and cleaned[4, 4] and not cleaned[11, 11] and cleaned.sum() == 49
    same, changed = clean(mask, 1)
    assert not changed and (same == mask).all()
    only_small, changed = clean(mask & (np.add.outer(np.arange(12), np.arange(12)) > 18), 30)
    assert changed and only_small.sum() == 2  # the largest island stays


def test_packing_is_lossless():
    masks = torch.rand(4, 7, 9, generator=torch.Generator().manual_seed(1)) > 0.5
    np.testing.assert_array_equal(unpack(pack(masks), (7, 9)), masks.numpy())


def test_grid_and_crops_by_hand():
    np.testing.assert_allclose(point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    # overlap int(0.25 * 80 * 1) = 20: crops of ceil((20 + 100) / 2) = 60 by ceil((20 + 80) / 2) = 50
    assert crop_boxes((80, 100), 1, 0.25) == [
        ((0, 0, 100, 80), 0),
        ((0, 0, 60, 50), 1),
        ((0, 30, 60, 80), 1),
        ((40, 0, 100, 50), 1),
        ((40, 30, 100, 80), 1),
    ]


def test_points_stay_at_edges_and_become_few_in_flat_areas():
    image = np.zeros((128, 128), dtype=np.uint8)
    image[32:96, 32:96] = 200
    keep = thin_flat_areas(image, 16).reshape(16, 16)
    assert keep[3:5, 3:13].all() and keep[11:13, 3:13].all()  # both sides of the upper and the lower edge
    assert 0 < keep[6:10, 6:10].sum() < 4
    assert 0 < keep[:2].sum() < 8 or keep[2].any()
    assert keep.sum() < 0.6 * keep.size
