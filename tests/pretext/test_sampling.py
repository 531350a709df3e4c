from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.methods import Needs, get_method
from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext import batch_at, generator_for, sample_batch
from napari_ssl_seg.pretext.crop import OUTSIDE, WholeMap
from tests.methods.fakes import FakeStudy, blobs, small_spec, small_study

PAIR = Needs(partner=True)


def indexed_scan(shape: tuple[int, int, int]) -> np.ndarray:
    """Each voxel holds its own flat index, so that a patch tells where it came from."""
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(1, *shape)


def same(first, second) -> bool:
    tensors = zip((first.image, first.partner), (second.image, second.partner), strict=True)
    return (first.case_ids, first.origins, first.partner_ids) == (
        second.case_ids,
        second.origins,
        second.partner_ids,
    ) and all(torch.equal(one, other) for one, other in tensors)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_is_a_function_of_seed_and_step(dims):
    study, spec = small_study(), small_spec(dims)
    ids = list(study.scans)
    batches = [sample_batch(study, ids, spec, PAIR, 3, 7, step) for step in range(3)]
    alone = sample_batch(small_study(), ids, spec, PAIR, 3, 7, 2)
    assert same(batches[2], alone)
    assert not same(batches[1], alone)
    assert not same(sample_batch(study, ids, spec, PAIR, 3, 8, 2), alone)
    assert alone.image.shape == (3, 1, *spec.patch)
    assert alone.image.dtype == torch.float32
    assert study.purposes == {"train"}


def test_each_case_is_seen_once_an_epoch():
    study, spec = small_study(5), small_spec(2)
    ids = list(study.scans)
    seen = [case for step in range(10) for case in sample_batch(study, ids, spec, Needs(), 3, 0, step).case_ids]
    for epoch in range(6):
        assert sorted(seen[5 * epoch : 5 * epoch + 5]) == ids
    assert len({tuple(seen[5 * epoch : 5 * epoch + 5]) for epoch in range(6)}) > 1


def test_partners_are_other_cases_each_as_often():
    study, spec = small_study(4), small_spec(2)
    ids = list(study.scans)
    pairs = Counter()
    for step in range(60):
        batch = sample_batch(study, ids, spec, PAIR, 8, 0, step)
        pairs.update(zip(batch.case_ids, batch.partner_ids, strict=True))
    assert all(case != partner for case, partner in pairs)
    assert len(pairs) == 12
    assert min(pairs.values()) > 20


def test_a_single_scan_is_its_own_partner_at_another_place():
    study, spec = small_study(1, shape=(20, 60, 60)), small_spec(2)
    batch = sample_batch(study, ["case0"], spec, PAIR, 4, 0, 0)
    assert batch.partner_ids == ("case0",) * 4
    assert not torch.equal(batch.image, batch.partner)


@settings(deadline=None, max_examples=50)
@given(
    shape=st.tuples(*[st.integers(3, 30)] * 3),
    dims=st.sampled_from([2, 3]),
    patch=st.tuples(*[st.sampled_from([8, 16, 24])] * 3),
    seed=st.integers(0, 1000),
)
def test_patches_come_from_where_they_say(shape, dims, patch, seed):
    scan = indexed_scan(shape)
    spec = NetworkSpec(dims=dims, patch=patch[-dims:])
    batch = sample_batch(FakeStudy({"a": scan}), ["a"], spec, Needs(), 2, seed, 0)
    for image, origin in zip(batch.image, batch.origins, strict=True):
        size = (1, *spec.patch) if dims == 2 else spec.patch
        expected = np.full(size, scan.min(), dtype=np.float32)
        for index in np.ndindex(*size):
            at = tuple(start + step for start, step in zip(origin, index, strict=True))
            if all(0 <= place < length for place, length in zip(at, shape, strict=True)):
                expected[index] = scan[(0, *at)]
        np.testing.assert_array_equal(image[0].numpy().reshape(size), expected)
        # A patch reaches outside only along axes along which the scan is shorter.
        for start, side, length in zip(origin, size, shape, strict=True):
            assert side > length or 0 <= start <= length - side


def test_slices_of_air_are_avoided():
    scan = np.full((1, 40, 32, 32), -1, dtype=np.float32)
    scan[:, 20:] = blobs(0, (20, 32, 32))
    batch = [sample_batch(FakeStudy({"a": scan}), ["a"], small_spec(2), Needs(), 8, 0, step) for step in range(10)]
    depths = [origin[0] for one in batch for origin in one.origins]
    assert sum(depth < 20 for depth in depths) <= 2  # half of the slices are air; each of 8 draws misses with 1/2
    assert len(set(depths)) > 10


def test_a_scan_of_one_value_does_not_hang():
    scan = np.full((1, 8, 32, 32), -1, dtype=np.float32)
    assert (sample_batch(FakeStudy({"a": scan}), ["a"], small_spec(2), Needs(), 1, 0, 0).image == -1).all()


