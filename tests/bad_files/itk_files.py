"""NRRD, MetaImage and DICOM files: headers that lead elsewhere, lie or are none, and odd ones that are right."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from tests.bad_files.entry import BadFile, Verdict, bomb, pack, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES: list[BadFile] = []
PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3.5)\nspace origin: (10,-20,30)"
RAW = voxels().tobytes(order="F")


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], np.ndarray | None]) -> None:
    FILES.append(BadFile(name, "image", verdict, tuple(words.split("|")) if words else (), why, make))


def _nrrd(
    name: str, verdict: Verdict, words: str, why: str, *, placed: str = PLACED, data: bytes | None = None,
    beside: Callable[[Path], object] | None = None, **fields: str,
) -> None:  # fmt: skip
    """A NRRD header with some ``fields`` set ("" leaves one out; _ in a name is a blank), and its voxels packed."""
    usual = {"type": "int16", "dimension": "3", "sizes": "5 6 7", "encoding": "gzip", "endian": "little"}
    given = {**usual, **{key.replace("_", " "): value for key, value in fields.items()}}
    lines = ["NRRD0004", *[f"{key}: {value}" for key, value in given.items() if value], *placed.splitlines()]

    def make(path: Path) -> np.ndarray:
        path.write_bytes("\n".join([*lines, "", ""]).encode() + (pack(RAW) if data is None else data))
        if beside is not None:
            beside(path.parent)
        return voxels()

    _add(name, verdict, words, why, make)


def _meta(
    name: str, verdict: Verdict, words: str, why: str, *, data: bytes | None = None,
    beside: Callable[[Path], object] | None = None, **fields: str,
) -> None:  # fmt: skip
    """A MetaImage header with some ``fields`` set ("" leaves one out), and its voxels."""
    usual = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "10 -20 30", "ElementSpacing": "1 2 3.5", "DimSize": "5 6 7",
        "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    given = {**usual, **fields}
    given["ElementDataFile"] = given.pop("ElementDataFile")  # always the last
    text = "".join(f"{key} = {value}\n" for key, value in given.items() if value)

    def make(path: Path) -> np.ndarray:
        path.write_bytes(text.encode() + (RAW if data is None else data))
        if beside is not None:
            beside(path.parent)
        return voxels()

    _add(name, verdict, words, why, make)


def _outside(folder: Path) -> None:
    (folder.parent / "secret.raw").write_bytes(RAW)


def _link_out(folder: Path) -> None:
    _outside(folder)
    (folder / "voxels.raw").symlink_to(folder.parent / "secret.raw")


# -- NRRD ---------------------------------------------------------------------------------------------------------------
_nrrd(
    "nrrd_leads_out.nhdr",
    "refuse",
    "outside its folder",
    "its voxels are a file outside its folder",
    data_file="../secret.raw",
    encoding="raw",
    data=b"",
    beside=_outside,
)
_nrrd(
    "nrrd_leads_to_root.nhdr",
    "refuse",
    "outside its folder",
    "its voxels are a file of the system",
    data_file="/etc/passwd",
    encoding="raw",
    data=b"",
    sizes="5 5 5",
    type="uint8",
)
_nrrd(
    "nrrd_link_out.nhdr",
    "refuse",
    "outside its folder",
    "its voxels are a link out of its folder",
    data_file="voxels.raw",
    encoding="raw",
    data=b"",
    beside=_link_out,
)
_nrrd(
    "nrrd_list.nhdr",
    "refuse",
    "several files",
    "its voxels are spread over a list of files",
    data_file="LIST 2",
    data=b"",
)
_nrrd(
    "nrrd_pattern.nhdr",
    "refuse",
    "several files",
    "its voxels are a pattern of files",
    data_file="../%03d.raw 1 9 1",
    data=b"",
)
_nrrd("nrrd_no_voxels.nhdr", "refuse", "does not exist", "its voxels are nowhere", data_file="gone.raw", data=b"")
_nrrd("nrrd_cut.nrrd", "refuse", "cut short", "its gzip stream ends in the middle", data=pack(RAW)[:-60])
_nrrd("nrrd_no_trailer.nrrd", "refuse", "cut short", "its checksum is missing", data=pack(RAW)[:-8])
_nrrd("nrrd_flipped.nrrd", "refuse", "damaged", "its checksum is wrong", data=pack(RAW)[:-6] + b"\x55" + pack(RAW)[-5:])
_nrrd("nrrd_raw_cut.nrrd", "refuse", "cut short", "ten bytes of voxels are missing", encoding="raw", data=RAW[:-10])
_nrrd("nrrd_bomb.nrrd", "refuse", "after its voxels", "1.5 GB of zeros behind the voxels, packed", data=bomb(RAW, 31))
_nrrd("nrrd_claims_terabytes.nrrd", "refuse", "claims", "claims 2000 TB", sizes="100000 100000 100000")
_nrrd("nrrd_long_number.nrrd", "refuse", "sizes", "a size of 5000 digits", sizes="5 6 " + "9" * 5000)
_nrrd("nrrd_negative_size.nrrd", "refuse", "sizes", "a negative size", sizes="5 -6 7")
_nrrd("nrrd_negative_spacing.nrrd", "refuse", "positive", "a negative spacing", placed="spacings: 1 -2 3.5")
_nrrd(
    "nrrd_nan_direction.nrrd", "refuse", "not finite", "NaN among its directions", placed=PLACED.replace("3.5", "nan")
)
_nrrd(
    "nrrd_singular.nrrd",
    "refuse",
    "singular",
    "two of its directions coincide",
    placed=PLACED.replace("(0,2,0)", "(1,0,0)"),
)
_nrrd("nrrd_nan_origin.nrrd", "refuse", "not finite", "NaN as its origin", placed=PLACED.replace("(10,", "(nan,"))
_nrrd(
    "nrrd_colours.nrrd",
    "refuse",
    "rgb-color",
    "three colours a voxel",
    dimension="4",
    sizes="3 5 6 7",
    type="uint8",
    kinds="RGB-color domain domain domain",
    placed="",
)
_nrrd(
    "nrrd_vector.nrrd",
    "refuse",
    "vector",
    "a vector a voxel",
    dimension="4",
    sizes="3 5 6 7",
    kinds="vector domain domain domain",
    placed="",
)
_nrrd("nrrd_block.nrrd", "refuse", "block", "blocks of bytes as voxels", type="block")
_nrrd("nrrd_five_axes.nrrd", "refuse", "axes", "five axes", dimension="5", sizes="5 6 7 2 2", placed="")
_nrrd("nrrd_bzip2.nrrd", "refuse", "bzip2", "a packing that is not read", encoding="bzip2")
_nrrd("nrrd_no_endian.nrrd", "refuse", "endian", "no byte order", endian="")
_nrrd("nrrd_no_type.nrrd", "refuse", "'type'", "no type", type="")
_nrrd("nrrd_skips_lines.nrrd", "refuse", "skips", "lines to skip", line_skip="3")
_nrrd("nrrd_long_header.nrrd", "refuse", "longer than 1 MB", "a header of 2 MB", placed="#" + "x" * 2**21)
_nrrd("nrrd_no_space.nrrd", "warn", "how the patient lies", "no directions", placed="")
_nrrd(
    "nrrd_micrometres.nrrd",
    "warn",
    "micrometres",
    "lengths in micrometres",
    placed=PLACED.replace("1,0,0", "1000,0,0").replace("0,2,0", "0,2000,0").replace("0,0,3.5", "0,0,3500")
    + '\nspace units: "um" "um" "um"',
)
_nrrd(
    "nrrd_unknown_space.nrrd",
    "warn",
    "taken for LPS",
    "a space that is not the patient's",
    placed=PLACED.replace("left-posterior-superior", "scanner-xyz"),
)
_nrrd(
    "nrrd_text.nrrd",
    "open",
    "",
    "voxels as text",
    encoding="ascii",
    data=" ".join(map(str, voxels().ravel(order="F"))).encode(),
)
_nrrd(
    "nrrd_big_endian.nrrd",
    "open",
    "",
    "the other byte order",
    endian="big",
    data=pack(voxels().astype(">i2").tobytes(order="F")),
)
_nrrd(
    "nrrd_detached.nhdr",
    "open",
    "",
    "its voxels in a file beside",
    data_file="voxels.raw",
    encoding="raw",
    data=b"",
    beside=lambda folder: (folder / "voxels.raw").write_bytes(RAW),
)
_add(
    "nrrd_noise.nrrd",
    "refuse",
    "no NRRD",
    "noise",
    lambda path: path.write_bytes(np.random.default_rng(1).bytes(900)) and None,
)
_add(
    "nrrd_mark_only.nrrd",
    "refuse",
    "sizes",
    "nothing but the mark",
    lambda path: path.write_bytes(b"NRRD0004\n") and None,
)

# -- MetaImage ----------------------------------------------------------------------------------------------------------
_meta(
    "meta_leads_out.mhd",
    "refuse",
    "outside its folder",
    "its voxels are a file outside its folder",
    ElementDataFile="../secret.raw",
    data=b"",
    beside=_outside,
)
_meta(
    "meta_leads_to_root.mhd",
    "refuse",
    "outside its folder",
    "its voxels are a file of the system",
    ElementDataFile="/etc/passwd",
    DimSize="5 5 5",
    ElementType="MET_UCHAR",
    data=b"",
)
_meta(
    "meta_link_out.mhd",
    "refuse",
    "outside its folder",
    "its voxels are a link out of its folder",
    ElementDataFile="voxels.raw",
    data=b"",
    beside=_link_out,
)
_meta(
    "meta_list.mhd",
    "refuse",
    "several files",
    "its voxels are spread over a list of files",
    ElementDataFile="LIST",
    data=b"/etc/passwd\n",
)
_meta("meta_cut.mha", "refuse", "cut short", "ten bytes of voxels are missing", data=RAW[:-10])
_meta(
    "meta_packed_cut.mha",
    "refuse",
    "cut short",
    "its packed voxels end in the middle",
    CompressedData="True",
    data=zlib.compress(RAW)[:-30],
)
_meta(
    "meta_packed_flipped.mha",
    "refuse",
    "damaged",
    "its checksum is wrong",
    CompressedData="True",
    data=zlib.compress(RAW)[:-1] + b"\x01",
)
_meta(
    "meta_bomb.mha",
    "refuse",
    "after its voxels",
    "1.5 GB of zeros behind the voxels, packed",
    CompressedData="True",
    data=bomb(RAW, 15),
)
_meta(
    "meta_claims_terabytes.mha",
    "refuse",
    "claims",
    "claims 2000 TB",
    DimSize="100000 100000 100000",
    CompressedData="True",
)
_meta("meta_no_voxels.mha", "refuse", "positive", "an axis of length 0", DimSize="5 0 7")
_meta("meta_spacing_zero.mha", "refuse", "positive", "a spacing of 0", ElementSpacing="1 0 3.5")
_meta("meta_nan_offset.mha", "refuse", "not finite", "NaN as its origin", Offset="nan 0 0")
_meta("meta_singular.mha", "refuse", "singular", "two of its directions coincide", TransformMatrix="1 0 0 1 0 0 0 0 1")
_meta(
    "meta_colours.mha",
    "refuse",
    "3 values",
    "three colours a voxel",
    ElementNumberOfChannels="3",
    ElementType="MET_UCHAR",
)
_meta("meta_array.mha", "refuse", "values", "arrays as voxels", ElementType="MET_UCHAR_ARRAY")
_meta("meta_text_type.mha", "refuse", "MET_STRING", "texts as voxels", ElementType="MET_STRING")
_meta("meta_no_end.mha", "refuse", "no ElementDataFile", "a header that does not end", ElementDataFile="", data=b"")
_meta("meta_six_axes.mha", "refuse", "6 axes", "six axes", NDims="6", DimSize="5 6 7 1 1 1")
_meta("meta_skips.mha", "refuse", "skips bytes", "a negative count of bytes to skip", HeaderSize="-9")
_meta("meta_no_spacing.mha", "warn", "no spacing", "no spacing", ElementSpacing="")
_meta("meta_no_matrix.mha", "warn", "how the patient lies", "no directions", TransformMatrix="")
_meta(
    "meta_big_endian.mha",
    "open",
    "",
    "the other byte order",
    BinaryDataByteOrderMSB="True",
    data=voxels().astype(">i2").tobytes(order="F"),
)
_meta(
    "meta_text.mha",
    "open",
    "",
    "voxels as text",
    BinaryData="False",
    data=" ".join(map(str, voxels().ravel(order="F"))).encode(),
)
_meta(
    "meta_detached.mhd",
    "open",
    "",
    "its voxels in a file beside",
    ElementDataFile="voxels.raw",
    data=b"",
    beside=lambda folder: (folder / "voxels.raw").write_bytes(RAW),
)
_add(
    "meta_text_file.mha",
    "refuse",
    "no MetaImage",
    "a text, renamed",
    lambda path: path.write_text("dear reader, " * 40) and None,
)


# -- DICOM --------------------------------------------------------------------------------------------------------------
def _element(group: int, number: int, kind: bytes, value: bytes, claimed: int | None = None) -> bytes:
    value += b"" if len(value) % 2 == 0 else (b"\0" if kind in (b"UI", b"OB", b"OW") else b" ")
    length = len(value) if claimed is None else claimed
    head = struct.pack("<HH2s", group, number, kind)
    return (
        head
        + (struct.pack("<HI", 0, length) if kind in (b"OW", b"OB", b"SQ", b"UN") else struct.pack("<H", length))
        + value
    )


def dicom_bytes(
    samples: int = 1,
    pixels: bytes = RAW,
    syntax: bytes = b"1.2.840.10008.1.2.1",
    extra: bytes = b"",
    claimed: int | None = None,
    frames: bytes = b"7",
) -> bytes:
    """An image of several frames, element by element."""
    short = lambda number: struct.pack("<H", number)  # noqa: E731
    meta = b"".join([
        _element(2, 1, b"OB", b"\0\1"), _element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3"),
        _element(2, 3, b"UI", b"1.2.3.4"), _element(2, 0x10, b"UI", syntax), _element(2, 0x12, b"UI", b"1.2.3"),
    ])  # fmt: skip
    body = b"".join([
        _element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3"), _element(8, 0x18, b"UI", b"1.2.3.4"),
        _element(8, 0x60, b"CS", b"OT"), extra,
        _element(0x20, 0xD, b"UI", b"1.2.3.5"), _element(0x20, 0xE, b"UI", b"1.2.3.6"),
        _element(0x28, 2, b"US", short(samples)), _element(0x28, 4, b"CS", b"RGB" if samples == 3 else b"MONOCHROME2"),
        _element(0x28, 8, b"IS", frames), _element(0x28, 0x10, b"US", short(6)), _element(0x28, 0x11, b"US", short(5)),
        _element(0x28, 0x100, b"US", short(16)), _element(0x28, 0x101, b"US", short(16)),
        _element(0x28, 0x102, b"US", short(15)), _element(0x28, 0x103, b"US", short(1)),
        _element(0x7FE0, 0x10, b"OW", pixels, claimed),
    ])  # fmt: skip
    group_length = _element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + group_length + meta + body


def _dicom(name: str, verdict: Verdict, words: str, why: str, content: bytes) -> None:
    _add(name, verdict, words, why, lambda path: path.write_bytes(content) and voxels())


_dicom(
    "dicom_frames.dcm",
    "warn",
    "does not say where",
    "several frames in one file, nowhere in the patient",
    dicom_bytes(),
)
_dicom("dicom_cut.dcm", "refuse", "cut short", "ten bytes of pixels are missing", dicom_bytes()[:-10])
_dicom(
    "dicom_element_of_4_gigabytes.dcm",
    "refuse",
    "cut short or damaged",
    "an element that claims 4 GB",
    dicom_bytes(extra=_element(9, 0x10, b"UN", b"x" * 8, 0xFFFFFFF0)),
)
_dicom("dicom_too_few_pixels.dcm", "refuse", "cut short", "a hundred frames are claimed", dicom_bytes(frames=b"100"))
_dicom(
    "dicom_million_frames.dcm", "refuse", "cut short", "a billion frames are claimed", dicom_bytes(frames=b"999999999")
)
_dicom("dicom_colours.dcm", "refuse", "colours", "three colours a voxel", dicom_bytes(samples=3, pixels=RAW * 3))
_dicom("dicom_deflated.dcm", "refuse", "deflated", "deflated as a whole", dicom_bytes(syntax=b"1.2.840.10008.1.2.1.99"))
_dicom("dicom_odd_syntax.dcm", "refuse", "coded", "a coding of its own", dicom_bytes(syntax=b"9.9.9"))
_dicom(
    "dicom_nested.dcm",
    "refuse",
    "damaged|cannot be followed",
    "sequences in sequences, a thousand deep",
    dicom_bytes(
        extra=b"".join(
            [struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)]
            * 1000
        )
    ),
)
_dicom(
    "dicom_report.dcm",
    "refuse",
    "no pixels",
    "a report without pixels",
    dicom_bytes()[: dicom_bytes().index(struct.pack("<HH", 0x7FE0, 0x10))],
)
_add(
    "dicom_text.dcm",
    "refuse",
    "no DICOM",
    "a text, renamed",
    lambda path: path.write_text("dear reader, " * 40) and None,
)
_add("dicom_pipe.dcm", "refuse", "not a plain file", "a named pipe", lambda path: os.mkfifo(path))
_add("dicom_empty.dcm", "refuse", "no DICOM", "no bytes at all", lambda path: path.write_bytes(b"") and None)
