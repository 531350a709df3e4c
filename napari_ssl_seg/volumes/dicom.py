"""One DICOM series, from its folder or from one of its files, through SimpleITK (GDCM).

The slices are put in order, and the position of every voxel is worked out, from the positions and directions in the
files; so a gantry tilt is kept, and a missing slice is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import LPS_TO_RAS, check_affine
from napari_ssl_seg.volumes.dicom_files import DicomFile, is_dicom, look
from napari_ssl_seg.volumes.geometry import Geometry
from napari_ssl_seg.volumes.itk import array_of, quiet
from napari_ssl_seg.volumes.names import natural_key
from napari_ssl_seg.volumes.sources import Source, non_finite_warning
from napari_ssl_seg.volumes.text_header import lps_affine

if TYPE_CHECKING:
    from pathlib import Path

POSITION = "0020|0032"
UNEVEN = 0.01
"""Share of the distance of slices by which gaps may differ before it is said."""
TILT_VOXELS = 0.1


@dataclass(frozen=True)
class _Slice:
    """What one file says; spacing in mm and position and directions in LPS+ mm."""

    path: Path
    size: tuple[int, ...]
    dtype: np.dtype
    spacing: tuple[float, ...]
    position: np.ndarray
    directions: np.ndarray
    placed: bool


def open_dicom(path: Path) -> Source:
    """Judge a DICOM series by the headers of all its files; raises VolumeError with file and reason."""
    files = _series(path)
    slices = [_look(file) for file in files]
    first = slices[0]
    packed = any(file.pixels is None for file in files)
    if len(slices) == 1:
        return _single(path, first, packed)
    for other in slices[1:]:
        if other.size != first.size or other.dtype.kind != first.dtype.kind:
            raise VolumeError(
                f"{path}: the slices {first.path.name} and {other.path.name} differ in size or type, so they are not one"
                " volume; keep the files of one series in the folder"
            )
        if np.abs(other.directions - first.directions).max() > 1e-3:
            raise VolumeError(
                f"{path}: the slices {first.path.name} and {other.path.name} are not parallel, so they are not one"
                " volume (a localiser?); choose another series"
            )
    if first.size[2:] not in ((), (1,)):
        raise VolumeError(f"{path}: the series has several files of several frames each; open one of the files instead")
    slices, affine, warnings = _stack(path, slices)
    dtype = np.result_type(*(s.dtype for s in slices))
    shape = (first.size[0], first.size[1], len(slices))
    warnings += check_affine(path, affine)

    def read() -> tuple[np.ndarray, tuple[str, ...]]:
        import SimpleITK as sitk

        array = np.empty(shape, dtype, order="F")
        for index, one in enumerate(slices):
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(one.path))
            reader.SetImageIO("GDCMImageIO")
            array[:, :, index] = array_of(one.path, reader).reshape(shape[1], shape[0]).T
        return array, non_finite_warning(array.T)

    geometry = Geometry.from_file(shape, LPS_TO_RAS @ affine, dtype=dtype, format="dicom")
    nbytes = 2 * int(np.prod(shape)) * dtype.itemsize
    return Source(path, geometry, 1, dtype, nbytes, tuple(warnings), read=read, verify=read if packed else None)


def _single(path: Path, one: _Slice, packed: bool) -> Source:
    """A file of its own: one slice, or several frames that SimpleITK places."""
    size = (*one.size, 1, 1)[:3]
    if len(one.size) > 3 and one.size[3] > 1:
        raise VolumeError(f"{path} has {len(one.size)} axes; DICOM files of up to three are read")
    reader = _reader(one.path)
    affine = lps_affine(reader.GetSpacing()[:3], reader.GetOrigin()[:3], _square(reader.GetDirection()))
    warnings = check_affine(path, affine)
    if not one.placed:
        warnings.append("the file does not say where in the patient it lies; its position was set to 0")

    def read() -> tuple[np.ndarray, tuple[str, ...]]:
        array = array_of(one.path, reader).reshape(size[::-1]).T
        return array, non_finite_warning(array.T)

    shape = (size[0], size[1], size[2])
    geometry = Geometry.from_file(shape, LPS_TO_RAS @ affine, dtype=one.dtype, format="dicom")
    nbytes = 3 * int(np.prod(shape)) * one.dtype.itemsize
    return Source(path, geometry, 1, one.dtype, nbytes, tuple(warnings), read=read, verify=read if packed else None)


def series_files(path: Path) -> list[Path]:
    """The files with pixels of the series in a folder, or of the one that a file belongs to."""
    return [file.path for file in _series(path)]


def _series(path: Path) -> list[DicomFile]:
    """The files of the series in a folder, or of the one that a file belongs to, in the order of their names."""
    folder = path if path.is_dir() else path.parent
    if path.is_file():
        if not is_dicom(path):
            raise VolumeError(f"{path} is no DICOM file: the mark 'DICM' is missing; get it again")
        one = look(path)
        if one.pixels == 0:
            raise VolumeError(f"{path} holds no pixels; it is cut short, or no image: get it again or take it out")
        if not one.series:
            return [one]
    found: dict[str, list[DicomFile]] = {}
    for file in sorted(folder.iterdir(), key=natural_key):
        if file.is_file() and not file.name.startswith(".") and is_dicom(file):
            seen = look(file)
            if seen.pixels != 0:  # reports and directories have none
                found.setdefault(seen.series, []).append(seen)
    if path.is_file():
        return found[one.series]
    if not found:
        raise VolumeError(f"{path} holds no DICOM series; open a folder with DICOM files, or a file")
    if len(found) > 1:
        raise VolumeError(f"{path} holds {len(found)} DICOM series; open a file of the one that is meant instead")
    return next(iter(found.values()))


def _look(file: DicomFile) -> _Slice:
    import SimpleITK as sitk

    path = file.path
    reader = _reader(path)
    if reader.GetNumberOfComponents() != 1 or file.samples != 1:
        raise VolumeError(f"{path} holds colours in its voxels; only volumes with one number a voxel can be used")
    probe = sitk.Image([1] * 2, reader.GetPixelID())
    dtype = sitk.GetArrayViewFromImage(probe).dtype
    size = tuple(reader.GetSize())
    return _Slice(
        path=path,
        size=size,
        dtype=dtype,
        spacing=tuple(reader.GetSpacing()),
        position=np.array(reader.GetOrigin(), dtype=float)[:3],
        directions=np.array(reader.GetDirection(), dtype=float).reshape(len(size), -1)[:3, :2],
        placed=reader.HasMetaDataKey(POSITION),
    )


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    with quiet(path):
        reader.ReadImageInformation()
    return reader


def _stack(path: Path, slices: list[_Slice]) -> tuple[list[_Slice], np.ndarray, list[str]]:
    """Slices in order along their normal, index -> LPS+ mm, and warnings."""
    first = slices[0]
    warnings: list[str] = []
    affine = np.eye(4)
    affine[:3, :2] = first.directions * np.array(first.spacing[:2])
    normal = np.cross(first.directions[:, 0], first.directions[:, 1])
    if not all(one.placed for one in slices):
        third = first.spacing[2] if len(first.spacing) > 2 else 1.0
        affine[:3, 2] = normal * third
        warnings.append(f"the files do not say where they lie; they were taken in order, {third:g} mm apart")
        return slices, affine, warnings
    heights = np.array([one.position @ normal for one in slices])
    order = np.argsort(heights, kind="stable")
    slices, heights = [slices[i] for i in order], heights[order]
    gaps = np.diff(heights)
    if gaps.min() < 1e-3:
        raise VolumeError(
            f"{path}: several slices lie at the same place ({slices[int(gaps.argmin())].path.name} and the next), so the"
            " series is more than one volume, such as several times or echoes; keep one of them in the folder"
        )
    if gaps.max() - gaps.min() > UNEVEN * float(np.median(gaps)):
        warnings.append(
            f"the slices are not evenly spaced (gaps from {gaps.min():.4g} to {gaps.max():.4g} mm), so one may be missing;"
            f" {gaps.mean():.4g} mm was taken throughout"
        )
    affine[:3, 2] = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    affine[:3, 3] = slices[0].position
    tilt = affine[:3, 2] - normal * (affine[:3, 2] @ normal)
    if np.abs(np.linalg.norm(tilt)) * (len(slices) - 1) > TILT_VOXELS * min(first.spacing[:2]):
        warnings.append("the slices are tilted against the direction in which they are stacked (gantry tilt)")
    return slices, affine, warnings


def _square(direction: tuple[float, ...]) -> tuple[float, ...]:
    """The first three axes of a direction matrix of two to four."""
    count = int(np.sqrt(len(direction)))
    used = min(count, 3)
    return tuple(np.array(direction).reshape(count, count)[:used, :used].ravel())
