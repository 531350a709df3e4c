"""NIfTI images: places in the world that are none or disputed, and what is odd but right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from tests.bad_files.entry import AFFINE, image, nifti_bytes, pack, save, voxels
from tests.bad_files.nifti_making import with_bytes, with_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Verdict

FILES: list[BadFile] = []


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(image(name, verdict, words, why, make))


def _header(*words: Any, **fields: Any) -> None:
    FILES.append(with_header(*words, **fields))


def _bytes(*words: Any, **options: Any) -> None:
    FILES.append(with_bytes(*words, **options))


_DEGREES = np.deg2rad(17.0)

# -- geometry -----------------------------------------------------------------------------------------------------------
_header("sform_nan.nii.gz", "refuse", "not finite", "NaN in the sform", srow_x=[np.nan, 0, 0, 0])
_header("sform_infinite.nii.gz", "refuse", "not finite", "an origin at infinity", srow_z=[0, 0, 3.5, np.inf])
_header(
    "sform_singular.nii.gz",
    "refuse",
    "singular",
    "two axes of the sform coincide",
    srow_x=[1, 1, 0, 0],
    srow_y=[0, 0, 0, 0],
    srow_z=[0, 0, 3.5, 0],
)
_header(
    "sform_zero.nii.gz", "refuse", "spacing of", "an sform of zeros", srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4
)
_header("spacing_zero.nii.gz", "refuse", "spacing of", "a spacing of 0", pixdim2=0)
_header("spacing_nan.nii.gz", "refuse", "spacing of", "a spacing that is NaN", pixdim3=np.nan)
_header("spacing_infinite.nii.gz", "refuse", "spacing of", "an infinite spacing", pixdim1=np.inf)
_header(
    "qform_no_rotation.nii.gz",
    "refuse",
    "quaternion",
    "a quaternion longer than 1, and no sform",
    sform_code=0,
    qform_code=1,
    quatern_b=0.9,
    quatern_c=0.9,
)
_header(
    "qform_nan.nii.gz",
    "refuse",
    "quaternion",
    "NaN in the quaternion, and no sform",
    sform_code=0,
    qform_code=1,
    quatern_d=np.nan,
)
_header("spacing_negative.nii.gz", "warn", "negative spacing", "a negative spacing", pixdim1=-1)
_header(
    "no_orientation.nii.gz",
    "warn",
    "left and right",
    "neither sform nor qform has a code; readers disagree about left and right",
    sform_code=0,
    qform_code=0,
)
_header(
    "forms_disagree.nii.gz",
    "warn",
    "disagree|sform was taken",
    "the sform mirrors what the qform does not",
    qform_code=1,
    sform_code=1,
    srow_x=[-1, 0, 0, 14],
)
_header("sheared.nii.gz", "warn", "right angles", "axes that are not at right angles", srow_x=[1, 0.4, 0, 0])
_header("spacings_disagree.nii.gz", "warn", "is not that of its sform", "the spacing is not the sform's", pixdim3=5)
_header("odd_handedness.nii.gz", "warn", "handedness", "a handedness of 5", sform_code=0, qform_code=1, pixdim0=5)
_header(
    "micrometres.nii.gz",
    "warn",
    "micrometres",
    "lengths in micrometres",
    srow_x=[1000, 0, 0, 0],
    srow_y=[0, 2000, 0, 0],
    srow_z=[0, 0, 3500, 0],
    pixdim1=1000,
    pixdim2=2000,
    pixdim3=3500,
    xyzt_units=3,
)
_header(
    "metres.nii.gz",
    "warn",
    "metres",
    "lengths in metres",
    srow_x=[0.001, 0, 0, 0],
    srow_y=[0, 0.002, 0, 0],
    srow_z=[0, 0, 0.0035, 0],
    pixdim1=0.001,
    pixdim2=0.002,
    pixdim3=0.0035,
    xyzt_units=1,
)
_header(
    "tiny_spacing.nii.gz",
    "warn",
    "unusual",
    "voxels of a nanometre",
    srow_x=[1e-6, 0, 0, 0],
    srow_y=[0, 1e-6, 0, 0],
    srow_z=[0, 0, 1e-6, 0],
    pixdim1=1e-6,
    pixdim2=1e-6,
    pixdim3=1e-6,
)

# -- other oddities -----------------------------------------------------------------------------------------------------
_spoiled = voxels("float32")
_spoiled[0, 0, :3] = np.nan, np.inf, -np.inf
_header(
    "voxels_not_finite.nii.gz", "warn", "3 of 210 voxels are not finite", "NaN and infinity among the voxels", _spoiled
)
_header(
    "nothing_finite.nii.gz", "warn", "210 of 210 voxels", "every voxel is NaN", np.full((5, 6, 7), np.nan, np.float32)
)
_header("wrong_bits.nii.gz", "warn", "bits a voxel", "bitpix is not the type's", bitpix=8)
_header("no_offset.nii.gz", "warn", "does not say where", "no offset", vox_offset=0)
_add(
    "plain_named_packed.nii.gz",
    "warn",
    "not compressed",
    "not packed, but named so",
    lambda path: path.write_bytes(nifti_bytes()) and voxels(),
)
_add(
    "packed_named_plain.nii",
    "warn",
    "is not compressed, but it is",
    "packed, but not named so",
    lambda path: path.write_bytes(pack(nifti_bytes())) and voxels(),
)
_bytes(
    "bytes_behind.nii.gz",
    "warn",
    "bytes after the voxels",
    "some bytes behind the voxels",
    lambda c: pack(c + b"left over"),
)
_header("spacing_of_no_axis.nii.gz", "open", "", "NaN as the spacing of an axis that is not there", pixdim5=np.nan)
_header("no_slope.nii.gz", "open", "", "a slope of 0, which means none", scl_slope=0, scl_inter=7)
_header("slope_nan.nii.gz", "open", "", "a slope that is NaN, which means none", scl_slope=np.nan, scl_inter=np.nan)
_header("large_numbers.nii.gz", "open", "", "64-bit integers beyond what floats hold", voxels("int64") + 2**60)
_header("doubles.nii.gz", "open", "", "64-bit floats", voxels("float64") / 3)
_bytes(
    "two_gzip_members.nii.gz",
    "open",
    "",
    "two gzip streams in a row, which is one",
    lambda c: pack(c[:500]) + pack(c[500:]),
)
_header("one_slice.nii.gz", "open", "", "a single slice of two axes", voxels(shape=(5, 6)))
_header("one_voxel.nii.gz", "open", "", "a single voxel", voxels(shape=(1, 1, 1)))
_header("four_axes_of_one.nii.gz", "open", "", "a fourth axis of length 1", voxels(shape=(5, 6, 7, 1)))
_header(
    "words_of_bytes.nii.gz",
    "open",
    "",
    "bytes that are no text where text is",
    None,
    descrip=bytes(range(128, 208)),
    db_name=b"\xff" * 18,
)


def _scaled(path: Path) -> np.ndarray:
    save(path, nifti_bytes(voxels("uint8"), scl_slope=2, scl_inter=-1000))
    return voxels("int64") * 2 - 1000


def _oblique(path: Path) -> np.ndarray:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(_DEGREES), -np.sin(_DEGREES)], [np.sin(_DEGREES), np.cos(_DEGREES)]]
    save(path, nifti_bytes(voxels(), turn @ AFFINE))
    return voxels()


def _nifti2(path: Path) -> np.ndarray:
    save(path, nib.Nifti2Image(voxels(), AFFINE).to_bytes())
    return voxels()


def _swapped(path: Path) -> np.ndarray:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    save(path, nib.Nifti1Image(voxels(), AFFINE, header).to_bytes())
    return voxels()


def _extended(path: Path) -> np.ndarray:
    image = nib.Nifti1Image(voxels(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    save(path, image.to_bytes())
    return voxels()


_add("big_endian.nii.gz", "open", "", "the other byte order", _swapped)
_add("scaled.nii.gz", "open", "", "a slope and an intercept", _scaled)
_add("oblique.nii.gz", "open", "", "axes that are not the patient's", _oblique)
_add("nifti2.nii.gz", "open", "", "the second version of the format", _nifti2)
_add("with_extension.nii.gz", "open", "", "5 kB of comments between header and voxels", _extended)
