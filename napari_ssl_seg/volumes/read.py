"""The one function that opens volumes, whatever their format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.geometry import geometry_mismatch
from napari_ssl_seg.volumes.labels import as_labels
from napari_ssl_seg.volumes.memory import check_memory
from napari_ssl_seg.volumes.names import (
    DICOM_EXTENSIONS,
    EXTENSIONS,
    ITK_EXTENSIONS,
    NIFTI_EXTENSIONS,
    PAIRED_EXTENSIONS,
    volume_extension,
)
from napari_ssl_seg.volumes.volume import Axes, Volume, VolumeHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.volumes.sources import Source

PathLike = str | os.PathLike[str]


def read_volume(
    path: PathLike | Sequence[PathLike],
    *,
    role: Literal["image", "label"] = "image",
    four_d: Literal["channels", "time"] = "channels",
    memory_limit: int | None = None,
) -> Volume:
    """Open a volume, or refuse it and say why.

    The header and the size that it claims are judged before memory is taken; compressed NIfTI is read to the end of its
    stream, so that its checksum is verified. What is odd but usable is in ``Volume.warnings``.

    Parameters
    ----------
    path
        A file (NIfTI, NRRD, MHA, MHD, DICOM), a folder with one DICOM series, or several files that are the channels of
        one case and share a grid.
    role
        "label": whole numbers from 0 only, returned in the smallest unsigned integer type.
    four_d
        What the fourth axis of a 4D file is.
    memory_limit
        Bytes that the volume may take; by default half of what is free.

    Returns
    -------
    Volume
        ``array`` (z, y, x), or (c, z, y, x) or (t, z, y, x), in the file's type (integers stay integers).

    Raises
    ------
    VolumeError
        Naming the file and the reason.
    """
    if four_d not in ("channels", "time"):
        raise VolumeError(f"four_d is 'channels' or 'time', not {four_d!r}")
    paths = _paths(path)
    sources = open_sources(paths)
    check_channels(sources)
    check_memory(paths[0], sum(source.nbytes for source in sources), memory_limit)
    arrays, warnings = [], []
    for source in sources:
        held, notes = _held(source, role)
        arrays.append(held)
        prefix = f"{source.path.name}: " if len(sources) > 1 else ""
        warnings += [prefix + note for note in (*source.warnings, *notes)]
    array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    axes: Axes = "zyx"
    if array.ndim == 4:
        axes = "tzyx" if four_d == "time" and len(arrays) == 1 else "czyx"
    return Volume(array, sources[0].geometry, axes, tuple(warnings), paths[0])


def read_header(path: PathLike, *, verify: bool = False) -> VolumeHeader:
    """What a file says of itself, without its voxels: cheap.

    With ``verify`` voxels that are packed inside the file (NRRD, MetaImage, DICOM) are read through, so that damage is
    noticed; that a NIfTI file is whole is known by whoever reads its stream to the end and counts ``stream_bytes``.

    Raises
    ------
    VolumeError
        When `read_volume` would refuse the header.
    """
    source = _open(_paths(path)[0])
    geometry = source.geometry
    if verify and source.verify is not None:
        with np.errstate(all="ignore"):
            source.verify()
    return VolumeHeader(
        shape=geometry.shape,
        spacing=geometry.spacing,
        dtype=source.dtype.name,
        geometry=geometry,
        channels=source.channels,
        axes="czyx" if source.channels > 1 else "zyx",
        warnings=source.warnings,
        stream_bytes=source.stream_bytes,
    )


def open_sources(path: PathLike | Sequence[PathLike]) -> list[Source]:
    """The headers of a file, or of several, judged by the readers of their formats; raises VolumeError."""
    return [_open(one) for one in _paths(path)]


def _paths(path: PathLike | Sequence[PathLike]) -> list[Path]:
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(p) for p in path]
    if not paths:
        raise VolumeError("no file was given; name at least one")
    return paths


def _open(path: Path) -> Source:
    """Judge the header with the reader of its format."""
    with np.errstate(all="ignore"):  # what is not finite is looked for, and said in words of our own
        return _judged(path)


def _judged(path: Path) -> Source:
    if not path.exists():
        raise VolumeError(f"{path} does not exist; check the name, and that the drive is there")
    extension = volume_extension(path)
    if not (path.is_file() or path.is_dir()):
        raise VolumeError(f"{path} is not a plain file; only files and folders are opened")
    if path.is_dir() or extension in DICOM_EXTENSIONS:
        from napari_ssl_seg.volumes.dicom import open_dicom

        return open_dicom(path)
    if extension in NIFTI_EXTENSIONS:
        from napari_ssl_seg.volumes.nifti import open_nifti

        return open_nifti(path)
    if extension in ITK_EXTENSIONS:
        from napari_ssl_seg.volumes.itk import open_itk

        return open_itk(path)
    if extension in PAIRED_EXTENSIONS:
        raise VolumeError(f"{path} is one half of a pair (.hdr and .img); convert the pair to one .nii.gz file")
    raise VolumeError(f"{path} has no extension of a volume; these are known: {' '.join(EXTENSIONS)}")


def check_channels(sources: list[Source]) -> None:
    """Several files are the channels of one case: plain volumes on one grid."""
    if len(sources) == 1:
        return
    first = sources[0]
    for source in sources:
        if source.channels > 1:
            raise VolumeError(
                f"{source.path} has {source.channels} channels of its own; files that are given together hold one each"
            )
        mismatch = geometry_mismatch(first.geometry, source.geometry)
        if mismatch:
            raise VolumeError(
                f"{first.path.name} and {source.path} cannot be channels of one case: {mismatch}; resample one of them"
            )


def _held(source: Source, role: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The voxels as they are held, contiguous, and further warnings."""
    with np.errstate(all="ignore"):
        array, notes = source.read()
        if role == "label":
            array, more = as_labels(source.path, array)
            notes = notes + more
    held = source.geometry.from_source(array)
    return np.ascontiguousarray(held), notes
