"""Orientation, spacing and origin survive the way in, the way out and both programs that look at the result."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import Geometry, geometry_mismatch, read_volume, write_volume
from tests.volumes.making import SHAPE, SPACING, affine_of, axis_directions, rotation, save_nifti, voxels

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = (".nii.gz", ".nrrd", ".mha")
SHEAR = np.array([[1.0, 0.1, 0.0], [0.0, np.sqrt(0.99), 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("number", range(48 + 8))
def test_every_orientation_comes_back_and_both_libraries_agree(tmp_path: Path, number: int) -> None:
    directions = axis_directions()[number] if number < 48 else rotation(number)
    array, affine = voxels(), affine_of(directions)
    volume = read_volume(save_nifti(tmp_path / "source.nii.gz", array, affine))
    assert volume.warnings == ()
    # Held: every axis runs closest to superior, posterior, left.
    held = volume.geometry.affine[:3, :3] / np.array(volume.spacing)
    best = max(np.prod([abs(held[w, h]) for h, w in enumerate(p)]) for p in itertools.permutations(range(3)))
    assert np.prod([held[2, 0], -held[1, 1], -held[0, 2]]) == pytest.approx(best) or number >= 48
    assert held[2, 0] > 0 and held[1, 1] < 0 and held[0, 2] < 0
    # A held voxel is where the file says.
    index = (1, 2, 3)
    where = np.linalg.inv(affine) @ volume.geometry.affine @ [*index, 1]
    assert volume.array[index] == array[tuple(np.rint(where[:3]).astype(int))]
    for extension in FORMATS:
        path = write_volume(tmp_path / f"out{extension}", volume)
        by_itk = sitk.ReadImage(str(path))
        assert np.array_equal(sitk.GetArrayFromImage(by_itk).T, array)
        if extension == ".nii.gz":
            by_nibabel = nib.load(path)
            assert np.array_equal(np.asanyarray(by_nibabel.dataobj), array)
            np.testing.assert_allclose(by_nibabel.affine, affine, atol=1e-5)
            np.testing.assert_allclose(by_nibabel.get_qform(), affine, atol=1e-4)
            assert by_nibabel.header["qform_code"] > 0 and by_nibabel.header["sform_code"] > 0
            assert by_nibabel.header.get_xyzt_units()[0] == "mm"
        for corner in itertools.product(*((0, n - 1) for n in SHAPE)):
            position = np.array(by_itk.TransformIndexToPhysicalPoint(corner)) * [-1, -1, 1]
            np.testing.assert_allclose(position, (affine @ [*corner, 1])[:3], atol=1e-4)
        again = read_volume(path)
        assert np.array_equal(again.array, volume.array) and again.array.dtype == volume.array.dtype
        assert geometry_mismatch(volume.geometry, again.geometry, 1e-4) is None


def test_a_sheared_grid_is_written_without_a_qform(tmp_path: Path) -> None:
    affine = affine_of(SHEAR)
    volume = read_volume(save_nifti(tmp_path / "sheared.nii.gz", affine=affine))
    assert any("right angles" in warning for warning in volume.warnings)
    image = nib.load(write_volume(tmp_path / "out.nii.gz", volume))
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    assert image.header["qform_code"] == 0


def test_describe_says_what_other_viewers_say() -> None:
    geometry = Geometry.from_file((35, 51, 30), np.diag([1.0, 1.5, 2.0, 1.0]))
    assert geometry.describe() == "35x51x30, 1x1.5x2 mm, RAS"
    assert geometry.shape == (30, 51, 35) and geometry.spacing == (2.0, 1.5, 1.0)
    # Voxel (0, 0, 0) of the held array is the lowest, most anterior, rightmost one: file index (34, 50, 0).
    assert geometry.origin == (0.0, -75.0, -34.0)
    assert not geometry.is_oblique and Geometry.from_file((3, 3, 3), affine_of(rotation(1))).is_oblique


def test_from_spacing_holds_what_it_was_given() -> None:
    geometry = Geometry.from_spacing((4, 5, 6), (3.0, 2.0, 1.0), (7.0, 8.0, 9.0))
    assert geometry.shape == (4, 5, 6) and geometry.spacing == (3.0, 2.0, 1.0) and geometry.origin == (7.0, 8.0, 9.0)
    assert geometry.orientation == "LPS" and geometry.source.shape == (6, 5, 4)
    with pytest.raises(VolumeError, match="positive"):
        Geometry.from_spacing((4, 5, 6), (3.0, 0.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 47),
    seed=st.integers(0, 2**20),
    channels=st.integers(0, 3),
    oblique=st.booleans(),
)
def test_to_source_undoes_from_source(number: int, seed: int, channels: int, oblique: bool) -> None:
    affine = affine_of(rotation(seed) if oblique else axis_directions()[number])
    geometry = Geometry.from_file(SHAPE, affine)
    array = voxels(shape=SHAPE + ((channels,) if channels else ()), seed=seed)
    held = geometry.from_source(array)
    assert held.shape[-3:] == geometry.shape
    assert np.array_equal(geometry.to_source(held), array)
    # The held affine and the file's place each voxel alike.
    marked = np.zeros(SHAPE)
    marked[1, 4, 2] = 1
    place = np.argwhere(geometry.from_source(marked))[0]
    np.testing.assert_allclose(geometry.affine @ [*place, 1], affine @ [1, 4, 2, 1], atol=1e-9)


def test_mismatch_names_both_grids_and_the_largest_shift() -> None:
    affine = affine_of(np.eye(3))
    image = Geometry.from_file(SHAPE, affine)
    # The same grid stored the other way round is the same grid.
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += affine[:3, 0] * (SHAPE[0] - 1)
    assert geometry_mismatch(image, Geometry.from_file(SHAPE, flipped)) is None
    nudged = affine.copy()
    nudged[0, 3] += 0.05 * SPACING[0]
    assert geometry_mismatch(image, Geometry.from_file(SHAPE, nudged)) is None
    shifted = affine.copy()
    shifted[2, 3] += 7.0
    text = geometry_mismatch(image, Geometry.from_file(SHAPE, shifted))
    assert text is not None and "2 voxels" in text and "7 mm" in text and text.count("5x6x7") == 2
    assert "shapes differ" in (geometry_mismatch(image, Geometry.from_file((5, 6, 8), affine)) or "")
    doubled = affine_of(np.eye(3), SPACING * 2)
    assert geometry_mismatch(image, Geometry.from_file(SHAPE, doubled)) is not None
    one = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    assert "spacings differ" in (geometry_mismatch(one, Geometry.from_spacing((1, 1, 1), (2, 1, 1))) or "")


def test_mirrored_label_is_a_mismatch() -> None:
    """Two files with the same voxel order but left and right exchanged in one header."""
    affine = affine_of(np.eye(3))
    mirrored = affine.copy()
    mirrored[0, :] *= -1
    assert geometry_mismatch(Geometry.from_file(SHAPE, affine), Geometry.from_file(SHAPE, mirrored)) is not None


def test_a_prediction_lines_up_with_its_source(tmp_path: Path) -> None:
    affine = affine_of(rotation(3))
    volume = read_volume(save_nifti(tmp_path / "image.nii.gz", affine=affine))
    labels = (volume.array > 50).astype(np.uint8)
    written = nib.load(write_volume(tmp_path / "prediction.nii.gz", volume.with_array(labels)))
    assert np.array_equal(np.asanyarray(written.dataobj), voxels() > 50)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
    with pytest.raises(VolumeError, match="does not fit"):
        volume.with_array(labels[1:])
