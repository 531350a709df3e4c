"""NIfTI: what is damaged or impossible is refused with file and reason, what is odd opens with a warning."""

from __future__ import annotations

import gzip
import re
import tracemalloc
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import read_header, read_volume
from tests.volumes.making import affine_of, claim, edit, patch_nifti, rotation, save_nifti, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAN = float("nan")


def refused(path: Path, reason: str, **options: Any) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        read_volume(path, **options)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "NaN sform": ({"srow_x": [NAN, 0, 0, 0]}, "not finite"),
    "infinite origin": ({"srow_z": [0, 0, 1, float("inf")]}, "not finite"),
    "singular sform": ({"srow_x": [0, 1, 0, 0]}, "singular|spacing of 0"),
    "two axes alike": ({"srow_x": [1, 1, 0, 0], "srow_y": [1, 1, 0, 0]}, "singular"),
    "NaN spacing": ({"pixdim1": NAN}, "spacing"),
    "zero spacing": ({"pixdim2": 0}, "spacing"),
    "zero spacing, no codes": ({"pixdim3": 0, "sform_code": 0}, "spacing"),
    "no rotation": ({"sform_code": 0, "qform_code": 1, "quatern_b": 3.0}, "rotation"),
    "NaN quaternion": ({"sform_code": 0, "qform_code": 1, "quatern_c": NAN}, "rotation"),
    "zero size": ({"dim1": 0}, "empty"),
    "negative size": ({"dim2": -4}, "empty"),
    "no axes": ({"dim0": 0}, "axes"),
    "nine axes": ({"dim0": 9}, "axes"),
    "one axis": ({"dim0": 1}, "one axis"),
    "vector": ({"dim0": 5, "dim4": 1, "dim5": 3, "dim3": 2, "intent_code": 1007}, "a vector"),
    "five axes": ({"dim0": 5, "dim4": 1, "dim5": 2, "dim3": 3}, "2 values"),
    "unknown type": ({"datatype": 77}, "type 77"),
    "RGB": ({"datatype": 128}, "RGB"),
    "complex": ({"datatype": 32}, "complex"),
    "bad magic": ({"magic": b"xyz"}, "no NIfTI"),
    "half a pair": ({"magic": b"ni1"}, "pair"),
    "offset past the end": ({"vox_offset": 99999.0}, "cut short"),
    "offset in the header": ({"vox_offset": 100.0}, "within the header"),
    "NaN offset": ({"vox_offset": NAN}, "not possible"),
    "claims more": ({"dim1": 3000}, "cut short"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_what_is_impossible_is_refused(tmp_path: Path, name: str, extension: str) -> None:
    fields, reason = IMPOSSIBLE[name]
    refused(save_nifti(tmp_path / f"case{extension}", **fields), reason)


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "no codes": ({"sform_code": 0, "qform_code": 0}, "how the patient lies"),
    "sform and qform disagree": (
        {"qform_code": 1, "qoffset_x": 5.0},
        "disagree by up to 5 voxels; the sform was taken",
    ),
    "broken qform beside an sform": ({"qform_code": 1, "quatern_b": 3.0}, "quaternion"),
    "micrometres": ({"xyzt_units": 3}, "micrometres"),
    "metres": ({"xyzt_units": 1}, "metres"),
    "negative spacing": ({"pixdim1": -1.0}, "negative"),
    "spacing that is not the sform's": ({"pixdim1": 2.0}, "not that of its sform"),
    "shear": ({"srow_x": [1, 0.1, 0, 0]}, "right angles"),
    "bits": ({"bitpix": 8}, "bits"),
    "huge spacing": ({"srow_x": [1000, 0, 0, 0], "pixdim1": 1000}, "unusual"),
    "handedness": ({"sform_code": 0, "qform_code": 1, "pixdim0": 7.0}, "handedness"),
    "no offset": ({"vox_offset": 0.0}, "where the voxels begin"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_opens_with_a_warning(tmp_path: Path, name: str) -> None:
    fields, warning = ODD[name]
    path = save_nifti(tmp_path / "case.nii.gz", **fields)
    volume = read_volume(path)
    assert any(re.search(warning, text) for text in volume.warnings), volume.warnings
    assert np.array_equal(volume.geometry.to_source(volume.array), voxels())
    assert set(read_header(path).warnings) <= set(volume.warnings)


def test_units_become_mm(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "um.nii.gz", affine=np.diag([1500.0, 1500.0, 2000.0, 1.0]), xyzt_units=3)
    assert read_volume(path).spacing == pytest.approx((2.0, 1.5, 1.5))


@pytest.mark.parametrize("seed", range(12))
def test_the_qform_alone_is_read_as_nibabel_reads_it(tmp_path: Path, seed: int) -> None:
    affine = affine_of(rotation(seed))
    if seed < 3:  # half turns, where the quaternion's first part is 0
        affine[:3, :3] = np.diag([1.0 if axis == seed else -1.0 for axis in range(3)]) * [1.0, 2.0, 3.5]
    image = nib.Nifti1Image(voxels(), affine)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "case.nii")
    patch_nifti(tmp_path / "case.nii", sform_code=0)
    volume = read_volume(tmp_path / "case.nii")
    expected = nib.load(tmp_path / "case.nii").affine
    np.testing.assert_allclose(volume.geometry.source.affine, expected, atol=1e-4)
    assert volume.warnings == ()


def test_no_codes_are_read_as_nibabel_reads_them(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "case.nii", affine=np.diag([1.0, 2.0, 3.0, 1.0]), sform_code=0)
    np.testing.assert_allclose(read_volume(path).geometry.source.affine, nib.load(path).affine)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_types_and_byte_orders_are_kept(tmp_path: Path, dtype: str, endian: str, kind: str) -> None:
    maker = getattr(nib, kind)
    header = maker.header_class(endianness=endian)
    header.set_data_dtype(dtype)
    nib.save(maker(voxels(dtype), np.eye(4), header, dtype=dtype), tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.array.dtype == np.dtype(dtype) and volume.array.dtype.isnative
    assert np.array_equal(volume.geometry.to_source(volume.array), voxels(dtype))
    assert read_header(tmp_path / "case.nii.gz").dtype == dtype
    assert volume.array.flags.c_contiguous and volume.array.flags.writeable


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, "int32"), (2, 0, "int32"), (0.5, 3, "float32"), (0, 7, "int16"), (NAN, 0, "int16"), (1, 0, "int16")],
)
def test_slope_and_intercept(tmp_path: Path, slope: float, intercept: float, dtype: str) -> None:
    path = save_nifti(tmp_path / "case.nii.gz", scl_slope=slope, scl_inter=intercept)
    volume = read_volume(path)
    assert volume.array.dtype == np.dtype(dtype) and read_header(path).dtype == dtype
    expected = nib.load(path).get_fdata()
    np.testing.assert_array_equal(volume.geometry.to_source(volume.array), expected)


