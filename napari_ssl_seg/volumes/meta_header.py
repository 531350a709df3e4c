"""The text header of MetaImage files (.mha, .mhd), judged before a voxel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import check_affine
from napari_ssl_seg.volumes.text_header import TextHeader, data_file, integers, lps_affine, numbers, read_lines

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
UNITS = {"um": (1e-3, "micrometres"), "m": (1e3, "metres"), "cm": (10.0, "centimetres")}


def read_meta_header(path: Path) -> TextHeader:
    """Parse and judge the header of a MetaImage file; raises VolumeError naming the file and the reason."""
    with path.open("rb") as file:
        first = file.read(256)
        if b"=" not in first:
            raise VolumeError(f"{path} is no MetaImage file: it does not begin with a header of text; get it again")
        file.seek(0)
        lines = read_lines(path, file, last="ElementDataFile")
        begin = file.tell()
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip()
    sizes = integers(path, "DimSize", _need(path, fields, "DimSize"))
    dimensions = integers(path, "NDims", _need(path, fields, "NDims"))
    if dimensions != [len(sizes)] or min(sizes) < 1:
        raise VolumeError(
            f"{path}: its header's DimSize {sizes} is not {dimensions} positive numbers; correct its header"
        )
    if not 2 <= len(sizes) <= 4:
        raise VolumeError(f"{path} has {len(sizes)} axes; volumes have three, or four with channels")
    channels = integers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    kind = _need(path, fields, "ElementType").upper()
    if channels != [1] or kind.endswith("_ARRAY"):
        raise VolumeError(
            f"{path} holds {channels[0] if channels else 'several'} values in each voxel, such as a colour or a vector;"
            " only volumes with one number a voxel can be used"
        )
    if kind not in TYPES:
        raise VolumeError(f"{path} holds voxels of type {kind}; only volumes with one number a voxel can be used")
    warnings: list[str] = []
    affine = _place(path, fields, len(sizes), warnings)
    name = _need(path, fields, "ElementDataFile")
    local = name.upper() == "LOCAL"
    skip = integers(path, "HeaderSize", fields.get("HeaderSize", "0"))[0]
    packed, text = _true(fields, "CompressedData"), not _true(fields, "BinaryData", True)
    if skip < -1 or (skip and (packed or text or local)):
        raise VolumeError(f"{path} skips bytes before its voxels in a way that is not read here; save it anew")
    swapped = _true(fields, "BinaryDataByteOrderMSB") or _true(fields, "ElementByteOrderMSB")
    factor, unit = UNITS.get(fields.get("DistanceUnits", "mm").lower(), (1.0, ""))
    if unit:
        warnings.append(f"the header gives lengths in {unit}; they were converted to mm")
    return TextHeader(
        format="metaimage",
        sizes=tuple(sizes),
        affine=affine,
        components=1,
        dtype=np.dtype((">" if swapped and not text else "<" if not text else "=") + TYPES[kind]),
        encoding="zlib" if packed else "text" if text else "raw",
        data_path=path if local else data_file(path, name),
        data_offset=-1 if skip == -1 else skip + (begin if local else 0),
        unit=factor,
        warnings=tuple(warnings),
    )


def _place(path: Path, fields: dict[str, str], axes: int, warnings: list[str]) -> np.ndarray:
    """Index -> LPS+; what is negative, not finite or singular is refused."""
    spacing = np.ones(axes)
    name = next((n for n in ("ElementSpacing", "ElementSize") if n in fields), None)
    if name is None:
        warnings.append("the header gives no spacing; 1 mm was taken")
    else:
        spacing = numbers(path, name, fields[name])
        if len(spacing) != axes or spacing.min() <= 0:
            raise VolumeError(
                f"{path}: its header's {name} is {fields[name][:80]}, which must be positive; correct its header"
            )
    origin = _one_of(path, fields, ("Offset", "Position", "Origin"), axes)
    matrix = _one_of(path, fields, ("TransformMatrix", "Rotation", "Orientation"), axes * axes)
    if matrix is None:
        warnings.append(
            "the header does not say how the patient lies (no TransformMatrix); its axes were taken to run to the left,"
            " the back and the head"
        )
        matrix = np.eye(axes).ravel()
    affine = lps_affine(spacing, np.zeros(axes) if origin is None else origin, matrix.reshape(axes, axes).T)
    check_affine(path, affine, "its TransformMatrix")
    return affine


def _one_of(path: Path, fields: dict[str, str], names: tuple[str, ...], count: int) -> np.ndarray | None:
    """The numbers of a field that has several names; None where it is not there."""
    found = {name: numbers(path, name, fields[name]) for name in names if name in fields}
    for name, values in found.items():
        if len(values) != count:
            raise VolumeError(
                f"{path}: its header's {name} has {len(values)} numbers instead of {count}; correct its header"
            )
    if not found:
        return None
    first = next(iter(found.values()))
    if any(not np.array_equal(values, first) for values in found.values()):
        raise VolumeError(f"{path}: its header's {' and '.join(found)} are not the same; leave one of them out")
    return first


def _need(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise VolumeError(f"{path}: its header has no field {name!r}; the file is damaged, get it again")
    return fields[name]


def _true(fields: dict[str, str], name: str, default: bool = False) -> bool:
    return fields[name].lower() in ("true", "1", "t", "yes") if name in fields else default
