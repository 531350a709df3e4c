"""What napari is told, and what files are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_ssl_seg.volumes import Geometry, Volume, find_volumes, is_volume_file, layer_kwargs, volume_stem
from tests.volumes.making import affine_of, axis_directions, rotation


@pytest.mark.parametrize("number", range(48))
def test_layers_of_one_patient_line_up(number: int) -> None:
    """A held voxel is shown at its own coordinates along superior, posterior and left."""
    geometry = Geometry.from_file((5, 6, 7), affine_of(axis_directions()[number]))
    kwargs = layer_kwargs(geometry)
    index = np.array([1, 2, 3])
    shown = np.array(kwargs["translate"]) + index * kwargs["scale"]
    right, anterior, superior = (geometry.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(shown, [superior, -anterior, -right])
    assert kwargs["units"] == ("mm",) * 3 and kwargs["axis_labels"] == ("z", "y", "x")


def test_oblique_volumes_with_the_same_directions_line_up() -> None:
    directions = rotation(2)
    whole = Geometry.from_file((20, 20, 20), affine_of(directions, np.ones(3)))
    # A part of it, and coarser: voxel (0, 0, 0) of the part is voxel (4, 6, 8) of the whole.
    affine = affine_of(directions, np.full(3, 2.0))
    affine[:3, 3] = (whole.source.affine @ [4, 6, 8, 1])[:3]
    part = Geometry.from_file((6, 5, 4), affine)
    a, b = layer_kwargs(whole), layer_kwargs(part)
    world = part.affine @ [1, 2, 3, 1]
    in_whole = (np.linalg.inv(whole.affine) @ world)[:3]
    np.testing.assert_allclose(
        np.array(a["translate"]) + in_whole * a["scale"], np.array(b["translate"]) + np.array([1, 2, 3]) * b["scale"]
    )
    np.testing.assert_array_equal(a["metadata"]["affine"], whole.affine)
    assert a["metadata"]["geometry"] is whole and a["metadata"]["path"] is None


def test_the_path_is_in_the_metadata() -> None:
    geometry = Geometry.from_spacing((2, 3, 4), (1, 1, 1))
    volume = Volume(np.zeros((2, 3, 4)), geometry, path=Path("a.nii"))
    assert layer_kwargs(volume)["metadata"]["path"] == "a.nii"


def test_names(tmp_path: Path) -> None:
    assert volume_stem("x/case.1.nii.gz") == "case.1" and volume_stem("A.NII.GZ") == "A" and volume_stem("b.mhd") == "b"
    assert is_volume_file("a.nii") and is_volume_file("A.NRRD") and is_volume_file("b.dcm")
    assert not any(map(is_volume_file, ("a.png", "a.gz", "a.img", ".hidden.nii.gz", "._a.nii.gz", "nii", "b.zraw")))
    for name in ("case_10.nii.gz", "case_2.nii.gz", "sub/case_1.mha", ".git/x.nii", "notes.txt", ".part-12-x.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [str(path.relative_to(tmp_path)) for path in find_volumes(tmp_path)]
    assert names == ["case_2.nii.gz", "case_10.nii.gz", "sub/case_1.mha"]
