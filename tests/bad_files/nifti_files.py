"""NIfTI images: cut, altered, lying about their size, of other types, and none at all."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from PIL import Image

from tests.bad_files.entry import AFFINE, bomb, image, nifti_bytes, pack, save, voxels
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
_add("empty.nii.gz", "refuse", "ends within the header", "no bytes at all", lambda path: path.write_bytes(b""))
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
    lambda path: path.write_bytes(bomb(nifti_bytes(), 31)),
)  # fmt: skip
_add(
    "bomb_before_the_voxels.nii.gz", "refuse", "begin at byte", "900 MB of zeros before the voxels, in 1 MB",
    lambda path: path.write_bytes(bomb(_claim((5, 6, 7), offset=9e8), 31, 950)),
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

# -- no such thing ------------------------------------------------------------------------------------------------------


def _png(path: Path) -> None:
    Image.fromarray(voxels("uint8", (20, 30))).save(path.with_suffix(".png"))
    path.with_suffix(".png").replace(path)


_add("picture.nii.gz", "refuse", "no NIfTI", "a PNG, renamed", _png)
_add("text.nii", "refuse", "no NIfTI", "a text, renamed", lambda path: path.write_text("dear reader, " * 100))
_add(
    "page.nii.gz",
    "refuse",
    "no NIfTI",
    "the web page of a failed download",
    lambda path: path.write_text("<!doctype html><html>404</html>" * 30),
)
_add(
    "packed_twice.nii.gz",
    "refuse",
    "no NIfTI",
    "gzip in gzip",
    lambda path: path.write_bytes(pack(pack(nifti_bytes()) + bytes(600))),
)
_add("folder.nii.gz", "refuse", "holds no", "a folder with the name of a file", lambda path: path.mkdir())
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
    lambda path: path.write_bytes(pack(np.random.default_rng(4).bytes(4000))),
)
_add(
    "pair.hdr",
    "refuse",
    "pair",
    "one half of an Analyze pair",
    lambda path: path.write_bytes(nifti_bytes()[:348]),
)
