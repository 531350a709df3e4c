"""Masks made elsewhere: what is read, and what is refused before memory is taken."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import MaskFiles, read_label_map, read_records
from napari_ssl_seg.regions.rle import RleError, decode_mask
from napari_ssl_seg.volumes import Geometry, Volume, read_volume, write_volume


def runs(mask):
    """COCO's uncompressed counts, the slow way."""
    counts, value = [0], False
    for pixel in np.asarray(mask, bool).T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def record(mask, **more):
    return {"segmentation": {"size": list(np.shape(mask)), "counts": runs(mask)}, "area": int(np.sum(mask)), **more}


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# -- run lengths --------------------------------------------------------------------------------------------------
SMALL = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_counts_run_down_the_columns():
    np.testing.assert_array_equal(decode_mask({"size": [3, 4], "counts": [4, 1, 2, 1, 3, 1]}, (3, 4)), SMALL)
    assert not decode_mask({"size": [2, 3], "counts": [6]}, (2, 3)).any()
    assert decode_mask({"size": [2, 3], "counts": [0, 6]}, (2, 3)).all()


def test_strings_of_the_reference_implementation():
    """Strings that pycocotools made of these masks."""
    np.testing.assert_array_equal(decode_mask({"size": [3, 4], "counts": "412010"}, (3, 4)), SMALL)
    rows, columns = np.mgrid[:40, :50]
    disc = (rows - 18) ** 2 + (columns - 22) ** 2 < 150
    text = "P=5P16K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5J[b0"
    np.testing.assert_array_equal(decode_mask({"size": [40, 50], "counts": text}, (40, 50)), disc)
    assert not decode_mask({"size": [5, 6], "counts": "n0"}, (5, 6)).any()
    assert decode_mask({"size": [5, 6], "counts": "0n0"}, (5, 6)).all()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_what_was_encoded_comes_back(mask):
    np.testing.assert_array_equal(decode_mask({"size": list(mask.shape), "counts": runs(mask)}, mask.shape), mask)


@given(st.text(max_size=30) | st.lists(st.integers(-5, 40) | st.floats(), max_size=9))
def test_any_counts_are_decoded_or_refused(counts):
    try:
        assert decode_mask({"size": [4, 5], "counts": counts}, (4, 5)).shape == (4, 5)
    except RleError:
        pass


# -- records ------------------------------------------------------------------------------------------------------
def test_records_keep_their_order(tmp_path):
    masks = np.random.default_rng(0).random((5, 7, 9)) > 0.5
    path = save(tmp_path / "a.json", [record(mask, predicted_iou=0.9, bbox=[0, 0, 1, 1]) for mask in masks])
    np.testing.assert_array_equal(read_records(path), masks)
    np.testing.assert_array_equal(read_records(path, (7, 9)), masks)
    wrapped = save(tmp_path / "b.json", {"image": {}, "annotations": [record(mask) for mask in masks]})
    np.testing.assert_array_equal(read_records(wrapped), masks)
    plain = save(tmp_path / "c.json", [record(mask)["segmentation"] for mask in masks])
    np.testing.assert_array_equal(read_records(plain), masks)


def test_an_empty_list_is_a_slice_without_masks(tmp_path):
    assert read_records(save(tmp_path / "a.json", []), (7, 9)).shape == (0, 7, 9)


GOOD = {"size": [2, 3], "counts": [6]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"segmentation": GOOD}, {"segmentation": {"size": [3, 2], "counts": [6]}}], r"mask 1 of .*a\.json is 3 x 2"),
        ([{"segmentation": {"size": [2, 3], "counts": [5]}}], r"mask 0 of .* add up to 5, not to 2 x 3 = 6"),
        ([{"segmentation": {"size": [2, 3], "counts": [-1, 7]}}], "whole numbers from 0 to 6"),
        ([{"segmentation": {"size": [2, 3], "counts": [6.0]}}], "whole numbers"),
        ([{"segmentation": {"size": [2, 3], "counts": [True, 5]}}], "whole numbers"),
        ([{"segmentation": {"size": [2, 3], "counts": {"0": 6}}}], "whole numbers"),
        ([{"segmentation": {"size": [2, 3]}}], "whole numbers"),
        ([{"segmentation": {"size": [2, 3], "counts": "6 "}}], "holds the character ' '"),
        ([{"segmentation": {"size": [2, 3], "counts": "P"}}], "breaks off"),
        ([{"segmentation": {"size": [2, 3], "counts": "o" * 99}}], "far too large"),
        ([GOOD, {"segmentation": [[1, 2, 3]]}], "mask 1 of .* size None"),
        ([GOOD, 5], "mask 1 of"),
        ([{"segmentation": {"size": [2, "3"], "counts": [6]}}], "size"),
        ([{"segmentation": {"size": [0, 3], "counts": []}}], "size"),
        ([{"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}], "size"),
        ({"masks": []}, "no list of masks"),
        ("text", "no list of masks"),
    ],
)
def test_damaged_records_are_refused_by_file_and_entry(tmp_path, content, words):
    path = save(tmp_path / "a.json", content)
    with pytest.raises(UserError, match=words) as caught:
        read_records(path, None if "size" in words and "x" not in words else (2, 3))
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_claim_of_much_memory_is_refused_before_it_is_taken(tmp_path):
    huge = {"segmentation": {"size": [60_000, 60_000], "counts": [60_000 * 60_000]}}
    path = save(tmp_path / "a.json", [huge] * 2000)
    with pytest.raises(UserError, match=r"a\.json claims 7\.2 TB"):
        read_records(path)
    with pytest.raises(UserError, match="claims"):
        read_records(save(tmp_path / "b.json", [GOOD] * 10), memory_limit=50)


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(UserError, match=r"a\.json"):
        read_records(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"b\.json"):
        read_records(tmp_path / "b.json")


# -- label maps ---------------------------------------------------------------------------------------------------
@pytest.fixture
def geometry():
    return Geometry.from_spacing((3, 5, 6), (2.0, 1.0, 1.0))


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, (3, 5, 6)).astype(np.uint8)


