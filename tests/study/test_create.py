from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg import Study
from napari_ssl_seg.errors import StudyError

from .conftest import image_array, label_array, write_nifti

if TYPE_CHECKING:
    from pathlib import Path


def everything_below(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_from_two_folders(tmp_path, scans):
    images, labels = scans(10)
    before = everything_below(tmp_path / "data")
    study = Study.create(tmp_path / "study", images=images, labels=labels, classes={1: "inner"})
    assert study.counts() == {"train": 7, "validation": 1, "test": 2}
    assert [case.id for case in study.cases()] == [f"case_{number}" for number in range(10)]
    case = study.case("case_3")
    assert case.images == (images / "case_3.nii.gz",)
    assert case.label == labels / "case_3.nii.gz"
    assert (case.shape, case.spacing, case.channels, case.dtype) == ((4, 5, 6), (3.0, 1.0, 1.0), 1, "float32")
    assert (case.label_values, case.labelled_slices, case.warnings) == ((1, 2), None, ())
    assert case.fingerprint == hashlib.sha256((images / "case_3.nii.gz").read_bytes()).hexdigest()
    assert [(item.value, item.name, item.color) for item in study.classes] == [
        (1, "inner", "#e69f00"),
        (2, "class 2", "#56b4e9"),
    ]
    assert study.problems == []
    assert study.settings.name == study.name == "study"
    assert study.median_shape() == (4, 5, 6) and study.median_spacing() == (3.0, 1.0, 1.0)
    assert everything_below(tmp_path / "data") == before
    assert [path.name for path in study.folder.iterdir()] == ["study.db"]


def test_opened_again_it_is_the_same(tmp_path, scans):
    images, labels = scans(6, 3)
    made = Study.create(tmp_path / "study", images=images, labels=labels, split="50,25,25", seed=3, sparse_labels=True)
    opened = Study.open(str(tmp_path / "study"))
    assert opened.cases() == made.cases() and opened.settings == made.settings and opened.classes == made.classes
    assert opened.settings.seed == 3 and opened.settings.split == (50.0, 25.0, 25.0)
    again = Study.create(tmp_path / "again", images=images, labels=labels, split=(50, 25, 25), seed=3)
    assert {case.id: case.split for case in again.cases()} == {case.id: case.split for case in made.cases()}
    assert again.fingerprint() == made.fingerprint()


def test_unlabelled_cases_go_to_train(tmp_path, scans):
    images, labels = scans(10, 4)
    study = Study.create(tmp_path / "study", images=images, labels=labels, split=(50, 25, 25))
    assert study.counts() == {"train": 8, "validation": 1, "test": 1}
    assert study.counts(labelled=True) == {"train": 2, "validation": 1, "test": 1}
    assert len(study.cases("train", labelled=False)) == 6
    assert study.cases("test", labelled=False) == []


def test_patients_stay_together(tmp_path):
    for patient in range(5):
        for visit in range(3):
            write_nifti(tmp_path / "i" / f"patient{patient}_v{visit}.nii.gz", image_array(10 * patient + visit))
    study = Study.create(tmp_path / "study", images=tmp_path / "i", groups=r"(patient\d+)", split=(60, 20, 20))
    assert study.counts() == {"train": 9, "validation": 3, "test": 3}
    splits = {(case.group, case.split) for case in study.cases()}
    assert len(splits) == 5 and {group for group, _ in splits} == {f"patient{n}" for n in range(5)}


def test_copies_never_cross_the_splits(tmp_path, scans):
    """Renamed, re-compressed and re-headed copies of a scan are kept with it."""
    images, _ = scans(8)
    source = images / "case_0.nii.gz"
    shutil.copy(source, images / "renamed.nii.gz")
    content = gzip.decompress(source.read_bytes())
    (images / "repacked.nii.gz").write_bytes(gzip.compress(content, 1))
    (images / "unpacked.nii").write_bytes(content)
    header = bytearray(content)
    header[148:158] = b"other text"  # descrip
    (images / "described.nii").write_bytes(header)
    for seed in range(5):
        study = Study.create(tmp_path / f"study{seed}", images=images, split=(40, 30, 30), seed=seed)
        names = ("case_0", "described", "renamed", "repacked", "unpacked")
        assert len({study.case(name).split for name in names}) == 1
        assert all("same voxels as case_0" in study.case(name).warnings[0] for name in names[1:])
        assert study.case("case_1").warnings == ()


def test_a_folder_of_nothing_but_copies_is_still_split(tmp_path):
    for number in range(10):
        write_nifti(tmp_path / "i" / f"c{number}.nii.gz", np.zeros((4, 4, 4), np.int16))
    study = Study.create(tmp_path / "study", images=tmp_path / "i")
    assert study.counts() == {"train": 7, "validation": 1, "test": 2}
    assert "may be in another split" in study.case("c1").warnings[0]


def test_bad_files_are_listed_and_the_rest_is_imported(tmp_path, scans):
    images, labels = scans(6)
    (images / "case_0.nii.gz").write_bytes((images / "case_0.nii.gz").read_bytes()[:-40])
    (images / "case_1.nii.gz").write_bytes(b"no volume")
    write_nifti(labels / "case_2.nii.gz", label_array((7, 5, 4)))
    write_nifti(labels / "case_3.nii.gz", label_array() + 0.5)
    write_nifti(labels / "case_9.nii.gz", label_array())
    study = Study.create(tmp_path / "study", images=images, labels=labels)
    assert [case.id for case in study.cases()] == ["case_2", "case_3", "case_4", "case_5"]
    assert [case.id for case in study.cases(labelled=True)] == ["case_4", "case_5"]
    reasons = {problem.path: problem.reason for problem in study.problems}
    assert set(reasons) == {
        images / "case_0.nii.gz", images / "case_1.nii.gz", labels / "case_2.nii.gz", labels / "case_3.nii.gz",
        labels / "case_9.nii.gz",
    }  # fmt: skip
    assert "cut short" in reasons[images / "case_0.nii.gz"]
    assert "fractions" in reasons[labels / "case_3.nii.gz"]
    assert reasons[labels / "case_9.nii.gz"] == "no image has the name of this label"
    for number, _path in ((0, images), (1, images), (2, labels), (3, labels)):
        lonely = tmp_path / f"lonely{number}"
        for folder in (images, labels):
            (lonely / folder.name).mkdir(parents=True)
            for name in {f"case_{number}.nii.gz", "case_5.nii.gz"}:
                shutil.copy(folder / name, lonely / folder.name)
        with pytest.raises(StudyError, match=f"case_{number}"):
            Study.create(lonely / "s", images=lonely / "images", labels=lonely / "labels", on_problem="raise")
        assert not (lonely / "s").exists()


@pytest.mark.parametrize(
    ("shape", "spacing", "shift", "texts"),
    [
        ((6, 5, 3), (1, 1, 3), 0, ("6x5x4, 1x1x3 mm, RAS", "6x5x3, 1x1x3 mm, RAS")),
        ((6, 5, 4), (1, 1, 2), 0, ("6x5x4, 1x1x3 mm, RAS", "6x5x4, 1x1x2 mm, RAS")),
        ((6, 5, 4), (1, 1, 3), 2, ("6x5x4, 1x1x3 mm, RAS", "2 voxels")),
    ],
)
def test_image_and_label_on_different_grids(tmp_path, shape, spacing, shift, texts):
    write_nifti(tmp_path / "i" / "a.nii.gz", image_array(0))
    write_nifti(tmp_path / "l" / "a.nii.gz", label_array(shape), spacing, shift)
    study = Study.create(tmp_path / "study", images=tmp_path / "i", labels=tmp_path / "l")
    (problem,) = study.problems
    assert problem.path == tmp_path / "l" / "a.nii.gz"
    assert all(text in problem.reason for text in texts)
    with pytest.raises(StudyError, match="grid"):
        Study.create(tmp_path / "no", images=tmp_path / "i", labels=tmp_path / "l", on_problem="raise")


def test_a_label_stored_in_another_orientation_is_on_the_same_grid(tmp_path):
    write_nifti(tmp_path / "i" / "a.nii.gz", image_array(0))
    label = nib.Nifti1Image(label_array(), np.diag([1.0, 1.0, 3.0, 1.0]))
    (tmp_path / "l").mkdir()
    nib.save(label.as_reoriented([[2, -1], [0, 1], [1, -1]]), tmp_path / "l" / "a.nii.gz")
    study = Study.create(tmp_path / "study", images=tmp_path / "i", labels=tmp_path / "l")
    assert study.problems == []
    expected = label_array().transpose(2, 1, 0)[:, ::-1, ::-1]  # z up, y to the back, x to the left
    np.testing.assert_array_equal(study.label("a", purpose="show").array, expected)


def test_not_one_usable_image(tmp_path):
    for number in range(3):
        path = write_nifti(tmp_path / "i" / f"c{number}.nii.gz", image_array(number))
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(StudyError, match=f"not one of the 3 scans in {tmp_path / 'i'} can be used"):
        Study.create(tmp_path / "study", images=tmp_path / "i")
    assert not (tmp_path / "study").exists()
    with pytest.raises(StudyError, match="not one of the 2 scans"):
        Study.create(tmp_path / "study", images=[tmp_path / "i" / "c0.nii.gz", tmp_path / "nowhere.nii.gz"])


def test_real_colour_volume_is_a_problem(tmp_path, real_data):
    found = [real_data / "torso" / name for name in ("example_mr_sm.nii.gz", "odd_rgb_dtype.nii.gz")]
    study = Study.create(tmp_path / "study", images=found)
    assert [case.id for case in study.cases()] == ["example_mr_sm"]
    assert "RGB" in study.problems[0].reason


def test_there_is_a_study_already(tmp_path, scans):
    images, labels = scans(3)
    Study.create(tmp_path / "study", images=images)
    before = everything_below(tmp_path / "study")
    with pytest.raises(StudyError, match="holds a study already"):
        Study.create(tmp_path / "study", images=images, labels=labels)
    assert everything_below(tmp_path / "study") == before


@pytest.mark.parametrize(
    "options",
    [
        {"split": (70, 10, 10)},
        {"normalisation": "magic"},
        {"four_d": "colour"},
        {"on_problem": "ignore"},
        {"classes": {1: "a", 2: "a"}},
        {"classes": {70000: "a"}},
        {"classes": "liver"},
        {"groups": r"(nothing\d)"},
    ],
)
def test_wrong_arguments_leave_nothing_behind(tmp_path, scans, options):
    images, _ = scans(2)
    with pytest.raises(StudyError):
        Study.create(tmp_path / "deep" / "study", images=images, **options)
    assert not (tmp_path / "deep").exists()


def test_stopped_by_the_caller_nothing_remains(tmp_path, scans):
    images, _ = scans(6)
    seen = []

    def progress(done: int, total: int, path: Path) -> None:
        seen.append((done, total, path.name))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study.create(tmp_path / "study", images=images, progress=progress)
    assert [item[:2] for item in seen] == [(1, 6), (2, 6), (3, 6), (4, 6)]
    assert not (tmp_path / "study").exists()


def test_a_place_that_cannot_be_written(tmp_path, scans):
    images, _ = scans(2)
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="choose another folder"):
        Study.create(tmp_path / "file" / "study", images=images)


