"""A volume in memory, and what is known of one before it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from napari_ssl_seg.volumes.geometry import Geometry

Axes = Literal["zyx", "czyx", "tzyx"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and where they lie.

    Attributes
    ----------
    array
        (z, y, x), or (c, z, y, x) and (t, z, y, x): z from feet to head, y from front to back, x from right to left.
    geometry
        The grid of (z, y, x).
    axes
        What the array's axes are.
    warnings
        What was odd about the file but did not keep it from being used, one sentence each.
    path
        Where it came from.
    """

    array: np.ndarray
    geometry: Geometry
    axes: Axes = "zyx"
    warnings: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != len(self.axes) or tuple(self.array.shape[-3:]) != self.geometry.shape:
            raise VolumeError(
                f"an array of shape {tuple(self.array.shape)} with axes {self.axes} does not fit the grid"
                f" {self.geometry.shape} (z, y, x)"
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of voxel centres along (z, y, x) in mm."""
        return self.geometry.spacing

    @property
    def channels(self) -> int:
        """How many channels (or time points) there are; 1 for a plain volume."""
        return 1 if self.array.ndim == 3 else self.array.shape[0]

    def with_array(self, array: np.ndarray) -> Volume:
        """Another array on the same grid, such as a prediction: (z, y, x), or with channels (or time) in front.

        Raises
        ------
        VolumeError
            When its last three axes do not have this volume's shape.
        """
        axes: Axes = "zyx" if array.ndim == 3 else ("tzyx" if self.axes == "tzyx" else "czyx")
        return replace(self, array=array, axes=axes, warnings=())


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """What a file says before its voxels are read.

    Attributes
    ----------
    shape
        (z, y, x).
    spacing
        (z, y, x) in mm.
    dtype
        Type of the voxels after the header's scaling, as numpy names it.
    channels
        Length of the fourth axis; 1 for a plain volume.
    axes
        "zyx", or "czyx" where there is a fourth axis.
    stream_bytes
        Bytes that the file must hold, unpacked where it is packed as a whole; 0 where that is not how its format works.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    dtype: str
    geometry: Geometry
    channels: int
    axes: Axes
    warnings: tuple[str, ...]
    stream_bytes: int = 0
