"""Ladders: every level holds whole regions of the next, steps never jump sideways, and each source gives what it says."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.annotation import RegionLadder, build_ladder
from napari_ssl_seg.annotation.clusters import nested_clusters
from napari_ssl_seg.annotation.hierarchy import connected_parts, nested_levels
from napari_ssl_seg.annotation.ladder_sources import watershed_regions
from napari_ssl_seg.annotation.region_ladder import ladder_of
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import RegionSettings
from napari_ssl_seg.regions.prepare import case_files
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain

QUADRANTS = np.repeat(np.repeat([[1, 2], [3, 4]], 4, axis=0), 4, axis=1)
HALVES = np.where(QUADRANTS > 2, 2, 1)


@pytest.fixture
def ladder():
    coarse = np.ones((8, 8), np.uint16)
    coarse[0, 0] = 0
    halves, quadrants = HALVES * (coarse > 0), QUADRANTS * (coarse > 0)
    fine = np.where((quadrants == 4) & (np.arange(8) >= 6), 5, quadrants)
    return RegionLadder(tuple(level.astype(np.uint16) for level in (coarse, halves, quadrants, fine)), "by hand")


def assert_nested(levels):
    """Coarse to fine: each region of a level lies in one of the level before."""
    for coarse, fine in pairwise(levels):
        np.testing.assert_array_equal(coarse > 0, fine > 0)
        pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()], axis=1), axis=0)
        assert len(np.unique(pairs[:, 0])) == len(pairs)
        assert coarse.max() < fine.max()


# -- at, finer, coarser -----------------------------------------------------------------------------------------------
def test_the_region_at_a_point(ladder):
    region = ladder.at(6, 1, 2)
    assert (region.start, region.mask.shape, region.level, region.voxels) == ((4, 0), (4, 4), 2, 16)
    assert region.mask.dtype == bool and region.mask.all()
    assert ladder.at(0.4, 1.4, 2).voxels == 15  # quadrant 1 without its corner; to the nearest pixel
    assert not ladder.at(1, 1, 2).mask[0, 0]
    assert ladder.counts == (1, 2, 4, 5)


def test_no_region_there(ladder):
    for place in ((0, 0), (-1, 3), (3, 8), (8, 3)):
        assert ladder.at(*place, 1) is None
        assert ladder.finer(1, *place) == 1 and ladder.coarser(1, *place) == 1


def test_steps_skip_levels_at_which_nothing_changes(ladder):
    assert ladder.finer(0, 7, 7) == 1 and ladder.finer(1, 7, 7) == 2 and ladder.finer(2, 7, 7) == 3
    assert ladder.finer(3, 7, 7) == 3
    assert ladder.finer(2, 7, 1) == 2  # its region is on the finest level as it is here
    assert ladder.coarser(3, 7, 1) == 1  # and level 2 is skipped back
    assert ladder.coarser(1, 7, 1) == 0 and ladder.coarser(0, 7, 1) == 0


def test_levels_out_of_bounds_are_the_last_ones(ladder):
    assert ladder.at(7, 7, 99).voxels == ladder.at(7, 7, 3).voxels
    assert ladder.at(7, 7, -5).voxels == 63
    assert ladder.coarser(99, 7, 7) == 2


# -- merging ----------------------------------------------------------------------------------------------------------
def test_the_most_alike_merge_first():
    image = np.array([[0.1, 0.12, 0.9, 0.8]], np.float32).repeat(4, axis=0)
    labels = np.arange(1, 5)[None].repeat(4, axis=0)
    levels = nested_levels(image, labels, [4, 3, 2, 1])
    assert [len(np.unique(level)) for level in levels] == [4, 3, 2, 1]
    assert len(np.unique(levels[1][0, :2])) == 1 and len(np.unique(levels[1][0, 2:])) == 2
    assert len(np.unique(levels[2][0, 2:])) == 1


def test_groups_become_whole_before_they_merge_with_others():
    """Alike across the border, unlike inside: without groups it is the other way round."""
    image = np.array([[0.0, 0.5, 0.52, 1.0]]).repeat(3, axis=0)
    labels, groups = np.arange(1, 5)[None].repeat(3, axis=0), np.array([[1, 1, 2, 2]]).repeat(3, axis=0)
    np.testing.assert_array_equal(nested_levels(image, labels, [2], groups=groups)[0] == 1, groups == 1)
    assert len(np.unique(nested_levels(image, labels, [3])[0][0, 1:3])) == 1
    assert nested_levels(image, labels, [1], groups=groups)[0].max() == 1


def test_ward_against_scipy():
    """On a row of pixels in which the alike are neighbours, the clusters are those of scipy's Ward linkage."""
    from scipy.cluster.hierarchy import cut_tree, ward

    values = np.sort(np.random.default_rng(4).uniform(size=40))
    levels = nested_levels(values[None], np.arange(1, 41)[None], [20, 10, 5, 2])
    tree = ward(values[:, None])
    for level, count in zip(levels, (20, 10, 5, 2), strict=True):
        expected = cut_tree(tree, count).ravel()
        np.testing.assert_array_equal(np.diff(level[0]) != 0, np.diff(expected) != 0)


