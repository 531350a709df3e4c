"""What a study says about its cases: plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np

    from napari_ssl_seg.volumes import Geometry

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Purpose = Literal["train", "choose", "predict", "evaluate", "show"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Case(NamedTuple):
    """One scan with what is known of it without reading its voxels.

    Windows list 100,000 of them, so it is a tuple (made three times faster than a dataclass) and becomes paths only when
    asked.
    """

    id: str
    image_files: tuple[str, ...]
    """`images` as text."""
    label_file: str | None
    """`label` as text."""
    group: str
    """What must not be torn apart by the split, usually the patient."""
    split: Split
    shape: tuple[int, int, int]
    """Voxels along z, y, x as held."""
    spacing: tuple[float, float, float]
    """mm along z, y, x."""
    channels: int
    dtype: str
    """Voxel type of the image file."""
    fingerprint: str
    """SHA-256 (hex) of the image file's bytes; of the files' SHA-256, one after the other, where there are several."""
    label_fingerprint: str | None
    """SHA-256 (hex) of the label file's bytes."""
    label_values: tuple[int, ...]
    """Values other than 0 in the label file, ascending."""
    labelled_slices: tuple[int, ...] | None
    """Axial slices that count as labelled; None: all."""
    warnings: tuple[str, ...]
    frame: int | None = None
    """Which time point of a 4D file; None where the file holds one scan."""
    stamp: str = ""
    """Sizes and times of change of the files when they were looked at."""

    @property
    def images(self) -> tuple[Path, ...]:
        """One file, or one file a channel."""
        return tuple(Path(file) for file in self.image_files)

    @property
    def label(self) -> Path | None:
        """The label map's file."""
        return None if self.label_file is None else Path(self.label_file)

    @property
    def labelled(self) -> bool:
        """Whether there is a label with at least one slice that counts."""
        return self.label_file is not None and self.labelled_slices != ()


@dataclass(frozen=True)
class ClassInfo:
    """A labelled structure."""

    value: int
    """As in the label files, 1 to 65535."""
    name: str
    color: str
    """``"#rrggbb"``."""
    lesion: bool = False
    """Whether its connected components are lesions, which `evaluate` then counts."""


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Scan:
    """A normalised image, as patches are cut from it."""

    case_id: str
    array: np.ndarray
    """float32, (C, z, y, x). Shared by everyone who asks for the scan, and therefore read-only."""
    geometry: Geometry
    note: str | None
    """What the normalisation had to say (a constant image, values that are not numbers), or None."""


class Target(BaseModel):
    """A union of label values; targets of a study may overlap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: tuple[int, ...] = Field(description="label values that belong to it, ascending")
    written: int = Field(description="the value that it is painted with in predicted label maps, one of its own")


class StudySettings(BaseModel):
    """What was chosen when the study was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seed: int = 0
    split: tuple[float, float, float] = Field((70.0, 10.0, 20.0), description="per cent for train, validation, test")
    normalisation: str = "percentile"
    four_d: Literal["channels", "time"] = "channels"
    sparse_labels: bool = Field(False, description="axial slices without any label count as unlabelled")
    targets: tuple[Target, ...] = Field(default=(), description="overlapping targets; empty: every class is one")
    created: float = Field(0.0, description="seconds since 1970")
