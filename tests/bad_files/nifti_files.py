"""NIfTI images: cut, altered, lying about their size or place, of other types, and odd but right."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from PIL import Image

from tests.bad_files.entry import AFFINE, BadFile, Verdict, bomb, nifti_bytes, pack, save, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES: list[BadFile] = []
_DEGREES = np.deg2rad(17.0)


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], np.ndarray | None]) -> None:
    FILES.append(BadFile(name, "image", verdict, tuple(words.split("|")) if words else (), why, make))


def _header(
    name: str, verdict: Verdict, words: str, why: str, array: np.ndarray | None = None, /, **fields: Any
) -> None:
    """A file that is right but for some fields of its header."""

    def make(path: Path) -> np.ndarray:
        given = voxels() if array is None else array
        save(path, nifti_bytes(given, **fields))
        return given

    _add(name, verdict, words, why, make)


def _bytes(
    name: str, verdict: Verdict, words: str, why: str, change: Callable[[bytes], bytes], *, packed: bool = False
) -> None:
    """A right file whose bytes are changed: before packing, or (``packed``) after."""

    def make(path: Path) -> np.ndarray:
        content = nifti_bytes()
        path.write_bytes(change(pack(content)) if packed else change(content))
        return voxels()

    _add(name, verdict, words, why, make)


def _flip(content: bytes, place: int, bit: int = 0) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def _claim(shape: tuple[int, ...], datatype: int = 16, offset: float = 352.0, tail: bytes = b"\0" * 4) -> bytes:
    """A header that claims ``shape``, and ``tail``."""
    header = nib.Nifti1Header()
    header.set_sform(AFFINE, code=1)
    header.set_qform(AFFINE, code=1)
    block = bytearray(header.binaryblock)
    struct.pack_into("<8h", block, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", block, 70, datatype, {2: 8, 4: 16, 16: 32}[datatype])
    struct.pack_into("<8f", block, 76, 1, 1, 2, 3.5, 1, 1, 1, 1)
    struct.pack_into("<f", block, 108, offset)
    return bytes(block) + tail


def _written(content: bytes) -> Callable[[Path], None]:
    return lambda path: save(path, content)


# -- cut and altered --------------------------------------------------------------------------------------------------
_bytes(
    "cut_in_half.nii.gz",
    "refuse",
    "cut short",
    "the gzip stream ends in the middle",
    lambda c: c[: len(c) // 2],
    packed=True,
)
_bytes("no_trailer.nii.gz", "refuse", "cut short", "the checksum at the end is missing", lambda c: c[:-8], packed=True)
_bytes("half_trailer.nii.gz", "refuse", "cut short", "half of the checksum is missing", lambda c: c[:-6], packed=True)
_bytes("only_gzip_header.nii.gz", "refuse", "cut short", "ten bytes of gzip", lambda c: c[:10], packed=True)
_bytes(
    "flipped_bit.nii.gz",
    "refuse",
    "damaged",
    "one bit of the gzip stream is flipped",
    lambda c: _flip(c, len(c) * 2 // 3, 3),
    packed=True,
)
_bytes(
    "wrong_checksum.nii.gz", "refuse", "damaged", "the checksum is another file's", lambda c: _flip(c, -8), packed=True
)
_bytes("wrong_length.nii.gz", "refuse", "damaged", "gzip's own length is wrong", lambda c: _flip(c, -2), packed=True)
_bytes("header_only.nii", "refuse", "cut short", "no voxels follow the header", lambda c: c[:352])
_bytes(
    "header_only.nii.gz", "refuse", "cut short", "no voxels follow the header, in whole gzip", lambda c: pack(c[:352])
)
_bytes("half_header.nii", "refuse", "ends within the header", "100 bytes", lambda c: c[:100])
_bytes("last_bytes_missing.nii", "refuse", "cut short", "ten bytes of voxels are missing", lambda c: c[:-10])
_bytes(
    "one_byte_missing.nii.gz",
    "refuse",
    "cut short",
    "a byte of voxels is missing, in whole gzip",
    lambda c: pack(c[:-1]),
)
_add("empty.nii", "refuse", "ends within the header", "no bytes at all", _written(b""))
_add("empty.nii.gz", "refuse", "ends within the header", "no bytes at all", lambda path: path.write_bytes(b"") and None)
_bytes("swapped_mark.nii", "refuse", "mark", "the mark n+1 is missing", lambda c: c[:344] + b"abcd" + c[348:])
_bytes(
    "half_of_a_pair.nii", "refuse", "pair", "the header of a .hdr and .img pair", lambda c: c[:344] + b"ni1\0" + c[348:]
)

# -- claims -------------------------------------------------------------------------------------------------------------
_add(
    "claims_281_terabytes.nii.gz",
    "refuse",
    "claims|TB",
    "a few hundred bytes that claim 281 TB",
    _written(_claim((32767, 32767, 32767, 2))),
)
_add(
    "claims_8_gigabytes.nii.gz",
    "refuse",
    "claims|GB",
    "a few hundred bytes that claim 8 GB",
    _written(_claim((1290, 1290, 1290))),
)
_add("claims_8_gigabytes.nii", "refuse", "claims", "the same, not packed", _written(_claim((1290, 1290, 1290))))


_add(
    "bomb_behind_the_voxels.nii.gz", "refuse", "after its voxels", "1.5 GB of zeros behind the voxels, in 1.5 MB",
    lambda path: path.write_bytes(bomb(nifti_bytes(), 31)) and None,
)  # fmt: skip
_add(
    "bomb_before_the_voxels.nii.gz", "refuse", "begin at byte", "900 MB of zeros before the voxels, in 1 MB",
    lambda path: path.write_bytes(bomb(_claim((5, 6, 7), offset=9e8), 31, 950)) and None,
)  # fmt: skip
_header("offset_past_the_end.nii", "refuse", "cut short", "voxels begin behind the end of the file", vox_offset=1e6)
_header(
    "offset_past_the_end.nii.gz", "refuse", "cut short", "voxels begin behind the end of the stream", vox_offset=1e6
)
_header("offset_in_the_header.nii.gz", "refuse", "within the header", "voxels begin within the header", vox_offset=100)
_header("offset_negative.nii.gz", "refuse", "not possible", "voxels begin before the file", vox_offset=-352)
_header("offset_nan.nii.gz", "refuse", "not possible", "voxels begin at NaN", vox_offset=np.nan)
_header("no_voxels.nii.gz", "refuse", "empty", "an axis of length 0", dim2=0)
_header("negative_size.nii.gz", "refuse", "empty", "an axis of negative length", dim2=-6)
_header("two_hundred_axes.nii.gz", "refuse", "axes, which is not possible", "more axes than there can be", dim0=200)
_header("no_axes.nii.gz", "refuse", "0 axes", "no axes", dim0=0)
_header("one_axis.nii.gz", "refuse", "one axis", "a line of voxels", dim0=1)

# -- types --------------------------------------------------------------------------------------------------------------
_rgb = np.zeros((5, 6, 7), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
_header("colours.nii.gz", "refuse", "RGB", "three colours a voxel", _rgb)
_header("complex.nii.gz", "refuse", "complex", "complex numbers", voxels("complex64"))
_header(
    "vector.nii.gz", "refuse", "vector", "a displacement field", voxels("float32", (5, 6, 7, 1, 3)), intent_code=1007
)
_header(
    "tensor.nii.gz", "refuse", "6 values", "a diffusion tensor", voxels("float32", (5, 6, 7, 1, 6)), intent_code=1005
)
_header("single_bits.nii.gz", "refuse", "single bits", "one bit a voxel", datatype=1)
_header("long_doubles.nii.gz", "refuse", "128-bit", "floats of 128 bits", datatype=1536)
_header("unknown_type.nii.gz", "refuse", "9999", "a type that NIfTI does not define", datatype=9999)
_header("no_type.nii.gz", "refuse", "voxel type 0", "no type", datatype=0)

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

# -- no such thing ------------------------------------------------------------------------------------------------------


def _png(path: Path) -> None:
    Image.fromarray(voxels("uint8", (20, 30))).save(path.with_suffix(".png"))
    path.with_suffix(".png").replace(path)


_add("picture.nii.gz", "refuse", "no NIfTI", "a PNG, renamed", _png)
_add("text.nii", "refuse", "no NIfTI", "a text, renamed", lambda path: path.write_text("dear reader, " * 100) and None)
_add(
    "page.nii.gz",
    "refuse",
    "no NIfTI",
    "the web page of a failed download",
    lambda path: path.write_text("<!doctype html><html>404</html>" * 30) and None,
)
_add(
    "packed_twice.nii.gz",
    "refuse",
    "no NIfTI",
    "gzip in gzip",
    lambda path: path.write_bytes(pack(pack(nifti_bytes()) + bytes(600))) and None,
)
_add("folder.nii.gz", "refuse", "no DICOM", "a folder with the name of a file", lambda path: path.mkdir())
_add(
    "pipe.nii.gz",
    "refuse",
    "not a plain file",
    "a named pipe, from which nothing ever comes",
    lambda path: os.mkfifo(path),
)
_add("loop.nii.gz", "refuse", "does not exist", "a link to itself", lambda path: path.symlink_to(path.name))
_add(
    "random.nii.gz",
    "refuse",
    "no NIfTI",
    "noise in whole gzip",
    lambda path: path.write_bytes(pack(np.random.default_rng(4).bytes(4000))) and None,
)
_add(
    "pair.hdr",
    "refuse",
    "pair",
    "one half of an Analyze pair",
    lambda path: path.write_bytes(nifti_bytes()[:348]) and None,
)
