"""NRRD and MetaImage through SimpleITK, after our own look at the header, the claimed size and the packed stream.

SimpleITK fills what is missing from a truncated file with zeros and says nothing; so what it is given has been verified.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import LPS_TO_RAS, check_affine
from napari_ssl_seg.volumes.geometry import Geometry
from napari_ssl_seg.volumes.memory import check_claim
from napari_ssl_seg.volumes.meta_header import read_meta_header
from napari_ssl_seg.volumes.nrrd_header import read_nrrd_header
from napari_ssl_seg.volumes.sources import Source, non_finite_warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ssl_seg.volumes.text_header import TextHeader

CHUNK = 4 * 2**20
DAMAGED = "get the file again, or restore it from a backup"


def open_itk(path: Path) -> Source:
    """Read and judge the header of a .nrrd, .nhdr, .mha or .mhd file; raises VolumeError with file and reason."""
    with _readable(path):
        nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
        header = read_nrrd_header(path) if nrrd else read_meta_header(path)
        stored = header.data_path.stat().st_size - max(header.data_offset, 0)
    if header.encoding == "text":
        check_claim(path, 2 * header.count - 1, stored, compressed=False)
    else:
        check_claim(path, header.claimed, stored, compressed=header.encoding != "raw")
    reader = _reader(path, header)
    shape, channels = _shape(header)
    affine = lps_affine(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    affine[:3] *= header.unit
    notes = check_affine(path, affine)
    geometry = Geometry.from_file(shape, LPS_TO_RAS @ affine, dtype=header.dtype, format=header.format)

    def read() -> tuple[np.ndarray, tuple[str, ...]]:
        with _readable(path):
            _verify(path, header)
        array = array_of(path, reader)
        if header.components > 1:  # (z, y, x, c)
            array = np.moveaxis(array, -1, 0)
        array = array.T  # (i, j, k[, c])
        array = array.reshape((*shape, channels) if channels > 1 else shape)
        return array, non_finite_warning(array.T)

    # SimpleITK's image, numpy's copy of it and the held order.
    return Source(path, geometry, channels, header.dtype, 3 * header.claimed, (*header.warnings, *notes), read=read)


def lps_affine(spacing: Any, origin: Any, direction: Any) -> np.ndarray:
    """(4, 4) index -> LPS+ mm from SimpleITK's tuples of two to four dimensions; a missing third axis is 1 mm of z."""
    count = len(spacing)
    used = min(count, 3)
    affine = np.eye(4)
    matrix = np.array(direction, dtype=float).reshape(count, count)[:used, :used]
    affine[:used, :used] = matrix * np.array(spacing[:used], dtype=float)
    affine[:used, 3] = origin[:used]
    return affine


def array_of(path: Path, reader: Any) -> np.ndarray:
    """The voxels that a SimpleITK reader gives, slowest axis first."""
    import SimpleITK as sitk

    with quiet(path):
        return sitk.GetArrayFromImage(reader.Execute())


def _reader(path: Path, header: TextHeader) -> Any:
    """A SimpleITK reader that has seen the header and agrees with us about it."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(header.image_io)
    with quiet(path):
        reader.ReadImageInformation()
    size = tuple(reader.GetSize())
    if size != header.sizes or reader.GetNumberOfComponents() != header.components:
        raise VolumeError(f"{path}: its header is read in two ways ({header.sizes} and {size}); save it anew")
    return reader


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """SimpleITK's errors as ours, in one sentence; its warnings on standard error off."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].split("): ")[-1].strip() if lines else "out of memory"
        raise VolumeError(f"{path} cannot be read ({reason}); {DAMAGED}") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _shape(header: TextHeader) -> tuple[tuple[int, int, int], int]:
    sizes = (*header.sizes, 1, 1)[:4] if len(header.sizes) < 4 else header.sizes
    if len(header.sizes) == 4:
        return (sizes[0], sizes[1], sizes[2]), sizes[3]
    return (sizes[0], sizes[1], sizes[2]), header.components


def _verify(path: Path, header: TextHeader) -> None:
    """Unpack the stream once to its end: length and checksum. Raw voxels were verified by the size of the file."""
    if header.encoding == "raw":
        return
    with header.data_path.open("rb") as file:
        file.seek(header.data_offset)
        if header.encoding == "gzip":
            got = _gzip_length(file, header.claimed)
        elif header.encoding == "zlib":
            got = _zlib_length(path, file, header.claimed)
        else:
            got = len(file.read().split()) * header.dtype.itemsize
    if got < header.claimed:
        raise VolumeError(
            f"{path} is cut short: its header claims {header.claimed} bytes of voxels, but only {got} are there; {DAMAGED}"
        )


def _gzip_length(file: Any, claimed: int) -> int:
    total = 0
    with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        while part := unpacked.read(CHUNK):
            total += len(part)
            if total > 2 * claimed + 2**30:
                break
    return total


def _zlib_length(path: Path, file: Any, claimed: int) -> int:
    unpacker = zlib.decompressobj(47)  # zlib or gzip, by its first bytes
    total = 0
    while not unpacker.eof and total <= 2 * claimed + 2**30:
        part = unpacker.unconsumed_tail or file.read(CHUNK)
        if not part:
            raise VolumeError(f"{path} is cut short (its packed voxels end too early); {DAMAGED}")
        total += len(unpacker.decompress(part, CHUNK))
    return total


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise VolumeError(f"{path} is cut short (its packed voxels end too early); {DAMAGED}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path} is damaged (its packed voxels are wrong: {error}); {DAMAGED}") from error
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read ({error.strerror or error}); check the drive and its rights"
        ) from error
