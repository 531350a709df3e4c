from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.layouts import find_cases
from napari_ssl_seg.study.pairing import FoundCase, assign_ids, image_core, label_core


def touch(root: Path, *names: str) -> Path:
    """Empty files: pairing goes by names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def paired(found) -> dict[str, str | None]:
    return {case.id: case.label.name if case.label else None for case in found.cases}


def channels(found) -> dict[str, list[str]]:
    return {case.id: [path.name for path in case.images] for case in found.cases}


def test_same_names_in_two_folders(tmp_path):
    images = touch(tmp_path / "i", "a.nii.gz", "b.nrrd", "c.nii", "notes.txt")
    labels = touch(tmp_path / "l", "a.nii.gz", "b.nii.gz", "d.nii.gz")
    found = find_cases(images, labels)
    assert paired(found) == {"a": "a.nii.gz", "b": "b.nii.gz", "c": None}
    assert [(problem.path.name, "no image" in problem.reason) for problem in found.problems] == [("d.nii.gz", True)]


@pytest.mark.parametrize("word", ["_seg", "-label", "_label", "_mask", "_gt", "-segmentation", "_labels", "_SEG"])
def test_label_suffixes(tmp_path, word):
    images = touch(tmp_path / "i", "p_1.nii.gz", "p_2.nii.gz")
    labels = touch(tmp_path / "l", f"p_1{word}.nii.gz", f"p_2{word}.nii.gz")
    assert paired(find_cases(images, labels)) == {"p_1": f"p_1{word}.nii.gz", "p_2": f"p_2{word}.nii.gz"}


@pytest.mark.parametrize(
    ("image", "label", "id_"),
    [
        ("img0001", "label0001", "img0001"),
        ("p1_ct", "p1_seg", "p1_ct"),
        ("p1_ct", "p1_ct_seg", "p1_ct"),
        ("p1/image", "p1/label", "image"),
        ("p1_image", "p1_mask", "p1_image"),
    ],
)
def test_words_on_both_sides(tmp_path, image, label, id_):
    images = touch(tmp_path / "i", f"{image}.nii.gz")
    labels = touch(tmp_path / "l", f"{label}.nii.gz")
    assert paired(find_cases(images, labels)) == {id_: f"{Path(label).name}.nii.gz"}


def test_images_and_labels_in_one_folder(tmp_path):
    root = touch(tmp_path, "p1/scan.nii.gz", "p1/scan_seg.nii.gz", "p2/scan.nii.gz", "p2/scan_seg.nii.gz")
    found = find_cases(root, root)
    assert {case.id: case.label for case in found.cases} == {
        "p1_scan": root / "p1/scan_seg.nii.gz",
        "p2_scan": root / "p2/scan_seg.nii.gz",
    }


def test_labels_below_the_images_are_no_images(tmp_path):
    root = touch(tmp_path, "a.nii.gz", "segs/a.nii.gz")
    assert paired(find_cases(root, root / "segs")) == {"a": "a.nii.gz"}


def test_a_folder_with_images_and_labels_brings_both(tmp_path):
    root = touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "images/b.nii.gz")
    assert paired(find_cases(root)) == {"a": "a.nii.gz", "b": None}


def test_competing_labels_are_left_out(tmp_path):
    images = touch(tmp_path / "i", "a.nii.gz", "b.nii.gz")
    labels = touch(tmp_path / "l", "a_seg.nii.gz", "a_mask.nii.gz", "b.nii.gz")
    found = find_cases(images, labels)
    assert paired(found) == {"a": None, "b": "b.nii.gz"}
    assert {problem.path.name for problem in found.problems} == {"a_seg.nii.gz", "a_mask.nii.gz"}
    assert all("more than one" in problem.reason for problem in found.problems)


def test_one_label_never_goes_to_two_images_of_one_name(tmp_path):
    images = touch(tmp_path / "i", "p1/scan.nii.gz", "p2/scan.nii.gz")
    labels = touch(tmp_path / "l", "p1/scan.nii.gz", "scan.nii.gz")
    found = find_cases(images, labels)
    assert found.cases[0].label == labels / "p1/scan.nii.gz"
    # what is left fits what is left
    assert found.cases[1].label == labels / "scan.nii.gz"
    labels = touch(tmp_path / "l2", "scan.nii.gz", "other.nii.gz")
    (tmp_path / "i" / "other.nii.gz").touch()
    assert paired(find_cases(images, labels)) == {"p1_scan": None, "p2_scan": None, "other": "other.nii.gz"}


def test_no_label_with_the_name_of_an_image_is_an_error(tmp_path):
    images, labels = touch(tmp_path / "i", "a.nii.gz"), touch(tmp_path / "l", "x.nii.gz")
    with pytest.raises(StudyError, match=r"none of the 1 labels.*x\.nii\.gz.*a\.nii\.gz"):
        find_cases(images, labels)


# -- nnU-Net ----------------------------------------------------------------------------------------------------------
def test_nnunet_channels_with_labels_without_suffix(tmp_path):
    images = touch(tmp_path / "imagesTr", *(f"p{n}_{c:04d}.nii.gz" for n in (1, 2) for c in range(3)))
    labels = touch(tmp_path / "labelsTr", "p1.nii.gz", "p2.nii.gz")
    found = find_cases(images, labels)
    assert paired(found) == {"p1": "p1.nii.gz", "p2": "p2.nii.gz"}
    assert channels(found)["p2"] == ["p2_0000.nii.gz", "p2_0001.nii.gz", "p2_0002.nii.gz"]


def test_one_channel(tmp_path):
    images = touch(tmp_path / "i", "p1_0000.nii.gz", "p2_0000.nii.gz")
    labels = touch(tmp_path / "l", "p1.nii.gz")
    assert paired(find_cases(images, labels)) == {"p1": "p1.nii.gz", "p2": None}


def test_numbered_scans_are_not_channels(tmp_path):
    names = [f"scan_{number:04d}.nii.gz" for number in range(6)]
    images, labels = touch(tmp_path / "i", *names), touch(tmp_path / "l", *names[:2])
    found = find_cases(images, labels)
    assert len(found.cases) == 6 and paired(found)["scan_0001"] == "scan_0001.nii.gz"
    assert len(find_cases(images).cases) == 6
    years = touch(tmp_path / "y", "mr_2019.nii.gz", "mr_2020.nii.gz", "ct_2019.nii.gz")
    assert set(channels(find_cases(years))) == {"mr_2019", "mr_2020", "ct_2019"}


def test_nnunet_dataset_json(tmp_path):
    root = touch(
        tmp_path, *(f"imagesTr/x_{n}_{c:04d}.nii.gz" for n in range(2) for c in range(2)), "labelsTr/x_0.nii.gz",
        "labelsTr/x_1.nii.gz", *(f"imagesTs/y_{c:04d}.nii.gz" for c in range(2)),
    )  # fmt: skip
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1", "1": "T2"},
                "labels": {"background": 0, "edema": 1, "core": 2, "whole": [1, 2]},
                "numTraining": 2,
                "file_ending": ".nii.gz",
            }
        )
    )
    for images, labels in ((root, None), (root / "dataset.json", None), (root, root / "labelsTr"), (root, root)):
        found = find_cases(images, labels)
        assert paired(found) == {"x_0": "x_0.nii.gz", "x_1": "x_1.nii.gz", "y": None}
        assert channels(found)["y"] == ["y_0000.nii.gz", "y_0001.nii.gz"]
        assert found.class_names == {1: "edema", 2: "core"}


# -- Medical Segmentation Decathlon -----------------------------------------------------------------------------------
def decathlon(root: Path, **changes) -> Path:
    touch(root, "imagesTr/la_1.nii.gz", "imagesTr/la_2.nii.gz", "labelsTr/la_1.nii.gz", "labelsTr/la_2.nii.gz",
          "imagesTs/la_9.nii.gz", "imagesTr/._la_1.nii.gz")  # fmt: skip
    content = {
        "name": "LeftAtrium",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "left atrium"},
        "training": [{"image": f"./imagesTr/la_{n}.nii.gz", "label": f"./labelsTr/la_{n}.nii.gz"} for n in (1, 2)],
        "test": ["./imagesTs/la_9.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps({**content, **changes}))
    return root


def test_decathlon(tmp_path):
    root = decathlon(tmp_path)
    found = find_cases(root)
    assert paired(found) == {"la_1": "la_1.nii.gz", "la_2": "la_2.nii.gz", "la_9": None}
    assert found.class_names == {1: "left atrium"}
    found = find_cases(root / "imagesTr", root / "labelsTr")
    assert paired(found) == {"la_1": "la_1.nii.gz", "la_2": "la_2.nii.gz"}
    assert found.class_names == {1: "left atrium"}


def test_decathlon_naming_files_outside_itself(tmp_path):
    touch(tmp_path, "secret.nii.gz")
    root = decathlon(tmp_path / "task", test=["../secret.nii.gz", "/etc/passwd", 7, {"image": "a\0b"}])
    found = find_cases(root)
    assert set(paired(found)) == {"la_1", "la_2"}
    assert len(found.problems) == 4
    assert all(problem.path == root / "dataset.json" for problem in found.problems)


@pytest.mark.parametrize("content", ["[1, 2]", "{", '"text"', '{"training": []}', "[" * 100_000])
def test_a_dataset_json_that_is_none(tmp_path, content):
    touch(tmp_path, "imagesTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(StudyError, match=r"dataset\.json"):
        find_cases(tmp_path)


# -- lists and ids ----------------------------------------------------------------------------------------------------
def test_list_of_files_folders_and_channels(tmp_path):
    root = touch(tmp_path, "a/s.nii.gz", "b/s.nii.gz", "c/t1.nii.gz", "c/t2.nii.gz", "d/x.nii.gz", "l/s.nii.gz")
    found = find_cases(
        [root / "a/s.nii.gz", str(root / "b/s.nii.gz"), (root / "c/t1.nii.gz", root / "c/t2.nii.gz"), root / "d"]
    )
    assert channels(found) == {
        "a_s": ["s.nii.gz"],
        "b_s": ["s.nii.gz"],
        "t1": ["t1.nii.gz", "t2.nii.gz"],
        "x": ["x.nii.gz"],
    }
    found = find_cases([root / "a/s.nii.gz"], [root / "l/s.nii.gz"])
    assert paired(found) == {"s": "s.nii.gz"}
    found = find_cases([root / "a/s.nii.gz", root / "b/s.nii.gz"], {"b_s": root / "l/s.nii.gz"})
    assert paired(found) == {"a_s": None, "b_s": "s.nii.gz"}
    with pytest.raises(StudyError, match="'s'"):
        find_cases([root / "a/s.nii.gz", root / "b/s.nii.gz"], {"s": root / "l/s.nii.gz"})


@pytest.mark.parametrize("make", [lambda p: p / "nothing", lambda p: p, lambda p: []])
def test_nothing_there(tmp_path, make):
    with pytest.raises(StudyError):
        find_cases(make(tmp_path))


def test_missing_and_empty_label_folders(tmp_path):
    images = touch(tmp_path / "i", "a.nii.gz")
    with pytest.raises(StudyError, match="does not exist"):
        find_cases(images, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="empty holds no labels"):
        find_cases(images, tmp_path / "empty")


def test_repeated_names_by_hand():
    cases = [
        ("scan", "p1"),
        ("scan", "p2"),
        ("other", "p1"),
        ("twice", ""),
        ("twice", ""),
        ("twice_2", ""),
        ("Other2", ""),
        ("other2", ""),
    ]
    found = assign_ids([FoundCase(stem, (Path(f"/{folder}/{stem}.nii"),), folder) for stem, folder in cases])
    assert [case.id for case in found] == [
        "p1_scan",
        "p2_scan",
        "other",
        "twice",
        "twice_3",
        "twice_2",
        "Other2",
        "other2_2",
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "A", "a_2", "b", "p_a"]), st.sampled_from(["", "p", "p/a", "A"])), max_size=12
    )
)
def test_ids_are_unique_whatever_the_capitals(cases):
    found = assign_ids([FoundCase(stem, (Path(f"/{folder}/{stem}.nii"),), folder) for stem, folder in cases])
    assert len({case.id.casefold() for case in found}) == len(cases)
    assert all("/" not in case.id for case in found)


def test_words_are_taken_off_only_where_they_stand_alone():
    assert [label_core(name) for name in ("case_seg", "label", "label12", "relabel", "gt_3", "mask2")] == [
        "case",
        "",
        "12",
        "relabel",
        "3",
        "2",
    ]
    assert [image_core(name) for name in ("case_ct", "image", "img12", "direct", "vol-4")] == [
        "case",
        "",
        "12",
        "direct",
        "4",
    ]
