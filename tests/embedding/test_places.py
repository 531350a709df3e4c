"""Which slices and patches are embedded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_ssl_seg.embedding import choose_places
from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.networks import NetworkSpec


def case(name="a", shape=(6, 20, 30)):
    return SimpleNamespace(id=name, split="train", shape=shape)


FLAT = NetworkSpec(name="unet", dims=2, in_channels=1, preset="small", patch=(16, 16))
DEEP = NetworkSpec(name="unet", dims=3, in_channels=1, preset="small", patch=(4, 16, 16))


def test_every_slice_has_the_patch_in_its_middle():
    places = choose_places([case(), case("b", (2, 8, 8))], FLAT)
    assert [(place.case_id, place.start) for place in places] == [
        *(("a", (index, 2, 7)) for index in range(6)),
        ("b", (0, -4, -4)),
        ("b", (1, -4, -4)),
    ]
    assert [place.height for place in places[:6]] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert places[0].centre == (0, 10, 15)
    assert places[-1].centre == (1, 4, 4)


def test_in_3d_the_patch_is_centred_on_the_slice():
    places = choose_places([case()], DEEP)
    assert [place.start[0] for place in places] == [-2, -1, 0, 1, 2, 3]
    assert [place.centre[0] for place in places] == list(range(6))


def test_patches_lie_side_by_side_from_border_to_border():
    places = choose_places([case(shape=(6, 40, 30))], FLAT, "patches")
    assert len(places) == 6 * 2 * 2
    assert {place.start[1:] for place in places} == {(0, 0), (0, 14), (24, 0), (24, 14)}


def test_too_many_are_thinned_evenly():
    places = choose_places([case(name, (100, 16, 16)) for name in "ab"], FLAT, most=5)
    assert [(place.case_id, place.start[0]) for place in places] == [
        ("a", 0), ("a", 50), ("b", 0), ("b", 49), ("b", 99),
    ]  # fmt: skip


def test_a_study_without_scans_is_refused():
    with pytest.raises(StudyError, match="no scan"):
        choose_places([], FLAT)
