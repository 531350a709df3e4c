"""Writing volumes: whole or not at all, in the orientation of the file that they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.volumes.affines import LPS_TO_RAS, largest_corner_shift
from napari_ssl_seg.volumes.names import volume_extension

if TYPE_CHECKING:
    import os

    from napari_ssl_seg.volumes.volume import Volume

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
QFORM_TOLERANCE_VOXELS = 1e-2
SCANNER = 1
"""NIfTI's code for coordinates in the scanner's frame."""


def write_volume(path: str | os.PathLike[str], volume: Volume, *, dtype: Any = None) -> Path:
    """Write ``volume`` in its source's orientation; the extension chooses the format.

    Parameters
    ----------
    path
        .nii.gz, .nii, .nrrd, .mha or .mhd. An existing file is replaced once the new one is whole on the disk.
    dtype
        Type of the written voxels; by default the array's own (bool becomes uint8, float16 float32).

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    VolumeError
        When the extension is unknown, values would not survive ``dtype``, or the format cannot hold the volume.
    UserError
        When the disk is full or the folder cannot be written.
    """
    path = Path(path)
    extension = volume_extension(path)
    if extension not in WRITABLE:
        raise VolumeError(f"{path} cannot be written in that format; choose one of {' '.join(WRITABLE)}")
    array = _typed(path, volume.geometry.to_source(volume.array), dtype)
    affine = volume.geometry.source.affine
    if extension in (".nii.gz", ".nii"):
        _write_nifti(path, array, affine)
    else:
        from napari_ssl_seg.volumes.itk_write import write_itk

        write_itk(path, array, LPS_TO_RAS @ affine)
    return path


def _typed(path: Path, array: np.ndarray, dtype: Any) -> np.ndarray:
    """``array`` as ``dtype``, refused when values would change by more than rounding."""
    natural = {"bool": "uint8", "float16": "float32"}.get(array.dtype.name, array.dtype.name)
    target = np.dtype(natural if dtype is None else dtype)
    if target.kind not in "iuf" or target.itemsize > 8 or (target.kind == "f" and target.itemsize < 4):
        raise VolumeError(f"{path} cannot be written with voxels of type {target}; choose an integer or float type")
    if target == array.dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise VolumeError(f"{path} cannot be written: voxels of type {array.dtype} are not numbers")
    if target.kind in "iu" and not np.can_cast(array.dtype, target):
        finite = array.dtype.kind != "f" or np.isfinite(array).all()
        info = np.iinfo(target)
        if not finite or array.min() < info.min or array.max() > info.max:
            raise VolumeError(
                f"{path} cannot be written as {target}: its values from {array.min():g} to {array.max():g} do not fit"
            )
        if array.dtype.kind == "f" and np.any(array != np.trunc(array)):
            raise VolumeError(f"{path} cannot be written as {target}: it holds fractions, which would be lost")
    return array.astype(target)


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """NIfTI-1 with sform and, where it can hold the affine, qform; lengths in mm."""
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

    large = max(array.shape) > np.iinfo(np.int16).max
    if large:
        raise VolumeError(f"{path}: an axis of {max(array.shape)} voxels is too long for NIfTI-1; write it as .nrrd")
    header = Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_xyzt_units("mm", "sec" if array.ndim == 4 else "unknown")
    image = Nifti1Image(array, affine, header, dtype=array.dtype)
    # The spacing of the quaternion's grid is that of the header, so the header's is set either way.
    image.header.set_qform(affine, code=SCANNER, strip_shears=True)
    qform = image.header.get_qform()
    if largest_corner_shift(affine, qform, array.shape) > QFORM_TOLERANCE_VOXELS:
        image.header["qform_code"] = 0
    image.header.set_sform(affine, code=SCANNER)
    image.header.set_slope_inter(1.0, 0.0)
    with atomic_path(path) as temporary:
        image.to_filename(temporary)
