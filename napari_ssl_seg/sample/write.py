"""Phantoms as a folder of files, as a hospital's export would look: every subject from another scanner.

FOLDER/
  images/cardiac_001.nii.gz    int16; the orientation and, for the heart, a small tilt differ from subject to subject
  labels/cardiac_001.nii.gz    uint8, on the same grid
  dataset.json                 class names, in the layout of the Medical Segmentation Decathlon; written last
  subjects.csv                 seed, scanner, orientation of each subject
  LICENSE  README.md
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import write_json, write_text
from napari_ssl_seg.sample._nifti import save_nifti
from napari_ssl_seg.sample.classes import CLASSES, KINDS, Kind

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from napari_ssl_seg.sample._shapes import Array

ORIENTATIONS = {
    "cardiac": ("LPS", "RAS", "LAS", "RPS", "LPI", "RAI"),
    "abdomen": ("LPS", "RAS", "LAS", "LPI", "RAI", "PIR", "ASL"),
}
"""Letters say towards which side of the patient each axis of the file's array grows (nibabel's convention)."""
LARGEST_TILT = {"cardiac": 12.0, "abdomen": 0.0}
"""Degrees by which a stack may be turned against the patient's axes."""

CC0 = """These phantom scans are computed; no patient or volunteer was imaged.

To the extent possible under law, their makers have waived all copyright and related or neighbouring rights to them:
CC0 1.0 Universal (CC0 1.0) Public Domain Dedication, https://creativecommons.org/publicdomain/zero/1.0/
They are offered as they are, without any warranty, and are not for clinical use.
"""


def make_phantom(kind: Kind, seed: int) -> tuple[Array, Array, tuple[float, float, float]]:
    """Image, label and spacing of one phantom: `make_cardiac` or `make_abdomen` by name.

    Raises
    ------
    UserError
        When there is no such kind.
    """
    from napari_ssl_seg.sample.abdomen import make_abdomen
    from napari_ssl_seg.sample.cardiac import make_cardiac

    check_kind(kind)
    return make_cardiac(seed) if kind == "cardiac" else make_abdomen(seed)


def check_kind(kind: str) -> None:
    """Refuse a kind of phantom that does not exist."""
    if kind not in KINDS:
        raise UserError(f"there is no phantom named {kind!r}; choose one of {', '.join(KINDS)}")


def write_phantom_study_files(
    folder: str | os.PathLike[str],
    kind: Kind = "cardiac",
    subjects: int = 24,
    seed: int = 0,
    *,
    on_subject: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a phantom study, ready for ``Study.create(..., images=folder / "images", labels=folder / "labels")``.

    Parameters
    ----------
    folder : path
        Made if missing; must not yet hold images.
    kind : {"cardiac", "abdomen"}
    subjects : int
        1 to 999.
    seed : int
        Subject number i of a study is the phantom with seed ``1000 * seed + i``.
    on_subject : callable, optional
        Told the number of subjects written so far, and of all.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    UserError
        Unknown kind, number out of bounds, a folder that already holds images, or a full disk.
    """
    check_kind(kind)
    if not 1 <= subjects <= 999:
        raise UserError(f"the number of subjects is {subjects}; choose 1 to 999")
    if not 0 <= seed <= 10**6:
        raise UserError(f"the seed is {seed}; choose 0 to 1000000")
    folder = Path(folder)
    if any((folder / "images").glob("*.nii.gz")):
        raise UserError(f"{folder / 'images'} already holds scans; choose an empty folder, nothing was changed")
    rows = []
    for number in range(1, subjects + 1):
        rows.append(_write_subject(folder, kind, number, 1000 * seed + number))
        if on_subject is not None:
            on_subject(number, subjects)
    write_text(folder / "subjects.csv", _table(rows))
    write_text(folder / "LICENSE", CC0)
    write_text(folder / "README.md", _readme(kind, subjects, seed))
    write_json(folder / "dataset.json", _description(kind, [row["case"] for row in rows]))
    return folder


def _write_subject(folder: Path, kind: Kind, number: int, seed: int) -> dict[str, Any]:
    image, label, spacing = make_phantom(kind, seed)
    rng = np.random.default_rng([seed, 13])
    orientation = str(rng.choice(ORIENTATIONS[kind]))
    tilt = LARGEST_TILT[kind] * rng.uniform(-1, 1, 3)
    origin = rng.uniform(-60, 60, 3).round(1)
    case = f"{kind}_{number:03d}"
    save_nifti(folder / "images" / f"{case}.nii.gz", image, spacing, orientation, tilt, origin)
    save_nifti(folder / "labels" / f"{case}.nii.gz", label, spacing, orientation, tilt, origin)
    return {
        "case": case,
        "seed": seed,
        "scanner": _scanner_name(kind, seed),
        "orientation": orientation,
        "tilt_degrees": " ".join(f"{angle:.1f}" for angle in tilt),
        "shape_zyx": "x".join(map(str, image.shape)),
        "spacing_zyx_mm": "x".join(map(str, spacing)),
    }


def _scanner_name(kind: Kind, seed: int) -> str:
    from napari_ssl_seg.sample import scanner

    if kind == "cardiac":
        return scanner.pick_mr_scanner(np.random.default_rng([seed, 7, 2])).vendor
    machine = scanner.pick_ct_scanner(np.random.default_rng([seed, 11, 2]))
    return f"{machine.vendor}, {machine.phase}"


def _description(kind: Kind, cases: list[str]) -> dict[str, Any]:
    return {
        "name": f"{kind} phantoms",
        "description": "Computed scans for trying out few-label segmentation; no patient was imaged.",
        "reference": "napari-ssl-seg",
        "licence": "CC0-1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "MR" if kind == "cardiac" else "CT"},
        "labels": {"0": "background"} | {str(c.value): c.name for c in CLASSES[kind]},
        "numTraining": len(cases),
        "numTest": 0,
        "training": [{"image": f"./images/{c}.nii.gz", "label": f"./labels/{c}.nii.gz"} for c in cases],
        "test": [],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _readme(kind: Kind, subjects: int, seed: int) -> str:
    classes = "\n".join(f"| {c.value} | {c.name} |" for c in CLASSES[kind])
    what = "short-axis cardiac MR stacks" if kind == "cardiac" else "abdominal CT scans"
    return f"""# Phantoms: {what}

{subjects} computed {what}, every subject with an anatomy and a scanner of its own. No patient was imaged.
Made by

    python -m napari_ssl_seg.sample --kind {kind} --subjects {subjects} --seed {seed} --out DIR

`images/` holds int16 volumes, `labels/` uint8 label maps on the same grid, `subjects.csv` how each was made. The files'
orientations differ on purpose. The licence is CC0 1.0 (see LICENSE).

| value | class |
| --- | --- |
{classes}
"""
