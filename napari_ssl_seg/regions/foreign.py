"""Masks that were made elsewhere: label maps as volumes, or lists of the generator's records with run-length masks.

A folder of masks holds for each case one of

- ``CASE.nii.gz`` (or another volume): a label map on the grid of the scan, 0 = in no region;
- ``CASE/0012.json`` or ``CASE_0012.json`` for each axial slice: what Segment Anything's generator returns with
  ``output_mode="coco_rle"`` or "uncompressed_rle", as JSON; ``[]`` where it found nothing.

Slices are counted as they are shown: from the feet, and with rows from front to back, columns from the patient's right.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import inside, read_json
from napari_ssl_seg.regions.label_maps import paint_masks, relabel_by_area
from napari_ssl_seg.regions.rle import RleError, decode_mask, mask_size
from napari_ssl_seg.volumes import geometry_mismatch, read_volume
from napari_ssl_seg.volumes.names import ITK_EXTENSIONS, NIFTI_EXTENSIONS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from napari_ssl_seg.regions.sources import Place
    from napari_ssl_seg.volumes import Geometry


def read_label_map(
    path: str | os.PathLike[str], geometry: Geometry | None = None, *, memory_limit: int | None = None
) -> np.ndarray:
    """A label map of regions: (z, y, x) whole numbers, 0 = in no region.

    Parameters
    ----------
    path
        Any volume that `read_volume` opens.
    geometry
        The scan's grid, on which the map has to lie (to a tenth of a voxel).
    memory_limit
        Bytes that it may take; by default half of what is free.

    Raises
    ------
    UserError
        When the file cannot be read, holds something else than whole numbers from 0, or lies on another grid: then both
        are named.
    """
    volume = read_volume(path, role="label", memory_limit=memory_limit)
    if volume.axes != "zyx":
        raise UserError(f"{path} has {volume.array.shape[0]} channels; a label map of regions has one")
    mismatch = geometry_mismatch(geometry, volume.geometry) if geometry is not None else None
    if mismatch:
        raise UserError(f"{path} does not lie on the grid of its scan: {mismatch}; resample it to the scan")
    return volume.array


def read_records(
    path: str | os.PathLike[str], shape: tuple[int, int] | None = None, *, memory_limit: int | None = None
) -> np.ndarray:
    """The masks in a list of records, as Segment Anything's automatic generator returns it.

    Parameters
    ----------
    path
        JSON: a list of ``{"segmentation": {"size": [h, w], "counts": ...}, ...}``, or an object that has it as
        ``annotations``. Counts are numbers, or COCO's string; whatever else a record says is not used.
    shape
        (height, width) that every mask has to have; None: that of the first.
    memory_limit
        Bytes that the masks may take; by default half of what is free.

    Returns
    -------
    ndarray
        (M, H, W) bool, in the order of the file.

    Raises
    ------
    UserError
        Naming the file and the entry.
    """
    records = read_json(path)
    if isinstance(records, dict):
        records = records.get("annotations")
    if not isinstance(records, list):
        raise UserError(f"{path} holds no list of masks; save what Segment Anything's generator returned, as JSON")
    if not records:
        return np.zeros((0, *(shape or (0, 0))), bool)
    number = 0
    try:
        height, width = mask_size(_mask_of(records[0])) if shape is None else shape
        _check_memory(Path(path), len(records) * height * width, memory_limit)
        masks = np.zeros((len(records), height, width), bool)
        for number, record in enumerate(records):
            masks[number] = decode_mask(_mask_of(record), (height, width))
    except RleError as error:
        raise UserError(f"mask {number} of {path} {error}; make the file again") from error
    return masks


class MaskFiles:
    """A folder of masks made elsewhere, as a source of regions (`napari_ssl_seg.regions.sources.RegionSource`).

    Where a case has a label map and records, the label map is taken. The label map that was used last stays in memory.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, title: str = "", geometry_of: Callable[[str], Geometry] | None = None
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.title = title or f"Masks from {self.folder.name}"
        self._geometry_of = geometry_of
        self._held: tuple[str, np.ndarray] | None = None
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is no folder; name the one that holds the masks made elsewhere")

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[Place] = ()) -> list[np.ndarray]:
        """The regions of each slice, read from the folder; ``places`` say which. See `RegionSource.segment`."""
        if len(places) != len(slices):
            raise UserError("masks made elsewhere belong to a case and a slice; both have to be named for each slice")
        return [self._regions(image.shape, *place) for image, place in zip(slices, places, strict=True)]

    def _regions(self, shape: tuple[int, ...], case_id: str, index: int) -> np.ndarray:
        labels = self._label_map(case_id)
        if labels is None:
            return paint_masks(read_records(self._records(case_id, index), (shape[0], shape[1])))
        if not 0 <= index < len(labels):
            raise UserError(f"the masks of {case_id} in {self.folder} have {len(labels)} slices, but not {index}")
        if labels.shape[1:] != tuple(shape):
            raise UserError(
                f"the masks of {case_id} in {self.folder} are {labels.shape[1]} x {labels.shape[2]} pixels a slice, but"
                f" the scan is {shape[0]} x {shape[1]}; make them on the scan's grid"
            )
        return relabel_by_area(labels[index])

    def _label_map(self, case_id: str) -> np.ndarray | None:
        held = self._held
        if held is not None and held[0] == case_id:
            return held[1]
        path = self._first(f"{case_id}{extension}" for extension in (*NIFTI_EXTENSIONS, *ITK_EXTENSIONS))
        if path is None:
            return None
        labels = read_label_map(path, self._geometry_of(case_id) if self._geometry_of else None)
        self._held = (case_id, labels)
        return labels

    def _records(self, case_id: str, index: int) -> Path:
        path = self._first(f"{case_id}{joint}{number}.json" for joint in "/_" for number in (f"{index:04d}", index))
        if path is None:
            raise UserError(
                f"{self.folder} has no masks for slice {index} of {case_id}; put {case_id}.nii.gz there, or"
                f" {case_id}/{index:04d}.json, with [] in it where there are none"
            )
        return path

    def _first(self, names: Any) -> Path | None:
        """The first of these files that exists; a case's id must not lead out of the folder."""
        return next((path for name in names if (path := inside(self.folder, name)).is_file()), None)


def _mask_of(record: Any) -> Any:
    return record.get("segmentation", record) if isinstance(record, dict) else None


def _check_memory(path: Path, needed: int, limit: int | None) -> None:
    from napari_ssl_seg.volumes.memory import check_memory

    check_memory(path, needed, limit)
