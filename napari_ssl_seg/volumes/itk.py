"""NRRD and MetaImage, read without SimpleITK: it fills what is missing from a truncated file with zeros and says nothing,
forgives headers in ways of its own, and ends the whole program on some (a field's name of 5000 letters).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import LPS_TO_RAS, check_affine
from napari_ssl_seg.volumes.geometry import Geometry
from napari_ssl_seg.volumes.memory import check_claim
from napari_ssl_seg.volumes.meta_header import read_meta_header
from napari_ssl_seg.volumes.nrrd_header import read_nrrd_header
from napari_ssl_seg.volumes.packed import DAMAGED, read_voxels, readable, verify_voxels
from napari_ssl_seg.volumes.sources import Source, non_finite_warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ssl_seg.volumes.text_header import TextHeader


def open_itk(path: Path) -> Source:
    """Read and judge the header of a .nrrd, .nhdr, .mha or .mhd file; raises VolumeError with file and reason."""
    with readable(path):
        nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
        header = read_nrrd_header(path) if nrrd else read_meta_header(path)
        stored = header.data_path.stat().st_size - max(header.data_offset, 0)
    if header.encoding == "text":
        check_claim(path, 2 * header.count - 1, stored, compressed=False)
    else:
        check_claim(path, header.claimed, stored, compressed=header.encoding != "raw")
    shape, channels = _shape(header)
    affine = header.affine.copy()
    affine[:3] *= header.unit
    notes = check_affine(path, affine)
    dtype = header.dtype.newbyteorder("=")
    # The bytes and the held order; text takes about 64 bytes a number while it is split.
    peak = 2 * header.claimed + (64 * header.count if header.encoding == "text" else 0)
    geometry = Geometry.from_file(shape, LPS_TO_RAS @ affine, dtype=header.dtype, format=header.format)

    def read() -> tuple[np.ndarray, tuple[str, ...]]:
        flat, notes = read_voxels(path, header)
        if header.components > 1:
            sizes = list(shape)
            sizes.insert(header.component_axis, channels)
            array = np.moveaxis(flat.reshape(sizes, order="F"), header.component_axis, -1)
        else:
            array = flat.reshape((*shape, channels) if channels > 1 else shape, order="F")
        return array, notes + non_finite_warning(array.T)

    verify = None if header.encoding == "raw" else lambda: verify_voxels(path, header)
    return Source(path, geometry, channels, dtype, peak, (*header.warnings, *notes), read=read, verify=verify)


def array_of(path: Path, reader: Any) -> np.ndarray:
    """The voxels that a SimpleITK reader gives, slowest axis first."""
    import SimpleITK as sitk

    with quiet(path):
        return sitk.GetArrayFromImage(reader.Execute())


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """SimpleITK's errors as ours, in one sentence; its warnings on standard error off."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except (RuntimeError, MemoryError, TypeError, UnicodeError) as error:  # the latter: text that is not UTF-8
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
