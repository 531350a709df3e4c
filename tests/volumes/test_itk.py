"""NRRD and MetaImage: SimpleITK reads the voxels, but only of files that hold what they claim."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import read_header, read_volume
from tests.volumes.making import edit, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = (8, 10, 12)


def save(path: Path, array: np.ndarray | None = None, *, packed: bool = True, **options: Any) -> Path:
    array = voxels(shape=SHAPE) if array is None else array
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T), **options)
    if image.GetDimension() == 3:
        image.SetSpacing([1.0, 2.0, 3.5])
        image.SetOrigin([10.0, -20.0, 30.0])
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def nrrd(path: Path, fields: str, array: np.ndarray | None = None, encoding: str = "gzip") -> Path:
    """A NRRD file written by hand."""
    array = voxels(shape=SHAPE) if array is None else array
    data = array.tobytes(order="F")
    if encoding == "gzip":
        data = gzip.compress(data)
    head = f"NRRD0004\ntype: int16\ndimension: {array.ndim}\nsizes: {' '.join(map(str, array.shape))}\n"
    head += f"encoding: {encoding}\nendian: little\n{fields}\n\n"
    path.write_bytes(head.encode() + data)
    return path


PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3.5)\nspace origin: (10,-20,30)"


@pytest.mark.parametrize("name", ["case.nrrd", "case.nhdr", "case.mha", "case.mhd"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_what_simpleitk_writes_is_read(tmp_path: Path, name: str, packed: bool, dtype: str) -> None:
    array = voxels(dtype, SHAPE)
    path = save(tmp_path / name, array, packed=packed)
    volume = read_volume(path)
    assert volume.warnings == () and volume.array.dtype == np.dtype(dtype)
    assert np.array_equal(volume.geometry.to_source(volume.array), array)
    assert volume.spacing == (3.5, 2.0, 1.0)
    np.testing.assert_allclose(volume.geometry.source.affine[:3, 3], [-10, 20, 30])
    header = read_header(path)
    assert header.shape == volume.array.shape and header.dtype == dtype and header.channels == 1


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1, 1)), ("right-anterior-superior", (1, 1, 1)), ("LAS", (-1, 1, 1))],
)
def test_nrrd_spaces_become_the_patients(tmp_path: Path, space: str, signs: tuple[int, ...]) -> None:
    path = nrrd(tmp_path / "case.nrrd", PLACED.replace("left-posterior-superior", space))
    volume = read_volume(path)
    expected = np.diag([1.0, 2.0, 3.5, 1.0])
    expected[:3, 3] = [10, -20, 30]
    np.testing.assert_allclose(volume.geometry.source.affine, np.diag([*signs, 1]) @ expected)
    assert np.array_equal(volume.geometry.to_source(volume.array), voxels(shape=SHAPE))


REFUSED_NRRD: dict[str, tuple[str, str]] = {
    "negative spacing": ("spacings: 1 -2 3", "positive"),
    "NaN spacing": ("spacings: 1 NaN 3", "positive"),
    "NaN origin": (PLACED.replace("(10,-20", "(nan,-20"), "not finite"),
    "NaN directions": (PLACED.replace("(1,0,0)", "(nan,0,0)"), "not finite"),
    "singular": (PLACED.replace("(0,2,0)", "(1,0,0)"), "singular"),
    "axis of no length": (PLACED.replace("(0,2,0)", "(0,0,0)"), "spacing of"),
    "direction missing": (PLACED.replace("(0,2,0)", "none"), "no direction"),
    "two directions": (PLACED.replace(" (0,0,3.5)", ""), "2 space directions"),
    "kinds": (PLACED + "\nkinds: domain domain", "kinds"),
    "vectors": (PLACED.replace("(1,0,0) ", "none (1,0,0) ") + "\nkinds: vector domain domain", "vector"),
    "skipped": (PLACED + "\nbyte skip: 4", "skips"),
    "no field": ("nonsense", "no field"),
    "outside": (PLACED + "\ndata file: ../secret.raw", "outside its folder"),
    "absent": (PLACED + "\ndata file: none.raw", "does not exist"),
    "list": (PLACED + "\ndata file: LIST", "several files"),
    "pattern": (PLACED + "\ndata file: slice%03d.raw 1 9 1", "several files"),
}


@pytest.mark.parametrize("name", REFUSED_NRRD)
def test_nrrd_headers_that_are_refused(tmp_path: Path, name: str) -> None:
    fields, reason = REFUSED_NRRD[name]
    (tmp_path / "secret.raw").write_bytes(b"\0" * 5000)
    (tmp_path / "study").mkdir()
    with pytest.raises(VolumeError, match=reason) as caught:
        read_volume(nrrd(tmp_path / "study" / "case.nrrd", fields))
    assert "case.nrrd" in str(caught.value)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(b"\0" * 5000)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "inner.raw").symlink_to(tmp_path / "secret.raw")
    path = nrrd(tmp_path / "study" / "case.nhdr", PLACED + "\ndata file: inner.raw", encoding="raw")
    with pytest.raises(VolumeError, match="outside"):
        read_volume(path)


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ("spacings: 1 2 3", "how the patient lies"),
        (PLACED.replace("left-posterior-superior", "scanner-xyz"), "not the patient's"),
        (PLACED + '\nspace units: "um" "um" "um"', "micrometres"),
        (PLACED + '\nspace units: "foo" "foo" "foo"', "foo"),
        (PLACED.replace("(0,2,0)", "(0.2,2,0)"), "right angles"),
    ],
)
def test_nrrd_headers_that_open_with_a_warning(tmp_path: Path, fields: str, warning: str) -> None:
    volume = read_volume(nrrd(tmp_path / "case.nrrd", fields))
    assert any(warning in text for text in volume.warnings), volume.warnings
    assert np.array_equal(volume.geometry.to_source(volume.array), voxels(shape=SHAPE))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_list_axis_is_a_fourth_one(tmp_path: Path, place: int) -> None:
    array = voxels(shape=(*SHAPE, 3))
    directions, kinds = ["(1,0,0)", "(0,2,0)", "(0,0,3.5)"], ["domain"] * 3
    directions.insert(place, "none")
    kinds.insert(place, "list")
    fields = PLACED.replace("(1,0,0) (0,2,0) (0,0,3.5)", " ".join(directions)) + "\nkinds: " + " ".join(kinds)
    volume = read_volume(nrrd(tmp_path / "case.nrrd", fields, np.moveaxis(array, -1, place)), four_d="time")
    assert volume.axes == "tzyx" and volume.spacing == (3.5, 2.0, 1.0)
    assert np.array_equal(volume.geometry.to_source(volume.array), array)
    by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "case.nrrd")))
    assert np.array_equal(by_itk, np.transpose(array, (2, 1, 0, 3)))


def test_big_endian_voxels(tmp_path: Path) -> None:
    array = voxels(">i2", SHAPE)
    path = nrrd(tmp_path / "case.nrrd", PLACED, array)
    path.write_bytes(path.read_bytes().replace(b"endian: little", b"endian: big"))
    head = "NDims = 3\nDimSize = 8 10 12\nElementSpacing = 1 1 1\nBinaryData = True\nBinaryDataByteOrderMSB = True\n"
    head += "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "case.mha").write_bytes(head.encode() + array.tobytes(order="F"))
    for name in ("case.nrrd", "case.mha"):
        volume = read_volume(tmp_path / name)
        assert volume.warnings == () and volume.array.dtype.isnative
        assert np.array_equal(volume.geometry.to_source(volume.array), array)
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))).T, array)


@pytest.mark.parametrize("name", ["case.mha", "case.nrrd"])
def test_four_axes(tmp_path: Path, name: str) -> None:
    array = voxels(shape=(*SHAPE, 4))
    volume = read_volume(save(tmp_path / name, array, isVector=False))
    assert volume.axes == "czyx" and np.array_equal(volume.geometry.to_source(volume.array), array)


@pytest.mark.parametrize("name", ["case.mha", "case.nrrd"])
def test_vectors_and_colours_are_refused(tmp_path: Path, name: str) -> None:
    image = sitk.GetImageFromArray(voxels("uint8", (*SHAPE, 3)), isVector=True)
    sitk.WriteImage(image, str(tmp_path / name))
    with pytest.raises(VolumeError, match=r"in each voxel"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["case.mha", "case.nrrd"])
def test_a_flat_image_is_one_slice(tmp_path: Path, name: str) -> None:
    array = voxels(shape=(8, 9))
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing([0.5, 0.25])
    sitk.WriteImage(image, str(tmp_path / name))
    volume = read_volume(tmp_path / name)
    assert volume.array.shape == (1, 9, 8) and volume.spacing == (1.0, 0.25, 0.5)
    assert np.array_equal(volume.array[0], array.T)


def field(name: str, value: str) -> Callable[[bytes], bytes]:
    return lambda content: re.sub(
        rb"(?m)^" + name.encode() + rb" = .*$", f"{name} = {value}".encode(), content, count=1
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (field("ElementSpacing", "1 -2 3"), "positive"),
        (field("ElementSpacing", "1 0 3"), "positive"),
        (field("ElementSpacing", "1 nan 3"), "not finite"),
        (field("Offset", "1 nan 3"), "not finite"),
        (field("TransformMatrix", "1 0 0 1 0 0 0 0 1"), "singular"),
        (field("TransformMatrix", "1 0 0"), "3 numbers"),
        (field("DimSize", "8 10 0"), "positive"),
        (field("DimSize", "8 10 x"), "whole numbers"),
        (field("DimSize", "8000 10000 12000"), "even compressed"),
        (field("DimSize", "8 10 13"), "cut short|two ways"),
        (field("NDims", "7"), "DimSize"),
        (field("ElementType", "MET_STRING"), "MET_STRING"),
        (field("ElementDataFile", "../other.raw"), "outside"),
        (field("ElementDataFile", "LIST"), "several files"),
        (lambda b: b[:60], "cut short|no "),
        (lambda b: b[:-30], "cut short|damaged"),
        (lambda b: b[:-30] + bytes([b[-30] ^ 255]) + b[-29:], "damaged|cut short"),
        (lambda b: b"\x89PNG" * 300, "no MetaImage"),
        (lambda b: b"", "no MetaImage"),
    ],
)
def test_metaimages_that_are_refused(tmp_path: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        read_volume(edit(save(tmp_path / "case.mha"), change))
    assert "case.mha" in str(caught.value)


@pytest.mark.parametrize("name", ["case.nrrd", "case.mha"])
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_files_are_never_silently_wrong(tmp_path: Path, name: str, packed: bool) -> None:
    """Cuts anywhere; flipped bits in packed files, whose checksums show them (raw ones have none)."""
    source = save(tmp_path / name, packed=packed)
    good, right = source.read_bytes(), read_volume(source)
    begin = good.index(b"\n\n") if name.endswith("nrrd") else good.index(b"LOCAL")
    rng = np.random.default_rng(0)
    for trial in range(60):
        content = bytearray(good)
        if trial % 2 or not packed:
            del content[int(rng.integers(1, len(good))) :]
        else:
            content[int(rng.integers(begin + 30, len(good)))] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"damaged-{name}"
        path.write_bytes(content)
        try:
            volume = read_volume(path)
        except VolumeError as error:
            assert path.name in str(error)
            continue
        assert np.array_equal(volume.array, right.array), trial


def test_text_voxels(tmp_path: Path) -> None:
    array = voxels(shape=SHAPE)
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 8 10 12\nencoding: ascii\n{PLACED}\n\n"
    numbers = " ".join(map(str, array.ravel(order="F")))
    path = tmp_path / "case.nrrd"
    path.write_text(head + numbers + "\n")
    assert np.array_equal(read_volume(path).geometry.to_source(read_volume(path).array), array)
    path.write_text(head + numbers[: len(numbers) // 2] + " " * len(numbers))
    with pytest.raises(VolumeError, match="cut short"):
        read_volume(path)
