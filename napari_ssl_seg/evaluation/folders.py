"""Predictions of other frameworks for a study's cases: a folder of label maps, paired by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from napari_ssl_seg.study import Study


@dataclass(frozen=True)
class PredictionFolder:
    """A folder that stands beside the study's runs in a comparison."""

    id: str
    """The name of its row."""
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    """Case id -> label map."""

    def prediction_path(self, case_id: str) -> Path:
        """Where the prediction of a case is, or would be."""
        return self.files.get(case_id, self.folder / f"{case_id}.nii.gz")


def open_prediction_folder(study: Study, name: str, folder: str | os.PathLike[str]) -> PredictionFolder:
    """Pair the label maps in a folder with the cases of a study, by file name without extension.

    nnU-Net's predictions have such names; a channel's suffix (``_0000``) at the end of a name is overlooked.

    Raises
    ------
    UserError
        When there is no such folder, no file has the name of a case, or two have the same.
    """
    from napari_ssl_seg.volumes import find_volumes, volume_stem

    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds the predictions called {name}")
    cases = {case.id for case in study.cases()}
    found: dict[str, Path] = {}
    for file in find_volumes(path):
        stem = volume_stem(file)
        case = stem if stem in cases else stem.removesuffix("_0000")
        if case not in cases:
            continue
        if case in found:
            raise UserError(f"{found[case]} and {file} are both named after case {case}; keep one of them")
        found[case] = file
    if not found:
        example = next(iter(sorted(cases)), "case")
        raise UserError(
            f"no label map in {folder} is named after a case of {study.folder}; name them like {example}.nii.gz"
        )
    return PredictionFolder(name, path, found)
