"""Which of a NIfTI header's two position matrices is taken, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import check_affine, largest_corner_shift

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

UNITS = {1: (1000.0, "metres"), 3: (0.001, "micrometres")}
DISAGREEMENT_VOXELS = 0.1
SPACING_DISAGREEMENT = 0.01


def choose_affine(path: Path, header: Any, shape: Sequence[int], warnings: list[str]) -> np.ndarray:
    """The RAS+ affine (4, 4) in mm for the file's index (i, j, k); appends to ``warnings``.

    The sform is taken when it has a code, else the qform when it has one, else the spacing alone as nibabel does it
    (first axis to the left, centred).

    Raises
    ------
    VolumeError
        When spacing or matrix are not finite, zero or singular.
    """
    zooms = _zooms(path, header, shape, warnings)
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    qform = _qform(header, zooms, warnings) if qform_code > 0 else None
    if sform_code > 0:
        chosen = np.eye(4)
        chosen[:3] = [header["srow_x"], header["srow_y"], header["srow_z"]]
        notes = check_affine(path, chosen, "its sform matrix")
        if qform_code > 0:
            _compare(chosen, qform, shape, warnings)
        norms = np.linalg.norm(chosen[:3, :3], axis=0)
        wide = np.array([n > 1 for n in shape])
        if np.any((np.abs(norms / zooms - 1) > SPACING_DISAGREEMENT) & wide):
            warnings.append(
                f"the spacing in the header ({_numbers(zooms)}) is not that of its sform matrix ({_numbers(norms)});"
                " the sform was taken"
            )
    elif qform_code > 0:
        if qform is None:
            raise VolumeError(f"{path}: its qform quaternion is not one of a rotation; correct its header")
        chosen = qform
        notes = check_affine(path, chosen, "its qform matrix")
    else:
        chosen = np.diag([-zooms[0], zooms[1], zooms[2], 1.0])
        chosen[:3, 3] = -chosen[:3, :3] @ ((np.array(shape, dtype=float) - 1) / 2)
        notes = check_affine(path, chosen, "its spacing")
        warnings.append(
            "the header does not say how the patient lies (no sform and no qform code); its first axis was taken to run"
            " to the left, so left and right may be exchanged"
        )
    factor = _unit(header, chosen, warnings)
    if factor != 1.0:
        chosen[:3] *= factor
        notes = check_affine(path, chosen)
    warnings.extend(notes)
    return chosen


def _zooms(path: Path, header: Any, shape: Sequence[int], warnings: list[str]) -> np.ndarray:
    """Spacing along i, j, k in the header's unit, positive."""
    zooms = np.array([float(v) for v in header["pixdim"][1:4]])
    for axis, size in enumerate(shape):
        if size == 1 and axis >= int(header["dim"][0]) and not zooms[axis] > 0:
            zooms[axis] = 1.0  # an axis that the file does not have
    if not np.isfinite(zooms).all() or np.any(zooms == 0):
        raise VolumeError(f"{path}: its header gives a spacing of {_numbers(zooms)}; correct its header")
    if np.any(zooms < 0):
        warnings.append(f"the header gives a negative spacing ({_numbers(zooms)}); its sign was dropped")
    return np.abs(zooms)


def _qform(header: Any, zooms: np.ndarray, warnings: list[str]) -> np.ndarray | None:
    """The qform, None when it is none; NIfTI's own formula (nifti1.h, method 2)."""
    b, c, d = (float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d"))
    offset = [float(header[name]) for name in ("qoffset_x", "qoffset_y", "qoffset_z")]
    rest = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite([rest, *offset]).all() or rest < -1e-5:
        return None
    if rest < 1e-7:  # half a turn: only the direction of (b, c, d) counts, and float32 rounds its length
        length = np.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = float(np.sqrt(rest))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    qfac = float(header["pixdim"][0])
    if qfac not in (-1.0, 0.0, 1.0):
        warnings.append(f"the header's handedness (qfac) is {qfac:g} instead of 1 or -1; only its sign was taken")
    affine = np.eye(4)
    affine[:3, :3] = rotation * zooms * np.array([1.0, 1.0, -1.0 if qfac < 0 else 1.0])
    affine[:3, 3] = offset
    return affine


def _compare(sform: np.ndarray, qform: np.ndarray | None, shape: Sequence[int], warnings: list[str]) -> None:
    if qform is None:
        warnings.append("the header's qform quaternion is not one of a rotation; the sform was taken")
        return
    shift = largest_corner_shift(sform, qform, shape)
    if shift > DISAGREEMENT_VOXELS:
        warnings.append(
            f"the header's sform and qform disagree by up to {shift:.3g} voxels; the sform was taken, other programs may"
            " take the qform"
        )


def _unit(header: Any, affine: np.ndarray, warnings: list[str]) -> float:
    """Factor that leads from the header's unit to mm; no unit is taken for mm, as every program does."""
    code = int(header["xyzt_units"]) & 7
    if code not in UNITS:
        return 1.0
    factor, name = UNITS[code]
    norms = np.linalg.norm(affine[:3, :3], axis=0) * factor
    warnings.append(f"the header gives lengths in {name}; they were converted, the spacing is {_numbers(norms)} mm")
    return factor


def _numbers(values: np.ndarray) -> str:
    return "x".join(f"{v:.4g}" for v in values)