def test_flips_are_off_unless_asked_for():
    study = FakeStudy({"a": indexed_scan((8, 32, 32))})
    spec = NetworkSpec(dims=2, patch=(32, 32))
    plain = [sample_batch(study, ["a"], spec, Needs(), 4, 0, step).image for step in range(5)]
    flipped = [sample_batch(study, ["a"], spec, Needs(), 4, 0, step, flip_axes=(2,)).image for step in range(5)]
    rows = torch.cat(plain)[:, 0, 0], torch.cat(flipped)[:, 0, 0]
    assert (rows[0].diff(dim=1) > 0).all()
    share = (rows[1].diff(dim=1) < 0).all(dim=1).float().mean()
    assert 0.1 < share < 0.9


def test_regions_are_cut_with_the_image():
    scan = indexed_scan((8, 20, 20))
    regions = scan[0].astype(np.int32)
    prepared = Prepared(get_method("simmim"), regions_of=lambda _: WholeMap(regions))
    study, spec, needs = FakeStudy({"a": scan, "b": scan}), small_spec(2), Needs(regions=True)
    batch = sample_batch(study, ["a"], spec, needs, 3, 0, 0, prepared=prepared)
    inside = batch.regions >= 0
    assert torch.equal(batch.image[:, 0][inside], batch.regions[inside].float())
    assert inside.sum() == 3 * 400  # the slice is 20 x 20 in a patch of 32 x 32
    assert (batch.regions[~inside] == OUTSIDE).all()
    assert batch.submasks is None
    with pytest.raises(StudyError, match="regions"):
        sample_batch(FakeStudy({"a": scan}), ["a"], small_spec(2), Needs(regions=True), 3, 0, 0)


def test_only_the_slices_of_the_patch_are_read_from_a_region_map():
    asked = []

    class Watched(WholeMap):
        def cut(self, start, stop):
            asked.append((start, stop))
            return super().cut(start, stop)

    scan = indexed_scan((8, 20, 20))
    prepared = Prepared(get_method("simmim"), regions_of=lambda _: Watched(scan[0].astype(np.int32)))
    batch_at(FakeStudy({"a": scan}), "a", small_spec(2), Needs(regions=True), slice_index=5, prepared=prepared)
    assert asked == [(5, 6)]


def test_companions_stand_beside_the_shown_patch_and_come_from_other_cases():
    study, spec = small_study(4), small_spec(2)
    ids = list(study.scans)
    regions = {ids[0]: WholeMap(np.ones(study.scans[ids[0]].shape[1:], np.int32))}
    prepared = Prepared(get_method("simmim"), regions_of=regions.get)
    needs = Needs(regions=True, companions=3)
    batch = batch_at(study, ids[0], spec, needs, seed=1, case_ids=ids, prepared=prepared)
    assert batch.image.shape[0] == 4
    assert batch.case_ids[0] == ids[0] and ids[0] not in batch.case_ids[1:]
    assert (batch.regions[0] >= OUTSIDE).all() and (batch.regions[1:] == OUTSIDE).all()
    alone = batch_at(study, ids[0], spec, Needs(regions=True), seed=1, case_ids=ids, prepared=prepared)
    assert torch.equal(alone.image[0], batch.image[0])


def test_what_cannot_be_drawn_is_said():
    study, spec = small_study(2), small_spec(2)
    with pytest.raises(StudyError, match="no scan"):
        sample_batch(study, [], spec, Needs(), 1, 0, 0)
    with pytest.raises(StudyError, match="case0 has 1 channels but the network takes 2"):
        sample_batch(study, ["case0"], small_spec(2, channels=2), Needs(), 1, 0, 0)
    broken = blobs(0)
    broken[:] = np.nan
    with pytest.raises(StudyError, match="case9 holds values that are not finite"):
        sample_batch(FakeStudy({"case9": broken}), ["case9"], spec, Needs(), 1, 0, 0)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_inspector_sees_the_slice_that_it_asks_for(dims):
    scan = indexed_scan((30, 40, 36))
    study = FakeStudy({"a": scan, "b": blobs(1)})
    batch = batch_at(study, "a", small_spec(dims), PAIR, slice_index=25, seed=1, case_ids=["a", "b"])
    z, y, x = batch.origins[0]
    image = batch.image[0, 0] if dims == 2 else batch.image[0, 0, 25 - z]
    assert torch.equal(image, torch.from_numpy(scan[0, 25, y : y + 32, x : x + 32]))
    assert (y, x) == (4, 2)
    assert batch.partner_ids == ("b",)
    assert study.purposes == {"show"}
    assert dims == 2 or z == 14  # 30 - 16: the patch stays inside the scan


def test_the_inspector_refuses_a_slice_outside():
    with pytest.raises(StudyError, match="slices 0 to 19"):
        batch_at(small_study(1), "case0", small_spec(2), Needs(), slice_index=20)


def test_generators_repeat_and_differ():
    draws = {torch.rand(4, generator=generator_for(seed, step)) for seed, step in [(0, 0), (0, 1), (1, 0)]}
    assert len({tuple(draw.tolist()) for draw in draws}) == 3
    assert torch.equal(torch.rand(4, generator=generator_for(3, 9)), torch.rand(4, generator=generator_for(3, 9)))
