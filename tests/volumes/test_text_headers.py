"""Where NRRD and MetaImage headers place a volume: by SimpleITK's own reading of the same file, which we do not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg.volumes import read_volume

if TYPE_CHECKING:
    from pathlib import Path

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACES = (
    "left-posterior-superior",
    "LPS",
    "right-anterior-superior",
    "RAS",
    "left-anterior-superior",
    "LAS",
    "scanner-xyz",
)


def affine_by_itk(path: Path) -> np.ndarray:
    """RAS+."""
    image = sitk.ReadImage(str(path))
    count = image.GetDimension()
    used = min(count, 3)
    affine = np.eye(4)
    turn = np.array(image.GetDirection()).reshape(count, count)[:used, :used]
    affine[:used, :used] = turn * np.array(image.GetSpacing())[:used]
    affine[:used, 3] = np.array(image.GetOrigin())[:used]
    return LPS_TO_RAS @ affine


def text(values: np.ndarray) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def vector(values: np.ndarray) -> str:
    return "(" + ",".join(f"{value:.9g}" for value in values) + ")"


@pytest.mark.parametrize("seed", range(8))
def test_nrrd_headers_place_voxels_as_simpleitk_does(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    step, origin = rng.uniform(0.3, 4, 3), rng.normal(size=3) * 50
    directions = "space directions: " + " ".join(vector(column) for column in (turn * step).T)
    spacings = f"spacings: {text(step)}"
    placings = [f"space: {space}\n{directions}\nspace origin: {vector(origin)}" for space in SPACES]
    placings += [f"space: RAS\n{directions}", f"space dimension: 3\n{directions}", spacings, ""]
    placings += [f"{spacings}\naxis mins: {text(origin)}{more}" for more in ("", "\ncenterings: cell cell cell", "\ncenterings: node node node")]  # fmt: skip
    for number, placing in enumerate(placings):
        path = tmp_path / f"{number}.nrrd"
        lines = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 4 5 6", "encoding: raw", *placing.splitlines()]
        path.write_bytes("\n".join([*lines, "", ""]).encode() + bytes(120))
        np.testing.assert_allclose(read_volume(path).geometry.source.affine, affine_by_itk(path), atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_meta_headers_place_voxels_as_simpleitk_does(tmp_path: Path, axes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = np.eye(axes)
    if axes > 2:
        turn[:3, :3], _ = np.linalg.qr(rng.normal(size=(3, 3)))
    step, origin = rng.uniform(0.3, 4, axes), rng.normal(size=axes) * 9
    for number, (matrix, offset, spacing) in enumerate(
        [("TransformMatrix", "Offset", "ElementSpacing"), ("Rotation", "Position", "ElementSize"), ("Orientation", "Origin", "ElementSpacing"), ("", "", "ElementSpacing")]
    ):  # fmt: skip
        lines = ["ObjectType = Image", f"NDims = {axes}", "BinaryData = True", "BinaryDataByteOrderMSB = False"]
        lines += [f"{matrix} = {text(turn.ravel())}", f"{offset} = {text(origin)}"] if matrix else []
        lines += [f"{spacing} = {text(step)}", f"DimSize = {text(np.array([4, 5, 6, 2])[:axes])}"]
        lines += ["ElementType = MET_UCHAR", "ElementDataFile = LOCAL", ""]
        path = tmp_path / f"{number}.mha"
        path.write_bytes("\n".join(lines).encode() + bytes(int(np.prod([4, 5, 6, 2][:axes]))))
        np.testing.assert_allclose(read_volume(path).geometry.source.affine, affine_by_itk(path), atol=1e-6)