def test_slope_on_small_integers_keeps_a_small_type(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "case.nii.gz", voxels("uint8"), scl_slope=1, scl_inter=-1024)
    assert read_volume(path).array.dtype == np.int16


def test_truncated_and_flipped_files_are_never_silently_wrong(tmp_path: Path) -> None:
    """The sweep of specs/reliability.md 3, smaller: cuts anywhere, and one bit flipped anywhere."""
    source = save_nifti(tmp_path / "source.nii.gz", voxels(shape=(12, 13, 14)))
    good, right = source.read_bytes(), read_volume(source)
    rng = np.random.default_rng(0)
    wrong = []
    for trial in range(300):
        content = bytearray(good)
        if trial % 2:
            del content[int(rng.integers(1, len(good))) :]
        else:
            content[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
        path = tmp_path / "damaged.nii.gz"
        path.write_bytes(content)
        try:
            volume = read_volume(path)
        except VolumeError as error:
            assert "damaged.nii.gz" in str(error)
            continue
        if not (np.array_equal(volume.array, right.array) and volume.geometry == right.geometry):
            wrong.append(trial)
    assert wrong == []


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "trailer missing": (lambda b: b[:-8], "cut short"),
    "checksum wrong": (lambda b: b[:-8] + bytes([b[-8] ^ 1]) + b[-7:], "CRC|damaged"),
    "header only": (lambda b: gzip.compress(gzip.decompress(b)[:352]), "cut short"),
    "within the header": (lambda b: gzip.compress(gzip.decompress(b)[:100]), "no NIfTI"),
    "empty": (lambda b: b"", "no NIfTI"),
    "not ours": (lambda b: b"<html>not found</html>" * 50, "no NIfTI"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    change, reason = DAMAGE[name]
    refused(edit(save_nifti(tmp_path / "case.nii.gz"), change), reason)


def test_a_plain_file_cut_short_is_refused(tmp_path: Path) -> None:
    refused(edit(save_nifti(tmp_path / "case.nii"), lambda b: b[:-1]), "cut short")


def test_names_that_lie_about_packing_open_with_a_warning(tmp_path: Path) -> None:
    plain = save_nifti(tmp_path / "plain.nii").rename(tmp_path / "plain.nii.gz")
    packed = save_nifti(tmp_path / "packed.nii.gz").rename(tmp_path / "packed.nii")
    for path in (plain, packed):
        volume = read_volume(path)
        assert np.array_equal(volume.geometry.to_source(volume.array), voxels())
        assert len(volume.warnings) == 1


def test_bytes_after_the_voxels_are_said(tmp_path: Path) -> None:
    path = edit(save_nifti(tmp_path / "case.nii.gz"), lambda b: gzip.compress(gzip.decompress(b) + b"abc"))
    assert any("3 bytes after" in warning for warning in read_volume(path).warnings)


def test_claims_are_judged_before_memory_is_taken(tmp_path: Path) -> None:
    tracemalloc.start()
    for shape in [(32000, 32000, 32000), (2000, 2000, 2000)]:
        refused(claim(tmp_path / "bomb.nii.gz", shape), "can hold even compressed|memory")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20
    path = save_nifti(tmp_path / "case.nii.gz", voxels(shape=(50, 50, 50)))
    refused(path, "claims .* of memory, more than the 10.0 kB", memory_limit=10_000)
    assert read_header(path).shape == (50, 50, 50)


def test_voxels_that_are_not_finite_are_counted_and_kept(tmp_path: Path) -> None:
    array = voxels("float32")
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    volume = read_volume(save_nifti(tmp_path / "case.nii.gz", array))
    assert any(text.startswith("2 of 210 voxels are not finite") for text in volume.warnings)
    np.testing.assert_array_equal(volume.geometry.to_source(volume.array), array)


def test_axes_of_length_one_at_the_end_are_dropped(tmp_path: Path) -> None:
    volume = read_volume(save_nifti(tmp_path / "case.nii.gz", voxels()[..., None, None]))
    assert volume.axes == "zyx" and volume.array.shape == (7, 6, 5)


def test_a_flat_image_is_one_slice(tmp_path: Path) -> None:
    volume = read_volume(save_nifti(tmp_path / "flat.nii.gz", voxels(shape=(8, 9)), pixdim3=0))
    assert volume.array.shape == (1, 9, 8)
