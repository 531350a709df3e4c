"""Writing: whole or not at all, the right type, the right names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg.errors import UserError, VolumeError
from napari_ssl_seg.volumes import Geometry, Volume, read_volume, write_volume
from tests.volumes.making import voxels

if TYPE_CHECKING:
    from pathlib import Path

GEOMETRY = Geometry.from_spacing((7, 6, 5), (3.0, 2.0, 1.0), (1.0, 2.0, 3.0))


def volume(dtype: str = "int16", channels: int = 0) -> Volume:
    array = voxels(dtype, ((channels,) if channels else ()) + (7, 6, 5))
    return Volume(array, GEOMETRY, "czyx" if channels else "zyx")


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64"])
def test_types_survive(tmp_path: Path, extension: str, dtype: str) -> None:
    source = volume(dtype)
    again = read_volume(write_volume(tmp_path / f"new folder/a.b{extension}", source))
    assert again.array.dtype == np.dtype(dtype) and np.array_equal(again.array, source.array) and again.warnings == ()


def test_a_mask_is_written_as_bytes(tmp_path: Path) -> None:
    mask = Volume(voxels(shape=(7, 6, 5)) > 50, GEOMETRY)
    assert read_volume(write_volume(tmp_path / "mask.nii.gz", mask)).array.dtype == np.uint8


def test_dtype_is_refused_where_values_would_change(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    assert nib.load(write_volume(path, volume("int64"), dtype="uint8")).get_data_dtype() == np.uint8
    for change, reason in [(300, "do not fit"), (-1, "do not fit")]:
        array = volume().array.copy()
        array[0, 0, 0] = change
        with pytest.raises(VolumeError, match=reason):
            write_volume(path, volume().with_array(array), dtype="uint8")
    with pytest.raises(VolumeError, match="fractions"):
        write_volume(path, volume().with_array(volume("float32").array + 0.5), dtype="int16")
    with pytest.raises(VolumeError, match="type complex64"):
        write_volume(path, volume(), dtype="complex64")


def test_channels_go_into_nifti_only(tmp_path: Path) -> None:
    source = volume("float32", channels=4)
    again = read_volume(write_volume(tmp_path / "p.nii.gz", source))
    assert again.axes == "czyx" and np.array_equal(again.array, source.array)
    assert sitk.ReadImage(str(tmp_path / "p.nii.gz")).GetSize() == (5, 6, 7, 4)
    with pytest.raises(VolumeError, match=r"as \.nii\.gz only"):
        write_volume(tmp_path / "p.nrrd", source)


def test_other_extensions_are_refused(tmp_path: Path) -> None:
    for name in ("a.dcm", "a.png", "a"):
        with pytest.raises(VolumeError, match=r"choose one of \.nii\.gz"):
            write_volume(tmp_path / name, volume())


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_a_failed_write_leaves_the_earlier_file(
    tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_volume(tmp_path / f"a{extension}", volume())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_volume(path, volume("float32"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_pair_is_replaced_as_one(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.mhd", volume())
    write_volume(path, volume("float32"))
    assert len(list(tmp_path.iterdir())) == 2
    assert read_volume(path).array.dtype == np.float32 and sitk.ReadImage(str(path)).GetSize() == (5, 6, 7)
