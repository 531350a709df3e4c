from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.anatomy.matching import Match, SameFieldMatcher
from napari_ssl_seg.methods import Needs, get_method
from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext import batch_at, sample_batch
from napari_ssl_seg.pretext.crop import crop
from napari_ssl_seg.pretext.matched import (
    MATCH_REDRAWS,
    find_partner,
    middle_of,
    possible_starts,
    start_around,
    zoomed_out,
)
from tests.methods.fakes import FakeStudy, blobs, small_spec, small_study

MATCHED = Needs(matched=True)
SPEC = NetworkSpec(dims=3, patch=(8, 16, 16))


@dataclass
class Strict:
    """Accepts points whose z is in ``good``; remembers what it was asked."""

    good: set[int]
    name: str = "strict"

    def __post_init__(self) -> None:
        self.asked: list[tuple[float, ...]] = []

    def match(self, case_id, point, other_id) -> Match:
        self.asked.append(tuple(point))
        accepted = point[0] in self.good
        return Match(tuple(float(p) for p in point), 0.6, 9.0, "embedding", accepted, "" if accepted else "too far")

    def fallback(self, case_id, point, other_id) -> Match:
        return Match((1.0, 2.0, 3.0), math.nan, math.nan, "affine", accepted=True)


def prepared(matcher) -> Prepared:
    return Prepared(get_method("simmim"), matcher=matcher)


def test_a_crop_lies_around_its_point():
    assert start_around((10, 20, 30), (16, 16, 16)) == (2, 12, 22)
    assert start_around((10, 20, 3), (16, 16, 16)) == (2, 12, -5)
    assert middle_of((2, 12, 22), (16, 16, 16)) == (10, 20, 30)
    array = np.arange(40**3, dtype=np.float32).reshape(1, 40, 40, 40)
    cut = crop(array, start_around((10, 20, 3), (16, 16, 16)), (16, 16, 16), fill=-1.0)
    assert (cut.image[..., :5] == -1).all() and (cut.image[..., 5:] >= 0).all()
    assert cut.image[0, 8, 8, 8] == array[0, 10, 20, 3]


@given(
    st.tuples(*[st.floats(-3, 90)] * 3),
    st.tuples(*[st.integers(1, 64)] * 3),
)
def test_the_nearest_voxel_is_in_the_middle(point, size):
    middle = middle_of(start_around(point, size), size)
    assert all(abs(at - wanted) <= 0.5 for at, wanted in zip(middle, point, strict=True))


