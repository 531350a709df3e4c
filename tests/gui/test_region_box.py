"""Regions in the tab Pretext: layers by source, what the status bar says, sliders, preparing a study, weights."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.gui import layers
from napari_ssl_seg.gui.dock import PRETEXT
from napari_ssl_seg.gui.region_layers import enlarged
from napari_ssl_seg.gui.region_weights import notice_html
from napari_ssl_seg.places import WEIGHTS_VARIABLE
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.pretext_tab import PretextTab
    from napari_ssl_seg.study import Study

CASE = "head_001"


@pytest.fixture(autouse=True)
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty at first."""
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def tab(dock: SSLDock, study: Study, settle: Any) -> PretextTab:
    """The tab on a case with FDAS, drawn once."""
    return opened(dock, study, settle)


def opened(dock: SSLDock, study: Study, settle: Any) -> PretextTab:
    shown = dock.show_tab(PRETEXT)
    shown.choose_method("fdas")
    dock.workbench.set_study(study)
    dock.workbench.open_case(CASE)
    settle(lambda: not dock.case_view.busy and quiet(shown) and bool(shown.thumbnails.buttons))
    return shown


def quiet(tab: PretextTab) -> bool:
    return not tab.busy and not tab.regions.busy


def regions(dock: SSLDock) -> dict[str, Any]:
    """Region layers, by source."""
    return {layers.layer_tag(layer)["role"]: layer for layer in layers.own_layers(dock.viewer, group="regions")}


# -- layers -----------------------------------------------------------------------------------------------------------
def test_each_source_is_a_layer_that_is_switched(tab: PretextTab, dock: SSLDock, study: Study, settle: Any) -> None:
    show = tab.regions.show_row
    assert not regions(dock)
    show.switch("felzenszwalb")
    show.switch("slic")
    settle(lambda: quiet(tab) and len(regions(dock)) == 2)
    found = regions(dock)
    assert found["felzenszwalb"].name == f"{CASE} | regions | felzenszwalb"
    assert found["slic"].contour == 1 and found["slic"] in dock.viewer.layers.selection
    show.fill_button.click()
    assert found["slic"].contour == 0
    show.switch("slic", False)
    assert set(regions(dock)) == {"felzenszwalb"} and show.shown == ("felzenszwalb",)


def test_the_layer_is_the_sources_own_map_at_its_place(
    tab: PretextTab, dock: SSLDock, study: Study, settle: Any
) -> None:
    from napari_ssl_seg.regions import RegionSettings, slice_regions

    tab.regions.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(dock)))
    index = dock.workbench.slice_index
    expected = slice_regions(study, RegionSettings(source="felzenszwalb"), CASE, index)
    layer, image = regions(dock)["felzenszwalb"], dock.case_view.image_layer()
    for y, x in ((0, 0), (7, 11), (31, 23)):
        world = image.data_to_world((index, y, x))
        assert layer.get_value(world, world=True) in (None, expected[y, x])
    assert set(np.unique(layer.data)) == set(np.unique(expected))


def test_hovering_tells_the_region_its_area_and_its_share(docked: SSLDock, study: Study, settle: Any) -> None:
    tab = docked.show_tab(PRETEXT)
    tab.choose_method("fdas")
    docked.workbench.set_study(study)
    docked.workbench.open_case(CASE)
    settle(lambda: not docked.case_view.busy)
    tab.regions.show_row.follow(True)  # as when it is looked at; this window is not shown
    tab.regions.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(docked)))
    layer = regions(docked)["felzenszwalb"]
    pixels = np.asarray(layer.data[0])
    label = int(pixels.max())
    y, x = np.argwhere(pixels == label)[0]
    world = layer.data_to_world((0, y, x))
    status = layer.get_status(world, world=True)["value"]
    row = layer.features.set_index("index").loc[label]
    assert f"{label}; region: #{label}" in status
    assert f"area (mm²): {row['area (mm²)']}" in status and f"pixels: {row['pixels']}" in status
    assert f"share (%): {row['share (%)']}" in status
    assert row["area (mm²)"] == pytest.approx(row["pixels"] * 1.5 * 1.5, rel=0.01)


