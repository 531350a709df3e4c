"""From the store to label files: published for training and scores, exported for other programs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg import Study
from napari_ssl_seg.annotation import SliceState, database, export_labels, open_labels, publish
from napari_ssl_seg.annotation.publishing import published_file, unpublished
from napari_ssl_seg.errors import StudyError, UserError, VolumeError
from napari_ssl_seg.volumes import geometry_mismatch, read_header, read_volume
from tests.annotation.store_making import box, own_label, small_study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at here does not depend on when it comes to the disk."""
    monkeypatch.setattr(database, "SYNCHRONOUS", "OFF")


def oblique_study(folder: Path, label_type: str | None = None) -> tuple[Study, Path]:
    """One case ``scan`` on a grid whose axes run (P, S, R), turned by 20 degrees; with a label of that type."""
    rng = np.random.default_rng(1)
    turn = np.array([[np.cos(0.35), -np.sin(0.35), 0], [np.sin(0.35), np.cos(0.35), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 0.5], [-0.7, 0, 0], [0, 2.5, 0]])
    affine[:3, 3] = -12, 34, 5.5
    image = folder / "images" / "scan.nii.gz"
    image.parent.mkdir(parents=True)
    nib.Nifti1Image(rng.normal(size=(9, 7, 11)).astype(np.float32), affine).to_filename(image)
    labels = None
    if label_type is not None:
        labels = {"scan": folder / "mine.nii.gz"}
        nib.Nifti1Image(np.ones((9, 7, 11), label_type), affine).to_filename(labels["scan"])
    return Study.create(folder / "study", images=image.parent, labels=labels), image


def painted(study: Study, case_id: str, most: int = 3) -> np.ndarray:
    """Random labels, put into the store."""
    with open_labels(study) as store:
        values = np.random.default_rng(2).integers(0, most + 1, store.shape(case_id)).astype(np.uint16)
        values.flat[0] = most
        store.put(case_id, (0, 0, 0), values)
        return store.labels(case_id)