@settings(max_examples=60, deadline=None)
@given(
    image=hnp.arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=32)),
    cells=hnp.arrays(np.uint8, (9, 11), elements=st.integers(0, 6)),
    grouped=st.booleans(),
    levels=st.integers(1, 5),
)
def test_levels_are_nested_whatever_the_regions(image, cells, grouped, levels):
    labels = connected_parts(cells)
    groups = connected_parts(np.where(cells > 0, 1 + cells % 2, 0)) if grouped else None
    if groups is not None:
        labels = connected_parts(np.where(cells > 0, cells, 0))
    made = ladder_of(image, labels, levels=levels, groups=groups)
    assert 1 <= len(made.levels) <= levels
    assert_nested(made.levels)
    np.testing.assert_array_equal(made.levels[0] > 0, labels > 0)
    for y, x in ((0, 0), (4, 5), (8, 10)):
        seen = [made.at(y, x, len(made.levels) - 1)]
        level = len(made.levels) - 1
        while seen[-1] is not None and (up := made.coarser(level, y, x)) != level:
            assert made.finer(up, y, x) > up
            level = up
            seen.append(made.at(y, x, level))
            assert seen[-1].voxels > seen[-2].voxels


# -- sources ----------------------------------------------------------------------------------------------------------
def blobs(seed, shape=(6, 40, 48)):
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=shape), (1, 4, 4)) * 40
    image = np.where(smooth > 1, 300, np.where(smooth > -1, 180, 120)) + random.normal(0, 4, shape)
    image[:, :4], image[:, -4:] = 0, 0
    return image


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    (folder / "images").mkdir()
    for number in range(3):
        array = blobs(number).astype(np.int16).transpose(2, 1, 0)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 3, 1])), folder / "images" / f"scan_{number}.nii.gz")
    return Study.create(folder / "study", images=folder / "images", split=(100, 0, 0))


@pytest.mark.parametrize("source", ["watershed", "felzenszwalb", "slic", "auto"])
def test_superpixels_of_a_slice(study, source):
    made = build_ladder(study, "scan_0", 2, source=source)
    assert_nested(made.levels)
    assert 3 <= len(made.levels) <= 4 and made.counts[-1] > 20 * made.counts[0] > 0
    assert made.levels[0].dtype == np.uint16 and made.levels[0].shape == (40, 48)
    assert (made.levels[0][0] == 0).all()  # air
    assert build_ladder(study, "scan_0", 2, source=source) is made
    assert build_ladder(study, "scan_0", 3, source=source) is not made
    assert "merged" in made.title


def test_regions_end_on_edges(study):
    """The best union of whole regions of every level but the coarsest covers a structure well."""
    image = np.full((60, 60), 0.2, np.float32)
    structure = (np.arange(60)[:, None] - 30) ** 2 + (np.arange(60)[None] - 25) ** 2 < 15**2
    image[structure] = 0.6
    image += np.random.default_rng(0).normal(0, 0.02, image.shape).astype(np.float32)
    made = ladder_of(image, watershed_regions(image, body=np.ones(image.shape, bool)))
    for level in made.levels:
        inside = np.bincount(level[structure], minlength=int(level.max()) + 1)
        chosen = 2 * inside > np.bincount(level.ravel())
        assert 2 * (chosen[level] & structure).sum() / (chosen[level].sum() + structure.sum()) > 0.97


def test_an_empty_slice_has_no_region():
    made = ladder_of(np.zeros((8, 8)), np.zeros((8, 8), int))
    assert made.counts == (0,) and made.at(3, 3, 0) is None


