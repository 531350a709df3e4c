"""Scans whose headers hold names and identifiers, and the words to look for afterwards."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from tests.bad_files.dicom_files import dicom_bytes, element

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = (12, 22, 18)
IN_DICOM = {
    "accession": (0x08, 0x50, b"SH", b"ZQACCESSION1"),
    "institution": (0x08, 0x80, b"LO", b"ZQHOSPITAL2"),
    "physician": (0x08, 0x90, b"PN", b"ZQDOCTOR3^X"),
    "station": (0x08, 0x1010, b"SH", b"ZQSTATION4"),
    "study": (0x08, 0x1030, b"LO", b"ZQSTUDYTEXT5"),
    "series": (0x08, 0x103E, b"LO", b"ZQSERIESTEXT6"),
    "creator": (0x09, 0x10, b"LO", b"ZQCREATOR7"),
    "private": (0x09, 0x1001, b"LO", b"ZQPRIVATE8"),
    "name": (0x10, 0x10, b"PN", b"ZQFAMILY9^GIVEN"),
    "id": (0x10, 0x20, b"LO", b"ZQPATIENTID10"),
    "comments": (0x10, 0x4000, b"LT", b"ZQCOMMENT11"),
}
IN_NIFTI = ("ZQDESCRIP12", "ZQAUXFILE13", "ZQDBNAME14", "ZQINTENT15", "ZQEXTENSION16", "ZQDICOMEXT17")
IN_TEXT = ("ZQNRRDKEY18", "ZQNRRDCOMMENT19", "ZQMETANAME20", "ZQNRRDLINE21")
WORDS = (*(value[3].split(b"^")[0].decode() for value in IN_DICOM.values()), *IN_NIFTI, *IN_TEXT)


def write_planted(folder: Path, count: int = 8) -> None:
    """``images`` (NIfTI, NRRD, MetaImage and DICOM) and ``labels``; every header of the images and labels says something."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    rng = np.random.default_rng(6)
    for number in range(count):
        distance = np.sqrt(sum((axis - size / 2) ** 2 for axis, size in zip(np.indices(SHAPE), SHAPE, strict=True)))
        label = np.where(distance < 3, 2, np.where(distance < 5.5, 1, 0)).astype(np.uint8)
        image = (np.array([0, 100, 200])[label] + rng.normal(0, 12, SHAPE)).astype(np.int16)
        _nifti(folder / "images" / f"scan_{number:02d}.nii.gz", image)
        _nifti(folder / "labels" / f"scan_{number:02d}.nii.gz", label)
    raw = image.tobytes(order="F")
    planted = b"".join(element(*value) for value in IN_DICOM.values())
    (folder / "images" / "series").mkdir()
    content = dicom_bytes(pixels=raw, extra=planted, frames=b"18", rows=22, columns=12)
    (folder / "images" / "series" / "a.dcm").write_bytes(content)
    head = "NRRD0004\n# ZQNRRDCOMMENT19\ntype: int16\ndimension: 3\nsizes: 12 22 18\nencoding: raw\nendian: little\n"
    head += "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nname:=ZQNRRDKEY18\n"
    (folder / "images" / "text.nrrd").write_bytes(f"{head}\n".encode() + raw)
    (folder / "images" / "odd.nrrd").write_bytes(f"{head}ZQNRRDLINE21\n\n".encode() + raw)
    meta = "ObjectType = Image\nNDims = 3\nPatientName = ZQMETANAME20\nComment = ZQMETANAME20\nBinaryData = True\n"
    meta += (
        "BinaryDataByteOrderMSB = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\n"
    )
    meta += "DimSize = 12 22 18\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (folder / "images" / "meta.mha").write_bytes(meta.encode() + raw)
    broken = (folder / "images" / "scan_00.nii.gz").read_bytes()[:-30]
    (folder / "images" / "broken.nii.gz").write_bytes(broken)
    (folder / "images" / "cut").mkdir()
    (folder / "images" / "cut" / "a.dcm").write_bytes(content[:-10])


def _nifti(path: Path, array: np.ndarray) -> None:
    image = nib.Nifti1Image(array, np.diag([1.0, 1.0, 1.5, 1.0]))
    for name, word in zip(("descrip", "aux_file", "db_name", "intent_name"), IN_NIFTI, strict=False):
        image.header[name] = word.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", IN_NIFTI[4].encode()))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("ignore", IN_NIFTI[5].encode()))
    nib.save(image, path)


def found_in(folder: Path) -> set[tuple[str, str]]:
    """Word and file, for every planted word in any file below ``folder``, packed ones looked into."""
    found = set()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        for content in _contents(path.read_bytes()):
            for word in WORDS:
                if word.encode() in content or word.encode("utf-16-le") in content:
                    found.add((word, str(path.relative_to(folder))))
    return found


def _contents(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:2] == b"\x1f\x8b":
        yield zlib.decompressobj(47).decompress(content)
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield archive.read(name)