def test_a_landmark_lies_at_the_same_place_of_both_crops():
    # The same scan in two sizes, the second with every voxel doubled: a third of one is a third of the other.
    shape = (20, 40, 36)
    small = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    large = small.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)
    study = FakeStudy({"small": small, "large": large})
    batch = sample_batch(study, ["small", "large"], SPEC, MATCHED, 6, 0, 0, prepared=prepared(SameFieldMatcher(study)))
    assert batch.case_ids != batch.partner_ids
    middle = tuple(side // 2 for side in SPEC.patch)
    for sample in range(6):
        here, there = batch.points[sample], batch.partner_points[sample]
        factor = 2 if batch.case_ids[sample] == "small" else 0.5
        assert all(abs(there[axis] - factor * here[axis]) <= 0.5 for axis in range(3))
        assert batch.image[sample, 0][middle] == study.scans[batch.case_ids[sample]][(0, *here)]
        assert batch.partner[sample, 0][middle] == study.scans[batch.partner_ids[sample]][(0, *there)]
        assert batch.matches[sample].how == "fraction" and batch.matches[sample].accepted
    assert batch.draws == (1,) * 6
    assert middle_of(batch.partner_origins[0], SPEC.patch) == batch.partner_points[0]


def test_patches_are_those_of_other_methods_where_every_match_is_accepted():
    study = small_study()
    ids = list(study.scans)
    plain = sample_batch(study, ids, SPEC, Needs(partner=True), 4, 3, 5)
    matched = sample_batch(study, ids, SPEC, MATCHED, 4, 3, 5, prepared=prepared(SameFieldMatcher(study)))
    random = sample_batch(study, ids, SPEC, MATCHED, 4, 3, 5)
    assert torch.equal(plain.image, matched.image) and plain.partner_ids == matched.partner_ids
    assert torch.equal(plain.image, random.image) and torch.equal(plain.partner, random.partner)
    assert random.matches == () and not torch.equal(matched.partner, random.partner)


def test_points_are_drawn_again_until_one_is_accepted():
    study = small_study(2)
    strict = Strict({9})
    batch = sample_batch(study, ["case0", "case1"], SPEC, MATCHED, 1, 0, 0, prepared=prepared(strict))
    again = sample_batch(study, ["case0", "case1"], SPEC, MATCHED, 1, 0, 0, prepared=prepared(Strict({9})))
    assert torch.equal(batch.image, again.image) and torch.equal(batch.partner, again.partner)
    assert batch.draws == (len(strict.asked),) and batch.points[0][0] == 9 and batch.matches[0].accepted
    assert all(point[0] != 9 for point in strict.asked[:-1])


def test_scans_that_share_no_anatomy_give_a_flagged_guess():
    study = small_study(2)
    strict = Strict(set())
    batch = sample_batch(study, ["case0", "case1"], SPEC, MATCHED, 1, 0, 0, prepared=prepared(strict))
    plain = sample_batch(study, ["case0", "case1"], SPEC, Needs(partner=True), 1, 0, 0)
    assert batch.draws == (MATCH_REDRAWS,) == (len(strict.asked),)
    match = batch.matches[0]
    assert (match.accepted, match.how, match.reason) == (False, "affine", "too far")
    assert torch.equal(batch.image, plain.image)  # the patch that was drawn first
    assert batch.partner_points == ((1, 2, 3),) and batch.partner_origins == ((-3, -6, -5),)
    floor = study.scans[batch.partner_ids[0]].min()
    assert (batch.partner[0, 0, :3] == floor).all() and torch.isfinite(batch.partner).all()


def test_a_patch_without_another_place_is_asked_for_once():
    assert possible_starts((20, 40, 36), (8, 16, 16)) == 13 * 25 * 21
    assert possible_starts((20, 40, 36), (32, 48, 48)) == 1
    study, strict = small_study(2), Strict(set())
    spec = NetworkSpec(dims=3, patch=(32, 48, 48))
    batch = sample_batch(study, ["case0", "case1"], spec, MATCHED, 1, 0, 0, prepared=prepared(strict))
    assert batch.draws == (1,) and not batch.matches[0].accepted
    assert batch.points == ((10, 20, 18),)


def test_one_scan_is_matched_to_itself():
    study = small_study(1)
    batch = sample_batch(study, ["case0"], SPEC, MATCHED, 2, 0, 0, prepared=prepared(Strict(set())))
    assert torch.equal(batch.image, batch.partner) and batch.points == batch.partner_points
    assert all(match.accepted and match.how == "same scan" and match.cycle_error == 0 for match in batch.matches)
    pair = find_partner(Strict(set()), "case0", "case0", (1, 2, 3), (8, 8, 8))
    assert pair.partner_start == (1, 2, 3) and pair.match.point == (5.0, 6.0, 7.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_inspector_shows_the_place_asked_for_and_where_it_lies(dims):
    study = FakeStudy({"a": blobs(0), "b": blobs(1, shape=(30, 40, 36))})
    spec = small_spec(dims)
    strict = Strict(set())
    batch = batch_at(study, "a", spec, MATCHED, slice_index=7, case_ids=["a", "b"], prepared=prepared(strict))
    assert len(strict.asked) == 1 and batch.draws == (1,) and not batch.matches[0].accepted
    batch = batch_at(
        study, "a", spec, MATCHED, slice_index=7, case_ids=["a", "b"], prepared=prepared(SameFieldMatcher(study))
    )
    plain = batch_at(study, "a", spec, Needs(), slice_index=7)
    assert torch.equal(batch.image, plain.image) and batch.partner_ids == ("b",)
    wanted = 1.5 * batch.points[0][0]
    assert abs(batch.partner_points[0][0] - wanted) <= 0.5
    for around, name, origin in zip(
        batch.surroundings, ("a", "b"), (batch.origins[0], batch.partner_origins[0]), strict=True
    ):
        assert around.image.shape == (1, 1, *spec.patch) and around.box.shape == (1, 1, 2 * dims)
        start, stop = around.box[0, 0, dims - 2 : dims], around.box[0, 0, 2 * dims - 2 :]
        # 40 x 36 voxels in 32 x 32: all is scaled by 0.8, the width's 28 lie in the middle.
        assert start[0] == pytest.approx(max(0.0, origin[1] * 0.8)) and stop[0] - start[0] <= 32 * 0.8 + 1e-4
        assert start[1] == pytest.approx(max(0.0, origin[2] * 0.8 + 2))
        assert around.image.min() >= study.scans[name].min()
    moved = replace(batch, surroundings=None).to("cpu")
    assert moved.points == batch.points and moved.matches == batch.matches
    assert torch.equal(batch.to("cpu").surroundings[1].image, batch.surroundings[1].image)


def test_surroundings_hold_the_whole_slice():
    array = np.zeros((1, 4, 64, 32), np.float32)
    array[:, 2, 40:44, 8:12] = 1.0
    picture, box = zoomed_out(array, (1, 36, 4), (2, 16, 16), fill=-1.0)
    assert picture.shape == (1, 2, 16, 16)
    assert (picture[..., :4] == -1).all() and (picture[..., 12:] == -1).all() and (picture[..., 4:12] >= 0).all()
    assert np.argwhere(picture[0] == 1).tolist() == [[1, 10, 6]]
    assert box.tolist() == [0, 9, 5, 2, 13, 9]
    # Slices outside the scan hold nothing.
    assert (zoomed_out(array, (-2, 0, 0), (2, 16, 16), fill=-1.0)[0] == -1).all()
