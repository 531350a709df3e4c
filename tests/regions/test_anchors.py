"""K over a study, and the merged maps of every slice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.errors import LeakageError, UserError
from napari_ssl_seg.regions import (
    AnchorSet,
    RegionSet,
    RegionSettings,
    anchors,
    cached_k,
    merge_to_anchors,
    prepare,
    prepare_anchors,
    prepare_regions,
    principal_count,
)
from napari_ssl_seg.regions.anchors import count_anchors
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain
from tests.regions.test_prepare import SHAPE, write_scan
from tests.regions.worker import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Stripes:
    """Stripes of one row each in the upper part of slice z: z + 1 of them, more in the second case."""

    title = "stripes"

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[tuple[str, int]] = ()) -> list[np.ndarray]:
        found = []
        for image, (case_id, z) in zip(slices, places, strict=True):
            label_map = np.zeros(image.shape, np.int32)
            for stripe in range(z + (1 if case_id.endswith("0") else 4)):
                label_map[stripe] = stripe + 1
            found.append(label_map)
        return found


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    for number in range(3):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number)
    monkeypatch.setattr(prepare, "open_source", lambda settings, geometry_of=None: Stripes())
    prepare._opened.close()
    return Study.create(tmp_path / "study", images=tmp_path / "scans", split=(67, 0, 33))


@pytest.fixture
def ids(study: Study) -> list[str]:
    return [case.id for case in study.cases("train")]


@pytest.fixture
def regions(study: Study, ids: list[str]) -> RegionSet:
    return drain(prepare_regions(study, SETTINGS, ids))


def areas_of(regions: RegionSet, ids: list[str], *, rest: bool) -> list[list[int]]:
    """By counting pixels of the maps themselves."""
    found = []
    for case_id in ids:
        for label_map in regions.stack(case_id).cut(0, SHAPE[0]):
            counts = [int((label_map == label).sum()) for label in range(1, label_map.max() + 1)]
            found.append(counts + [int((label_map == 0).sum())] * (rest and bool(counts)))
    return found


@pytest.mark.parametrize("uncovered", ["region", "fill"])
@pytest.mark.parametrize("alpha", [0.5, 0.95, 1.0])
def test_k_is_eq_1_over_all_slices(
    study: Study, ids: list[str], regions: RegionSet, uncovered: Any, alpha: float
) -> None:
    found = drain(prepare_anchors(study, regions, ids, alpha=alpha, uncovered=uncovered))
    areas = areas_of(regions, ids, rest=uncovered == "region")
    assert found.k == principal_count(areas, alpha)
    assert found.capped is None
    assert found.empty_slices == 4  # the first and the last slice of both hold nothing
    assert sum(found.histogram().values()) == len(ids) * (SHAPE[0] - 2)
    mean = sum(k * count for k, count in found.histogram().items()) / sum(found.histogram().values())
    assert found.k == math.ceil(mean)
    assert [len(found.counts[case_id]) for case_id in ids] == [SHAPE[0]] * 2


def test_the_maps_are_those_of_merge_to_anchors_counted_from_1(
    study: Study, ids: list[str], regions: RegionSet
) -> None:
    for uncovered in ("region", "fill"):
        for assign in ("submask", "pixel"):
            options: dict[str, Any] = {"assign": assign, "uncovered": uncovered}
            found = drain(prepare_anchors(study, regions, ids, channels=3, **options))
            for z in range(SHAPE[0]):
                expected = merge_to_anchors(regions.stack(ids[1]).cut(z, z + 1)[0], 3, **options) + 1
                np.testing.assert_array_equal(found.slice(ids[1], z), expected)
                np.testing.assert_array_equal(found.stack(ids[1]).cut(z, z + 1)[0], expected)


def test_the_cap_says_what_it_took(study: Study, ids: list[str], regions: RegionSet) -> None:
    free = drain(prepare_anchors(study, regions, ids))
    capped = drain(prepare_anchors(study, regions, ids, max_channels=2))
    assert (capped.k, capped.capped) == (2, free.k)
    assert capped.stack(ids[0]).cut(0, SHAPE[0]).max() == 2
    assert drain(prepare_anchors(study, regions, ids, max_channels=free.k)).capped is None
    fixed = drain(prepare_anchors(study, regions, ids, channels=4, max_channels=2))
    assert (fixed.k, fixed.capped) == (4, None)


def test_k_is_remembered_for_these_cases_and_parameters(
    study: Study, ids: list[str], regions: RegionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cached_k(study, SETTINGS, ids) is None
    k = drain(prepare_anchors(study, regions, ids)).k
    monkeypatch.setattr(anchors, "count_for_share", lambda *args: pytest.fail("nothing is computed"))
    assert cached_k(study, SETTINGS, ids[::-1]) == k
    assert cached_k(study, SETTINGS, ids, max_channels=2) == 2
    assert cached_k(study, SETTINGS, ids, 0.9) is None
    assert cached_k(study, SETTINGS, ids, uncovered="fill") is None
    assert cached_k(study, SETTINGS, ids[:1]) is None
    assert cached_k(study, RegionSettings(source="slic"), ids) is None
    for path in (study.cache_folder / "regions" / regions.key).glob("k-*.json"):
        path.write_text('{"k": ')
    assert cached_k(study, SETTINGS, ids) is None


def test_merging_goes_on_where_it_was_stopped(
    study: Study, ids: list[str], regions: RegionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssl_seg.regions.filling.YIELD_SECONDS", 0.0)
    calls: list[int] = []
    merge = anchors.merge_to_anchors

    def counted(label_map: np.ndarray, k: int, *options: Any) -> np.ndarray:
        calls.append(k)
        return merge(label_map, k, *options)

    monkeypatch.setattr(anchors, "merge_to_anchors", counted)
    events = prepare_anchors(study, regions, ids)
    while len(calls) < 5:
        next(events)
    events.close()
    assert len(calls) == 5
    drain(prepare_anchors(study, regions, ids))
    drain(prepare_anchors(study, regions, ids))
    assert len(calls) == 2 * SHAPE[0]


def test_regions_that_are_gone_are_made_anew(study: Study, ids: list[str], regions: RegionSet) -> None:
    before = drain(prepare_anchors(study, regions, ids))
    expected = before.stack(ids[0]).cut(0, SHAPE[0])
    import shutil

    shutil.rmtree(study.cache_folder)
    fresh = RegionSet(regions.settings, regions.key, regions.title, regions.maps.files, regions.maps._remake)
    with pytest.warns(UserWarning, match="gone from the cache"):
        after = drain(prepare_anchors(study, fresh, ids))
    assert after.k == before.k
    np.testing.assert_array_equal(after.stack(ids[0]).cut(0, SHAPE[0]), expected)


def test_a_study_without_any_region_is_refused(study: Study, ids: list[str], regions: RegionSet) -> None:
    with pytest.raises(UserError, match="no slice of the 0 cases"):
        drain(prepare_anchors(study, regions, []))
    assert count_anchors(study, regions, []).k == 0


def test_other_splits_are_refused(study: Study) -> None:
    case = study.cases("test")[0].id
    regions = drain(prepare_regions(study, SETTINGS, [case], purpose="show"))
    with pytest.raises(LeakageError):
        drain(prepare_anchors(study, regions, [case]))
    found = drain(prepare_anchors(study, regions, [case], channels=2, purpose="show"))
    assert isinstance(found, AnchorSet)
    assert found.slice(case, 3).max() == 2
