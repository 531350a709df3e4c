"""NRRD files: headers that lead elsewhere, lie or are none, and odd ones that are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.bad_files.entry import RAW, bomb, image, link_out, outside, pack, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Verdict

FILES: list[BadFile] = []


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(image(name, verdict, words, why, make))


PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3.5)\nspace origin: (10,-20,30)"


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


_nrrd(
    "nrrd_leads_out.nhdr",
    "refuse",
    "outside its folder",
    "its voxels are a file outside its folder",
    data_file="../secret.raw",
    encoding="raw",
    data=b"",
    beside=outside,
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
    beside=link_out,
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
