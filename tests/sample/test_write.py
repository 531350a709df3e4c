"""Phantom studies on disk."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.sample import bundled, make_cardiac, write_phantom_study_files
from napari_ssl_seg.sample.__main__ import main
from napari_ssl_seg.sample._nifti import save_nifti

CODES = [
    "".join(letters[i] for i in order)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for letters in (a + b + c for a in "LR" for b in "PA" for c in "SI")
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    told = []
    folder = write_phantom_study_files(
        tmp_path_factory.mktemp("phantoms") / "study", "cardiac", 2, 4, on_subject=lambda *n: told.append(n)
    )
    assert told == [(1, 2), (2, 2)]
    return folder


def test_images_and_labels_share_a_grid(study):
    for number in (1, 2):
        image = nib.load(study / "images" / f"cardiac_{number:03d}.nii.gz")
        label = nib.load(study / "labels" / f"cardiac_{number:03d}.nii.gz")
        assert image.get_data_dtype() == np.int16
        assert label.get_data_dtype() == np.uint8
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert image.header.get_xyzt_units()[0] == "mm"


def test_files_hold_the_phantoms_whatever_their_orientation(study):
    image, _, spacing = make_cardiac(4001)
    nifti = nib.as_closest_canonical(nib.load(study / "images" / "cardiac_001.nii.gz"))
    held = np.asarray(nifti.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
    np.testing.assert_array_equal(held, image)
    np.testing.assert_allclose(nifti.header.get_zooms()[::-1], spacing, rtol=1e-5)


def test_the_description_is_that_of_the_decathlon(study):
    about = json.loads((study / "dataset.json").read_text())
    assert about["labels"] == {"0": "background", "1": "left ventricle", "2": "myocardium", "3": "right ventricle"}
    assert about["numTraining"] == len(about["training"]) == 2
    for pair in about["training"]:
        assert (study / pair["image"]).is_file()
        assert (study / pair["label"]).is_file()
    assert "CC0" in (study / "LICENSE").read_text()
    rows = list(csv.DictReader((study / "subjects.csv").open()))
    assert [row["seed"] for row in rows] == ["4001", "4002"]


def test_the_same_command_writes_the_same_bytes(study, tmp_path, capsys):
    assert main(["--kind", "cardiac", "--subjects", "1", "--seed", "4", "--out", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "again")
    for part in ("images", "labels"):
        name = f"{part}/cardiac_001.nii.gz"
        assert (tmp_path / "again" / name).read_bytes() == (study / name).read_bytes()


def test_scans_that_are_there_are_not_overwritten(study, capsys):
    before = (study / "images" / "cardiac_001.nii.gz").stat().st_mtime_ns
    assert main(["--subjects", "1", "--out", str(study)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert (study / "images" / "cardiac_001.nii.gz").stat().st_mtime_ns == before


@pytest.mark.parametrize(("kind", "subjects", "seed"), [("knee", 1, 0), ("cardiac", 0, 0), ("cardiac", 1, -1)])
def test_senseless_requests_are_refused(tmp_path, kind, subjects, seed):
    with pytest.raises(UserError):
        write_phantom_study_files(tmp_path, kind, subjects, seed)
    assert not list(tmp_path.iterdir())


@settings(max_examples=48, deadline=None)
@given(
    st.sampled_from(CODES),
    st.tuples(*[st.floats(-14, 14)] * 3),
    st.tuples(*[st.floats(-100, 100)] * 3),
)
def test_every_orientation_holds_the_same_voxels_at_the_same_places(tmp_path_factory, code, tilt, origin):
    path = tmp_path_factory.mktemp("n") / "a.nii.gz"
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    save_nifti(path, array, (8.0, 1.5, 1.25), code, tilt, origin)
    nifti = nib.load(path)
    assert "".join(aff2axcodes(nifti.affine)) == code
    straight = nib.as_closest_canonical(nifti)
    np.testing.assert_array_equal(np.asarray(straight.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1], array)
    np.testing.assert_allclose(nib.affines.voxel_sizes(straight.affine), (1.25, 1.5, 8), rtol=1e-4)
    middle = nib.affines.apply_affine(straight.affine, (np.array(straight.shape) - 1) / 2)
    np.testing.assert_allclose(middle, origin, atol=1e-3)


def test_a_checkout_uses_what_it_ships():
    for kind in ("cardiac", "abdomen"):
        folder = bundled.bundled_study_source(kind)
        assert len(list((folder / "images").glob("*.nii.gz"))) == bundled.SUBJECTS[kind]
        assert len(list((folder / "labels").glob("*.nii.gz"))) == bundled.SUBJECTS[kind]


def test_without_a_checkout_phantoms_are_made_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SSL_SEG_CACHE", str(tmp_path))
    folder = bundled.bundled_study_source("cardiac", subjects=1)
    assert folder.is_relative_to(tmp_path)
    assert (folder / "dataset.json").is_file()
    before = (folder / "dataset.json").stat().st_mtime_ns
    assert bundled.bundled_study_source("cardiac", subjects=1) == folder
    assert (folder / "dataset.json").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing unfinished stays


def test_an_interrupted_making_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SSL_SEG_CACHE", str(tmp_path))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bundled.bundled_study_source("cardiac", subjects=1, on_subject=stop)
    assert not list((tmp_path / f"phantoms-{bundled.VERSION}").iterdir())


def test_the_first_of_two_makers_wins(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").write_text(name)
    bundled.move_into_place(tmp_path / "first", tmp_path / "target", "dataset.json")
    bundled.move_into_place(tmp_path / "second", tmp_path / "target", "dataset.json")
    assert (tmp_path / "target" / "dataset.json").read_text() == "first"


def test_a_broken_folder_is_replaced(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "dataset.json").write_text("whole")
    bundled.move_into_place(tmp_path / "made", tmp_path / "target", "dataset.json")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target" / "dataset.json").read_text() == "whole"


def test_what_is_shipped_is_what_the_generator_makes():
    folder = bundled.bundled_study_source("cardiac")
    image, label, _ = make_cardiac(1000 * bundled.SEED + 1)
    for part, made in (("images", image), ("labels", label)):
        nifti = nib.as_closest_canonical(nib.load(folder / part / "cardiac_001.nii.gz"))
        held = np.asarray(nifti.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1].astype(int)
        assert (np.abs(held - made) > 1).mean() < 1e-3  # other versions of numpy may round otherwise
