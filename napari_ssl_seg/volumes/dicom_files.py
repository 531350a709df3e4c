"""What a DICOM file says of itself, read without a library: that it is whole, its series, and how large its pixels are.

GDCM takes the memory that any element claims before it looks whether the file holds that much (gigabytes for one wrong
byte, and it does not give them back), and opens files cut short in their pixels without a word. So every element's
length is followed first (DICOM part 5, section 7).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.memory import check_claim

if TYPE_CHECKING:
    from pathlib import Path

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
SHORT |= {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
UNDEFINED = 0xFFFFFFFF
IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
SYNTAX, SERIES = (0x0002, 0x0010), (0x0020, 0x000E)
SAMPLES, FRAMES, ROWS, COLUMNS, BITS = (0x28, 0x02), (0x28, 0x08), (0x28, 0x10), (0x28, 0x11), (0x28, 0x100)
PIXELS = ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009))
WANTED = {SERIES, SAMPLES, FRAMES, ROWS, COLUMNS, BITS}
DEEPEST = 32


@dataclass(frozen=True)
class DicomFile:
    """One file; ``pixels`` are the bytes of its pixels, None when they are packed, 0 when there are none."""

    path: Path
    series: str
    samples: int
    frames: int
    rows: int
    columns: int
    bits: int
    pixels: int | None


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark, whatever its name."""
    try:
        with path.open("rb") as file:
            file.seek(128)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files of a folder is a DICOM file."""
    try:
        files = (entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
        return any(is_dicom(file) for file, _ in zip(files, range(20), strict=False))
    except OSError:
        return False


def look(path: Path) -> DicomFile:
    """Follow a DICOM file's elements from end to end.

    Raises
    ------
    VolumeError
        When an element, or the image that is claimed, is larger than what the file holds.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        walker = _Walker(path, content)
        walker.walk()
    values = walker.values
    found = DicomFile(
        path=path,
        series=values.get(SERIES, b"").decode("ascii", "replace").strip(" \0"),
        samples=walker.number(SAMPLES, 1),
        frames=walker.frames(),
        rows=walker.number(ROWS, 0),
        columns=walker.number(COLUMNS, 0),
        bits=walker.number(BITS, 8),
        pixels=walker.pixels,
    )
    if found.pixels != 0 and found.samples == 1:  # colours are refused by whoever reads them
        claimed = found.frames * found.rows * found.columns * max(found.bits, 1) // 8
        stored = path.stat().st_size if found.pixels is None else found.pixels
        check_claim(path, claimed, stored, compressed=found.pixels is None)
    return found


class _Walker:
    """Steps from element to element, keeps the few values that are wanted and checks every length."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.size = len(content)
        self.values: dict[tuple[int, int], bytes] = {}
        self.pixels: int | None = 0
        self.implicit = False
        self.order = "<"

    def walk(self) -> None:
        position = self._elements(132, self.size, 0, only_group=2)
        syntax = self.values.get(SYNTAX, b"").decode("ascii", "replace").strip(" \0")
        if syntax == DEFLATED:
            raise VolumeError(f"{self.path} is deflated as a whole, which is not read here; convert it first")
        if not syntax.startswith(IMPLICIT):  # GDCM would try others, at the price said above
            raise VolumeError(
                f"{self.path} does not say how it is coded, or in a way of its own; convert it or get it again"
            )
        self.implicit = syntax == IMPLICIT
        self.order = ">" if syntax == BIG_ENDIAN else "<"
        self._elements(position, self.size, 0)

    def number(self, tag: tuple[int, int], default: int) -> int:
        """A value of two bytes."""
        value = self.values.get(tag, b"")
        return int(struct.unpack(self.order + "H", value[:2])[0]) if len(value) >= 2 else default

    def frames(self) -> int:
        """The number of frames, which is text."""
        text = self.values.get(FRAMES, b"1").strip(b" \0")
        return max(int(text), 1) if text.isdigit() else 1

    def _elements(self, position: int, end: int, depth: int, only_group: int | None = None) -> int:
        """Walk through elements up to ``end``, or the end of the item; return where the next thing begins."""
        if depth > DEEPEST:
            raise self._damaged(position)
        while position + 8 <= end:
            group, element = struct.unpack_from(self.order + "HH", self.content, position)
            tag = (group, element)
            if only_group is not None and group != only_group:
                return position
            if tag in (ITEM_END, SEQUENCE_END):
                return position + 8
            kind, begin, length = self._head(position)
            if length == UNDEFINED:
                position = self._undefined(tag, kind, begin, end, depth)
                continue
            if begin + length > end:
                raise self._short(tag, length, end - begin)
            if kind == b"SQ":
                self._items(begin, begin + length, depth)
            self._keep(tag, begin, length, depth)
            position = begin + length
        return position

    def _head(self, position: int) -> tuple[bytes, int, int]:
        """Type, place of the value and its length."""
        kind = self.content[position + 4 : position + 6]
        if not self.implicit and kind in LONG:
            if position + 12 > self.size:
                raise self._damaged(position)
            return kind, position + 12, struct.unpack_from(self.order + "I", self.content, position + 8)[0]
        if not self.implicit and kind in SHORT:
            return kind, position + 8, struct.unpack_from(self.order + "H", self.content, position + 6)[0]
        # No type is given; some writers leave it out of single elements.
        return b"", position + 8, struct.unpack_from(self.order + "I", self.content, position + 4)[0]

    def _undefined(self, tag: tuple[int, int], kind: bytes, begin: int, end: int, depth: int) -> int:
        """A sequence, or packed pixels, that says where it ends by a mark."""
        if tag in PIXELS:
            if depth == 0:
                self.pixels = None
            return self._items(begin, end, depth, fragments=True)
        if kind not in (b"SQ", b"UN", b""):
            raise self._damaged(begin)
        explicit, self.implicit = (
            self.implicit,
            self.implicit or kind == b"UN",
        )  # part 5, 6.2.2: UN holds implicit items
        position = self._items(begin, end, depth)
        self.implicit = explicit
        return position

    def _items(self, position: int, end: int, depth: int, *, fragments: bool = False) -> int:
        """The items of a sequence, or the pieces of packed pixels."""
        while position + 8 <= end:
            tag = struct.unpack_from(self.order + "HH", self.content, position)
            length = struct.unpack_from(self.order + "I", self.content, position + 4)[0]
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise self._damaged(position)
            if length == UNDEFINED and not fragments:
                position = self._elements(position, end, depth + 1)
                continue
            if position + length > end:
                raise self._short(PIXELS[0] if fragments else ITEM, length, end - position)
            if not fragments:
                self._elements(position, position + length, depth + 1)
            position += length
        if fragments:
            raise VolumeError(f"{self.path} is cut short: its packed pixels have no end; get the file again")
        return position

    def _keep(self, tag: tuple[int, int], begin: int, length: int, depth: int) -> None:
        if depth > 0:
            return  # icons and the like have rows and pixels of their own
        if tag in WANTED or tag == SYNTAX:
            self.values[tag] = self.content[begin : begin + min(length, 64)]
        if tag in PIXELS:
            self.pixels = length

    def _short(self, tag: tuple[int, int], claimed: int, left: int) -> VolumeError:
        what = "pixels" if tag in PIXELS else f"element ({tag[0]:04X},{tag[1]:04X})"
        return VolumeError(
            f"{self.path} is cut short or damaged: {claimed} bytes of {what} are claimed, but only {left} are there;"
            " get it again"
        )

    def _damaged(self, position: int) -> VolumeError:
        return VolumeError(f"{self.path} is damaged: its elements cannot be followed at byte {position}; get it again")
