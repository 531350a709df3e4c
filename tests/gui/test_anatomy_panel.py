"""The card in tab 2 that finds a point in another scan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.gui import layers
from napari_ssl_seg.gui.dock import PRETEXT

if TYPE_CHECKING:
    from napari_ssl_seg.gui.anatomy_panel import AnatomyPanel
    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.study import Study


@pytest.fixture
def panel(dock: SSLDock, study: Study, settle: Any) -> AnatomyPanel:
    """Open on a case, with its first match shown."""
    tab = dock.show_tab(PRETEXT)
    dock.workbench.set_study(study)
    dock.workbench.open_case("head_001")
    settle(lambda: not dock.case_view.busy and not tab.busy)
    tab.anatomy.head.click()
    settle(lambda: tab.anatomy.answer is not None and not tab.anatomy.busy)
    return tab.anatomy


def click(dock: SSLDock, position: tuple[float, ...], *moves: tuple[float, ...]) -> None:
    """What napari does with a press, some moves and a release on the canvas."""
    ours = [callback for callback in dock.viewer.mouse_drag_callbacks if "CanvasClicks" in callback.__qualname__]
    for callback in ours:
        event = SimpleNamespace(button=1, position=position, type="mouse_press")
        steps = callback(dock.viewer, event)
        next(steps, None)
        for place in moves:
            event.type, event.position = "mouse_move", place
            next(steps, None)
        event.type = "mouse_release"
        next(steps, None)


def test_folded_it_asks_nothing_and_hears_no_click(dock: SSLDock, study: Study, settle: Any) -> None:
    before = len(dock.viewer.mouse_drag_callbacks)
    tab = dock.show_tab(PRETEXT)
    dock.workbench.set_study(study)
    dock.workbench.open_case("head_001")
    settle(lambda: not dock.case_view.busy and not tab.busy)
    assert not tab.anatomy.is_open and tab.anatomy.answer is None
    assert len(dock.viewer.mouse_drag_callbacks) == before


def test_opened_it_shows_the_middle_of_the_slice_in_the_first_other_scan(panel: AnatomyPanel, dock: SSLDock) -> None:
    assert panel.answer is not None
    request = panel.answer.request
    assert (request.case_id, request.point[0]) == ("head_001", dock.workbench.slice_index)
    assert request.other_id != "head_001"
    assert panel.pictures.isVisible() and panel.pictures.scan.pixels.shape == (192, 192, 3)
    assert panel.state.matcher == "same_field" and not panel.prepare_button.isVisible()
    assert "Accepted" in panel.verdict.text() and "same field of view" in panel.verdict.text()


def test_a_click_in_the_viewer_asks_about_that_voxel_and_a_drag_does_not(
    panel: AnatomyPanel, dock: SSLDock, settle: Any
) -> None:
    image = dock.case_view.image_layer()
    world = tuple(float(v) for v in image.data_to_world((4, 20, 7)))
    click(dock, world, tuple(v + 5 for v in world))
    settle(lambda: not panel.busy)
    assert panel.answer.request.point != pytest.approx((4, 20, 7))
    click(dock, world)
    settle(lambda: not panel.busy)
    assert panel.answer.request.point == pytest.approx((4, 20, 7))
    (points,) = layers.own_layers(dock.viewer, group="anatomy")
    assert points.data[0] == pytest.approx((4, 20, 7))
    assert points.data_to_world(points.data[0]) == pytest.approx(world)


def test_a_click_on_the_picture_asks_about_what_lies_there(panel: AnatomyPanel, settle: Any) -> None:
    shape = (10, 32, 24)
    panel.pictures.scan.clicked.emit(0.5, 0.5)
    settle(lambda: not panel.busy)
    assert panel.answer.request.point[1:] == pytest.approx(((shape[1] - 1) / 2, (shape[2] - 1) / 2))
    panel.pictures.scan.clicked.emit(0.0, 0.0)  # beside the scan, which is not square: nothing is asked
    settle(lambda: not panel.busy)
    assert panel.answer.request.point[2] == pytest.approx((shape[2] - 1) / 2)


def test_the_slider_takes_the_point_along(panel: AnatomyPanel, dock: SSLDock, settle: Any) -> None:
    dock.workbench.set_slice(2)
    settle(lambda: not panel.busy and panel.answer.request.point[0] == 2)


def test_training_in_the_background_then_the_embedding_answers(panel: AnatomyPanel, dock: SSLDock, settle: Any) -> None:
    panel.form.set_values({"matcher": "embedding", "match_iterations": 2, "match_device": "cpu"})
    panel.form.changed.emit(panel.form.values())
    settle(lambda: not panel.busy and panel.prepare_button.isVisible())
    assert "not trained yet" in panel.work.line.text()
    panel.prepare_button.click()
    assert panel.work.busy
    settle(lambda: not panel.busy and panel.answer.ready and panel.answer.matcher.endswith("eMbedding"))
    assert not panel.prepare_button.isVisible()
    assert panel.answer.pictures.similarity is not None
    with_heat = np.array(panel.pictures.other.pixels)
    panel.heat_box.setChecked(False)
    assert not np.array_equal(with_heat, panel.pictures.other.pixels)


def test_the_match_can_be_opened_and_looked_back_from(panel: AnatomyPanel, dock: SSLDock, settle: Any) -> None:
    other = panel.answer.request.other_id
    panel.open_button.click()
    assert dock.workbench.case_id == other
    settle(lambda: not panel.busy and panel.answer is not None and not dock.case_view.busy)
    assert panel.answer.request.other_id == "head_001"


def test_closing_it_takes_its_point_away(panel: AnatomyPanel, dock: SSLDock) -> None:
    assert layers.own_layers(dock.viewer, group="anatomy")
    panel.head.click()
    assert not layers.own_layers(dock.viewer, group="anatomy")


def test_a_method_that_has_a_matcher_brings_its_own_settings(panel: AnatomyPanel, settle: Any) -> None:
    panel.use({"matcher": "affine", "mask_ratio": 0.75})
    settle(lambda: not panel.busy and panel.state.matcher == "affine")
    assert not panel.form.isVisible() and panel.prepare_button.text() == "Register all scans"
    panel.use({"mask_ratio": 0.75})
    settle(lambda: not panel.busy and panel.state.matcher == "same_field")
    assert panel.form.isVisible()


def test_a_study_with_one_scan_says_so(dock: SSLDock, tmp_path: Any, settle: Any) -> None:
    from napari_ssl_seg.study import Study

    one = Study.create_from_arrays(
        tmp_path / "one", [("a", np.random.default_rng(0).random((8, 8, 8)), None, None)], split=(100, 0, 0)
    )
    tab = dock.show_tab(PRETEXT)
    dock.workbench.set_study(one)
    dock.workbench.open_case("a")
    tab.anatomy.head.click()
    settle(lambda: not tab.anatomy.busy and tab.anatomy.state is not None and not tab.busy)
    assert "no other scan" in tab.anatomy.work.line.text()
    assert tab.anatomy.answer is None
