"""Labels as a file for other programs, in the grid of the image that they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.reader import LabelReader
from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.volumes import Volume, read_header, write_volume

if TYPE_CHECKING:
    import os

    from napari_ssl_seg.study import Study

DICOM = ".dcm"


def export_labels(study: Study, case_id: str, path: str | os.PathLike[str]) -> Path:
    """Write what is drawn on a case now, in the geometry and orientation of its image file.

    Parameters
    ----------
    path
        .nii, .nii.gz, .nrrd, .mha, .mhd, or .dcm for a DICOM Segmentation (needs the extra ``dicomseg``). The voxels have the
        type of the label file with which the study began for this case, where there was one and it holds the values; else
        uint8, or uint16 where a value is over 255.

    Returns
    -------
    The file that was written.

    Raises
    ------
    StudyError
        When the path is one of the study's own files, or a DICOM Segmentation is asked for of a scan that is no DICOM series.
    VolumeError
        When the extension is unknown or the format cannot hold the grid.
    """
    path = Path(path)
    case = study.case(case_id)
    own = [*case.images, *([] if case.label is None else [case.label])]
    if any(path.resolve() == file.resolve() for file in own):
        raise StudyError(f"{path} is a file that the study refers to, which is never written to; choose another name")
    reader = LabelReader(study)
    try:
        array, file_type = reader.labels(case_id), reader.file_type(case_id)
    finally:
        reader.close()
    if path.suffix.lower() == DICOM:
        from napari_ssl_seg.annotation.dicom_seg import write_dicom_seg

        return write_dicom_seg(path, array, case, study.classes)
    geometry = read_header(case.images[0]).geometry
    return write_volume(path, Volume(array, geometry), dtype=_fitting(array, file_type))


def _fitting(array: np.ndarray, file_type: str | None) -> np.dtype | None:
    """``file_type`` where it is one that files are written in and that holds every value as it is; else None."""
    if file_type is None:
        return None
    wanted = np.dtype(file_type)
    most = int(array.max(initial=0))
    if wanted.kind in "iu" and wanted.itemsize <= 8 and most <= np.iinfo(wanted).max:
        return wanted
    if wanted.kind == "f" and wanted.itemsize in (4, 8):  # 65535 and less are exact in either
        return wanted
    return None
