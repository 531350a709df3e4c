"""Which files are volumes, and what a volume is called without its extension."""

from __future__ import annotations

import os
import re
from pathlib import Path

from napari_ssl_seg.files import TEMPORARY_MARK

NIFTI_EXTENSIONS = (".nii.gz", ".nii")
ITK_EXTENSIONS = (".nrrd", ".nhdr", ".mha", ".mhd")
DICOM_EXTENSIONS = (".dcm", ".dicom")
PAIRED_EXTENSIONS = (".hdr", ".img", ".hdr.gz", ".img.gz")
EXTENSIONS = (*NIFTI_EXTENSIONS, *ITK_EXTENSIONS, *DICOM_EXTENSIONS)


def volume_extension(path: str | os.PathLike[str]) -> str:
    """The extension that names the format, in lower case: ".nii.gz", ".nrrd", ...; "" when it is none of a volume."""
    name = Path(path).name.lower()
    return next((extension for extension in (*EXTENSIONS, *PAIRED_EXTENSIONS) if name.endswith(extension)), "")


def volume_stem(path: str | os.PathLike[str]) -> str:
    """The file's name without the extension of its format: "case_1" for "case_1.nii.gz"; other names without suffix."""
    path = Path(path)
    extension = volume_extension(path)
    return path.name[: -len(extension)] if extension else (path.name if path.is_dir() else path.stem)


def is_volume_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name is that of a volume that `read_volume` opens; the file itself is not looked at."""
    name = Path(path).name
    return volume_extension(path) in EXTENSIONS and not name.startswith((".", TEMPORARY_MARK))


def find_volumes(folder: str | os.PathLike[str]) -> list[Path]:
    """Every volume in ``folder`` and below, in natural order (case_2 before case_10).

    A folder that holds DICOM files stands for its series. Hidden files and folders and links to folders are left out.
    """
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        series = False
        for name in names:
            if not is_volume_file(name):
                continue
            if volume_extension(name) in DICOM_EXTENSIONS:
                series = True
            else:
                found.append(Path(parent, name))
        if series:
            found.append(Path(parent))
    return sorted(found, key=natural_key)


def natural_key(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Sorting key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
