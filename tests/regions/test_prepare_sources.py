"""Preparing with the real sources: Segment Anything (a tiny random one), masks made elsewhere, real scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import (
    RegionSettings,
    cached_k,
    prepare,
    prepare_anchors,
    prepare_regions,
    principal_count,
    slice_image,
    slice_regions,
)
from napari_ssl_seg.regions.sam import SamSource
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain
from tests.regions.test_prepare import SHAPE, write_scan
from tests.regions.tiny_sam import tiny_sam

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    for number in range(2):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number, (4, 40, 36))
    prepare._opened.close()
    prepare._recent.clear()
    with Study.create(tmp_path / "study", images=tmp_path / "scans", split=(100, 0, 0)) as made:
        yield made
    prepare._opened.close()


def test_segment_anything_is_prepared_and_merged(study: Study, tmp_path: Path) -> None:
    import torch

    torch.save(tiny_sam(0).state_dict(), tmp_path / "tiny.pth")
    settings = RegionSettings(
        source="sam",
        checkpoint=str(tmp_path / "tiny.pth"),
        points_per_side=6,
        pred_iou_thresh=0.8,
        stability_score_thresh=0.5,
        sam_device="cpu",
    )
    regions = drain(prepare_regions(study, settings, ["scan_0", "scan_1"]))
    assert regions.title == "Segment Anything vit_b"
    assert prepare._opened._source is None  # its memory is for the training
    (expected,) = SamSource(regions.settings).segment([slice_image(study, "scan_1", 2)])
    assert expected.max() > 1
    np.testing.assert_array_equal(regions.slice("scan_1", 2), expected)
    np.testing.assert_array_equal(slice_regions(study, settings, "scan_1", 2), expected)
    assert regions.slice("scan_1", 0).max() == 0  # nearly empty
    found = drain(prepare_anchors(study, regions, ["scan_0", "scan_1"], max_channels=2))
    assert found.k == cached_k(study, settings, ["scan_0", "scan_1"], max_channels=2) <= 2
    torch.save(tiny_sam(1).state_dict(), tmp_path / "tiny.pth")
    assert drain(prepare_regions(study, settings, ["scan_0"])).key != regions.key


def test_masks_made_elsewhere_are_taken_for_every_slice(study: Study, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    affine = nibabel.load(study.case("scan_0").images[0]).affine
    stack = np.random.default_rng(0).integers(0, 4, (4, 40, 36))
    nibabel.save(
        nibabel.Nifti1Image(stack.astype(np.uint8).transpose(2, 1, 0), affine), tmp_path / "masks" / "scan_0.nii.gz"
    )
    settings = RegionSettings(source="masks", masks=str(tmp_path / "masks"))
    regions = drain(prepare_regions(study, settings, ["scan_0"]))
    held = study.image("scan_0", purpose="show").geometry.from_source(stack.astype(np.uint8).transpose(2, 1, 0))
    for z in range(4):  # also the nearly empty ones: somebody wants it so
        found = regions.slice("scan_0", z)
        areas = regions.areas("scan_0", z)
        assert (np.diff(areas) <= 0).all()
        np.testing.assert_array_equal(found > 0, held[z] > 0)
        assert sorted(areas) == sorted(np.bincount(held[z].ravel())[1:])
    with pytest.raises(UserError, match="scan_1"):
        drain(prepare_regions(study, settings, ["scan_0", "scan_1"]))


@pytest.mark.real_data
def test_real_scans(real_data: Path, tmp_path: Path) -> None:
    images = sorted((real_data / "hippocampus" / "images").glob("*.nii.gz"))[:3]
    study = Study.create(tmp_path / "study", images=images, split=(100, 0, 0))
    ids = [case.id for case in study.cases("train")]
    regions = drain(prepare_regions(study, RegionSettings(source="felzenszwalb"), ids))
    found = drain(prepare_anchors(study, regions, ids))
    areas = []
    for case_id in ids:
        for label_map in regions.stack(case_id).cut(0, study.case(case_id).shape[0]):
            assert label_map.max() > 1
            areas.append(np.unique(label_map, return_counts=True)[1])  # with what is in no region, as one more
    assert found.k == principal_count(areas)
    merged = found.stack(ids[0]).cut(0, SHAPE[0])
    assert merged.min() >= 1 and merged.max() <= found.k
    kept = sum(path.stat().st_size for path in study.cache_folder.rglob("*.regions"))
    raw = 2 * sum(int(np.prod(study.case(case_id).shape)) for case_id in ids)
    assert kept < raw / 3
