"""FDAS on a study: regions and K before the first step, one slice for the inspector, and training with awkward scans."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import get_method, inspect
from napari_ssl_seg.networks.patch import plan_spec
from napari_ssl_seg.pretext.crop import KnownSlices
from napari_ssl_seg.regions import merge_to_anchors, principal_count, region_areas, slice_regions
from napari_ssl_seg.study import Study

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_ssl_seg.methods.base import Prepared

SHAPE = (5, 35, 50)
EMPTY = 2
"""A slice of the first case that holds nothing."""


def scan(seed: int, *, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Bright blocks of several sizes on a noisy background."""
    rng = np.random.default_rng(seed)
    array = rng.normal(0.0, 1.0, shape)
    for z in range(shape[0]):
        for _ in range(12):
            y, x = (int(rng.integers(length - 6)) for length in shape[1:])
            height, width = rng.integers(5, 14, 2)
            array[z, y : y + height, x : x + width] = rng.uniform(40, 200) + rng.normal(0, 1, (1, 1))
    return array.astype(np.float32)


def study_of(folder: Path, arrays: Mapping[str, np.ndarray], **options: object) -> Study:
    items = [(name, array, None, (3.0, 1.0, 1.0)) for name, array in arrays.items()]
    return Study.create_from_arrays(folder, items, split=(100, 0, 0), **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    arrays = {f"case_{number}": scan(number) for number in range(3)}
    arrays["case_0"][EMPTY] = arrays["case_0"].min()
    return study_of(tmp_path_factory.mktemp("fdas") / "study", arrays)


def run_through(generator) -> tuple[list, Prepared]:
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def prepare(study: Study, **settings: object) -> tuple[list, Prepared]:
    method = get_method("fdas", {"source": "felzenszwalb", **settings})
    return run_through(method.prepare(study, [case.id for case in study.cases(split="train")]))


def test_k_is_that_of_eq_1_over_all_slices(study):
    events, prepared = prepare(study)
    assert events
    assert {event.kind for event in events} == {"progress"}
    settings = prepared.method.config
    found = {
        (case.id, z): slice_regions(study, settings, case.id, z) for case in study.cases() for z in range(SHAPE[0])
    }
    # what no region covers is one more, except in a slice without any
    areas = [region_areas(regions, uncovered="region" if regions.any() else "fill") for regions in found.values()]
    k = principal_count(areas)
    assert k > 2
    assert prepared.method.config.channels == k
    facts = prepared.facts
    assert (facts["K"], facts["K_by_area"], facts["slices"], facts["empty_slices"]) == (k, k, 15, 1)
    assert facts["regions"] == "Felzenszwalb superpixels (no SAM weights)"
    assert sum(facts["k_histogram"].values()) == 14
    assert any("1 of 15 slices have no region" in text for text in prepared.warnings)
    for (case_id, z), regions in found.items():
        cut = prepared.regions_of(case_id).cut(z, z + 1)[0]
        np.testing.assert_array_equal(cut, merge_to_anchors(regions, k) + 1)


def test_what_is_settled_is_not_settled_anew(study):
    _, first = prepare(study)
    _, again = run_through(first.method.prepare(study, [case.id for case in study.cases()]))
    assert again.method.config == first.method.config
    assert dict(again.facts) == dict(first.facts)


def test_a_cap_is_said_when_it_bites(study):
    _, prepared = prepare(study, max_channels=3)
    assert prepared.method.config.channels == 3
    assert any(re.search(r"K is 3 instead of the \d+ regions", text) for text in prepared.warnings)
    assert prepared.facts["K_by_area"] > 3
    _, free = prepare(study, channels=4)
    assert free.method.config.channels == 4
    assert not any("instead" in text for text in free.warnings)


def test_superpixels_in_place_of_segment_anything_are_said(study, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_ssl_seg.regions.settings._checkpoint", lambda settings: None)
    _, prepared = prepare(study, source="auto")
    assert prepared.method.config.source == "felzenszwalb"
    assert any("Felzenszwalb superpixels, since no weights" in text for text in prepared.warnings)
    _, asked_for = prepare(study)
    assert not any("since no weights" in text for text in asked_for.warnings)


def test_a_study_without_any_region_is_refused(tmp_path):
    flat = study_of(tmp_path / "flat", {name: np.full(SHAPE, 7.0, np.float32) for name in ("a", "b")})
    with pytest.raises(UserError, match="no slice of the 2 cases has a region"):
        prepare(flat)


def test_scans_beyond_the_range_that_is_restored_are_said(tmp_path):
    study = study_of(tmp_path / "z", {"a": scan(0), "b": scan(1)}, normalisation="zscore")
    _, prepared = prepare(study)
    assert any("zscore" in text and "percentile" in text for text in prepared.warnings)


def test_one_slice_is_what_training_gets(study):
    _, whole = prepare(study)
    method = get_method("fdas", {"source": "felzenszwalb"})
    for z in (0, EMPTY, 4):
        one = method.prepare_slice(study, "case_0", z)
        assert one.method.config == whole.method.config
        np.testing.assert_array_equal(one.regions_of("case_0").cut(z, z + 1), whole.regions_of("case_0").cut(z, z + 1))
        np.testing.assert_array_equal(
            one.submasks_of("case_0").cut(z, z + 1)[0], slice_regions(study, one.method.config, "case_0", z)
        )
        # those beside it come from the cache
        np.testing.assert_array_equal(one.regions_of("case_1").cut(0, 5), whole.regions_of("case_1").cut(0, 5))
        assert (one.submasks_of("case_1").cut(0, 5) == -1).all()


def test_a_slice_alone_says_that_k_is_its_own(tmp_path):
    study = study_of(tmp_path / "fresh", {"a": scan(5), "b": scan(6)})
    method = get_method("fdas", {"source": "felzenszwalb"})
    one = method.prepare_slice(study, "a", 1)
    areas = region_areas(slice_regions(study, one.method.config, "a", 1), uncovered="region")
    assert one.method.config.channels == principal_count([areas])
    assert any("by this slice alone" in text for text in one.warnings)
    assert (one.regions_of("b").cut(0, 5) == -1).all()
    assert (one.regions_of("a").cut(2, 5) == -1).all()


def spec_of(study: Study):
    return plan_spec(2, 1, study.median_shape(), study.median_spacing(), preset="small")


def test_the_inspector_shows_the_whole_pipeline(study):
    prepare(study)
    shown = inspect(study, get_method("fdas", {"source": "felzenszwalb"}), "case_1", spec=spec_of(study), slice_index=3)
    assert [view.name for view in shown.views] == [
        *("scan", "submasks", "anchors", "curve", "histogram"),
        *("kept_regions", "masked", "donor", "fused", "target"),
    ]
    assert shown.stats["k_of_this_patch"] >= 2
    assert shown.stats["submasks"] >= shown.stats["regions"]
    assert shown.stats["patches_left_whole"] == 0
    assert shown.pretext.inputs.shape[0] == 4
    assert shown.views[7].title.removeprefix("Donor: ") in {"case_0", "case_2"}


def test_an_empty_slice_is_shown_whole(study):
    shown = inspect(
        study, get_method("fdas", {"source": "felzenszwalb"}), "case_0", spec=spec_of(study), slice_index=EMPTY
    )
    assert (shown.pretext.inputs[0] == shown.batch.image[0]).all()
    assert shown.stats["submasks"] == 0
    assert shown.stats["coverage"] == 0
    assert shown.stats["k_of_this_patch"] == 0
    assert shown.stats["patches_left_whole"] == 1


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("variant", [{}, {"uncovered": "fill", "assign": "pixel", "fcl": "dense", "skd_target": "all"}])
def test_training_goes_on_with_awkward_scans(tmp_path, batch_size, variant):
    from napari_ssl_seg.training import pretrain

    arrays = {"good": scan(0), "with_gap": scan(1), "constant": np.full(SHAPE, 3.0, np.float32)}
    arrays["with_gap"][EMPTY] = arrays["with_gap"].min()
    study = study_of(tmp_path / "awkward", arrays)
    _, run = run_through(
        pretrain(
            study,
            "fdas",
            iterations=3,
            batch_size=batch_size,
            device="cpu",
            settings={"source": "felzenszwalb", **variant},
        )
    )
    assert run.state == "finished"
    assert run.config["channels"] == run.facts["K"] > 1
    assert run.facts["empty_slices"] == SHAPE[0] + 1
    shown = inspect(study, "fdas", "good", spec=spec_of(study), run=run)
    assert {"restored", "error", "predicted", "dice", "similarity"} <= {view.name for view in shown.views}
    assert shown.method.config.channels == run.facts["K"]


def test_what_is_not_known_of_a_map_lies_outside():
    one = KnownSlices((4, 2, 3), lambda z: np.ones((2, 3), np.int32) if z == 1 else None)
    assert one.cut(0, 3).tolist() == [[[-1] * 3] * 2, [[1] * 3] * 2, [[-1] * 3] * 2]
    assert (one.cut(2, 4) == -1).all()
    assert one.cut(3, 3).shape == (0, 2, 3)
