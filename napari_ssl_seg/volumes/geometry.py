"""Where the voxels of a volume lie in the patient, and how a file's own axis order relates to the held one.

Arrays are held as (z, y, x): z from feet to head, y from front to back, x from the patient's right to left. A file may
store its axes in any of 48 orders and directions, or obliquely; `SourceGrid` remembers which, so that going back to the
file's orientation is a transposition and some flips, exact to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.affines import orientation_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

HELD_DIRECTIONS = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
"""Columns: the RAS+ world directions of the held axes z (superior), y (posterior), x (left)."""

OBLIQUE_TOLERANCE = 1e-4
"""A direction cosine off the world axes above this (0.006 degrees; 0.05 voxel over 512) makes a volume oblique."""


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """The grid as the file has it.

    Attributes
    ----------
    shape
        Voxels along the file's axes (i, j, k).
    affine
        (4, 4), file index (i, j, k, 1) -> world position in mm, RAS+.
    axes
        For each held axis z, y, x the file axis that it comes from.
    flips
        For each held axis z, y, x whether the file runs through it backwards.
    dtype
        Voxel type in the file (after the header's scaling), as numpy names it.
    format
        "nifti", "nrrd", "metaimage", "dicom" or "array".
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    dtype: str
    format: str


@dataclass(frozen=True, eq=False)
class Geometry:
    """Grid of a held volume.

    Attributes
    ----------
    shape
        Voxels along (z, y, x).
    spacing
        Distance of voxel centres along (z, y, x) in mm.
    affine
        (4, 4), held index (z, y, x, 1) -> world position in mm, RAS+ as nibabel has it.
    source
        The same grid as the file has it.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = field(init=False)
    affine: np.ndarray
    source: SourceGrid

    def __post_init__(self) -> None:
        norms = np.linalg.norm(self.affine[:3, :3], axis=0)
        object.__setattr__(self, "spacing", tuple(float(norm) for norm in norms))

    # -- made from ------------------------------------------------------------------------------------------------
    @classmethod
    def from_file(
        cls, shape: Sequence[int], affine: np.ndarray, *, dtype: Any = "float32", format: str = "array"
    ) -> Geometry:
        """The held geometry of a file of ``shape`` (i, j, k) with a RAS+ ``affine`` in mm.

        The affine must be finite and invertible (`napari_ssl_seg.volumes.affines.check_affine`).
        """
        file_shape = tuple(int(n) for n in shape)
        if len(file_shape) != 3:
            raise VolumeError(f"a volume has three axes, but this one has the shape {file_shape}")
        file_affine = np.array(affine, dtype=float)
        axes, flips = _closest_axes(file_affine)
        to_file = np.zeros((4, 4))  # held index -> file index
        to_file[3, 3] = 1.0
        for held, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            to_file[axis, held] = -1.0 if flip else 1.0
            if flip:
                to_file[axis, 3] = file_shape[axis] - 1
        held_affine = file_affine @ to_file
        file_affine.flags.writeable = held_affine.flags.writeable = False
        source = SourceGrid(file_shape, file_affine, axes, flips, np.dtype(dtype).name, format)  # type: ignore[arg-type]
        return cls(tuple(file_shape[axis] for axis in axes), held_affine, source)  # type: ignore[arg-type]

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float],
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        *,
        dtype: Any = "float32",
    ) -> Geometry:
        """The geometry of an array that came from no file.

        Parameters
        ----------
        shape
            (z, y, x).
        spacing
            (z, y, x) in mm.
        origin
            Position of voxel (0, 0, 0) in mm along (superior, posterior, left).
        """
        sz, sy, sx = (float(s) for s in spacing)
        affine = np.diag([-sx, -sy, sz, 1.0])
        affine[:3, 3] = -float(origin[2]), -float(origin[1]), float(origin[0])
        if not (np.isfinite(affine).all() and min(sz, sy, sx) > 0):
            raise VolumeError(f"spacing {tuple(spacing)} mm cannot be used; every entry must be a positive number")
        return cls.from_file(tuple(shape)[::-1], affine, dtype=dtype)

    # -- what it says ---------------------------------------------------------------------------------------------
    @property
    def origin(self) -> tuple[float, float, float]:
        """Position of voxel (0, 0, 0) in mm along (superior, posterior, left), the directions of the held axes."""
        right, anterior, superior = (float(v) for v in self.affine[:3, 3])
        return superior, -anterior + 0.0, -right + 0.0

    @property
    def directions(self) -> np.ndarray:
        """(3, 3) unit columns: directions of the axes z, y, x in the (superior, posterior, left) frame."""
        return HELD_DIRECTIONS.T @ (self.affine[:3, :3] / np.array(self.spacing))

    @property
    def is_oblique(self) -> bool:
        """Whether the axes do not run along the patient's; such volumes are shown squared."""
        return bool(np.abs(self.directions - np.eye(3)).max() > OBLIQUE_TOLERANCE)

    @property
    def orientation(self) -> str:
        """Three letters: where the file's own axes point, for example "RAS"."""
        return orientation_codes(self.source.affine)

    def describe(self) -> str:
        """One line in the file's own axis order, as other viewers show it: "35x50x35, 1x1x1 mm, RAS"."""
        spacing = np.linalg.norm(self.source.affine[:3, :3], axis=0)
        size = "x".join(str(n) for n in self.source.shape)
        text = f"{size}, {'x'.join(f'{s:.4g}' for s in spacing)} mm, {self.orientation}"
        return f"{text}, oblique" if self.is_oblique else text

    # -- between the file's orientation and the held one ----------------------------------------------------------
    def to_source(self, array: np.ndarray) -> np.ndarray:
        """A held array (z, y, x) or (c, z, y, x) as the file has it: (i, j, k) or (i, j, k, c). A view where possible.

        Raises
        ------
        VolumeError
            When the array does not have this geometry's shape.
        """
        if array.ndim not in (3, 4) or array.shape[-3:] != self.shape:
            raise VolumeError(f"an array of shape {array.shape} does not fit the grid {self.shape} (z, y, x)")
        if array.ndim == 4:
            array = np.moveaxis(array, 0, -1)
        array = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.source.flips)]
        return np.moveaxis(array, (0, 1, 2), self.source.axes)

    def from_source(self, array: np.ndarray) -> np.ndarray:
        """A file's array (i, j, k) or (i, j, k, c) as it is held: (z, y, x) or (c, z, y, x). A view where possible."""
        if array.ndim not in (3, 4) or array.shape[:3] != self.source.shape:
            raise VolumeError(f"an array of shape {array.shape} does not fit the file's grid {self.source.shape}")
        array = np.moveaxis(array, self.source.axes, (0, 1, 2))
        array = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.source.flips)]
        return np.moveaxis(array, -1, 0) if array.ndim == 4 else array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return (
            self.source.shape == other.source.shape
            and self.source.axes == other.source.axes
            and self.source.flips == other.source.flips
            and bool(np.array_equal(self.source.affine, other.source.affine))
        )

    def __hash__(self) -> int:
        return hash((self.source.shape, self.source.axes, self.source.flips, self.source.affine.tobytes()))