def test_a_label_map_on_the_scans_grid_is_read(tmp_path, geometry, labels):
    path = write_volume(tmp_path / "a.nii.gz", Volume(labels, geometry, "zyx"))
    np.testing.assert_array_equal(read_label_map(path, geometry), labels)
    np.testing.assert_array_equal(read_label_map(path), labels)


def test_another_grid_is_refused_with_both(tmp_path, geometry, labels):
    other = Geometry.from_spacing((3, 5, 6), (2.0, 1.0, 1.5))
    path = write_volume(tmp_path / "a.nii.gz", Volume(labels, other, "zyx"))
    with pytest.raises(UserError, match=r"a\.nii\.gz does not lie on the grid .*1x1x2 mm.*1\.5x1x2 mm"):
        read_label_map(path, geometry)


def test_what_is_no_label_map_is_refused(tmp_path, geometry, labels):
    halves = write_volume(tmp_path / "a.nii.gz", Volume(labels + np.float32(0.5), geometry, "zyx"))
    with pytest.raises(UserError, match="whole numbers"):
        read_label_map(halves, geometry)
    two = Volume(np.stack([labels, labels]), geometry, "czyx")
    with pytest.raises(UserError, match="2 channels"):
        read_label_map(write_volume(tmp_path / "b.nii.gz", two), geometry)
    with pytest.raises(UserError, match="one volume may take"):
        read_label_map(write_volume(tmp_path / "c.nii.gz", Volume(labels, geometry, "zyx")), memory_limit=10)


# -- a folder of them ---------------------------------------------------------------------------------------------
def test_slices_come_from_label_maps_and_records(tmp_path, geometry, labels):
    write_volume(tmp_path / "one.nii.gz", Volume(labels, geometry, "zyx"))
    large, small = np.zeros((2, 5, 6), bool)
    large[:3] = True
    small[1:3, 1:3] = True
    save(tmp_path / "two" / "0001.json", [record(small), record(large)])
    save(tmp_path / "two" / "2.json", [])
    save(tmp_path / "three_0000.json", [record(small)])
    source = MaskFiles(tmp_path, geometry_of=lambda case_id: geometry)
    image = np.zeros((5, 6), np.float32)
    places = [("one", 2), ("two", 1), ("two", 2), ("three", 0), ("one", 0)]
    results = source.segment([image] * 5, places=places)
    assert all(result.dtype == np.int32 and result.shape == (5, 6) for result in results)
    for result, index in ((results[0], 2), (results[4], 0)):
        np.testing.assert_array_equal(result > 0, labels[index] > 0)
        assert (np.diff(np.bincount(result.ravel())[1:]) <= 0).all()
    np.testing.assert_array_equal(results[1], np.where(small, 2, large))
    assert not results[2].any()
    np.testing.assert_array_equal(results[3], small)


def test_what_is_missing_or_does_not_fit_is_named(tmp_path, geometry, labels):
    write_volume(tmp_path / "one.nii.gz", Volume(labels, geometry, "zyx"))
    source = MaskFiles(tmp_path)
    image = np.zeros((5, 6), np.float32)
    with pytest.raises(UserError, match=r"no masks for slice 4 of two; put two\.nii\.gz there, or two/0004\.json"):
        source.segment([image], places=[("two", 4)])
    with pytest.raises(UserError, match="have 3 slices, but not 3"):
        source.segment([image], places=[("one", 3)])
    with pytest.raises(UserError, match="5 x 6 pixels a slice, but the scan is 6 x 5"):
        source.segment([image.T], places=[("one", 0)])
    with pytest.raises(UserError, match="named for each slice"):
        source.segment([image])
    with pytest.raises(UserError, match="leads out of"):
        source.segment([image], places=[("../one", 0)])
    with pytest.raises(UserError, match="is no folder"):
        MaskFiles(tmp_path / "nowhere")
    moved = Geometry.from_spacing((3, 5, 6), (2.0, 1.0, 1.0), origin=(9.0, 0.0, 0.0))
    with pytest.raises(UserError, match="does not lie on the grid"):
        MaskFiles(tmp_path, geometry_of=lambda case_id: moved).segment([image], places=[("one", 0)])


def test_a_real_segmentation_is_a_source_of_regions(real_data, tmp_path):
    scan = sorted((real_data / "hippocampus" / "images").glob("*.nii.gz"))[0]
    label = real_data / "hippocampus" / "labels" / scan.name
    (tmp_path / scan.name).write_bytes(label.read_bytes())
    volume = read_volume(scan)
    source = MaskFiles(tmp_path, geometry_of=lambda case_id: volume.geometry)
    index = volume.array.shape[0] // 2
    regions = source.segment([volume.array[index]], places=[(scan.name.removesuffix(".nii.gz"), index)])[0]
    reference = read_volume(label, role="label").array[index]
    np.testing.assert_array_equal(regions > 0, reference > 0)
    assert len(np.unique(regions)) == len(np.unique(reference))
