"""DICOM series, written by SimpleITK slice by slice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import find_volumes, read_header, read_volume, write_volume
from tests.volumes.making import rotation, voxels

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (9, 8, 5)
SPACING = (0.5, 0.75, 3.0)


def series(
    folder: Path,
    array: np.ndarray | None = None,
    *,
    directions: np.ndarray | None = None,
    places: list[np.ndarray] | None = None,
    uid: str = "1.2.826.0.1.3680043.2.1125.1",
    prefix: str = "slice",
) -> np.ndarray:
    """Write ``array`` (i, j, k) as one file a slice, in names that do not follow their order; return LPS affine."""
    folder.mkdir(exist_ok=True)
    array = voxels(shape=SHAPE) if array is None else array
    directions = np.eye(3) if directions is None else directions
    origin = np.array([10.0, -20.0, 30.0])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(array.shape[2]):
        place = origin + directions[:, 2] * SPACING[2] * index if places is None else places[index]
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, index : index + 1].T))
        image.SetSpacing(SPACING)
        tags = {
            "0008|0060": "CT",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": uid,
            "0020|0013": str(index),
            "0020|0032": "\\".join(f"{v:.10g}" for v in place),
            "0020|0037": "\\".join(f"{v:.10g}" for v in [*directions[:, 0], *directions[:, 1]]),
            "0008|0018": f"{uid}.{index + 1}",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        image.SetDirection(directions.ravel().tolist())
        image.SetOrigin(place.tolist())
        writer.SetFileName(str(folder / f"{prefix}{(index * 3) % 5}.dcm"))
        writer.Execute(image)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(SPACING)
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize("oblique", [False, True])
def test_a_series_is_read_from_its_folder_or_one_of_its_files(tmp_path: Path, oblique: bool) -> None:
    turn = rotation(5)
    turn[:, 2] *= np.sign(np.linalg.det(turn))  # DICOM stacks along the normal of its slices
    affine = series(tmp_path / "ct", directions=turn if oblique else np.eye(3))
    for path in (tmp_path / "ct", tmp_path / "ct" / "slice1.dcm"):
        volume = read_volume(path)
        assert volume.warnings == () and volume.array.dtype == np.int16
        assert np.array_equal(volume.geometry.to_source(volume.array), voxels(shape=SHAPE))
        np.testing.assert_allclose(volume.geometry.source.affine, affine, atol=1e-5)
        assert read_header(path).shape == volume.array.shape
    by_itk = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    assert np.array_equal(sitk.GetArrayFromImage(by_itk).T, voxels(shape=SHAPE))
    written = sitk.ReadImage(str(write_volume(tmp_path / "out.nii.gz", volume)))
    np.testing.assert_allclose(
        written.TransformIndexToPhysicalPoint((8, 7, 4)), by_itk.TransformIndexToPhysicalPoint((8, 7, 4)), atol=1e-4
    )
    assert find_volumes(tmp_path) == [tmp_path / "ct", tmp_path / "out.nii.gz"]


def test_a_missing_slice_is_said(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    (tmp_path / "ct" / "slice1.dcm").unlink()  # the third of five
    assert any("gaps from 3 to 6 mm" in text for text in read_volume(tmp_path / "ct").warnings)


def test_a_gantry_tilt_is_kept(tmp_path: Path) -> None:
    places = [np.array([0.0, 1.0 * index, 3.0 * index]) for index in range(5)]
    series(tmp_path / "ct", places=places)
    volume = read_volume(tmp_path / "ct")
    assert any("tilt" in text for text in volume.warnings)
    np.testing.assert_allclose(volume.geometry.source.affine @ [0, 0, 4, 1], [0, -4, 12, 1], atol=1e-6)


def test_two_series_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    series(tmp_path / "ct", voxels(shape=SHAPE, seed=1), uid="1.2.826.0.1.3680043.2.1125.2", prefix="other")
    with pytest.raises(VolumeError, match="2 DICOM series"):
        read_volume(tmp_path / "ct")
    volume = read_volume(tmp_path / "ct" / "other0.dcm")
    assert np.array_equal(volume.geometry.to_source(volume.array), voxels(shape=SHAPE, seed=1))


def test_two_volumes_in_a_series_are_refused(tmp_path: Path) -> None:
    places = [np.array([0.0, 0.0, 3.0 * (index // 2)]) for index in range(5)]
    series(tmp_path / "ct", places=places)
    with pytest.raises(VolumeError, match="same place"):
        read_volume(tmp_path / "ct")


def test_damaged_slices_are_refused_by_name(tmp_path: Path) -> None:
    series(tmp_path / "whole")
    good = (tmp_path / "whole" / "slice2.dcm").read_bytes()
    for kept in (len(good) - 1, len(good) - 60, 200, 50):
        shutil.copytree(tmp_path / "whole", tmp_path / f"cut{kept}")
        damaged = tmp_path / f"cut{kept}" / "slice2.dcm"
        damaged.write_bytes(good[:kept])
        with pytest.raises(VolumeError, match=r"slice2\.dcm"):
            read_volume(damaged)


def test_one_file_alone(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "ct" / "slice3.dcm", tmp_path / "one" / "a.dcm")  # the second slice
    volume = read_volume(tmp_path / "one" / "a.dcm")
    assert volume.array.shape == (1, 8, 9) and volume.spacing[1:] == (0.75, 0.5)
    assert np.array_equal(volume.array[0].T, voxels(shape=SHAPE)[:, :, 1])


def test_colours_and_other_files_are_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(voxels("uint8", (1, 8, 9, 3)), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "rgb.dcm"))
    with pytest.raises(VolumeError, match="colours"):
        read_volume(tmp_path / "rgb.dcm")
    (tmp_path / "none.dcm").write_bytes(b"nothing" * 100)
    with pytest.raises(VolumeError, match="no DICOM"):
        read_volume(tmp_path / "none.dcm")


def test_lengths_are_followed_before_gdcm_takes_memory(tmp_path: Path) -> None:
    """One wrong byte in a length makes GDCM take gigabytes."""
    series(tmp_path / "ct")
    path = tmp_path / "ct" / "slice0.dcm"
    good = path.read_bytes()
    rows = good.index(b"\x28\x00\x10\x00")
    pixels = good.index(b"\xe0\x7f\x10\x00")
    for place, value, reason in [
        (rows + 8, b"\xff\xff", "claims"),
        (rows + 6, b"\x00\xf0", "claimed"),
        (pixels + 4, b"\x00\x00\x00\xf0", "bytes of pixels are claimed"),
        (132, b"\x69", "does not say how it is coded"),
    ]:
        path.write_bytes(good[:place] + value + good[place + len(value) :])
        with pytest.raises(VolumeError, match=rf"slice0\.dcm.*{reason}"):
            read_volume(path)
