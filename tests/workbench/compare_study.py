"""A small real study with two fine-tuned runs, one of them perfect: for tests of comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.study import Study
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.volumes import Volume, write_volume

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (8, 24, 20)
SPACING = (4.0, 1.5, 1.5)


def make_study(folder: Path, cases: int = 5) -> Study:
    """Spheres of two classes in noise."""
    items = []
    for index in range(cases):
        label = reference(index)
        noise = np.random.default_rng(index).normal(0, 10, SHAPE)
        items.append((f"case_{index}", (label * 60 + noise).astype(np.float32), label, SPACING))
    return Study.create_from_arrays(
        folder / "study", items, classes={1: "inner", 2: "outer"}, split=(40, 20, 40), seed=1, name="spheres"
    )


def reference(index: int) -> np.ndarray:
    """An inner ball (1) in a shell (2), in the middle slices only."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    radius = np.sqrt(((z - 4) * 2) ** 2 + (y - 12) ** 2 + (x - 10 - index % 2) ** 2)
    return np.where(radius < 4, 1, np.where(radius < 7, 2, 0)).astype(np.uint8)


def add_run(study: Study, title: str, *, shift: int, cases: list[str] | None = None) -> Run:
    """A fine-tuned run whose predictions are the references moved by ``shift`` voxels along x."""
    record = RunRecord(kind="finetune", title=title, network={"dims": 2, "preset": "small"}, settings={})
    run = Run.create(study.runs_folder, record)
    run.weights_path.write_bytes(b"")
    for case_id in cases if cases is not None else [case.id for case in study.cases()]:
        write_prediction(study, run, case_id, shift)
    return run


def write_prediction(study: Study, run: Run, case_id: str, shift: int) -> None:
    """A prediction of one case."""
    label = study.label(case_id, purpose="evaluate")
    assert label is not None
    moved = np.roll(label.array, shift, axis=2)
    run.predictions.mkdir(exist_ok=True)
    write_volume(run.prediction_path(case_id), Volume(moved, label.geometry))
