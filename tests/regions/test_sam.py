"""Segment Anything as a source of regions: a file of weights to label maps, through the real path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import WEIGHTS_VARIABLE
from napari_ssl_seg.regions.sam import SamSource, find_checkpoint, known_weights, to_grey_levels
from napari_ssl_seg.regions.sam_engine import SamEngine
from napari_ssl_seg.regions.sam_generator import GeneratorOptions, generate
from napari_ssl_seg.regions.settings import RegionSettings, resolve_settings
from napari_ssl_seg.regions.sources import open_source
from tests.regions.tiny_sam import slice_of, tiny_sam

LOOSE = {"points_per_side": 5, "stability_score_thresh": 0.7, "box_nms_thresh": 0.95, "sam_device": "cpu"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "sam_vit_b_01ec64.pth"
    torch.save(tiny_sam(7).state_dict(), path)
    return path


def settings(checkpoint, **changes):
    return RegionSettings(source="sam", checkpoint=str(checkpoint), **{**LOOSE, **changes})


def image(seed, size=(84, 104)):
    return slice_of(seed, size).astype(np.float32) / 255


def test_a_file_of_weights_becomes_label_maps(checkpoint):
    source = open_source(resolve_settings(settings(checkpoint)))
    assert isinstance(source, SamSource) and source.title == "Segment Anything vit_b"
    slices = [image(1), image(2, (64, 64)), image(3, (50, 91))]
    maps = source.segment(slices, places=[("a", 0), ("a", 1), ("b", 0)])
    assert [m.shape for m in maps] == [s.shape for s in slices]
    for label_map in maps:
        assert label_map.dtype == np.int32 and label_map.min() == 0
        areas = np.bincount(label_map.ravel())[1:]
        assert len(areas) >= 1 and (areas > 0).all() and (np.diff(areas) <= 0).all()
    assert max(label_map.max() for label_map in maps) > 1


def test_the_label_map_is_painted_from_the_masks(checkpoint):
    source = SamSource(settings(checkpoint))
    masks = source.masks(image(1))
    (label_map,) = source.segment([image(1)])
    covered = np.any([mask.segmentation for mask in masks], axis=0)
    np.testing.assert_array_equal(label_map > 0, covered)
    qualities = [mask.predicted_iou for mask in masks]
    assert qualities == sorted(qualities, reverse=True) and min(qualities) > 0.88


def test_weights_are_found_where_they_are_looked_for(checkpoint, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(checkpoint.parent))
    assert checkpoint.name == known_weights()["vit_b"].file
    assert find_checkpoint("vit_b") == checkpoint and find_checkpoint("vit_l") is None
    assert resolve_settings(RegionSettings()).source == "sam"
    assert resolve_settings(RegionSettings(model_type="vit_l")).source == "felzenszwalb"


def test_the_result_depends_on_neither_brightness_nor_batches(checkpoint):
    source, other = SamSource(settings(checkpoint)), SamSource(settings(checkpoint, points_per_batch=7))
    (expected,) = source.segment([image(1)])
    np.testing.assert_array_equal(source.segment([0.25 + image(1) / 2])[0], expected)
    assert (other.segment([image(1)])[0] == expected).mean() > 0.999


def test_near_constant_slices_have_no_region_and_cost_nothing(checkpoint, monkeypatch):
    source = SamSource(settings(checkpoint))
    monkeypatch.setattr(source.engine, "embed", pytest.fail)
    noise = 0.5 + 0.003 * np.random.default_rng(0).random((20, 30), dtype=np.float32)
    for label_map in source.segment([np.zeros((20, 30), np.float32), noise, np.ones((20, 30), np.float32)]):
        assert label_map.shape == (20, 30) and label_map.dtype == np.int32 and not label_map.any()


def test_near_constant_slices_between_others(checkpoint):
    source = SamSource(settings(checkpoint))
    flat = np.full((84, 104), 0.3, np.float32)
    maps = source.segment([flat, image(1), flat, image(2)])
    assert [bool(m.any()) for m in maps] == [False, True, False, True]
    np.testing.assert_array_equal(maps[3], source.segment([image(2)])[0])


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (1, 40), (17, 23), (300, 40)])
def test_slices_of_any_size(checkpoint, size, fast):
    ramp = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size)
    source = SamSource(settings(checkpoint, points_per_side=2, crop_n_layers=2, fast=fast))
    assert source.segment([ramp])[0].shape == size


def test_segmenting_stops_between_slices(checkpoint, monkeypatch):
    source = SamSource(settings(checkpoint, points_per_side=2))
    embedded = []
    embed = source.engine.embed
    monkeypatch.setattr(source.engine, "embed", lambda images: embedded.append(len(images)) or embed(images))
    running = source.segment_each([image(1), image(2), image(3)])
    next(running)
    running.close()
    assert embedded == [1]


def test_values_that_are_not_finite_are_named(checkpoint):
    source = SamSource(settings(checkpoint))
    with pytest.raises(UserError, match="slice 3 of case7"):
        source.segment([np.full((4, 4), np.nan, np.float32)], places=[("case7", 3)])


def test_too_little_memory_is_said_with_what_to_do(checkpoint, monkeypatch):
    source = SamSource(settings(checkpoint))

    def full(images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(source.engine, "embed", full)
    with pytest.raises(UserError, match="points_per_batch"):
        source.segment([image(1)])


def test_missing_weights_and_devices_are_named(checkpoint, tmp_path):
    with pytest.raises(UserError, match="checkpoint"):
        SamSource(RegionSettings(source="sam"))
    with pytest.raises(UserError, match="no device"):
        SamSource(settings(checkpoint, sam_device="cuda:99"))
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"damaged\.pth"):
        SamSource(settings(damaged))


def test_grey_levels_by_hand():
    levels = to_grey_levels(np.array([[0.2, 0.3], [0.4, 0.7]], np.float32))
    assert levels.tolist() == [[0, 51], [102, 255]]
    assert to_grey_levels(np.full((2, 2), 0.4)) is None
    assert to_grey_levels(np.zeros((0, 3))) is None


def test_fast_halves_the_resolution_inside_and_keeps_the_rest(checkpoint):
    full, fast = SamSource(settings(checkpoint)), SamSource(settings(checkpoint, fast=True))
    assert fast.title == "Segment Anything vit_b, fast"
    assert (full.engine.grid, fast.engine.grid) == (16, 8)
    grey = slice_of(1)
    assert fast.engine.embed([grey])[0].features.shape == (32, 8, 8)
    assert fast.segment([image(1)])[0].shape == (84, 104)


def test_fast_places_points_and_positions_as_the_full_setting_does():
    """The same place in the slice has the same encoding at both resolutions, up to the half pixel of the grids."""
    sam, grey = tiny_sam(0), slice_of(0, (128, 128))
    points, which = np.array([[10.0, 20.0], [64.0, 64.0], [127.0, 3.0]]), np.zeros(3, dtype=int)
    encoded = []
    for fast in (False, True):
        engine = SamEngine(sam, fast=fast)
        encoded.append(engine._prompts(engine.embed([grey]), which, points)[:, 0])
        table = sam.prompt_encoder.pe_layer((engine.grid, engine.grid))
        assert table.shape == (32, engine.grid, engine.grid)
    # a pixel of the half-size input is two of the full one: its centre lies half a pixel further right and down
    shifted = SamEngine(sam)
    nearer = shifted._prompts(shifted.embed([grey]), which, points + 0.5)[:, 0]
    torch.testing.assert_close(encoded[1], nearer, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_half_precision_gives_nearly_the_same_answers(checkpoint, precision):
    sam, grey = tiny_sam(7), slice_of(1)
    points, which = np.random.default_rng(0).uniform(0, 84, (9, 2)), np.zeros(9, dtype=int)
    half, full = (
        engine.decode(engine.embed([grey]), which, points, 0.0)
        for engine in (SamEngine(sam, precision=precision), SamEngine(sam))
    )
    assert half.logits.dtype == half.quality.dtype == torch.float32
    assert torch.corrcoef(torch.stack([half.logits.flatten(), full.logits.flatten()]))[0, 1] > 0.95
    torch.testing.assert_close(half.quality, full.quality, atol=0.1, rtol=0.1)
    assert SamSource(settings(checkpoint), precision=precision).segment([image(1)])[0].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_gives_nearly_the_same_masks(checkpoint):
    grey = [slice_of(seed) for seed in range(6)]
    options = GeneratorOptions.of(settings(checkpoint))
    expected = list(generate(SamEngine(tiny_sam(7)), grey, options))
    exact = list(generate(SamEngine(tiny_sam(7), device="cuda:0"), grey, options))
    assert [len(masks) for masks in exact] == pytest.approx([len(masks) for masks in expected], abs=2)
    source = SamSource(settings(checkpoint, sam_device="cuda:0"))
    assert source.engine.precision in ("bf16", "16") and source.engine.slices_at_once > 1
    half, full = source.segment([image(1)])[0], SamSource(settings(checkpoint)).segment([image(1)])[0]
    assert ((half > 0) == (full > 0)).mean() > 0.9
