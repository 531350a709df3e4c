"""A computed volume as a NIfTI file of any orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.sample._shapes import Array


def save_nifti(
    path: Path,
    array: Array,
    spacing: tuple[float, float, float],
    orientation: str = "LPS",
    tilt: Array | tuple[float, float, float] = (0.0, 0.0, 0.0),
    origin: Array | tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a (z, y, x) array (axes growing towards head, back and patient's left) in another orientation.

    Parameters
    ----------
    tilt : three floats
        Degrees around the patient's right-left, front-back and feet-head axes.
    origin : three floats
        World position of the array's middle, mm, RAS+.
    """
    import nibabel as nib
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    data = np.ascontiguousarray(array.transpose(2, 1, 0))
    affine = np.eye(4)
    affine[:3, :3] = _rotation(tilt) @ np.diag([-spacing[2], -spacing[1], spacing[0]])
    affine[:3, 3] = np.asarray(origin, float) - affine[:3, :3] @ ((np.array(data.shape) - 1) / 2)
    change = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(orientation))
    turned = apply_orientation(data, change)
    turned_affine = affine @ inv_ornt_aff(change, data.shape)
    nifti = nib.Nifti1Image(turned, turned_affine, dtype=array.dtype)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(turned_affine, code=1)
    nifti.set_qform(turned_affine, code=1)
    with atomic_path(path) as temporary:
        nib.save(nifti, temporary)


def _rotation(degrees: Array | tuple[float, float, float]) -> Array:
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.asarray(degrees, float))):
        a, b = [i for i in range(3) if i != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        rotation = step @ rotation
    return rotation
