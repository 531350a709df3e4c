"""Smooth implicit shapes and random fields, the clay that the phantoms are made of.

A shape is an array of signed distances in mm, negative inside (exact for tubes, first-order near the surface for the
others); a region is ``distance < 0``. Coordinates are mm, axes z (feet to head), y (front to back), x (patient's right to
left), origin in the middle of the field of view. Everything is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray


@dataclass(frozen=True)
class Grid:
    """The voxels of a scan and the finer samples that they average.

    Attributes
    ----------
    shape : tuple of int
        Voxels (z, y, x).
    spacing : tuple of float
        mm between voxel centres (z, y, x).
    oversampling : tuple of int
        Samples a voxel along each axis; what is rendered has ``shape * oversampling`` samples.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    oversampling: tuple[int, int, int] = (2, 2, 2)

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        z, y, x = (n * f for n, f in zip(self.shape, self.oversampling, strict=True))
        return z, y, x

    def axes(self) -> tuple[Array, Array, Array]:
        """Coordinates in mm of the fine samples along z, y and x, centred on 0."""
        z, y, x = (
            ((np.arange(n * f) + 0.5) / f - n / 2).astype(np.float32) * np.float32(step)
            for n, f, step in zip(self.shape, self.oversampling, self.spacing, strict=True)
        )
        return z, y, x

    def coordinates(self) -> tuple[Array, Array, Array]:
        """The axes, shaped to broadcast against each other: (Z, 1, 1), (1, Y, 1), (1, 1, X)."""
        z, y, x = self.axes()
        return z[:, None, None], y[None, :, None], x[None, None, :]


def random_field(rng: np.random.Generator, axes: Sequence[Array], length: float | Sequence[float]) -> Array:
    """A smooth Gaussian random field, mean 0 and standard deviation 1 at each point.

    White noise on a lattice, spread by a Gaussian kernel along each axis in turn.

    Parameters
    ----------
    axes : three arrays
        Coordinates in mm along z, y, x.
    length : float or three floats
        Correlation length in mm (distance at which the correlation has fallen to 1/e).

    Returns
    -------
    float32 array (Z, Y, X)
    """
    lengths = (length,) * 3 if isinstance(length, int | float) else tuple(length)
    spreads = []
    for axis, scale in zip(axes, lengths, strict=True):
        sigma = scale / 2.0
        nodes = np.arange(float(axis[0]) - 3 * sigma, float(axis[-1]) + 4 * sigma, 1.25 * sigma)
        kernel = np.exp(-0.5 * ((axis[:, None].astype(np.float64) - nodes) / sigma) ** 2)
        spreads.append((kernel / np.sqrt((kernel**2).sum(1, keepdims=True))).astype(np.float32))
    noise = rng.standard_normal([spread.shape[1] for spread in spreads], dtype=np.float32)
    across = np.ascontiguousarray(spreads[2].T)
    planes = (noise.reshape(-1, across.shape[0]) @ across).reshape(*noise.shape[:2], -1)  # (a, b, X)
    planes = np.stack([spreads[1] @ plane for plane in planes])  # (a, Y, X)
    return (spreads[0] @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:])


def turn(y: Array, x: Array, degrees: float) -> tuple[Array, Array]:
    """Coordinates in a frame turned by ``degrees`` from x towards y."""
    angle = np.deg2rad(degrees)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * y - s * x, s * y + c * x


def ellipsoid(
    z: Array, y: Array, x: Array, centre: Sequence[float], radii: Sequence[float], degrees: float = 0.0
) -> Array:
    """Distance to an ellipsoid whose y and x axes are turned by ``degrees``."""
    dz = z - np.float32(centre[0])
    dy, dx = turn(y - np.float32(centre[1]), x - np.float32(centre[2]), degrees)
    rz, ry, rx = (np.float32(r) for r in radii)
    unit = (dz / rz) ** 2 + (dy / ry) ** 2 + (dx / rx) ** 2
    slope = (dz / rz**2) ** 2 + (dy / ry**2) ** 2 + (dx / rx**2) ** 2
    k = np.sqrt(unit)
    return k * (k - 1) / np.sqrt(slope + np.float32(1e-12))


def column(y: Array, x: Array, centre: tuple[Array | float, Array | float], radii: tuple[float, float]) -> Array:
    """Distance to an elliptic cylinder along z; its centre (y, x) may depend on z."""
    dy, dx = y - centre[0], x - centre[1]
    ry, rx = np.float32(radii[0]), np.float32(radii[1])
    k = np.sqrt((dy / ry) ** 2 + (dx / rx) ** 2)
    slope = np.sqrt((dy / ry**2) ** 2 + (dx / rx**2) ** 2 + np.float32(1e-12))
    return k * (k - 1) / slope


def tube(z: Array, y: Array, x: Array, points: Sequence[Sequence[float]], radii: Sequence[float]) -> Array:
    """Distance to a tube through ``points`` (z, y, x) whose radius goes from one of ``radii`` to the next."""
    best: Array | None = None
    for start, end, r0, r1 in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        way = b - a
        dz, dy, dx = z - a[0], y - a[1], x - a[2]
        along = np.clip((dz * way[0] + dy * way[1] + dx * way[2]) / max(float(way @ way), 1e-6), 0, 1)
        gap = np.sqrt((dz - along * way[0]) ** 2 + (dy - along * way[1]) ** 2 + (dx - along * way[2]) ** 2)
        distance = gap - (np.float32(r0) + along * np.float32(r1 - r0))
        best = distance if best is None else np.minimum(best, distance)
    if best is None:
        raise ValueError("a tube needs at least two points")
    return best


def merge(a: Array, b: Array, blend: float) -> Array:
    """Union of two shapes with a seam rounded over ``blend`` mm (polynomial smooth minimum)."""
    h = np.clip(0.5 + 0.5 * (b - a) / np.float32(blend), 0, 1)
    return b + (a - b) * h - np.float32(blend) * h * (1 - h)


def vessels(first: Array, second: Array, width: float) -> Array:
    """Thin winding tubes: where two random fields are both near 0 (each zero set is a surface; they meet in curves)."""
    return first**2 + second**2 < np.float32(width) ** 2


def block_mean(fine: Array, oversampling: tuple[int, int, int]) -> Array:
    """Average the samples of each voxel: (Z*fz, Y*fy, X*fx) -> (Z, Y, X)."""
    fz, fy, fx = oversampling
    nz, ny, nx = (n // f for n, f in zip(fine.shape, oversampling, strict=True))
    return fine.reshape(nz, fz, ny, fy, nx, fx).mean(axis=(1, 3, 5), dtype=np.float32)


def majority_label(fine: Array, values: Sequence[int], oversampling: tuple[int, int, int]) -> Array:
    """The label that fills most of each voxel, background (0) among them; ties go to the lower value. uint8."""
    shares = [block_mean((fine == value).astype(np.float32), oversampling) for value in (0, *values)]
    return np.asarray((0, *values), np.uint8)[np.argmax(np.stack(shares), axis=0)]
