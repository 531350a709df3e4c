"""From a folder to a plan, by names alone; and a job that can be watched and cancelled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.workbench.importing import ImportJob, free_place, is_study, plan_import
from napari_ssl_seg.workbench.samples import Sample, list_samples

if TYPE_CHECKING:
    from pathlib import Path


def scan(path: Path, value: int = 0) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((4, 5, 6), value, np.uint8)
    array[1:3, 1:3, 1:3] = 1
    array[0, 0, 0] = value
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def fill(folder: Path, images: str, labels: str | None, number: int = 4) -> Path:
    for index in range(number):
        scan(folder / images / f"c{index}.nii.gz", 10 + index)
        if labels is not None:
            scan(folder / labels / f"c{index}.nii.gz")
    return folder


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        ("images", "labels", "labels"),
        ("imagesTr", "labelsTr", "labelsTr"),
        ("scans", "segmentations", "segmentations"),
        ("images", None, None),
        ("", None, None),
    ],
)
def test_images_and_labels_are_found(tmp_path: Path, images: str, labels: str | None, found: str | None) -> None:
    folder = fill(tmp_path / "heart", images, labels)
    plan = plan_import(folder)
    assert (plan.image_count, plan.label_count) == (4, 4 if labels else 0)
    assert plan.labels == (folder / found if found else None)
    assert plan.name == "heart" and plan.where == tmp_path / "heart-study"


def test_labels_beside_the_chosen_folder_of_images_are_found(tmp_path: Path) -> None:
    folder = fill(tmp_path / "heart", "images", "labels")
    plan = plan_import(folder / "images")
    assert plan.labels == folder / "labels" and plan.label_count == 4 and plan.name == "heart"


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no scans"):
        plan_import(tmp_path)
    with pytest.raises(StudyError, match="not a folder"):
        plan_import(tmp_path / "nowhere")


@pytest.mark.parametrize("choice", ["found", "none", "other"])
def test_the_study_has_the_labels_that_were_chosen(tmp_path: Path, choice: str) -> None:
    folder = fill(tmp_path / "heart", "images", "labels")
    scan(tmp_path / "other" / "c1.nii.gz")
    plan = plan_import(folder)
    if choice != "found":
        plan = plan.with_labels(None if choice == "none" else tmp_path / "other")
    assert plan.label_count == {"found": 4, "none": 0, "other": 1}[choice]
    study = ImportJob(plan.where, **plan.options()).run()
    assert study is not None
    assert sum(case.labelled for case in study.cases()) == plan.label_count


def test_a_decathlon_folder_is_understood(tmp_path: Path) -> None:
    folder = fill(tmp_path / "Task", "imagesTr", "labelsTr", 3)
    training = [{"image": f"./imagesTr/c{i}.nii.gz", "label": f"./labelsTr/c{i}.nii.gz"} for i in range(3)]
    description = {"name": "T", "labels": {"0": "background", "1": "LA"}, "training": training, "test": []}
    (folder / "dataset.json").write_text(json.dumps(description))
    plan = plan_import(folder)
    assert (plan.image_count, plan.label_count) == (3, 3)
    study = ImportJob(plan.where, **plan.options()).run()
    assert study is not None and [item.name for item in study.classes] == ["LA"]


def test_a_job_tells_how_far_it_is_and_can_be_cancelled(tmp_path: Path) -> None:
    plan = plan_import(fill(tmp_path / "heart", "images", "labels"))
    job = ImportJob(plan.where, **plan.options())
    assert job.run() is not None and (job.done, job.total) == (4, 4)
    assert is_study(plan.where)
    cancelled = ImportJob(tmp_path / "again", **plan.options())
    cancelled.cancel()
    assert cancelled.run() is None and not (tmp_path / "again").exists()


def test_a_place_is_never_one_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a-study").mkdir()
    assert free_place(tmp_path, "a") == tmp_path / "a-study"
    (tmp_path / "a-study" / "study.db").touch()
    assert free_place(tmp_path, "a") == tmp_path / "a-study-2"


def test_samples_say_where_they_come_from_and_under_which_licence() -> None:
    samples = list_samples()
    assert len({sample.key for sample in samples}) == len(samples)
    for sample in samples:
        assert ("Licence" in sample.about or "CC0" in sample.about) and sample.title
        assert bool(sample.size) == sample.download


def test_a_sample_that_was_made_before_is_opened(tmp_path: Path) -> None:
    plan = plan_import(fill(tmp_path / "heart", "images", "labels"))
    ImportJob(tmp_path / "x-study", **plan.options()).run()
    study = Sample("cardiac", "t", "a", "x").job(tmp_path).run()
    assert study is not None and len(study.cases()) == 4
