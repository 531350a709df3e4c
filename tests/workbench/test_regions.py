"""Regions as the panel asks for them: sources, tables, what is prepared, and weights; without Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import WEIGHTS_VARIABLE
from napari_ssl_seg.training.events import Event, drain
from napari_ssl_seg.workbench.regions import (
    Progress,
    RegionsRequest,
    RegionsState,
    auto_source,
    check_weights,
    field_names,
    look,
    prepare,
    region_settings,
    region_table,
    segment,
    weights_on_offer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study

SPACING = (4.0, 2.0, 1.0)


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights."""
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Three scans of two bright blocks in the air, 5 slices of 24 x 32."""
    from napari_ssl_seg.study import Study

    items = []
    for number in range(3):
        scan = np.random.default_rng(number).normal(0, 1, (5, 24, 32)).astype(np.float32)
        scan[:, 4:20, 4:16] += 100
        scan[:, 4:20, 16:28] += 200
        items.append((f"case {number}", scan, None, SPACING))
    return Study.create_from_arrays(tmp_path / "s", items, split=(70, 0, 30))


def ask(study: Study, *sources: str, pressed: tuple[str, ...] = (), **values: Any) -> Any:
    case = study.cases()[0].id
    return segment(RegionsRequest(study, case, 2, values, sources, frozenset(pressed)))


def test_each_source_answers_by_itself(study: Study) -> None:
    answer = ask(study, "felzenszwalb", "slic", segments=6)
    felzenszwalb, slic = answer.found
    assert felzenszwalb.title == "Felzenszwalb superpixels (no SAM weights)" and "SLIC" in slic.title
    assert felzenszwalb.labels.shape == (24, 32) and felzenszwalb.labels.max() >= 2
    assert felzenszwalb.labels[0].max() == 0, "air is no region"
    assert slic.labels.max() >= 4
    assert answer.placement["translate"][0] == pytest.approx(2 * SPACING[0])


def test_without_weights_the_others_are_still_shown(study: Study) -> None:
    sam, felzenszwalb = ask(study, "sam", "felzenszwalb", pressed=("sam",)).found
    assert sam.labels is None and sam.weights_missing == "vit_b" and not sam.problem
    assert felzenszwalb.labels is not None


def test_a_damaged_file_of_weights_is_said_to_be_so(study: Study, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"not weights")
    (sam,) = ask(study, "sam", pressed=("sam",), checkpoint=str(bad)).found
    assert sam.labels is None and "bad.pth" in sam.problem
    with pytest.raises(UserError, match=r"bad\.pth"):
        check_weights(bad)


def test_the_table_counts_areas_and_shares() -> None:
    labels = np.zeros((4, 5), np.int32)
    labels[0] = 1
    labels[1, :2] = 2
    table = region_table(labels, pixel=2.5)
    assert table["index"].tolist() == [0, 1, 2]
    assert table["region"].tolist() == ["none", "#1", "#2"]
    assert table["pixels"].tolist() == [13, 5, 2]
    assert table["area (mm²)"].tolist() == [32.5, 12.5, 5.0]
    assert table["share (%)"].tolist() == [65.0, 25.0, 10.0]


@pytest.mark.parametrize("method", ["fdas", "lrc"])
def test_a_study_is_prepared_and_that_is_seen(study: Study, method: str) -> None:
    before = look(study, {})
    assert (before.source, before.ready, before.slices, before.cases) == ("felzenszwalb", 0, 15, 3)
    assert before.line == "Felzenszwalb superpixels (no SAM weights found)"
    assert before.progress_line == "0 of 15 slices prepared"
    events = prepare(study, method, {})
    heard: list[Event] = []
    while True:
        try:
            heard.append(next(events))
        except StopIteration as end:
            warnings = end.value
            break
    assert [event for event in heard if event.kind == "progress"]
    assert isinstance(warnings, tuple)
    after = look(study, {})
    assert after.complete and after.progress_line == "All 15 slices of 3 scans are prepared."
    assert not look(study, {"scale": 50.0}).ready, "other parameters are another set"


def test_preparing_may_be_stopped_and_goes_on(study: Study) -> None:
    events = prepare(study, "fdas", {})
    for event in events:
        if event.kind == "progress" and event.data["done"]:
            break
    events.close()
    begun = look(study, {}).ready
    drain(prepare(study, "fdas", {}))
    assert 0 < begun <= 15 and look(study, {}).complete


def test_settings_are_those_of_regions_alone() -> None:
    assert "source" in field_names() and "mask_ratio" not in field_names()
    assert region_settings({"mask_ratio": 0.7, "scale": 50.0}).scale == 50.0
    assert auto_source({}) == "felzenszwalb"
    with pytest.raises(UserError, match="Scale"):
        region_settings({"scale": -1.0})


def test_a_source_that_cannot_be_opened_is_said(study: Study) -> None:
    state = look(study, {"source": "masks", "masks": "/there/is/no/such/folder"})
    assert not state.source and "/there/is/no/such/folder" in state.problem
    assert RegionsState("", "", problem="x").progress_line == ""


def test_progress_in_words() -> None:
    done = Progress.of(Event("progress", {"what": "regions", "done": 1200, "total": 4628, "seconds_left": 61.0}))
    assert done.text == "regions 1\u202f200 of 4\u202f628" and done.fraction == pytest.approx(1200 / 4628)
    fetched = Progress.of(Event("progress", {"what": "downloading x.pth", "done": 5e6, "total": 375e6}))
    assert fetched.text == "downloading x.pth 5.0 MB of 375 MB" and fetched.seconds_left is None


def test_public_weights_say_what_they_are_before_anything_starts() -> None:
    offers = {weights.model_type: weights for weights in weights_on_offer()}
    assert set(offers) == {"vit_b", "vit_l", "vit_h", "medsam_vit_b"}
    for weights in offers.values():
        assert not weights.there
        for word in ("https://", "Licence", "SHA-256"):
            assert word in weights.notice
    assert offers["vit_b"].size == "375 MB"


def test_segment_anything_is_asked_by_a_press_and_then_kept(study: Study, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.regions.tiny_sam import tiny_sam

    path = tmp_path / "tiny.pth"
    torch.save(tiny_sam(7).state_dict(), path)
    assert check_weights(path) is None, "of none of the published sizes"
    loose = {
        "checkpoint": str(path),
        "points_per_side": 4,
        "stability_score_thresh": 0.49,  # of no other test: maps are remembered by their settings
        "box_nms_thresh": 0.95,
        "sam_device": "cpu",
    }
    (unasked,) = ask(study, "sam", **loose).found
    assert unasked.labels is None and not unasked.problem
    (asked,) = ask(study, "sam", pressed=("sam",), **loose).found
    assert asked.labels is not None and asked.title == "Segment Anything vit_b"
    assert look(study, {**loose, "source": "sam"}).line.endswith("from tiny.pth")
