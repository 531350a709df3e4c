"""The text header of NRRD files (teem.sourceforge.net/nrrd/format.html), judged before SimpleITK reads the voxels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import check_affine
from napari_ssl_seg.volumes.text_header import TextHeader, data_file, integers, lps_affine, numbers, read_lines

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "ascii": "text", "txt": "text", "text": "text"}
DOMAIN = ("domain", "space", "time", "???", "none")
COUNTED = ("list", "scalar", "stub")
"""Kinds of an axis that is no direction in space: values in each voxel that may count as channels."""
KNOWN_SPACES = (
    *("left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las"),
    *("left-posterior-superior-time", "lpst", "right-anterior-superior-time", "rast"),
)
_FLIPS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
UNITS = {"um": (1e-3, "micrometres"), "µm": (1e-3, "micrometres"), "m": (1e3, "metres"), "cm": (10.0, "centimetres")}
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)


def read_nrrd_header(path: Path) -> TextHeader:
    """Parse and judge the header of a NRRD file; raises VolumeError naming the file and the reason."""
    with path.open("rb") as file:
        if file.read(4) != b"NRRD":
            raise VolumeError(f"{path} is no NRRD file: it does not begin with 'NRRD'; get it again")
        file.seek(0)
        lines = read_lines(path, file, last=None)
        begin = file.tell()
    fields = _fields(path, lines)
    warnings: list[str] = []
    sizes = integers(path, "sizes", _need(path, fields, "sizes"))
    dimension = integers(path, "dimension", _need(path, fields, "dimension"))
    if len(dimension) != 1 or dimension[0] != len(sizes) or min(sizes) < 1:
        raise VolumeError(
            f"{path}: its header's sizes {sizes} are not {dimension} positive numbers; correct its header"
        )
    domain, counted = _axes(path, fields, sizes)
    affine = _place(path, fields, sizes, domain, warnings)
    text = _need(path, fields, "type").lower()
    code = next((code for code, names in TYPES.items() if text in names), None)
    if code is None:
        raise VolumeError(f"{path} holds voxels of type {text!r}; only volumes with one number a voxel can be used")
    encoding = _need(path, fields, "encoding").lower()
    if encoding not in ENCODINGS:
        raise VolumeError(f"{path} is packed with {encoding!r}, which is not read here; save it with gzip instead")
    skip = integers(path, "byte skip", fields.get("byte skip", "0"))[0]
    if fields.get("line skip", "0").strip() != "0" or (skip != 0 and ENCODINGS[encoding] != "raw") or skip < -1:
        raise VolumeError(f"{path} skips lines or packed bytes before its voxels, which is not read here; save it anew")
    detached = fields.get("data file")
    return TextHeader(
        format="nrrd",
        sizes=tuple(sizes[axis] for axis in domain),
        affine=affine,
        components=sizes[counted] if counted is not None else 1,
        component_axis=counted or 0,
        dtype=np.dtype(_endian(path, fields, code, encoding) + code),
        encoding=ENCODINGS[encoding],
        data_path=data_file(path, detached) if detached else path,
        data_offset=-1 if skip == -1 else (0 if detached else begin) + skip,
        unit=_unit(fields, warnings),
        warnings=tuple(warnings),
    )


def _fields(path: Path, lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        if not colon:
            # Not quoted: whatever stands there, a patient's name perhaps, would be in logs and reports.
            raise VolumeError(f"{path}: line {number} of its header is no field; correct its header")
        name = name.strip().lower()
        fields[{"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}.get(name, name)] = (
            value.strip()
        )
    return fields


def _need(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise VolumeError(f"{path}: its header has no field {name!r}; the file is damaged, get it again")
    return fields[name]


def _endian(path: Path, fields: dict[str, str], code: str, encoding: str) -> str:
    endian = fields.get("endian", "").lower()
    if code[1] == "1" or ENCODINGS[encoding] == "text":
        return "="
    if endian not in ("little", "big"):
        raise VolumeError(f"{path}: its header does not say whether its voxels are little or big endian; save it anew")
    return "<" if endian == "little" else ">"


def _axes(path: Path, fields: dict[str, str], sizes: list[int]) -> tuple[list[int], int | None]:
    """Axes that are directions (two to four, the fourth is channels or time), and one that lists values."""
    kinds = fields.get("kinds", " ".join(["domain"] * len(sizes))).lower().split()
    if len(kinds) != len(sizes):
        raise VolumeError(f"{path}: its header gives {len(kinds)} kinds for {len(sizes)} axes; correct its header")
    domain: list[int] = []
    counted: int | None = None
    for axis, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        if kind in DOMAIN:
            domain.append(axis)
        elif kind in COUNTED or size == 1:
            if size > 1 and counted is not None:
                raise VolumeError(f"{path} has two axes that list values; volumes have at most one, for channels")
            counted = axis if size > 1 else counted
        else:
            raise VolumeError(
                f"{path} holds {size} values of kind {kind!r} in each voxel; only volumes with one number a voxel can be used"
            )
    if not 2 <= len(domain) <= 4 or (len(domain) == 4 and counted is not None):
        raise VolumeError(f"{path} has {len(domain)} axes in space and time; volumes have three, or four with channels")
    return domain, counted


def _place(path: Path, fields: dict[str, str], sizes: list[int], domain: list[int], warnings: list[str]) -> np.ndarray:
    """Index -> LPS+; what is negative, not finite or singular is refused."""
    spatial = domain[:3]
    if "spacings" in fields:
        tokens = fields["spacings"].split()
        spacings = [float(v) if _is_number(v) else float("nan") for v in tokens]
        if len(tokens) != len(sizes) or not all(np.isfinite(spacings[a]) and spacings[a] > 0 for a in spatial):
            raise VolumeError(
                f"{path}: its header gives the spacings {fields['spacings'][:80]}, which must be positive; correct its header"
            )
    else:
        spacings = [1.0] * len(sizes)
    if "space directions" not in fields:
        warnings.append(
            "the header does not say how the patient lies (no space directions); its axes were taken to run to the left,"
            " the back and the head"
        )
        step = np.array([spacings[axis] for axis in spatial])
        affine = lps_affine(step, _axis_mins(path, fields, len(sizes), spatial, step), np.eye(len(spatial)))
        check_affine(path, affine, "its spacings")
        return affine
    vectors = _VECTOR.findall(fields["space directions"])
    if len(vectors) != len(sizes):
        raise VolumeError(
            f"{path}: its header gives {len(vectors)} space directions for {len(sizes)} axes; correct its header"
        )
    columns = []
    for axis in spatial:
        if vectors[axis].lower() == "none":
            raise VolumeError(
                f"{path}: its header gives no direction for axis {axis + 1}; correct its space directions"
            )
        columns.append(numbers(path, "space directions", vectors[axis].strip("()").replace(",", " "))[:3])
    origin = np.zeros(len(spatial))
    if "space origin" in fields:
        origin = numbers(path, "space origin", fields["space origin"].strip("() ").replace(",", " "))[:3]
    if any(len(part) != len(spatial) for part in (*columns, origin)):
        raise VolumeError(
            f"{path}: its header places {len(spatial)} axes in a space of another number of dimensions; save it anew"
        )
    affine = lps_affine(np.ones(len(spatial)), origin, np.array(columns).T)
    space = fields.get("space", "").lower()
    affine[:3] *= np.array(_FLIPS.get(space.removesuffix("-time").removesuffix("t"), (1.0, 1.0, 1.0)))[:, None]
    if len(spatial) == 2:
        affine[2, 2] = 1.0
    check_affine(path, affine, "its space directions")
    if space and space not in KNOWN_SPACES:
        warnings.append(f"the header's space is {fields['space'][:80]!r}, not the patient's; it was taken for LPS")
    elif not space:
        warnings.append("the header names no space; it was taken for the patient's (left, posterior, superior)")
    return affine


def _axis_mins(path: Path, fields: dict[str, str], axes: int, spatial: list[int], step: np.ndarray) -> np.ndarray:
    """Where voxel 0 lies by the header's ``axis mins``, which are the cells' edges unless it says that they are nodes."""
    if "axis mins" not in fields:
        return np.zeros(len(spatial))
    tokens = fields["axis mins"].split()
    least = [float(token) if _is_number(token) else 0.0 for token in tokens]
    centres = fields.get("centerings", fields.get("centers", "")).lower().split()
    if len(tokens) != axes or not all(np.isfinite(least[axis]) for axis in spatial):
        raise VolumeError(
            f"{path}: its header's axis mins are {fields['axis mins'][:80]}, not numbers; correct its header"
        )
    edge = [0.0 if len(centres) == axes and centres[axis] == "node" else 0.5 for axis in spatial]
    return np.array([least[axis] for axis in spatial]) + np.array(edge) * step


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unit(fields: dict[str, str], warnings: list[str]) -> float:
    units = {part for part in re.findall(r'"([^"]*)"', fields.get("space units", "")) if part}
    known = units & set(UNITS)
    if len(units) == 1 and known:
        factor, name = UNITS[known.pop()]
        warnings.append(f"the header gives lengths in {name}; they were converted to mm")
        return factor
    if units - {"mm", "s", "sec"}:
        warnings.append(f"the header's units are {', '.join(sorted(units))}; they were taken for mm")
    return 1.0