def test_a_slider_redraws_and_the_layer_is_reused(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    box = tab.regions
    box.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(dock)))
    layer = regions(dock)["felzenszwalb"]
    before = int(layer.data.max())
    slider = box.form.slider("min_size")
    assert slider is not None and box.values()["min_size"] is None
    slider.setValue(slider.scale.position(200))
    settle(lambda: quiet(tab))
    assert box.values()["min_size"] == pytest.approx(200, rel=0.1)
    assert regions(dock)["felzenszwalb"] is layer and int(layer.data.max()) < before
    assert tab.values()["min_size"] == box.values()["min_size"], "the pretext is drawn with it, too"


def test_the_slice_is_followed_and_nothing_piles_up(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.regions.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(dock)))
    layer, image, number = regions(dock)["felzenszwalb"], dock.case_view.image_layer(), len(dock.viewer.layers)
    for index in (2, 3, 7):
        dock.workbench.set_slice(index)
    settle(lambda: quiet(tab))
    assert layer.translate[0] == pytest.approx(image.translate[0] + 3.0 * 7)
    assert len(dock.viewer.layers) == number
    tab.next_button.click()
    settle(lambda: quiet(tab) and not dock.case_view.busy and bool(regions(dock)))
    assert all(layer.name.startswith("head_002 | ") for layer in layers.own_layers(dock.viewer))


def test_other_tabs_and_methods_without_regions_show_none(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.regions.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(dock)))
    dock.show_tab(0)
    assert not any(layer.visible for layer in regions(dock).values())
    dock.show_tab(PRETEXT)
    settle(lambda: quiet(tab))
    assert regions(dock)["felzenszwalb"].visible
    tab.choose_method("simmim")
    settle(lambda: quiet(tab))
    assert not tab.regions.isVisible() and not any(layer.visible for layer in regions(dock).values())
    tab.choose_method("fdas")
    settle(lambda: quiet(tab))
    assert tab.regions.isVisible() and regions(dock)["felzenszwalb"].visible


