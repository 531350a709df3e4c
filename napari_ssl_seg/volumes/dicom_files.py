"""What can be seen of a DICOM file without a library: that it is one, and that its pixels are all there."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = b"\xe0\x7f\x10\x00"
"""The tag (7FE0,0010), little endian."""
LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"UN", b"SQ", b"UT", b"UC", b"UR", b"OV", b"SV", b"UV")
UNDEFINED = 0xFFFFFFFF
NOT_LITTLE = (b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1.99")
"""Transfer syntaxes whose tags cannot be searched for: big endian and deflated."""
END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


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


def check_pixels_present(path: Path) -> None:
    """Raise VolumeError when the file ends before or within its pixels, which GDCM would not say.

    The pixels are the element (7FE0,0010), its type and its length, which must not lead past the end of the file; packed
    pixels have no length, but end with a mark. Elements of that tag may be nested (icons): each is stepped over.
    """
    content = path.read_bytes()
    place, seen = content.find(PIXELS, 128), False
    while place >= 0:
        found = _length(content, place)
        end = place + 4
        if found is not None:
            seen = True
            begin, claimed = found
            end = begin + claimed
            if claimed == UNDEFINED:
                mark = content.find(END_OF_SEQUENCE, begin)
                if mark < 0:
                    raise VolumeError(f"{path} is cut short: its packed pixels have no end; get the file again")
                end = mark + len(END_OF_SEQUENCE)
            elif end > len(content):
                raise VolumeError(
                    f"{path} is cut short: {claimed} bytes of pixels are claimed, but only {len(content) - begin} are"
                    " there; get it again"
                )
        place = content.find(PIXELS, end)
    if not seen and not any(mark in content[:1024] for mark in NOT_LITTLE):
        raise VolumeError(f"{path} holds no pixels; it is cut short, or no image: get it again or take it out")


def _length(content: bytes, place: int) -> tuple[int, int] | None:
    """Where the value of the element at ``place`` begins and its length; None when no element begins there."""
    kind = content[place + 4 : place + 6]
    if kind in LONG and len(content) >= place + 12:
        return place + 12, struct.unpack_from("<I", content, place + 8)[0]
    if place % 2 == 0 and len(content) >= place + 8 and kind not in LONG:
        return place + 8, struct.unpack_from("<I", content, place + 4)[0]
    return None
