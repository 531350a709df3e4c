"""A study of arrays that are in memory: they become files in the study's own folder."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import StudyError, VolumeError
from napari_ssl_seg.study.creation import create_study, new_folder
from napari_ssl_seg.study.database import refuse_existing
from napari_ssl_seg.volumes import Geometry, Volume, write_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

    ArrayItem = tuple[str, ArrayLike, ArrayLike | None, Geometry | Sequence[float] | None]

IMPORTED = "imported"


def create_from_arrays(root: Path, items: Iterable[ArrayItem], **options: Any) -> Path:
    """See `Study.create_from_arrays`."""
    items = list(items)
    if not items:
        raise StudyError("no image is open; open at least one scan, then create the study")
    refuse_existing(root)
    imported = root / IMPORTED
    if imported.exists():
        raise StudyError(f"{imported} is there already; choose another folder for the study")
    with new_folder(root):
        try:
            images, labels, taken = [], {}, set[str]()
            for name, image, label, geometry in items:
                stem = _file_name(name, taken)
                volume, label_volume = _volumes(name, image, label, geometry)
                # Alone in a tuple: what looks like nnU-Net's channel suffix in a layer's name is none.
                images.append((write_volume(imported / "images" / f"{stem}.nii.gz", volume),))
                if label_volume is not None:
                    labels[stem] = write_volume(imported / "labels" / f"{stem}.nii.gz", label_volume)
            return create_study(root, images=images, labels=labels, **{"on_problem": "raise", **options})
        except BaseException as error:
            shutil.rmtree(imported, ignore_errors=True)
            if isinstance(error, VolumeError):
                raise StudyError(str(error)) from error
            raise


def _volumes(
    name: str, image: ArrayLike, label: ArrayLike | None, geometry: Geometry | Sequence[float] | None
) -> tuple[Volume, Volume | None]:
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise StudyError(f"{name} holds voxels of type {array.dtype}, which are not numbers; choose another layer")
    if array.ndim == 2:
        array = array[None]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise StudyError(f"{name} has the shape {array.shape}, but a scan is (z, y, x) or (channels, z, y, x)")
    if not isinstance(geometry, Geometry):
        spacing = (1.0, 1.0, 1.0) if geometry is None else tuple(float(step) for step in geometry)
        spacing = (1.0,) * (3 - len(spacing)) + spacing[-3:]
        geometry = Geometry.from_spacing(array.shape[-3:], spacing, dtype=array.dtype)
    volume = Volume(array, geometry, "zyx" if array.ndim == 3 else "czyx")
    if label is None:
        return volume, None
    marks = np.asarray(label)
    if marks.ndim == 2:
        marks = marks[None]
    if marks.shape != array.shape[-3:]:
        raise StudyError(
            f"the label of {name} has the shape {marks.shape}, its image {array.shape[-3:]}; choose the layer that belongs to it"
        )
    if marks.dtype.kind not in "biu":
        raise StudyError(f"the label of {name} holds voxels of type {marks.dtype}; a label map holds whole numbers")
    return volume, Volume(_smallest(name, marks), geometry)


def _smallest(name: str, marks: np.ndarray) -> np.ndarray:
    """Labels as uint8 or uint16: napari hands out 64 bits a voxel."""
    least, largest = int(marks.min()), int(marks.max())
    if least < 0 or largest > np.iinfo(np.uint16).max:
        raise StudyError(f"the label of {name} has values from {least} to {largest}; classes are 1 to 65535")
    return marks.astype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)


def _file_name(name: str, taken: set[str]) -> str:
    """A layer's name as a file name of any system, another one each time."""
    stem = re.sub(r"[^\w.\-]+", "_", name.strip()).strip("._")[:100] or "scan"
    unique, number = stem, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{stem}_{number}"
    taken.add(unique.casefold())
    return unique