# -- publishing ---------------------------------------------------------------------------------------------------------
def test_refresh_brings_what_was_drawn_to_training_with_the_slices_that_count(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    own = study.case("b").label
    before = study.fingerprint(["a", "b"])
    with open_labels(study) as store:  # stays open, as in a window
        store.put("a", (1, 0, 0), box(3, 2, 6, 6), tool="region")
        store.set_state("a", 1, SliceState.LABELLED)
        store.set_state("a", 2, SliceState.CHECKED)
        store.set_state("a", 3, SliceState.PROPOSED)
        assert unpublished(study) == ["a"]
        assert [case.id for case in study.refresh()] == ["a"]
        case = study.case("a")
        assert case.label == published_file(study, "a") and case.labelled_slices == (1, 2) and case.labelled
        label = study.label("a", purpose="show")
        assert label is not None and np.array_equal(label.array, store.labels("a"))
        assert 3 in [item.value for item in study.classes]
        assert study.refresh() == [] and unpublished(study) == []
        assert study.fingerprint(["a", "b"]) != before
        store.set_state("b", [0], SliceState.UNLABELLED)  # b becomes one of the store
        assert [case.id for case in study.refresh(["b", "a"])] == ["b"]
        assert study.case("b").labelled_slices == (1, 2, 3, 4, 5) and study.case("b").label != own
    assert own is not None and np.array_equal(read_volume(own, role="label").array, own_label())


def test_all_slices_labelled_counts_as_the_whole_scan_and_a_flag_alone_is_no_label(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with open_labels(study) as store:
        store.set_state("a", 2, SliceState.FLAGGED)
        assert publish(study) == [] and study.case("a").label is None
        store.set_state("a", range(6), SliceState.CHECKED)  # checked and empty: background throughout
        assert publish(study, ["b"]) == []
        assert publish(study) == ["a"] and study.case("a").labelled_slices is None
        store.set_state("a", range(6), SliceState.UNLABELLED)
        assert publish(study, ["a"]) == ["a"] and not study.case("a").labelled


def test_fine_tuning_and_scores_begin_with_what_was_drawn_until_then(tmp_path: Path) -> None:
    from napari_ssl_seg import evaluate
    from napari_ssl_seg.training.planning import prepare_finetune

    study = small_study(tmp_path, split=(100, 0, 0))
    with open_labels(study) as store:
        store.put("a", (1, 0, 0), box(3, 2, 6, 6))
        store.set_state("a", [1, 2], SliceState.CHECKED)
        run = prepare_finetune(study, dims=2)
        assert sorted(run.record.cases["train"]) == ["a", "b"] and run.record.slices == {"a": [1, 2]}
        assert run.record.classes == {2: "class 2", 3: "class 3"}
        store.put("a", (4, 0, 0), box(5, 1, 2, 2))
        with pytest.raises(UserError):  # there is no prediction to score yet
            list(evaluate(study, [run], split="train"))
        assert unpublished(study) == []


def test_a_published_file_that_was_removed_is_written_again_as_it_was(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with open_labels(study) as store:
        store.put("a", (1, 0, 0), box(3, 2, 6, 6))
    assert publish(study) == ["a"]
    file = published_file(study, "a")
    first = hashlib.sha256(file.read_bytes()).hexdigest()
    file.unlink()
    assert publish(study) == ["a"] and hashlib.sha256(file.read_bytes()).hexdigest() == first


def test_publishing_works_beside_a_window_that_writes(tmp_path: Path) -> None:
    from napari_ssl_seg.annotation import Writer

    study = small_study(tmp_path)
    with open_labels(study) as store:
        writer = Writer(store)
        for number in range(1, 30):
            writer.put("a", (0, 0, 0), box(number, 6, 5, 5), tool=str(number))
            if publish(Study.open(study.folder)):
                seen = read_volume(published_file(study, "a"), role="label").array
                assert len(set(seen[:, :5, :5].ravel().tolist())) == 1
        assert writer.close()
        publish(study)
        assert read_volume(published_file(study, "a"), role="label").array[0, 0, 0] == 29


# -- export -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("extension", ["nii", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("most", [3, 700])
def test_an_export_lies_where_its_image_lies(tmp_path: Path, extension: str, most: int) -> None:
    study, image = oblique_study(tmp_path)
    array = painted(study, "scan", most)
    path = export_labels(study, "scan", tmp_path / "out" / f"scan.{extension}")
    back = read_volume(path, role="label")
    assert geometry_mismatch(read_header(image).geometry, back.geometry, 1e-3) is None
    assert np.array_equal(back.array, array) and back.array.dtype == (np.uint8 if most < 256 else np.uint16)
    # by another library: the same voxel of the file lies at the same place in the patient
    by_itk, image_by_itk = sitk.ReadImage(str(path)), sitk.ReadImage(str(image))
    assert by_itk.GetSize() == image_by_itk.GetSize()
    for index in ((0, 0, 0), (8, 6, 10), (3, 1, 9)):
        np.testing.assert_allclose(
            by_itk.TransformIndexToPhysicalPoint(index), image_by_itk.TransformIndexToPhysicalPoint(index), atol=1e-3
        )
    values = read_header(image).geometry.to_source(array)
    assert by_itk.GetPixel(3, 1, 9) == values[3, 1, 9]


@pytest.mark.parametrize(
    ("label_type", "most", "expected"),
    [("int16", 3, "int16"), ("uint8", 3, "uint8"), ("uint8", 700, "uint16"), ("float32", 3, "float32")],
)
def test_an_export_has_the_type_of_the_label_that_the_study_began_with(
    tmp_path: Path, label_type: str, most: int, expected: str
) -> None:
    study, _ = oblique_study(tmp_path, label_type)
    painted(study, "scan", most)
    publish(study)  # whose file is another
    path = export_labels(study, "scan", tmp_path / "out.nii.gz")
    assert nib.load(path).get_data_dtype() == np.dtype(expected)


def test_the_files_that_the_study_refers_to_are_never_written_to(tmp_path: Path) -> None:
    study, image = oblique_study(tmp_path, "uint8")
    painted(study, "scan")
    for path in (image, study.case("scan").label):
        with pytest.raises(StudyError, match="never written to"):
            export_labels(study, "scan", path)
    with pytest.raises(VolumeError, match="format"):
        export_labels(study, "scan", tmp_path / "out.png")
    with pytest.raises(StudyError, match="no DICOM series"):
        export_labels(study, "scan", tmp_path / "out.dcm")


def dicom_series(folder: Path, *, directions: np.ndarray, anonymous: bool) -> None:
    """Six slices of (9 rows, 8 columns), 3 mm apart, in files whose names do not follow their order."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(6):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
        one.SeriesInstanceUID, one.StudyInstanceUID, one.FrameOfReferenceUID = series, study, frame
        one.Modality, one.InstanceNumber, one.SeriesNumber = "CT", index + 1, 1
        if not anonymous:
            one.PatientName, one.PatientID, one.StudyDate = "Doe^Jane", "A-17", "20200101"
        place = np.array([10.0, -20.0, 30.0]) + directions[:, 2] * 3 * index
        one.ImagePositionPatient = [round(float(v), 8) for v in place]
        one.ImageOrientationPatient = [round(float(v), 10) for v in (*directions[:, 0], *directions[:, 1])]
        one.PixelSpacing, one.SliceThickness = [0.75, 0.5], 3.0
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 9, 8, 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.RescaleIntercept, one.RescaleSlope = 0, 1
        one.PixelData = rng.integers(-100, 100, (9, 8), dtype=np.int16).tobytes()
        one.save_as(folder / f"{(index * 5) % 7}.dcm", enforce_file_format=True)


@pytest.mark.parametrize("oblique", [False, True])
def test_a_dicom_segmentation_says_the_same_of_every_point(tmp_path: Path, oblique: bool) -> None:
    highdicom = pytest.importorskip("highdicom")
    from scipy.spatial.transform import Rotation

    directions = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix() if oblique else np.eye(3)
    dicom_series(tmp_path / "ct" / "one", directions=directions, anonymous=oblique)
    study = Study.create(tmp_path / "study", images=tmp_path / "ct", classes={1: "liver", 4: "tumour"})
    values = np.random.default_rng(3).choice([0, 0, 1, 4], study.case("one").shape).astype(np.uint8)
    with open_labels(study) as store:
        with pytest.raises(StudyError, match="nothing is drawn"):
            export_labels(study, "one", tmp_path / "seg.dcm")
        store.put("one", (0, 0, 0), values)
    path = export_labels(study, "one", tmp_path / "seg.dcm")
    seg = highdicom.seg.segread(path)
    described = [seg.get_segment_description(number) for number in (1, 2)]
    assert [one.segment_label for one in described] == ["liver", "tumour"]
    assert [one.tracking_id for one in described] == ["label 1", "label 4"]
    assert str(seg.PatientID) == ("" if oblique else "A-17")
    volume = seg.get_volume(combine_segments=True)
    geometry = read_header(study.case("one").images[0]).geometry
    voxels = np.argwhere(np.ones(values.shape, bool))
    ras = geometry.affine @ np.c_[voxels, np.ones(len(voxels))].T
    index = np.linalg.inv(volume.affine) @ (np.diag([-1, -1, 1, 1]) @ ras)
    nearest = np.rint(index[:3]).astype(int)
    assert np.abs(index[:3] - nearest).max() < 1e-3
    assert np.array_equal(np.array([0, 1, 4])[volume.array[tuple(nearest)]], values.ravel())


def test_labels_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from napari_ssl_seg.cli import main

    study, image = oblique_study(tmp_path)
    folder = str(study.folder)
    array = painted(study, "scan")

    def run(*arguments: str) -> dict:
        assert main(["labels", folder, *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert run()["not published yet"] == ["scan"] and run()["labelled by"] == "nobody now"
    assert run("publish") == {"published": ["scan"]}
    (file,) = run("export", "--out", str(tmp_path / "out"), "--format", "nrrd")["files"]
    assert np.array_equal(read_volume(file, role="label").array, array)
    assert run("import", "scan", "--file", file)["entry"] is None  # the same voxels
    with open_labels(study) as store:
        store.put("scan", (0, 0, 0), np.zeros(array.shape, np.uint8))
    assert run("restore", "scan", "--entry", "1")["entry"] == 3
    assert [row["kind"] for row in run("history", "scan")["history"]] == ["change", "change", "restore"]
    run("effort", "--out", str(tmp_path / "effort.csv"), "--delete")
    assert (tmp_path / "effort.csv").read_text() == "case,slice,tool,seconds,clicks,voxels,time\n"
    assert np.array_equal(open_labels(study, write=False).labels("scan"), array)
    for wrong in (
        ["export"],
        ["history"],
        ["restore", "scan"],
        ["import", "scan"],
        ["import", "scan", "--file", str(image)],
    ):
        assert main(["labels", folder, *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
