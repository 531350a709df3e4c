"""DICOM files, written element by element: cut, lying about their size, coded in odd ways."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from tests.bad_files.entry import RAW, image, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Verdict

FILES: list[BadFile] = []


def _add(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(image(name, verdict, words, why, make))


def element(group: int, number: int, kind: bytes, value: bytes, claimed: int | None = None) -> bytes:
    """One element, explicit and little endian; ``claimed`` instead of its length."""
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
    rows: int = 6,
    columns: int = 5,
) -> bytes:
    """An image of several frames, element by element."""
    short = lambda number: struct.pack("<H", number)  # noqa: E731
    meta = b"".join([
        element(2, 1, b"OB", b"\0\1"), element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3"),
        element(2, 3, b"UI", b"1.2.3.4"), element(2, 0x10, b"UI", syntax), element(2, 0x12, b"UI", b"1.2.3"),
    ])  # fmt: skip
    body = b"".join([
        element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3"), element(8, 0x18, b"UI", b"1.2.3.4"),
        element(8, 0x60, b"CS", b"OT"), extra,
        element(0x20, 0xD, b"UI", b"1.2.3.5"), element(0x20, 0xE, b"UI", b"1.2.3.6"),
        element(0x28, 2, b"US", short(samples)), element(0x28, 4, b"CS", b"RGB" if samples == 3 else b"MONOCHROME2"),
        element(0x28, 8, b"IS", frames), element(0x28, 0x10, b"US", short(rows)), element(0x28, 0x11, b"US", short(columns)),
        element(0x28, 0x100, b"US", short(16)), element(0x28, 0x101, b"US", short(16)),
        element(0x28, 0x102, b"US", short(15)), element(0x28, 0x103, b"US", short(1)),
        element(0x7FE0, 0x10, b"OW", pixels, claimed),
    ])  # fmt: skip
    group_length = element(2, 0, b"UL", struct.pack("<I", len(meta)))
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
    dicom_bytes(extra=element(9, 0x10, b"UN", b"x" * 8, 0xFFFFFFF0)),
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
_add("dicom_empty.dcm", "refuse", "no DICOM", "no bytes at all", lambda path: path.write_bytes(b""))
