"""What the label store says about its history: plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from napari_ssl_seg.annotation.effort import Effort
    from napari_ssl_seg.annotation.states import SliceState

Kind = Literal["import", "change", "restore"]


@dataclass(frozen=True)
class Entry:
    """One change of a case's labels. Entries are numbered from 1 in each case, and none is ever removed."""

    number: int
    time: float
    """Seconds since 1970."""
    tool: str
    start: tuple[int, int, int]
    """First voxel (z, y, x) of the box of what changed."""
    shape: tuple[int, int, int]
    """Voxels of that box along z, y, x."""
    changed: int
    """Voxels in it that have another value since."""
    kind: Kind
    source: str | None = None
    """Of an import: what was imported."""


@dataclass(frozen=True, eq=False)
class BoxChange:
    """A box of labels as it is now, on its way into the store."""

    case_id: str
    start: tuple[int, int, int]
    values: np.ndarray
    """(z, y, x), uint8 or uint16; belongs to whoever holds this."""
    tool: str = "paint"
    efforts: tuple[Effort, ...] = field(default=())

    @property
    def stop(self) -> tuple[int, int, int]:
        """The voxel after the last, along each axis."""
        z, y, x = (first + size for first, size in zip(self.start, self.values.shape, strict=True))
        return z, y, x


@dataclass(frozen=True)
class StateChange:
    """Slices that are in another state now, on their way into the store."""

    case_id: str
    slices: tuple[int, ...]
    state: SliceState


@dataclass(frozen=True, eq=False)
class OwnLabel:
    """The label file that a study has for a case, before anything was drawn here."""

    array: np.ndarray
    """(z, y, x), uint8 or uint16."""
    source: str
    """Name of the file."""
    labelled_slices: tuple[int, ...] | None
    """Axial slices that count; None: all."""
    file_type: str
    """Voxel type in the file."""


@dataclass(frozen=True, eq=False)
class StoredCase:
    """What the store holds of a case at one moment."""

    slices: list[tuple[int, bytes]]
    """Axial index and packed labels of those that were ever drawn on."""
    states: bytes
    """A `SliceState` each slice."""
    revision: int
    """How often the case was changed."""
