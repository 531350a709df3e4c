"""What does not depend on the format: channels, time, labels, files that are none."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import read_header, read_volume
from tests.volumes.making import affine_of, save_nifti, voxels

if TYPE_CHECKING:
    from pathlib import Path


def test_several_files_are_channels(tmp_path: Path) -> None:
    paths = [save_nifti(tmp_path / f"t{n}.nii.gz", voxels(seed=n)) for n in range(3)]
    volume = read_volume(paths)
    assert volume.axes == "czyx" and volume.array.shape == (3, 7, 6, 5) and volume.array.dtype == np.int16
    assert np.array_equal(volume.geometry.to_source(volume.array)[..., 1], voxels(seed=1))
    assert volume.channels == 3 and volume.path == paths[0]
    assert read_volume(paths[:1]).axes == "zyx"


def test_channels_on_different_grids_are_refused_with_both(tmp_path: Path) -> None:
    one = save_nifti(tmp_path / "t1.nii.gz")
    shifted = np.eye(4)
    shifted[0, 3] = 4
    two = save_nifti(tmp_path / "t2.nii.gz", affine=shifted)
    with pytest.raises(VolumeError, match=r"t1.nii.gz and .*t2.nii.gz.* 4 voxels"):
        read_volume([one, two])


def test_channels_in_other_orientations_are_brought_together(tmp_path: Path) -> None:
    array = voxels()
    flipped = affine_of(np.eye(3))
    flipped[:3, 0] *= -1
    flipped[:3, 3] += affine_of(np.eye(3))[:3, 0] * (array.shape[0] - 1)
    one = save_nifti(tmp_path / "t1.nii.gz", array, affine_of(np.eye(3)))
    two = save_nifti(tmp_path / "t2.nii.gz", array[::-1], flipped)
    volume = read_volume([one, two])
    assert np.array_equal(volume.array[0], volume.array[1])


def test_the_fourth_axis_is_what_the_user_says(tmp_path: Path) -> None:
    array = voxels(shape=(5, 6, 7, 4))
    path = save_nifti(tmp_path / "case.nii.gz", array)
    assert read_header(path).channels == 4 and read_header(path).shape == (7, 6, 5)
    for choice, axes in (("channels", "czyx"), ("time", "tzyx")):
        volume = read_volume(path, four_d=choice)  # type: ignore[arg-type]
        assert volume.axes == axes and volume.array.shape == (4, 7, 6, 5)
        assert np.array_equal(volume.geometry.to_source(volume.array), array)
    with pytest.raises(VolumeError, match="channels"):
        read_volume([path, path])
    with pytest.raises(VolumeError, match="four_d"):
        read_volume(path, four_d="both")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "largest", "expected"),
    [("float32", 3, "uint8"), ("int16", 255, "uint8"), ("int64", 256, "uint16"), ("float64", 70000, "uint32")],
)
def test_labels_take_the_smallest_unsigned_type(tmp_path: Path, dtype: str, largest: int, expected: str) -> None:
    array = (voxels() % 3).astype(dtype)
    array[0, 0, 0] = largest
    volume = read_volume(save_nifti(tmp_path / "label.nii.gz", array), role="label")
    assert volume.array.dtype == np.dtype(expected)
    assert np.array_equal(volume.geometry.to_source(volume.array), array)


@pytest.mark.parametrize(
    ("value", "reason"), [(0.5, "fraction"), (-1, "negative"), (np.nan, "NaN"), (1e30, "too large")]
)
def test_what_is_no_label_is_refused(tmp_path: Path, value: float, reason: str) -> None:
    array = (voxels() % 3).astype("float32")
    array[2, 2, 2] = value
    path = save_nifti(tmp_path / "label.nii.gz", array)
    with pytest.raises(VolumeError, match=rf"label.nii.gz.*{reason}"):
        read_volume(path, role="label")
    assert read_volume(path).array.dtype == np.float32


def test_the_slope_counts_for_labels(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "half.nii.gz", (voxels() % 3).astype("uint8"), scl_slope=0.5, scl_inter=0)
    with pytest.raises(VolumeError, match="fraction"):
        read_volume(path, role="label")
    path = save_nifti(tmp_path / "double.nii.gz", (voxels() % 3).astype("uint8"), scl_slope=2, scl_inter=0)
    volume = read_volume(path, role="label")
    assert volume.array.dtype == np.uint8 and set(np.unique(volume.array)) == {0, 2, 4}


def test_an_image_given_as_labels_is_noticed(tmp_path: Path) -> None:
    array = np.arange(400).reshape(20, 20, 1)
    assert any(
        "400 different" in w
        for w in read_volume(save_nifti(tmp_path / "x.nii", array.astype("int16")), role="label").warnings
    )


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "case.hdr").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for name, reason in [
        ("notes.txt", "no extension"),
        ("case.hdr", "pair"),
        ("empty", "no DICOM"),
        ("missing.nii.gz", "does not exist"),
    ]:
        for function in (read_volume, read_header):
            with pytest.raises(VolumeError, match=reason) as caught:
                function(tmp_path / name)
            assert name in str(caught.value)
    with pytest.raises(VolumeError, match="no file"):
        read_volume([])


def test_importing_is_light() -> None:
    code = "import sys, napari_ssl_seg.volumes; print([m for m in ('SimpleITK','nibabel','torch','scipy','psutil','napari') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
