"""How boxes of labels enter the tables, and how label maps of now and of earlier come out of them.

Every change is kept as the box that it changed, and beside it the slices that it touched are kept whole as they are now,
in the same transaction. So what is there now is read at once, whatever the length of the history; and every `KEYFRAMES`
changes the touched slices are kept as they were then, so that no past state is further away than that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.packing import pack, side_by_side, unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from napari_ssl_seg.annotation.records import Kind

Shape = tuple[int, int, int]
KEYFRAMES = 256
SliceRows = list[tuple[int, bytes]]
BoxRow = tuple[int, int, int, int, int, int, bytes]


def write_box(
    connection: sqlite3.Connection,
    case_number: int,
    shape: Shape,
    start: Shape,
    values: np.ndarray,
    *,
    kind: Kind,
    tool: str,
    session: int,
    source: str | None = None,
) -> tuple[int, SliceRows] | None:
    """Make a box of a case hold ``values``; return the new entry's number and the slices as they are since, packed.

    None where the box held these values already.

    Parameters
    ----------
    shape
        (z, y, x) of the case.
    start, values
        The first voxel, and uint8 or uint16 (z, y, x).
    """
    (z0, y0, x0), (nz, ny, nx) = start, values.shape
    held = dict(
        connection.execute(
            "SELECT z, voxels FROM slices WHERE case_number = ? AND z >= ? AND z < ?", (case_number, z0, z0 + nz)
        )
    )
    box = (slice(y0, y0 + ny), slice(x0, x0 + nx))
    changes = side_by_side(
        lambda index: _slice_change(held.get(z0 + index), shape[1:], box, values[index]), range(len(values))
    )
    rows = [(z0 + index, change[2]) for index, change in enumerate(changes) if change is not None]
    changed = sum(change[0] for change in changes if change is not None)
    hull = np.zeros((ny, nx), bool)
    for change in changes:
        if change is not None:
            hull |= change[1]
    if not changed:
        return None
    below, above = rows[0][0], rows[-1][0] + 1
    (left, right), (front, back) = _extent(hull, 0), _extent(hull, 1)
    tight = values[below - z0 : above - z0, front:back, left:right]
    (last,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM entries WHERE case_number = ?", (case_number,)
    ).fetchone()
    number = int(last) + 1
    place = (below, y0 + front, x0 + left, *tight.shape)
    connection.execute(
        f"INSERT INTO entries VALUES (?{', ?' * 14})",
        (case_number, number, session, time.time(), kind, tool, source, *place, changed, pack(tight)),
    )
    connection.executemany(
        "INSERT INTO slices VALUES (?, ?, ?, ?) ON CONFLICT (case_number, z)"
        " DO UPDATE SET entry = excluded.entry, voxels = excluded.voxels",
        [(case_number, z, number, voxels) for z, voxels in rows],
    )
    if number % KEYFRAMES == 0:
        connection.execute(
            "INSERT INTO keyframes SELECT case_number, z, ?, voxels FROM slices WHERE case_number = ? AND entry > ?",
            (number, case_number, number - KEYFRAMES),
        )
    return number, rows


def _slice_change(
    held: bytes | None, shape: tuple[int, int], box: tuple[slice, slice], values: np.ndarray
) -> tuple[int, np.ndarray, bytes] | None:
    """How many voxels of a slice change, which of the box, and the slice as it is then, packed; None where none does."""
    old = None if held is None else unpack(held, shape)
    differs = values != 0 if old is None else old[box] != values
    count = int(np.count_nonzero(differs))
    if not count:
        return None
    now = np.zeros(shape, values.dtype) if old is None else old.astype(np.result_type(old, values))
    now[box] = values
    return count, differs, pack(now)


def slices_now(connection: sqlite3.Connection, case_number: int) -> SliceRows:
    """Every slice of a case that was ever drawn on, packed."""
    return connection.execute("SELECT z, voxels FROM slices WHERE case_number = ?", (case_number,)).fetchall()


def slices_before(connection: sqlite3.Connection, case_number: int, number: int) -> tuple[SliceRows, list[BoxRow]]:
    """What `assemble` makes the labels after entry ``number`` of: slices, and the boxes that came after them."""
    keyframe = number - number % KEYFRAMES
    slices = connection.execute(
        "SELECT z, voxels, max(entry) FROM keyframes WHERE case_number = ? AND entry <= ? GROUP BY z",
        (case_number, keyframe),
    ).fetchall()
    boxes = connection.execute(
        "SELECT z, y, x, nz, ny, nx, voxels FROM entries WHERE case_number = ? AND number > ? AND number <= ?"
        " ORDER BY number",
        (case_number, keyframe, number),
    ).fetchall()
    return [(z, voxels) for z, voxels, _ in slices], boxes


def assemble(
    shape: Shape,
    slices: Iterable[tuple[int, bytes]],
    boxes: Iterable[BoxRow] = (),
) -> np.ndarray:
    """A label map (z, y, x) of packed slices and boxes: uint8, or uint16 where a value needs it.

    Raises
    ------
    ValueError
        When a slice or box is damaged, or does not lie inside the case.
    """
    array = np.zeros(shape, np.uint8)
    for z, voxels in slices:
        array = _put(array, (slice(z, z + 1), slice(None), slice(None)), unpack(voxels, shape[1:])[None])
    for z, y, x, nz, ny, nx, voxels in boxes:
        if min(z, y, x) < 0 or z + nz > shape[0] or y + ny > shape[1] or x + nx > shape[2]:
            raise ValueError("a box that lies outside its case")
        array = _put(array, (slice(z, z + nz), slice(y, y + ny), slice(x, x + nx)), unpack(voxels, (nz, ny, nx)))
    return array


def _put(array: np.ndarray, where: tuple[slice, ...], values: np.ndarray) -> np.ndarray:
    if values.dtype.itemsize > array.dtype.itemsize:
        array = array.astype(np.uint16)
    array[where] = values
    return array


def _extent(hull: np.ndarray, along: int) -> tuple[int, int]:
    """First and last plus one of what is set, looking along an axis."""
    found = np.flatnonzero(hull.any(along))
    return int(found[0]), int(found[-1]) + 1
