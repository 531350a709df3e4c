"""Reading what methods made of a case: files and layers on the grid of the case, and scores that were written before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError, VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.workbench.compared_entry import Entry


def read_prediction(path: Path, geometry: Any, case_id: str, resample: bool) -> np.ndarray:
    """The labels of a file on the grid of a case; ``resample`` brings one that lies on another to it, nearest voxel.

    Raises
    ------
    VolumeError
        When it lies on another grid and is not to be resampled; names both.
    """
    from napari_ssl_seg.volumes import geometry_mismatch, read_volume

    volume = read_volume(path, role="label")
    mismatch = geometry_mismatch(volume.geometry, geometry)
    if mismatch is None:
        return volume.array
    if resample:
        from napari_ssl_seg.evaluation.grids import onto_grid

        return onto_grid(volume, geometry).array
    raise VolumeError(f"{path} does not lie on the grid of case {case_id}: {mismatch}")


def open_labels(entry: Entry, case_id: str, geometry: Any) -> np.ndarray:
    """A copy of the labels of an open layer as they are now; raises VolumeError where they are of another grid."""
    from napari_ssl_seg.volumes import geometry_mismatch

    labels = entry.layers[case_id]
    if labels.geometry is not None:
        mismatch = geometry_mismatch(labels.geometry, geometry)
        if mismatch is not None:
            raise VolumeError(f"the layer {entry.title} does not lie on the grid of case {case_id}: {mismatch}")
    elif tuple(labels.array.shape) != tuple(geometry.shape):
        raise VolumeError(
            f"the layer {entry.title} has {labels.array.shape} voxels and case {case_id} {tuple(geometry.shape)}"
        )
    elif labels.spacing and not np.allclose(labels.spacing, geometry.spacing, rtol=1e-3):
        raise VolumeError(
            f"the layer {entry.title} has voxels of {labels.spacing} mm and case {case_id} of {geometry.spacing}"
        )
    return np.array(labels.array)  # as it is now: the layer may be painted on while this is scored


def known_scores(run: Run, cases: Sequence[str]) -> ScoreTable | None:
    """The run's own table, where it is newer than every prediction and covers the cases that have one."""
    from napari_ssl_seg.evaluation import ScoreTable

    try:
        written = run.scores_path.stat().st_mtime
        table = ScoreTable.from_json(run.scores_path)
    except (OSError, UserError):
        return None
    paths = {case: run.prediction_path(case) for case in cases}
    fresh = all(path.stat().st_mtime <= written for path in paths.values() if path.exists())
    covered = all(case in table.cases for case, path in paths.items() if path.exists())
    return table if fresh and covered else None