def test_channels_in_files_and_in_a_fourth_axis(tmp_path):
    for number in range(3):
        for channel in range(2):
            write_nifti(tmp_path / "a" / f"p{number}_{channel:04d}.nii.gz", image_array(2 * number + channel))
        write_nifti(tmp_path / "b" / f"p{number}.nii.gz", image_array(number, (6, 5, 4, 2)))
    write_nifti(tmp_path / "b" / "odd.nii.gz", image_array(9))
    files = Study.create(tmp_path / "files", images=tmp_path / "a")
    assert [case.id for case in files.cases()] == ["p0", "p1", "p2"]
    assert files.case("p1").channels == 2 and len(files.case("p1").images) == 2
    array = files.image("p1", purpose="show").array
    np.testing.assert_array_equal(array[1], image_array(3).transpose(2, 1, 0)[:, ::-1, ::-1])
    assert files.patches_source("p1", purpose="show").array.shape == (2, 4, 5, 6)
    axis = Study.create(tmp_path / "axis", images=tmp_path / "b")
    assert axis.case("p1").channels == 2
    assert [problem.path.name for problem in axis.problems] == ["odd.nii.gz"]


def test_channels_on_different_grids(tmp_path):
    write_nifti(tmp_path / "a_0000.nii.gz", image_array(0))
    write_nifti(tmp_path / "a_0001.nii.gz", image_array(1, (6, 5, 5)))
    write_nifti(tmp_path / "b.nii.gz", image_array(1))
    study = Study.create(
        tmp_path / "study", images=[(tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"), tmp_path / "b.nii.gz"]
    )
    assert [case.id for case in study.cases()] == ["b"]
    assert study.problems[0].path.name == "a_0001.nii.gz" and "6x5x5" in study.problems[0].reason


def test_time_points_are_cases_of_one_group(tmp_path):
    for number in range(4):
        write_nifti(tmp_path / "i" / f"cine{number}.nii.gz", image_array(number, (6, 5, 4, 3)))
    label = np.stack([label_array(values=(1,)), label_array(values=(2,)), np.zeros((6, 5, 4), np.uint8)], axis=-1)
    write_nifti(tmp_path / "l" / "cine0.nii.gz", label)
    write_nifti(tmp_path / "l" / "cine1.nii.gz", label_array())
    study = Study.create(tmp_path / "study", images=tmp_path / "i", labels=tmp_path / "l", four_d="time")
    assert len(study.cases()) == 12
    assert {(case.group, case.split) for case in study.cases() if case.group == "cine2"} == {("cine2", "train")}
    case = study.case("cine0_t01")
    assert (case.frame, case.channels, case.label_values) == (1, 1, (2,))
    stack = image_array(0, (6, 5, 4, 3))
    np.testing.assert_array_equal(
        study.image(case.id, purpose="show").array, stack[..., 1].transpose(2, 1, 0)[:, ::-1, ::-1]
    )
    assert set(np.unique(study.label(case.id, purpose="show").array)) == {0, 2}
    assert "give one label map for each" in study.problems[0].reason


def test_imported_files_move_with_the_study(tmp_path, scans):
    images, _labels = scans(3)
    shutil.copytree(images.parent, tmp_path / "old" / "data")
    study = Study.create(tmp_path / "old", images=tmp_path / "old/data/images", labels=tmp_path / "old/data/labels")
    study.close()
    (tmp_path / "old").rename(tmp_path / "new")
    case = Study.open(tmp_path / "new").case("case_0")
    assert case.images[0] == tmp_path / "new/data/images/case_0.nii.gz" and case.label.is_file()


def test_hippocampus(tmp_path, real_data):
    folder = real_data / "hippocampus"
    study = Study.create(tmp_path / "study", images=folder / "images", labels=folder / "labels")
    assert study.counts() == study.counts(labelled=True) == {"train": 91, "validation": 13, "test": 26}
    assert [item.value for item in study.classes] == [1, 2]
    assert study.problems == [] and not any(case.warnings for case in study.cases())


# -- arrays -----------------------------------------------------------------------------------------------------------
def test_from_arrays(tmp_path):
    volume = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    mask = np.zeros((4, 5, 6), np.int64)
    mask[2, 1:3, 2:4] = 7
    items = [
        ("my scan: left", volume, mask, (3.0, 1.0, 0.5)),
        ("my scan: left", volume + 1, None, None),
        ("2D_0001", volume[0] + 2, None, (1, 1)),
    ]
    study = Study.create_from_arrays(tmp_path / "study", items, split=(100, 0, 0))
    assert [case.id for case in study.cases()] == ["2D_0001", "my_scan_left", "my_scan_left_2"]
    assert study.case("my_scan_left").spacing == (3.0, 1.0, 0.5)
    np.testing.assert_array_equal(study.image("my_scan_left", purpose="train").array, volume)
    label = study.label("my_scan_left", purpose="train")
    np.testing.assert_array_equal(label.array, mask)
    assert label.array.dtype == np.uint8 and [item.value for item in study.classes] == [7]
    assert study.case("2D_0001").shape == (1, 5, 6)
    assert study.case("my_scan_left").images[0].is_relative_to(tmp_path / "study" / "imported")


def test_arrays_keep_the_geometry_of_their_file(tmp_path):
    from napari_ssl_seg.volumes import read_volume

    array = image_array(0)
    affine = np.array([[0, 0, 3.0, 5], [-1, 0.0, 0, 6], [0, 2.0, 0, 7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    source = read_volume(tmp_path / "a.nii.gz")
    study = Study.create_from_arrays(tmp_path / "study", [("a", source.array, None, source.geometry)])
    written = nib.load(study.case("a").images[0])
    np.testing.assert_array_equal(written.affine, affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), array)


@pytest.mark.parametrize(
    "item",
    [
        ("a", np.zeros((4, 5, 6, 3, 2)), None, None),
        ("a", np.zeros((4, 5, 6), complex), None, None),
        ("a", np.zeros((4, 0, 6)), None, None),
        ("a", np.zeros((4, 5, 6)), np.zeros((4, 5, 5), int), None),
        ("a", np.zeros((4, 5, 6)), np.zeros((4, 5, 6), float), None),
        ("a", np.zeros((4, 5, 6)), np.full((4, 5, 6), -1), None),
        ("a", np.zeros((4, 5, 6)), None, (0, 1, 1)),
    ],
)
def test_arrays_that_are_no_scans(tmp_path, item):
    good = ("good", np.ones((3, 4, 5)), None, None)
    with pytest.raises(StudyError, match=r"a|0"):
        Study.create_from_arrays(tmp_path / "study", [good, item])
    assert not (tmp_path / "study").exists()


def test_no_arrays(tmp_path):
    with pytest.raises(StudyError, match="no image is open"):
        Study.create_from_arrays(tmp_path / "study", [])


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="names of files are always text there")
def test_names_that_are_no_text(tmp_path, scans):
    images, labels = scans(3)
    os.rename(images / "case_0.nii.gz", os.fsencode(images) + b"/\xff\xfe.nii.gz")
    os.rename(labels / "case_1.nii.gz", os.fsencode(labels) + b"/case_1_\xff.nii.gz")
    study = Study.create(tmp_path / "study", images=images, labels=labels)
    assert [case.id for case in study.cases()] == ["case_1", "case_2"]
    assert any("not readable text" in problem.reason for problem in study.problems)
    assert len(Study.open(study.folder).problems) == 3


def test_a_defect_in_a_reader_costs_one_scan(tmp_path, scans, monkeypatch):
    from napari_ssl_seg.study import importing

    images, labels = scans(3)
    read_header = importing.read_header

    def defective(path, **options):
        if path == images / "case_1.nii.gz":
            raise ZeroDivisionError("oops")
        return read_header(path, **options)

    monkeypatch.setattr(importing, "read_header", defective)
    study = Study.create(tmp_path / "study", images=images, labels={"case_0": labels / "case_0.nii.gz", "case_2": None})
    assert [case.id for case in study.cases(labelled=True)] == ["case_0"]
    assert "ZeroDivisionError: oops" in study.problems[0].reason
