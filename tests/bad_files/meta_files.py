"""MetaImage files: headers that lead elsewhere, lie or are none, and odd ones that are right."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tests.bad_files.entry import RAW, bomb, image, link_out, outside, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from tests.bad_files.entry import BadFile, Verdict

FILES: list[BadFile] = []


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(image(name, verdict, words, why, make))


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


_meta(
    "meta_leads_out.mhd",
    "refuse",
    "outside its folder",
    "its voxels are a file outside its folder",
    ElementDataFile="../secret.raw",
    data=b"",
    beside=outside,
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
    beside=link_out,
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
