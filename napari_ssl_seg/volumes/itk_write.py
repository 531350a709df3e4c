"""Writing NRRD and MetaImage through SimpleITK, whole or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.files import atomic_path, write_bytes
from napari_ssl_seg.volumes.names import volume_extension, volume_stem

LOCAL = b"ElementDataFile = LOCAL\n"


def write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write ``array`` (i, j, k) with ``affine`` (4, 4), file index -> LPS+ mm, as .nrrd, .mha or .mhd.

    Raises
    ------
    VolumeError
        For a 4D array, or when SimpleITK cannot write.
    """
    import SimpleITK as sitk

    if array.ndim != 3:
        raise VolumeError(f"{path}: volumes with channels or time are written as .nii.gz only; choose that extension")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    if volume_extension(path) == ".mhd":
        _write_pair(path, image)
        return
    with atomic_path(path) as temporary:
        _write(path, image, temporary)


def _write(path: Path, image: Any, target: Path) -> None:
    import SimpleITK as sitk

    try:
        sitk.WriteImage(image, str(target), useCompression=True)
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].split("): ")[-1].strip() if lines else "unknown reason"
        raise VolumeError(
            f"{path} could not be written ({reason}); free some space or choose another folder, the earlier version is"
            " unharmed"
        ) from error


def _write_pair(path: Path, image: Any) -> None:
    """A header and a file of voxels named after their content, so that no header ever meets another's voxels."""
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder, "whole.mha")
        _write(path, image, single)
        content = single.read_bytes()
    head, _, voxels = content.partition(LOCAL)
    name = f"{volume_stem(path)}-{hashlib.sha256(voxels).hexdigest()[:12]}.zraw"
    write_bytes(path.with_name(name), voxels)
    earlier = _named_voxels(path)
    try:
        write_bytes(path, head + f"ElementDataFile = {name}\n".encode())
    except BaseException:
        if earlier != name:
            path.with_name(name).unlink(missing_ok=True)
        raise
    if earlier and earlier != name:
        path.with_name(earlier).unlink(missing_ok=True)


def _named_voxels(path: Path) -> str | None:
    """The file of voxels that an existing header of ours names; None when there is none or it is another's."""
    if not path.is_file():
        return None
    last = path.read_bytes()[-512:].rstrip().rsplit(b"\n", 1)[-1].decode(errors="replace")
    name = last.partition("=")[2].strip()
    ours = name.startswith(f"{volume_stem(path)}-") and name.endswith(".zraw") and "/" not in name and "\\" not in name
    return name if ours else None
