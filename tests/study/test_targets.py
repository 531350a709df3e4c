"""Overlapping targets: how they are given, what they are painted with, and where they are found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_ssl_seg.commands.studies import parse_targets
from napari_ssl_seg.errors import StudyError, UserError
from napari_ssl_seg.study import Study
from napari_ssl_seg.study.targets import read_targets, unions_of

BRATS = {"whole tumour": [1, 2, 4], "tumour core": [1, 4], "enhancing tumour": [4]}


def test_the_largest_is_painted_first_with_a_value_that_no_later_one_has():
    for given in (BRATS, dict(reversed(BRATS.items()))):
        targets = read_targets(given)
        assert [(target.name, target.values, target.written) for target in targets] == [
            ("whole tumour", (1, 2, 4), 2),
            ("tumour core", (1, 4), 1),
            ("enhancing tumour", (4,), 4),
        ]
    assert unions_of(targets) == {2: (1, 2, 4), 1: (1, 4), 4: (4,)}


def test_an_order_is_the_users():
    targets = read_targets({"a": [1, 2], "b": [2, 3]}, [1, 3])
    assert [target.written for target in targets] == [1, 3]


@pytest.mark.parametrize(
    ("given", "order", "said"),
    [
        ({"a": []}, None, "no label values"),
        ({"a": "1"}, None, "needs label values"),
        ({"a": [0]}, None, "cannot be a class"),
        ({"a": [1, 2], "b": [2, 1]}, None, "the same values"),
        ({"a": [1, 2], "b": [1], "c": [2]}, None, "no trace"),
        ({"a": [1, 2], "b": [1]}, [1, 2], "none of its values"),
        ({"a": [1, 2], "b": [1]}, [2], "2 targets"),
        ({"": [1]}, None, "needs a name"),
    ],
)
def test_what_cannot_be_used_is_said(given, order, said):
    with pytest.raises(StudyError, match=said):
        read_targets(given, order)


def test_on_the_command_line_and_in_files(tmp_path):
    wanted = read_targets(BRATS)
    assert parse_targets(["whole tumour=1,2,4", "tumour core=1,4", "enhancing tumour=4"]) == wanted
    (tmp_path / "targets.yaml").write_text("whole tumour: [1, 2, 4]\ntumour core: [1, 4]\nenhancing tumour: 4\n")
    assert parse_targets([str(tmp_path / "targets.yaml")]) == wanted
    nnunet = {"labels": {"background": 0, **BRATS}, "regions_class_order": [2, 1, 4]}
    (tmp_path / "targets.json").write_text(json.dumps(nnunet))
    assert parse_targets([str(tmp_path / "targets.json")]) == wanted
    for wrong in (["core"], ["core=one", "a=1"], [str(tmp_path / "none.yaml")]):
        with pytest.raises(UserError):
            parse_targets(wrong)


def test_nnunet_regions_are_a_studys_targets(tmp_path):
    import nibabel as nib

    rng = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for case in ("a", "b"):
        for channel in range(2):
            image = rng.normal(0, 1, (8, 7, 6)).astype(np.float32)
            nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "data" / "imagesTr" / f"{case}_000{channel}.nii.gz")
        label = rng.integers(0, 4, (8, 7, 6)).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / "data" / "labelsTr" / f"{case}.nii.gz")
    manifest = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3},
        "regions_class_order": [1, 2, 3],
        "file_ending": ".nii.gz",
    }
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(manifest))
    study = Study.create(tmp_path / "study", images=tmp_path / "data")
    assert [case.channels for case in study.cases()] == [2, 2]
    assert [(target.name, target.written) for target in study.settings.targets] == [
        ("whole tumor", 1),
        ("tumor core", 2),
        ("enhancing tumor", 3),
    ]
    assert [(item.value, item.name) for item in study.scored] == [
        (1, "whole tumor"),
        (2, "tumor core"),
        (3, "enhancing tumor"),
    ]
    assert Study.open(tmp_path / "study").settings.targets == study.settings.targets
    manifest["regions_class_order"] = [1, 1, 3]
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(StudyError, match=r"dataset\.json names regions"):
        Study.create(tmp_path / "other", images=tmp_path / "data")
