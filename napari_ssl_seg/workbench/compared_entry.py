"""A method to compare, and where what it made of a scan lies: a run, files made elsewhere, or a layer that is open."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.volumes import Geometry

MOST = 8
"""So many methods can be told apart by colour, and read in a grid."""


REFERENCE = "reference"
"""Stands for the reference where a method has its key."""


@dataclass(frozen=True, eq=False)
class OpenLabels:
    """Labels that are open in the viewer, (z, y, x); the array is the layer's own, so its edits are seen."""

    array: NDArray[Any]
    geometry: Geometry | None = None
    """Where the file is known that they are from; else they have to have the scan's shape and spacing."""
    spacing: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A method to compare: a run, a folder or files of predictions made elsewhere, or open layers."""

    key: str
    """The run's id, the folder, the file, or ``layer:NAME``."""
    title: str
    color: str
    run: Run | None = None
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    """Case -> file: of the folder, or those that were dropped in."""
    layers: Mapping[str, OpenLabels] = field(default_factory=dict)
    """Case -> labels."""

    def prediction(self, case_id: str) -> Path | None:
        """The prediction file of a case; None where there is none."""
        if self.run is not None:
            path = self.run.prediction_path(case_id)
            return path if path.exists() else None
        if self.folder is not None and case_id not in self.files:
            return pair_by_name(predictions_in(self.folder), [case_id]).get(case_id)
        return self.files.get(case_id)

    def has(self, case_id: str) -> bool:
        """Whether there is a prediction of the case."""
        return case_id in self.layers or self.prediction(case_id) is not None


def predictions_in(folder: Path) -> dict[str, Path]:
    """Volume files that lie in the folder itself, by their names without extension."""
    from napari_ssl_seg.volumes import is_volume_file, volume_stem

    return {volume_stem(path): path for path in sorted(folder.iterdir()) if path.is_file() and is_volume_file(path)}


def pair_by_name(files: Mapping[str, Path], case_ids: Iterable[str]) -> dict[str, Path]:
    """Case -> file, by names: the case's id itself, else the one name that has the id in it as whole words.

    ``liver_07_pred`` and ``unet-liver_07`` go with the case ``liver_07``, and not with ``liver_0``. Where several files
    fit, none is taken: a guess would be scored as if it were right.
    """
    found = {}
    for case_id in case_ids:
        name = case_id.rsplit("/", 1)[-1]
        if name in files:
            found[case_id] = files[name]
            continue
        whole = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")
        fitting = [path for stem, path in files.items() if whole.search(stem)]
        if len(fitting) == 1:
            found[case_id] = fitting[0]
    taken = list(found.values())
    return {case_id: path for case_id, path in found.items() if taken.count(path) == 1}
