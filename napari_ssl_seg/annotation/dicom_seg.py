"""Labels as a DICOM Segmentation (PS3.3 A.51) that refers to the slices of the series they were drawn on.

A binary segment a class, numbered from 1 in the order of the classes' values. Patient and study are copied from the series
by `highdicom <https://highdicom.readthedocs.io>`_, as the standard asks for: such a file is as much patient data as the
series is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.volumes import read_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_ssl_seg.study.records import Case, ClassInfo

MANUFACTURER = "napari-ssl-seg"
SERIES_NUMBER = 900
PLACE_TOLERANCE_MM = 1e-2
MAY_BE_EMPTY = (
    "PatientID PatientName PatientBirthDate PatientSex StudyID StudyDate StudyTime AccessionNumber ReferringPhysicianName"
).split()
"""What the standard wants to be there, if only empty (type 2), and what anonymisers often take out."""


def write_dicom_seg(path: Path, array: np.ndarray, case: Case, classes: Sequence[ClassInfo]) -> Path:
    """Write ``array`` (z, y, x) of a case as a DICOM Segmentation.

    Raises
    ------
    StudyError
        When the case's image is no DICOM series, nothing is drawn, or highdicom is not installed.
    """
    geometry = read_header(case.images[0]).geometry
    if geometry.source.format != "dicom":
        raise StudyError(
            f"{case.id} comes from {case.images[0].name}, which is no DICOM series, and a DICOM Segmentation refers to one;"
            " export as .nii.gz or .nrrd"
        )
    present = [int(value) for value in np.unique(array) if value]
    if not present:
        raise StudyError(f"nothing is drawn on {case.id}, and a DICOM Segmentation without segments is not allowed")
    try:
        import highdicom
    except ImportError as error:
        raise StudyError(
            "a DICOM Segmentation needs highdicom; install it with pip install 'napari-ssl-seg[dicomseg]'"
        ) from error
    from napari_ssl_seg import __version__

    slices = _source_slices(case.images[0], geometry.source.affine, geometry.source.shape)
    numbers = np.zeros(max(present) + 1, np.uint8 if len(present) < 256 else np.uint16)
    numbers[present] = np.arange(1, len(present) + 1)
    frames = np.moveaxis(geometry.to_source(numbers[array]), (0, 1, 2), (2, 1, 0))  # (i, j, k) -> slice, row, column
    known = {item.value: item for item in classes}
    try:
        seg = highdicom.seg.Segmentation(
            source_images=slices,
            pixel_array=np.ascontiguousarray(frames),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _describe(number, value, known.get(value)) for number, value in enumerate(present, start=1)
            ],
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="0",
            content_label="LABELS",
            content_description="Labels drawn by hand or accepted",
            omit_empty_frames=True,
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise StudyError(
            f"a DICOM Segmentation cannot refer to {case.images[0]} ({error}); export as .nii.gz or .nrrd"
        ) from error
    with atomic_path(path) as temporary:
        seg.save_as(temporary, enforce_file_format=True)
    return path


def _describe(number: int, value: int, known: ClassInfo | None) -> Any:
    """A segment for a class: its name, its colour, and the value that it has in label maps."""
    import highdicom
    from pydicom.sr.codedict import codes

    name = known.name if known is not None else f"label {value}"
    color = None
    if known is not None:
        rgb = [int(known.color[i : i + 2], 16) for i in (1, 3, 5)]
        color = highdicom.color.CIELabColor.from_rgb(*rgb)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        # What a class is in anatomy is nobody's to guess from its name, so the code says no more than "tissue".
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_id=f"label {value}",
        tracking_uid=highdicom.UID(),
        display_color=color,
    )


def _source_slices(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> list[Any]:
    """The series' headers in the order of the grid's third axis; refused where they do not lie where the grid has them.

    ``affine`` leads from (i, j, k) to RAS+ mm, DICOM counts in LPS+ mm.
    """
    import pydicom

    from napari_ssl_seg.volumes.dicom import series_files

    found = [pydicom.dcmread(file, stop_before_pixels=True) for file in series_files(path)]
    if len(found) != shape[2]:
        raise StudyError(
            f"{path} keeps its {shape[2]} slices in {len(found)} file(s); a DICOM Segmentation is written for series with one"
            " file a slice: export as .nii.gz or .nrrd"
        )
    places = np.array([np.asarray(one.get("ImagePositionPatient", (np.nan,) * 3), float) for one in found])
    expected = (affine @ np.array([[0, 0, k, 1] for k in range(shape[2])]).T)[:3].T * (-1, -1, 1)
    order = [int(np.argmin(np.linalg.norm(places - place, axis=1))) for place in expected]
    distance = np.linalg.norm(places[order] - expected, axis=1).max()
    step = float(np.linalg.norm(affine[:3, 2]))
    if sorted(order) != list(range(len(found))) or not distance <= max(PLACE_TOLERANCE_MM, 0.1 * step):
        raise StudyError(f"the slices of {path} do not say where they lie, or lie unevenly; export as .nii.gz or .nrrd")
    for one in found:
        for keyword in MAY_BE_EMPTY:
            if keyword not in one:
                setattr(one, keyword, "")
    return [found[index] for index in order]
