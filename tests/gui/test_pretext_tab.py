"""Tab 2: views as layers of the open case, seed and settings, and what happens while the slider moves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.gui import layers
from napari_ssl_seg.gui.dock import PRETEXT

if TYPE_CHECKING:
    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.pretext_tab import PretextTab
    from napari_ssl_seg.study import Study


def views(dock: SSLDock) -> dict[str, Any]:
    """Layers of the pretext, by view."""
    return {layers.layer_tag(layer)["role"]: layer for layer in layers.own_layers(dock.viewer, group="pretext")}


@pytest.fixture
def tab(dock: SSLDock, study: Study, settle: Any) -> PretextTab:
    """The tab on a case, simmim in 2D, with its first views drawn."""
    shown = dock.show_tab(PRETEXT)
    shown.choose_method("simmim")
    dock.workbench.set_study(study)
    dock.workbench.open_case("head_001")
    settle(lambda: not dock.case_view.busy and not shown.busy and bool(views(dock)))
    return shown


def test_without_a_case_it_says_what_to_do(dock: SSLDock, study: Study, settle: Any) -> None:
    tab = dock.show_tab(PRETEXT)
    assert not tab.body.isVisible() and "1 Study" in tab.empty_label.text() and not tab.open_button.isVisible()
    dock.workbench.set_study(study)
    assert tab.open_button.isVisible() and not tab.body.isVisible()
    tab.open_button.click()
    assert dock.workbench.case_id == "head_000" and tab.body.isVisible()
    settle(lambda: not tab.busy)


def test_views_lie_on_the_scan_at_the_slice(tab: PretextTab, dock: SSLDock, study: Study) -> None:
    found = views(dock)
    assert list(found) == ["scan", "mask", "masked", "target"]
    assert found["masked"].name == "head_001 | simmim | masked"
    scan, image = found["scan"], dock.case_view.image_layer()
    index = dock.workbench.slice_index
    assert scan.data.shape[0] == 1
    assert scan.translate[0] == pytest.approx(image.translate[0] + 3.0 * index)
    # A voxel of the view, taken to the world and back to the scan, is the same voxel of the normalised scan.
    source = study.patches_source("head_001", purpose="show").array[0]
    at = image.world_to_data(scan.data_to_world((0, 10, 8)))
    z, y, x = (round(float(value)) for value in at)
    assert (z, scan.data[0, 10, 8]) == (index, pytest.approx(source[z, y, x]))


def test_what_the_network_gets_is_in_front_at_first(tab: PretextTab, dock: SSLDock) -> None:
    assert [name for name, layer in views(dock).items() if layer.visible] == ["masked"]
    checked = [button.name for button in tab.thumbnails.buttons if button.isChecked()]
    assert checked == ["masked"]
    hidden = np.asarray(views(dock)["mask"].data[0]) > 0
    values = np.unique(views(dock)["masked"].data[0][hidden])
    assert len(values) == 1, "hidden voxels hold one value: their fill"


def test_the_stats_are_chips(tab: PretextTab) -> None:
    assert "share masked 75 %" in tab.chips.texts


def test_redraw_takes_the_next_seed_unless_it_is_kept(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    def mask() -> np.ndarray:
        settle(lambda: not tab.busy)
        return np.array(views(dock)["mask"].data)

    first = mask()
    tab.draw.redraw_button.click()
    second = mask()
    assert tab.draw.seed_box.value() == 1 and not np.array_equal(first, second)
    tab.draw.keep_box.setChecked(True)
    tab.draw.redraw_button.click()
    assert np.array_equal(mask(), second) and tab.draw.seed_box.value() == 1
    tab.draw.seed_box.setValue(0)
    assert np.array_equal(mask(), first)


def test_layers_are_reused_and_stay_as_the_user_left_them(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    before = views(dock)
    before["scan"].visible = True
    before["masked"].opacity = 0.6
    tab.draw.redraw_button.click()
    settle(lambda: not tab.busy)
    assert views(dock) == before
    assert before["scan"].visible and before["masked"].opacity == pytest.approx(0.6)


def test_the_slider_redraws_and_only_the_last_slice_counts(
    tab: PretextTab, dock: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    worker = tab._worker
    function = worker._function
    monkeypatch.setattr(worker, "_function", lambda question: asked.append(question.slice_index) or function(question))
    image = dock.case_view.image_layer()
    for index in (1, 2, 3, 4, 8):
        dock.viewer.dims.set_current_step(0, index)
    settle(lambda: dock.workbench.slice_index == 8 and not tab.busy)
    assert asked[-1] == 8 and len(asked) <= 2
    assert views(dock)["masked"].translate[0] == pytest.approx(image.translate[0] + 3.0 * 8)
    assert tab.case_label.text() == "head_001 · 8/10"


def test_while_it_computes_the_old_views_stay_dimmed(
    tab: PretextTab, dock: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    function = tab._worker._function
    monkeypatch.setattr(tab._worker, "_function", lambda question: gate.wait(30) and function(question))
    masked = views(dock)["masked"]
    full = masked.opacity
    tab.draw.redraw_button.click()
    settle(lambda: masked.opacity < full)
    assert masked in dock.viewer.layers and masked.visible
    gate.set()
    settle(lambda: not tab.busy)
    assert masked.opacity == full


def test_settings_redraw_and_bad_ones_are_said(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.form.field("mask_ratio").setValue(0.5)
    settle(lambda: not tab.busy)
    assert np.asarray(views(dock)["mask"].data).mean() == pytest.approx(0.5, abs=0.1)
    tab.choose_method("volume_fusion")
    settle(lambda: not tab.busy and "fused" in views(dock))
    tab.choose_method("simmim")
    assert tab.form.values()["mask_ratio"] == 0.5, "settings of a method are kept while another is looked at"
    settle(lambda: not tab.busy)


def test_an_error_stands_in_the_panel_and_the_next_answer_takes_it_away(
    tab: PretextTab, dock: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = tab._worker._function

    def out_of_memory(question: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(tab._worker, "_function", out_of_memory)
    tab.draw.redraw_button.click()
    settle(lambda: not tab.busy)
    assert "CUDA out of memory" in tab.status.text() and tab.status.property("role") == "error"
    monkeypatch.setattr(tab._worker, "_function", function)
    tab.draw.redraw_button.click()
    settle(lambda: not tab.busy)
    assert tab.status.text().startswith("patch ") and tab.status.property("role") == "hint"


def test_another_method_takes_the_place_of_the_first(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.choose_method("volume_fusion")
    settle(lambda: not tab.busy and "fused" in views(dock))
    assert not [layer for layer in dock.viewer.layers if "simmim" in layer.name]
    assert type(views(dock)["boxes"]).__name__ == "Shapes"
    assert tab.method_box.toolTip() and "arXiv" in tab.paper_label.text()


def test_a_block_in_3d_lies_on_the_scan_too(tab: PretextTab, dock: SSLDock, study: Study, settle: Any) -> None:
    tab.dims_box.set_value(3)
    settle(lambda: not tab.busy and views(dock)["scan"].data.shape[0] > 1)
    scan, image = views(dock)["scan"], dock.case_view.image_layer()
    source = study.patches_source("head_001", purpose="show").array[0]
    middle = tuple(side // 2 for side in scan.data.shape)
    z, y, x = (round(float(value)) for value in image.world_to_data(scan.data_to_world(middle)))
    assert scan.data[middle] == pytest.approx(source[z, y, x])


def test_thumbnails_bring_to_front_and_show_alone(tab: PretextTab, dock: SSLDock) -> None:
    tab.thumbnails.chosen.emit("target")
    assert dock.viewer.layers[-1] is views(dock)["target"] and views(dock)["target"].visible
    tab.thumbnails.alone.emit("mask")
    assert [layer for layer in layers.own_layers(dock.viewer) if layer.visible] == [views(dock)["mask"]]
    tab.thumbnails.alone.emit("mask")
    assert views(dock)["target"].visible and dock.case_view.image_layer().visible


def test_what_a_run_makes_of_the_sample_can_be_looked_at(
    tab: PretextTab, dock: SSLDock, study: Study, settle: Any
) -> None:
    from napari_ssl_seg.training import pretrain
    from napari_ssl_seg.training.events import drain

    assert not tab.run_box.isVisible(), "there is no run to choose yet"
    run = drain(pretrain(study, "simmim", dims=2, iterations=2, batch_size=2, device="cpu"))
    dock.workbench.refresh_runs()
    assert tab.run_box.isVisible() and tab.run_box.count() == 2
    tab.run_box.set_value(run.id)
    settle(lambda: not tab.busy and "restored" in views(dock))
    assert [name for name, layer in views(dock).items() if layer.visible] == ["masked", "restored"]
    assert np.isfinite(views(dock)["restored"].data).all()
    tab.run_box.set_value(None)
    settle(lambda: not tab.busy and "restored" not in views(dock))


def test_another_case_forgets_the_views_of_the_first(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.next_button.click()
    assert dock.workbench.case_id == "head_002"
    settle(lambda: not tab.busy and not dock.case_view.busy and bool(views(dock)))
    assert all(layer.name.startswith("head_002 | ") for layer in layers.own_layers(dock.viewer))


def test_while_another_tab_is_looked_at_nothing_is_computed_and_the_scan_is_seen(
    tab: PretextTab, dock: SSLDock, settle: Any
) -> None:
    dock.show_tab(0)
    assert not any(layer.visible for layer in views(dock).values())
    assert dock.case_view.image_layer().visible
    dock.workbench.set_slice(1)
    assert not tab.busy
    dock.show_tab(PRETEXT)
    settle(lambda: not tab.busy)
    assert [name for name, layer in views(dock).items() if layer.visible] == ["masked"]
    assert views(dock)["masked"].translate[0] == pytest.approx(dock.case_view.image_layer().translate[0] + 3.0)


def test_a_curve_is_enlarged_by_a_click_and_put_away_by_another(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.choose_method("fdas")
    settle(lambda: not tab.busy and "fused" in views(dock))
    row = tab.thumbnails
    button = next(button for button in row.buttons if button.name == "curve")
    assert not row.preview.isVisible()
    button.click()
    assert row.preview.isVisible() and button.isChecked() and row.preview_title.text()
    assert row.preview.height() > button.iconSize().height()
    tab.draw.redraw_button.click()
    settle(lambda: not tab.busy)
    assert row.preview.isVisible() and button.isChecked(), "it stays while samples are drawn"
    button.click()
    assert not row.preview.isVisible() and not button.isChecked()


def test_points_are_a_layer(tab: PretextTab, dock: SSLDock, settle: Any) -> None:
    tab.choose_method("lrc")
    settle(lambda: not tab.busy and "points" in views(dock))
    layer = views(dock)["points"]
    assert type(layer).__name__ == "Points" and layer.data.shape[1] == 3
    image = dock.case_view.image_layer()
    depths = {round(float(image.world_to_data(layer.data_to_world(point))[0])) for point in layer.data}
    assert depths <= {dock.workbench.slice_index}