def test_submasks_of_the_prepared_store_are_one_of_the_levels(study, tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"any")
    chosen = RegionSettings(source="sam", checkpoint=str(weights))
    with pytest.raises(UserError, match="prepare the regions first"):
        build_ladder(study, "scan_1", 1, source="sam", settings=chosen)
    assert "merged" in build_ladder(study, "scan_1", 1, settings=chosen).title
    masks = np.zeros((40, 48), np.int32)
    masks[10:30, 5:25], masks[14:20, 8:16], masks[12:30, 30:44] = 1, 3, 2
    case_files(study, chosen, ["scan_1"])["scan_1"].write(1, masks)
    made = build_ladder(study, "scan_1", 1, settings=chosen)
    assert made.title == "Sub-masks of Segment Anything vit_b" and made.counts[1] == 4  # and what they leave out
    assert_nested(made.levels)
    for number, place in ((1, (28, 6)), (3, (15, 10)), (2, (20, 40))):
        region = made.at(*place, 1)
        assert region.voxels == (masks == number).sum()
    assert made.at(15, 10, made.coarser(1, 15, 10)).voxels > 48 > made.at(15, 10, made.finer(1, 15, 10)).voxels


@pytest.fixture(scope="module")
def run(study):
    from napari_ssl_seg.training import pretrain

    return drain(pretrain(study, "volume_fusion", iterations=1, batch_size=1, dims=2))


@pytest.fixture(scope="module")
def run_3d(study):
    from napari_ssl_seg.training import pretrain

    return drain(pretrain(study, "volume_fusion", iterations=1, batch_size=1, dims=3))


@pytest.mark.parametrize("which", ["run", "run_3d"])
def test_clusters_of_a_runs_features(study, which, request):
    run = request.getfixturevalue(which)
    made = build_ladder(study, "scan_2", 3, source="embedding", run=run.id)
    assert_nested(made.levels)
    assert run.id in made.title and made.levels[0].shape == (40, 48) and (made.levels[0] > 0).all()
    assert np.bincount(made.levels[-1].ravel())[1:].min() >= 4
    again = build_ladder(study, "scan_2", 3, source="embedding", run=run)
    assert again is made


@pytest.mark.parametrize("levels", [1, 4, 6])
def test_clusters_are_nested_and_without_specks(levels):
    features = np.stack([blobs(seed, (1, 50, 60))[0] for seed in range(5)])
    made = nested_clusters(features, levels)
    assert len(made) == levels
    kept = [level for place, level in enumerate(made) if place == 0 or level.max() > made[place - 1].max()]
    assert_nested(kept)
    for step, level in enumerate(reversed(made)):
        assert np.bincount(level.ravel())[1:].min() >= min(4 * 3**step, level.size // 2)
        np.testing.assert_array_equal(connected_parts(level).max(), level.max())
    if levels > 1:
        assert made[-1].max() > 3 * made[0].max()


def test_a_cluster_for_each_of_few_kinds_of_pixels():
    plane = np.zeros((30, 30))
    plane[:15, :15], plane[15:, 15:] = 1, 2
    made = nested_clusters(np.stack([plane, -plane]), 3)
    for level in made:
        assert level.max() == 4  # the parts of 0 do not touch
        assert len(np.unique(level[:15, :15])) == 1


def test_windows_of_a_network_of_one_size_cover_the_slice():
    from napari_ssl_seg.annotation.features import _places

    for length, side in ((40, 64), (64, 64), (65, 64), (200, 64), (512, 96)):
        places = _places(length, side)
        covered = np.concatenate([np.arange(own.start, own.stop) for _, own in places])
        np.testing.assert_array_equal(covered, np.arange(length))
        assert all(start <= own.start and own.stop <= start + side for start, own in places)


def test_what_cannot_be_built(study):
    with pytest.raises(UserError, match="need a run"):
        build_ladder(study, "scan_0", 0, source="embedding")
    with pytest.raises(UserError, match="slices 0 to 5, not 6"):
        build_ladder(study, "scan_0", 6)
    with pytest.raises(UserError, match="not from 'best'"):
        build_ladder(study, "scan_0", 0, source="best")
    with pytest.raises(UserError, match="at least one level"):
        build_ladder(study, "scan_0", 0, levels=0)


def test_neighbours_are_built_ahead_in_threads(study):
    made: dict = {}
    threads = [
        threading.Thread(target=lambda z=z: made.setdefault(z, build_ladder(study, "scan_1", z, source="slic")))
        for z in (2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for z in (2, 3, 4):
        assert build_ladder(study, "scan_1", z, source="slic") is made[z]


def test_a_slice_of_512_by_512_takes_no_longer_than_the_eye_notices():
    image = np.kron(blobs(5, (1, 64, 64))[0] / 320, np.ones((8, 8)))
    image = (image + np.random.default_rng(1).normal(0, 0.01, image.shape)).clip(0, 1).astype(np.float32)
    took = []
    for _ in range(3):
        start = time.thread_time()
        made = ladder_of(image, watershed_regions(image))
        took.append(time.thread_time() - start)
    assert len(made.levels) == 4
    assert min(took) < 1.5  # the goal is 0.3 s (benchmarks/region_clicks.py); the machines of tests are busy