def geometry_mismatch(a: Geometry, b: Geometry, tolerance_voxels: float = 0.1) -> str | None:
    """Why two volumes do not share a grid, naming both; None when they do.

    The files may store their axes in different orders: what counts is where the held voxels lie. Two grids are the same
    when their shapes are and no corner voxel of one lies further than ``tolerance_voxels`` (in voxels of the first,
    along any axis) from that of the other.
    """
    if a.shape != b.shape:
        return f"the shapes differ: {a.describe()} against {b.describe()}"
    corners = np.array([(*corner, 1.0) for corner in product(*((0, n - 1) for n in a.shape))]).T
    shift_mm = (b.affine - a.affine) @ corners
    shift_voxels = np.abs(np.linalg.solve(a.affine, shift_mm))
    largest = float(shift_voxels.max())
    if largest <= tolerance_voxels:
        # One voxel alone has no corners that could show a difference of spacing.
        ratio = np.array(b.spacing) / np.array(a.spacing)
        if np.all(np.abs(ratio - 1.0) <= max(tolerance_voxels, 1e-3)):
            return None
        return f"the spacings differ: {a.describe()} against {b.describe()}"
    distance = float(np.linalg.norm(shift_mm[:3], axis=0).max())
    return (
        f"the same voxel lies up to {largest:.3g} voxels ({distance:.3g} mm) apart:"
        f" {a.describe()} with voxel 0 at {_position(a)} against {b.describe()} with voxel 0 at {_position(b)}"
    )


def _position(geometry: Geometry) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in geometry.origin) + ") mm S, P, L"


def _closest_axes(file_affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """For each held axis the file axis closest to it, and whether that one runs backwards.

    Of the six assignments the one with the largest sum of cosines is taken; the first one where two are alike.
    """
    linear = file_affine[:3, :3]
    cosines = HELD_DIRECTIONS.T @ (linear / np.linalg.norm(linear, axis=0))  # held axis x file axis
    best = max(permutations(range(3)), key=lambda p: round(float(np.sum([abs(cosines[h, p[h]]) for h in range(3)])), 9))
    flips = tuple(bool(cosines[held, axis] < 0) for held, axis in enumerate(best))
    return best, flips  # type: ignore[return-value]
