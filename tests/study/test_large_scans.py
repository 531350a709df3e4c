"""Large scans in blocks on disk: what is read is what memory would give, and files that are damaged are made anew."""

from __future__ import annotations

import itertools
import os

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.methods.base import Needs
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext import sample_batch
from napari_ssl_seg.pretext.crop import Contrast
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.labelled import LabelledSampler
from napari_ssl_seg.volumes.block_array import BlockArray
from napari_ssl_seg.volumes.blocks import BlockFile, BlocksDamaged, overview_step, write_blocks

SHAPE = (40, 70, 33)
TINY = 1000
"""Bytes: every scan is a large one."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Orientations of which every axis is once the slowest, integers, floats with NaN, a scaled file, an NRRD."""
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("scans")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for number, codes in enumerate(("RAS", "LPS", "ASL", "PIR")):
        voxels = rng.integers(-1000, 1500, SHAPE).astype(np.float32 if number == 2 else np.int16)
        if number == 2:
            voxels[3, 4, 5], voxels[9, 9, 9] = np.nan, np.inf
        image = nib.Nifti1Image(voxels, np.diag([-1, 1, 2, 1]))
        image = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(codes)))
        if number == 3:
            image.header.set_slope_inter(0.5, -3)
        nib.save(image, folder / "images" / f"c{number}.nii.gz")
        label = (np.nan_to_num(np.asarray(image.dataobj)) > 300).astype(np.uint16) * 300
        nib.save(nib.Nifti1Image(label, image.affine), folder / "labels" / f"c{number}.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(rng.normal(0, 1, SHAPE)), folder / "images" / "c4.nrrd")
    return folder


@pytest.fixture(scope="module", params=["percentile", "zscore", "ct_lung", "none"])
def both(scans, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("both") / "study"
    images, labels = scans / "images", scans / "labels"
    whole = Study.create(folder, images=images, labels=labels, split=(100, 0, 0), normalisation=request.param)
    return whole, Study(folder, large_bytes=TINY)


def test_blocks_give_what_memory_gives(both):
    whole, large = both
    rounding = 1e-6 if whole.settings.normalisation == "zscore" else 0  # its moments are summed in another order
    for case in whole.cases():
        one, other = (study.patches_source(case.id, purpose="train") for study in both)
        assert isinstance(other.array, BlockArray) and other.array.held_bytes < 2**18
        assert other.array.shape == one.array.shape and other.array.dtype == np.float32
        assert np.allclose(np.asarray(other.array), one.array, rtol=0, atol=rounding)
        assert other.note == one.note and other.geometry == one.geometry
        mine, theirs = Contrast.of(other.array), Contrast.of(one.array)
        assert mine.floor == pytest.approx(theirs.floor, abs=rounding) and mine.deviation == pytest.approx(
            theirs.deviation
        )
        if case.label is not None:
            label = whole.label(case.id, purpose="train")
            assert np.array_equal(large.label_source(case.id, purpose="train"), label.array)
    assert not list((large.cache_folder / "scans").glob(".part-*"))


def test_batches_are_the_same_from_either(both):
    if both[0].settings.normalisation == "zscore":
        return
    cases = [case.id for case in both[0].cases(labelled=True)]
    for dims, patch in ((2, (32, 48)), (3, (16, 40, 48))):
        spec = NetworkSpec(dims=dims, in_channels=1, patch=patch)
        for step in range(3):
            drawn = [sample_batch(study, cases, spec, Needs(partner=True), 2, 7, step) for study in both]
            assert all(
                np.array_equal(getattr(drawn[0], part), getattr(drawn[1], part)) for part in ("image", "partner")
            )
        samplers = [
            LabelledSampler(study, cases, spec, [300], slices={}, foreground=0.5, batch_size=2, seed=1)
            for study in both
        ]
        one, other = (sampler.batch(3) for sampler in samplers)
        assert np.array_equal(one.image, other.image) and np.array_equal(one.label, other.label)


# -- the files --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    voxels = np.random.default_rng(1).integers(-5, 100, (2, 37, 70, 130)).astype(np.int16)
    path = tmp_path_factory.mktemp("blocks") / "some.blocks"
    with write_blocks(path, voxels.shape, voxels.dtype) as writer:
        for channel, first in itertools.product(range(2), range(0, 37, 5)):
            writer.put(channel, (first, 0, 0), voxels[channel, first : first + 5])
        writer.finish({"known": 1})
    return path, voxels


@given(st.data())
def test_any_part_is_read_as_from_an_array(stored, data):
    path, voxels = stored
    file = BlockFile(path)

    def part(length: int) -> range:
        low, high = sorted((data.draw(st.integers(0, length)), data.draw(st.integers(0, length))))
        return range(low, high, data.draw(st.integers(1, 40)))

    wanted = [part(length) for length in voxels.shape]
    assert np.array_equal(file.read(*wanted), voxels[np.ix_(*wanted)])
    step = overview_step(voxels.shape)
    assert np.array_equal(file.overview, voxels[:, ::step, ::step, ::step]) and file.facts == {"known": 1}


def test_a_file_that_is_not_whole_is_none(stored, tmp_path):
    path, voxels = stored
    content = path.read_bytes()
    for number, damaged in enumerate(
        (content[:-1], content[1:], content[: len(content) // 2], b"", content[:-40] + bytes(40))
    ):
        (tmp_path / f"{number}").write_bytes(damaged)
        with pytest.raises(BlocksDamaged):
            BlockFile(tmp_path / f"{number}")
    flipped = bytearray(content)
    flipped[1000] ^= 1
    (tmp_path / "flipped").write_bytes(flipped)
    file = BlockFile(tmp_path / "flipped")
    with pytest.raises(BlocksDamaged, match="block"):
        file.read(range(1), range(16), range(64), range(64))
    assert np.array_equal(file.read(range(1), range(16, 37), range(70), range(130)), voxels[:1, 16:])


def test_a_damaged_or_deleted_file_is_made_anew(scans, tmp_path):
    study = Study.create(tmp_path / "study", images=scans / "images" / "c0.nii.gz", split=(100, 0, 0))
    large = Study(tmp_path / "study", large_bytes=TINY)
    expected = study.patches_source("c0", purpose="train").array
    array = large.patches_source("c0", purpose="train").array
    (path,) = (large.cache_folder / "scans").iterdir()
    block = bytearray(path.read_bytes())
    block[100] ^= 4
    path.write_bytes(block)
    assert np.array_equal(array[:], expected)
    path.unlink()
    assert np.array_equal(array[0, 5], expected[0, 5])
    path.write_bytes(b"nothing")
    assert np.array_equal(
        Study(tmp_path / "study", large_bytes=TINY).patches_source("c0", purpose="train").array[:], expected
    )


def test_a_scan_that_was_written_to_is_another_one(scans, tmp_path):
    image = nib.load(scans / "images" / "c0.nii.gz")
    nib.save(image, tmp_path / "c0.nii.gz")
    Study.create(tmp_path / "study", images=tmp_path / "c0.nii.gz", split=(100, 0, 0), normalisation="none").close()
    large = Study(tmp_path / "study", large_bytes=TINY)
    before = large.patches_source("c0", purpose="train").array[:]
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), tmp_path / "c0.nii.gz")
    assert np.array_equal(large.patches_source("c0", purpose="train").array[:], before + 1)


def test_a_damaged_scan_leaves_nothing_behind(scans, tmp_path):
    content = (scans / "images" / "c0.nii.gz").read_bytes()
    (tmp_path / "c0.nii.gz").write_bytes(content)
    time = os.stat(tmp_path / "c0.nii.gz").st_mtime_ns
    Study.create(tmp_path / "study", images=tmp_path / "c0.nii.gz", split=(100, 0, 0)).close()
    (tmp_path / "c0.nii.gz").write_bytes(content[:-9] + bytes([content[-9] ^ 255]) + content[-8:])
    os.utime(tmp_path / "c0.nii.gz", ns=(time, time))  # nothing tells but the checksum at the end
    with pytest.raises(VolumeError, match=r"damaged|cut short"):
        Study(tmp_path / "study", large_bytes=TINY).patches_source("c0", purpose="train")
    assert not any((tmp_path / "study" / "cache" / "scans").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights are tested on POSIX")
def test_where_the_cache_cannot_be_written_the_scan_is_read_as_a_whole(scans, tmp_path):
    study = Study.create(tmp_path / "study", images=scans / "images" / "c0.nii.gz", split=(100, 0, 0))
    (tmp_path / "study" / "cache").mkdir()
    (tmp_path / "study" / "cache" / "scans").write_text("in the way")
    scan = Study(tmp_path / "study", large_bytes=TINY).patches_source("c0", purpose="train")
    assert isinstance(scan.array, np.ndarray) and "could not be written" in scan.note
    assert np.array_equal(scan.array, study.patches_source("c0", purpose="train").array)


def test_medium_scans_are_in_blocks_only_where_memory_is_short(scans, tmp_path, monkeypatch):
    from napari_ssl_seg.study import voxels

    monkeypatch.setattr(voxels, "MEDIUM_BYTES", TINY)
    Study.create(tmp_path / "study", images=scans / "images", split=(100, 0, 0)).close()
    ample = Study(tmp_path / "study", cache_bytes=2**24).patches_source("c0", purpose="train")
    short = Study(tmp_path / "study", cache_bytes=2**20).patches_source("c0", purpose="train")
    assert isinstance(ample.array, np.ndarray) and isinstance(short.array, BlockArray)


def test_memory_holds_a_patch_and_not_the_scan(tmp_path):
    """A scan of 96 MiB in float32, read and cut in a process of its own that may take far less."""
    import subprocess
    import sys

    rng = np.random.default_rng(0)
    voxels = np.repeat(rng.integers(-1000, 1000, (256, 256, 8)).astype(np.int16), 48, axis=2)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "ct.nii.gz")
    Study.create(tmp_path / "study", images=tmp_path / "ct.nii.gz", split=(100, 0, 0)).close()
    code = """
import sys
from pathlib import Path
import numpy as np
from napari_ssl_seg.study import Study
from napari_ssl_seg.volumes import read_volume
def peak():
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024
study = Study(sys.argv[1], large_bytes=2**25)
start = peak()
array = study.patches_source('ct', purpose='train').array
rng = np.random.default_rng(0)
for _ in range(50):
    z, y, x = rng.integers(0, 150, 3)
    array[:, z : z + 32, y : y + 32, x : x + 32]
print(peak() - start)
"""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("peak memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "study")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 150  # slabs of 32 MiB in the file's order, and the sample for the percentiles
