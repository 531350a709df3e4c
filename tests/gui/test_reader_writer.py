"""napari opens volumes as layers that line up, and saves them into their own grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.errors import VolumeError
from tests.volumes.making import affine_of, axis_directions, rotation, save_nifti, voxels

pytest.importorskip("napari")

from napari_ssl_seg.gui.reader import get_reader
from napari_ssl_seg.gui.writer import write_image, write_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that the reader shows."""
    texts: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", texts.append)
    return texts


def opened(path: Any) -> list[tuple[np.ndarray, dict[str, Any], str]]:
    reader = get_reader(path)
    assert reader is not None
    return reader(path)


def blobs(dtype: str = "uint8") -> np.ndarray:
    array = np.zeros((10, 12, 14), dtype)
    array[2:6, 2:6, 2:6], array[6:9, 6:9, 6:9] = 1, 2
    return array


def test_only_volumes_are_ours(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert get_reader(str(tmp_path / "plain")) is None
    assert get_reader("a.png") is None and get_reader(["a.nii", "b.png"]) is None and get_reader([]) is None
    assert get_reader("a.nii.gz") is not None and get_reader(["a.nii", "b.mha"]) is not None


def test_an_image_has_scale_units_and_its_true_affine(tmp_path: Path, said: list[str]) -> None:
    affine = affine_of(axis_directions()[17])
    path = save_nifti(tmp_path / "t1.nii.gz", voxels(shape=(10, 11, 12)) * 7, affine)
    ((array, kwargs, kind),) = opened(str(path))
    assert kind == "image" and array.dtype == np.int16 and kwargs["name"] == "t1" and said == []
    assert kwargs["units"] == ("mm",) * 3 and kwargs["metadata"]["path"] == str(path)
    assert set(kwargs["scale"]) == {1.0, 2.0, 3.5}
    low, high = kwargs["contrast_limits"]
    assert 0 <= low < high <= 700


@pytest.mark.parametrize(
    ("name", "array", "kind"),
    [
        ("case_seg.nii.gz", blobs("float32"), "labels"),
        ("labelsTr/case.nii.gz", blobs("int16"), "labels"),
        ("mask.nii.gz", blobs(), "labels"),
        ("scans/case.nii.gz", blobs("int32"), "labels"),  # by its content
        ("masks/half.nii.gz", blobs("float32") / 2, "image"),
        ("images/case.nii.gz", blobs(), "image"),
        ("scans/segment.nii.gz", voxels(), "image"),  # noise is no label map
        ("labels/image.nii.gz", voxels("float32"), "image"),  # its own name says more than its folder's
        ("scans/t1.nii.gz", blobs("float32"), "image"),
    ],
)
def test_label_maps_become_labels(tmp_path: Path, name: str, array: np.ndarray, kind: str, said: list[str]) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    ((data, _, found),) = opened(str(save_nifti(tmp_path / name, array)))
    assert found == kind
    if kind == "labels":
        assert data.dtype == np.uint8 and set(np.unique(data)) == {0, 1, 2}


def test_what_is_odd_is_shown(tmp_path: Path, said: list[str]) -> None:
    path = save_nifti(tmp_path / "t1.nii.gz", affine=affine_of(rotation(1)), xyzt_units=3)
    opened(str(path))
    assert len(said) == 1 and "t1.nii.gz" in said[0] and "micrometres" in said[0] and "oblique" in said[0]


def test_channels_and_time(tmp_path: Path, said: list[str]) -> None:
    few = opened(str(save_nifti(tmp_path / "few.nii.gz", voxels(shape=(5, 6, 7, 3)))))
    assert [layer[1]["name"] for layer in few] == ["few [0]", "few [1]", "few [2]"]
    assert [layer[1]["visible"] for layer in few] == [True, False, False]
    ((many, kwargs, _),) = opened(str(save_nifti(tmp_path / "many.nii.gz", voxels(shape=(5, 6, 7, 20)))))
    assert many.shape == (20, 7, 6, 5) and kwargs["axis_labels"] == ("t", "z", "y", "x") and len(kwargs["scale"]) == 4
    files = [str(save_nifti(tmp_path / f"t{n}.nii.gz")) for n in range(2)]
    assert [layer[1]["name"] for layer in opened(files)] == ["t0 [0]", "t0 [1]"]


def test_a_damaged_file_names_itself(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "bad.nii.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(VolumeError, match=r"bad\.nii\.gz is cut short"):
        opened(str(path))


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_a_layer_goes_back_into_its_grid(tmp_path: Path, extension: str, said: list[str]) -> None:
    affine = affine_of(rotation(4))
    source = save_nifti(tmp_path / "t1.nii.gz", voxels() + 100, affine)
    ((array, kwargs, _),) = opened(str(source))
    (written,) = write_labels(str(tmp_path / f"out_labels{extension}"), (array > 150).astype(np.int64), kwargs)
    if extension == ".nii.gz":
        image = nib.load(written)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert np.array_equal(np.asanyarray(image.dataobj), voxels() > 50) and image.get_data_dtype() == np.uint8
    ((again, back, kind),) = opened(written)
    assert kind == "labels" and np.array_equal(again, array > 150)
    np.testing.assert_allclose(back["translate"], kwargs["translate"], atol=1e-4)


def test_a_layer_that_was_moved_has_a_grid_of_its_own(tmp_path: Path, said: list[str]) -> None:
    ((array, kwargs, _),) = opened(str(save_nifti(tmp_path / "t1.nii.gz", voxels() + 100, affine_of(np.eye(3)))))
    moved = {**kwargs, "translate": tuple(np.add(kwargs["translate"], (10, 0, 0)))}
    ((_, back, _),) = opened(write_image(str(tmp_path / "out.nii.gz"), array, moved)[0])
    np.testing.assert_allclose(back["translate"], moved["translate"])
    np.testing.assert_allclose(back["scale"], moved["scale"])


def test_layers_without_a_file(tmp_path: Path, said: list[str]) -> None:
    (flat,) = write_image(str(tmp_path / "flat.nii.gz"), voxels("float32", (8, 9)), {"scale": (0.5, 0.25)})
    ((array, kwargs, _),) = opened(flat)
    assert array.shape == (1, 8, 9) and kwargs["scale"] == (1.0, 0.5, 0.25)
    for call, reason in [
        (lambda: write_image(str(tmp_path / "x.nii"), np.zeros((4, 4, 3)), {"rgb": True}), "colours"),
        (lambda: write_image(str(tmp_path / "x.nii"), np.zeros((2,) * 5), {}), "5 axes"),
        (lambda: write_labels(str(tmp_path / "x.nii"), np.full((2, 2, 2), -1), {}), "go down to -1"),
    ]:
        with pytest.raises(VolumeError, match=reason):
            call()


def test_napari_itself_opens_and_saves(tmp_path: Path, make_napari_viewer: Callable[..., Any]) -> None:
    affine = affine_of(axis_directions()[9])
    image = save_nifti(tmp_path / "t1.nii.gz", voxels() + 100, affine)
    label = save_nifti(tmp_path / "seg.nii.gz", (voxels() > 50).astype("uint8"), affine)
    viewer = make_napari_viewer()
    viewer.open([str(image), str(label)], plugin="napari-ssl-seg")
    picture, labels = viewer.layers
    assert type(labels).__name__ == "Labels" and labels.data.dtype == np.uint8
    np.testing.assert_array_equal(picture.extent.world, labels.extent.world)
    assert [str(unit) for unit in picture.units] == ["millimeter"] * 3
    for layer, source in ((picture, image), (labels, label)):
        (saved,) = layer.save(str(tmp_path / f"out-{layer.name}.nii.gz"), plugin="napari-ssl-seg")
        np.testing.assert_allclose(nib.load(saved).affine, affine, atol=1e-5)
        assert np.array_equal(np.asanyarray(nib.load(saved).dataobj), np.asanyarray(nib.load(source).dataobj))
