"""The real scans: no false warnings, the voxels that nibabel sees, and one file that is no volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import find_volumes, geometry_mismatch, read_header, read_volume, write_volume

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_data


def test_every_real_file_reads_as_nibabel_reads_it(real_data: Path) -> None:
    paths = [path for path in find_volumes(real_data) if "rgb" not in path.name]
    assert len(paths) >= 260
    for path in paths[::5] + [p for p in paths if "torso" in str(p)]:
        volume, image = read_volume(path), nib.load(path)
        assert volume.warnings == (), path
        assert np.array_equal(volume.geometry.to_source(volume.array), np.asanyarray(image.dataobj))
        assert np.array_equal(volume.geometry.source.affine, image.affine)
        assert read_header(path).dtype == volume.array.dtype.name


def test_images_and_labels_share_their_grids(real_data: Path) -> None:
    for label in find_volumes(real_data / "hippocampus" / "labels")[:20]:
        reference = read_volume(label, role="label")
        image = read_header(real_data / "hippocampus" / "images" / label.name)
        assert geometry_mismatch(image.geometry, reference.geometry) is None
        assert reference.array.dtype == np.uint8 and reference.array.max() == 2


def test_a_prediction_on_a_real_scan_lines_up(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "torso" / "example_mr_sm.nii.gz"
    volume = read_volume(source)
    path = write_volume(tmp_path / "prediction.nii.gz", volume.with_array((volume.array > 200).astype(np.uint8)))
    image, written = nib.load(source), nib.load(path)
    assert np.array_equal(np.asanyarray(written.dataobj), np.asanyarray(image.dataobj) > 200)
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-6)
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")


def test_colours_are_refused(real_data: Path) -> None:
    with pytest.raises(VolumeError, match=r"odd_rgb_dtype\.nii\.gz holds RGB colours"):
        read_volume(real_data / "torso" / "odd_rgb_dtype.nii.gz")
