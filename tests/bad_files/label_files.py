"""Label maps, each with its image beside in ``images/``: fractions, other grids, images that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bad_files.entry import AFFINE, entry, labels, nifti_bytes, pack, save, voxels

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Verdict

FILES: list[BadFile] = []


def _label(
    name: str, verdict: Verdict, words: str, why: str, array: np.ndarray | None = None, affine: np.ndarray = AFFINE,
    expect: np.ndarray | None = None, **fields: Any,
) -> None:  # fmt: skip
    def make(path: Path) -> np.ndarray:
        given = labels() if array is None else array
        (path.parent / "images").mkdir(exist_ok=True)
        save(path.parent / "images" / path.name, nifti_bytes())
        save(path, nifti_bytes(given, affine, **fields))
        return given if expect is None else expect

    FILES.append(entry(f"{name}.nii.gz", "label", verdict, words, why, make))


def _with(value: float, dtype: str = "float32") -> np.ndarray:
    array = labels(dtype)
    array[2, 2, 2] = value
    return array


def _moved(*shift: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 3] += shift
    return affine


_flipped = AFFINE @ np.diag([-1.0, 1, 1, 1])
_same_grid = _flipped.copy()
_same_grid[:3, 3] += AFFINE[:3, 0] * 4

_label("label_fraction", "refuse", "whole numbers|0.5", "a voxel of 0.5", _with(0.5))
_label("label_resampled", "refuse", "whole numbers|resampled", "blurred by resampling", labels("float32") * 0.9)
_label("label_probabilities", "refuse", "whole numbers", "probabilities", (voxels() / 100).astype("float32"))
_label("label_negative", "refuse", "negative", "a voxel of -1", _with(-1, "int16"))
_label("label_nan", "refuse", "NaN", "a voxel that is NaN", _with(np.nan))
_label("label_infinite", "refuse", "infinite", "a voxel that is infinite", _with(np.inf))
_label("label_huge", "refuse", "too large", "a label of 1e30", _with(1e30))
_label("label_beyond_classes", "refuse", "70000", "a label beyond 65535", _with(70000, "int32"))
_label("label_slope", "refuse", "0.5", "a slope of a half", scl_slope=0.5, scl_inter=0)
_label("label_intercept", "refuse", "negative", "an intercept of -1", scl_slope=1, scl_inter=-1)
_label("label_moved", "refuse", "grid|voxels", "5 mm away from its image", affine=_moved(5, 0, 0))
_label("label_half_a_voxel", "refuse", "grid|0.5 voxels", "half a voxel away from its image", affine=_moved(0.5, 0, 0))
_label("label_mirrored", "refuse", "grid|voxels", "left and right exchanged in its position alone", affine=_flipped)
_label(
    "label_other_spacing", "refuse", "grid", "twice the spacing of its image", affine=AFFINE @ np.diag([2.0, 2, 2, 1])
)
_label("label_other_shape", "refuse", "shapes differ", "cropped, unlike its image", labels()[:4])
_label(
    "label_four_axes", "refuse", "2 volumes", "two volumes where its image has one", np.stack([labels(), labels()], -1)
)
_label(
    "label_colours",
    "refuse",
    "RGB",
    "a screenshot's colours",
    np.zeros((5, 6, 7), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])),
)
_label("label_complex", "refuse", "complex", "complex numbers", labels("complex64"))
_label("label_of_floats", "open", "", "whole numbers stored as floats", labels("float64"))
_label("label_wide", "open", "", "stored as 64-bit integers", labels("int64"))
_label(
    "label_doubled", "open", "", "a slope of 2: the labels are 2 and 4", expect=labels() * 2, scl_slope=2, scl_inter=0
)
_label("label_empty", "open", "", "no labels at all", np.zeros_like(labels()))
_label("label_other_order", "open", "", "stored right to left, on the grid of its image", labels()[::-1], _same_grid)
_label("label_rounded_position", "open", "", "a position that differs in the eighth digit", affine=_moved(2e-8, 0, 0))


def _cut(path: Path) -> None:
    (path.parent / "images").mkdir(exist_ok=True)
    save(path.parent / "images" / path.name, nifti_bytes())
    path.write_bytes(pack(nifti_bytes(labels()))[:-20])


FILES.append(entry("label_cut.nii.gz", "label", "refuse", "cut short", "cut short", _cut))