def test_outlines_stay_over_a_view_that_is_brought_to_the_front(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.regions.show_row.switch("felzenszwalb")
    settle(lambda: quiet(tab) and bool(regions(dock)))
    tab.thumbnails.chosen.emit("donor")
    names = [layer.name for layer in dock.viewer.layers]
    assert names[-2:] == [f"{CASE} | fdas | donor", f"{CASE} | regions | felzenszwalb"]


def test_small_slices_are_drawn_enlarged_so_that_outlines_are_thin() -> None:
    labels = np.arange(6, dtype=np.int32).reshape(2, 3)
    placement = {"scale": (3.0, 2.0, 1.0), "translate": (9.0, 5.0, 7.0)}
    data, placed = enlarged(labels, placement)
    assert data.shape == (1, 16, 24) and data.dtype == np.uint8
    assert placed["scale"] == (3.0, 0.25, 0.125)
    # The outer edge of the first pixel lies where it lay: half a pixel before its centre.
    assert placed["translate"][1] - placed["scale"][1] / 2 == pytest.approx(5.0 - 1.0)
    assert placed["translate"][2] - placed["scale"][2] / 2 == pytest.approx(7.0 - 0.5)
    same, placed = enlarged(np.zeros((256, 256), np.int32), placement)
    assert same.shape == (1, 256, 256) and placed["translate"] == (9.0, 5.0, 7.0)


# -- settings ---------------------------------------------------------------------------------------------------------
def test_only_the_parameters_of_the_source_are_shown(tab: PretextTab) -> None:
    form = tab.regions.form

    def shown() -> set[str]:
        return {name for name in form.field_names if form.field(name).isVisible()}

    assert shown() == {"source", "scale", "sigma", "min_size"}, "auto is Felzenszwalb where there are no weights"
    form.field("source").set_value("slic")
    assert shown() == {"source", "segments", "compactness"}
    form.field("source").set_value("sam")
    assert {"checkpoint", "model_type", "points_per_side"} <= shown() and "scale" not in shown()
    assert form.values()["scale"] == 100.0, "what is hidden keeps its value"


def test_the_method_form_holds_the_rest(tab: PretextTab) -> None:
    assert not set(tab.form.field_names) & set(tab.regions.form.field_names)
    shown = [name for name in tab.form.field_names if tab.form.field(name).isVisible()]
    assert {"alpha", "mask_ratio"} <= set(shown) and len(shown) <= 3
    assert tab.form.slider("mask_ratio") is not None


# -- the whole study --------------------------------------------------------------------------------------------------
def test_all_scans_are_prepared_in_the_background(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    box = tab.regions
    assert box.state is not None and box.work.line.text() == "0 of 60 slices prepared"
    assert "no SAM weights found" in box.source_label.text()
    assert "by this slice alone" in tab.status.text()
    box.prepare_button.click()
    assert box.work.busy and box.work.stop_button.isVisible() and not box.prepare_button.isVisible()
    assert dock.workbench.job is not None and dock.foot.isVisible()
    settle(lambda: quiet(tab))
    assert box.state.complete and box.work.line.text() == "All 60 slices of 6 scans are prepared."
    assert dock.workbench.job is None and not box.prepare_button.isVisible()
    assert "by this slice alone" not in tab.status.text(), "K is known of the study now"


def test_preparing_stops_within_a_slice_and_goes_on(
    tab: PretextTab, dock: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    gate = threading.Event()

    def slowly(*_: Any) -> Any:
        for done in range(60):
            gate.wait(10)
            made.append(done)
            yield Event("progress", {"what": "regions", "done": done + 1, "total": 60, "seconds_left": 9.0})
        return ()

    monkeypatch.setattr("napari_ssl_seg.gui.region_box.prepare", slowly)
    box = tab.regions
    box.prepare()
    box.work.stop()
    assert not box.work.stop_button.isEnabled() and "stopping" in box.work.line.text()
    gate.set()
    settle(lambda: quiet(tab))
    assert len(made) <= 1
    assert box.work.line.text().startswith("Stopped. ") and box.prepare_button.isVisible()
    box.prepare()
    settle(lambda: quiet(tab))
    assert len(made) >= 60 and box.work.outcome == "done"


def test_stop_in_the_foot_stops_it_too(
    tab: PretextTab, dock: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def endless(*_: Any) -> Any:
        while True:
            gate.wait(0.02)
            yield Event("progress", {"what": "regions", "done": 1, "total": 60, "seconds_left": 9.0})

    monkeypatch.setattr("napari_ssl_seg.gui.region_box.prepare", endless)
    tab.regions.prepare()
    settle(lambda: dock.workbench.job is not None and dock.workbench.job.fraction is not None)
    dock.workbench.stop_job()
    assert dock.workbench.job is not None and dock.workbench.job.state == "stopping"
    settle(lambda: quiet(tab))
    assert dock.workbench.job is None and tab.regions.work.outcome == "stopped"


def test_an_error_while_preparing_stays_to_be_read(
    tab: PretextTab, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        yield Event("progress", {"what": "regions", "done": 1, "total": 60})
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("napari_ssl_seg.gui.region_box.prepare", broken)
    tab.regions.prepare()
    settle(lambda: quiet(tab))
    line = tab.regions.work.line
    assert "CUDA out of memory" in line.text() and line.property("role") == "error"
    assert tab.regions.prepare_button.isVisible()
    tab.regions.form.field("scale").setValue(50)
    settle(lambda: quiet(tab))
    assert line.property("role") == "hint"


# -- weights ----------------------------------------------------------------------------------------------------------
def test_without_weights_sam_offers_them_and_says_what_they_are(tab: PretextTab, settle: Any) -> None:
    box = tab.regions
    box.show_row.switch("sam")
    settle(lambda: quiet(tab))
    assert not box.show_row.buttons["sam"].isChecked()
    assert box.weights.isVisible() and box.weights.fetch_button.text() == "Download 375 MB"
    for word in ("https://", "Licence", "SHA-256"):
        assert word in box.weights.notice.text()
    box.weights.cancel_button.click()
    assert not box.weights.isVisible()
    box.weights_button.fill()
    texts = [action.text() for action in box.weights_button.choices.actions()]
    assert texts[0] == "Choose a file …" and any("MedSAM" in text for text in texts)


def test_a_download_is_heard_of_and_used(
    tab: PretextTab, settle: Any, monkeypatch: pytest.MonkeyPatch, weights_folder: Path
) -> None:
    from napari_ssl_seg.workbench.regions import weights_on_offer

    def fetched(model_type: str) -> Any:
        yield Event("progress", {"what": "downloading x", "done": 1e6, "total": 2e6, "seconds_left": 1.0})
        return weights_folder / "x.pth"

    monkeypatch.setattr("napari_ssl_seg.gui.region_weights.fetch", fetched)
    box = tab.regions
    box.weights.offer(weights_on_offer()[-1])
    box.weights.fetch_button.click()
    assert box.weights.busy
    settle(lambda: quiet(tab))
    assert not box.weights.isVisible()
    assert (box.values()["source"], box.values()["model_type"]) == ("sam", "medsam_vit_b")


def test_a_wrong_file_is_said_to_be_so_and_nothing_changes(tab: PretextTab, settle: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"PK\x03\x04 nothing")
    box = tab.regions
    box.weights.take_file(str(bad))
    settle(lambda: quiet(tab))
    assert "bad.pth" in box.weights.work.line.text() and box.weights.work.line.property("role") == "error"
    assert box.values()["source"] == "auto" and box.weights.cancel_button.isVisible()
    assert not box.weights.fetch_button.isVisible()


def test_a_network_of_segment_anything_goes_the_whole_way(
    tab: PretextTab, dock: SSLDock, settle: Any, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from tests.regions.tiny_sam import tiny_sam

    path = tmp_path / "tiny.pth"
    torch.save(tiny_sam(7).state_dict(), path)
    box = tab.regions
    box.form.set_values({"points_per_side": 4, "stability_score_thresh": 0.5, "box_nms_thresh": 0.95})
    box.weights.take_file(str(path))
    settle(lambda: quiet(tab))
    assert box.values()["source"] == "sam" and "tiny.pth" in box.source_label.text()
    box.show_row.switch("sam")
    settle(lambda: quiet(tab))
    assert regions(dock)["sam"].name == f"{CASE} | regions | sam"
    assert box.show_row.buttons["sam"].text() == "SAM"


def test_a_notice_is_plain_and_breaks_its_checksum() -> None:
    text = notice_html("X: 1 MB from https://a.b/c\nLicence: MIT\nSHA-256: " + "0123456789abcdef" * 4)
    assert "<b>X</b>" in text and "&#8203;" in text and "<a " not in text


@pytest.fixture
def slow_sam(tab: PretextTab, dock: SSLDock, settle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tab with a tiny Segment Anything that counts as slow, whatever it takes."""
    torch = pytest.importorskip("torch")
    from tests.regions.tiny_sam import tiny_sam

    monkeypatch.setattr("napari_ssl_seg.workbench.regions.QUICK_SECONDS", 0.0)
    monkeypatch.setattr("napari_ssl_seg.regions.prepare.KEPT_SECONDS", 0.0)
    path = tmp_path / "tiny.pth"
    torch.save(tiny_sam(7).state_dict(), path)
    box = tab.regions
    box.form.set_values({"points_per_side": 4, "stability_score_thresh": 0.5, "box_nms_thresh": 0.95})
    box.weights.take_file(str(path))
    settle(lambda: quiet(tab))
    return box


def test_a_slow_source_looks_at_a_slice_only_when_it_is_pressed_for(
    tab: PretextTab, dock: SSLDock, settle: Any, slow_sam: Any
) -> None:
    assert "press Redraw" in tab.status.text() and tab.status.property("role") == "hint"
    assert not [layer for layer in dock.viewer.layers if "fdas" in layer.name], "no view of another slice stays"
    show = slow_sam.show_row
    show.switch("sam")
    assert "is looking" in show.note.text()
    settle(lambda: quiet(tab))
    assert show.note.text() == "" and regions(dock)["sam"].visible
    assert tab.status.text().startswith("patch "), "the pretext follows, since the regions are there now"
    dock.workbench.set_slice(2)
    settle(lambda: quiet(tab))
    assert "press SAM again" in show.note.text() and not regions(dock)["sam"].visible
    assert "press Redraw" in tab.status.text()
    show.buttons["sam"].click()
    settle(lambda: quiet(tab))
    assert show.buttons["sam"].isChecked() and regions(dock)["sam"].visible
    dock.workbench.set_slice(3)
    settle(lambda: quiet(tab))
    tab.draw.redraw_button.click()
    settle(lambda: quiet(tab))
    assert tab.status.text().startswith("patch ")


def test_superpixels_do_not_wait_for_segment_anything(
    tab: PretextTab, dock: SSLDock, settle: Any, slow_sam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ssl_seg.regions.sam import SamSource

    gate = threading.Event()
    segment_each = SamSource.segment_each
    monkeypatch.setattr(
        SamSource, "segment_each", lambda self, *args, **kwargs: gate.wait(60) and segment_each(self, *args, **kwargs)
    )
    show = slow_sam.show_row
    show.switch("sam")
    show.switch("felzenszwalb")
    settle(lambda: "felzenszwalb" in regions(dock))
    assert show.busy and "sam" not in regions(dock) and "is looking" in show.note.text()
    gate.set()
    settle(lambda: quiet(tab))
    assert set(regions(dock)) == {"sam", "felzenszwalb"}
