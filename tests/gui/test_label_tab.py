"""The Label tab in a real viewer: what is drawn by mouse or script is in the store at once, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.annotation import SliceState, open_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.label_tab import LabelTab
    from napari_ssl_seg.study import Study

CASE = "head_005"
"""The one without a label."""
LABELLED_CASE = "head_000"


@pytest.fixture
def tab(labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock) -> LabelTab:
    """The tab in a real viewer, on the case without labels."""
    return labelling_tab(shown, CASE)


def stored(study: Study, case_id: str = CASE) -> np.ndarray:
    """What another process would read from the disk now."""
    with open_labels(study, write=False) as store:
        return store.labels(case_id)


def test_opening_the_tab_makes_one_editable_layer_placed_as_the_scan(tab: LabelTab, shown: SSLDock) -> None:
    layer = tab.layer.layer
    assert layer is not None and layer.name == f"{CASE} | labels" and layer.data.dtype == np.uint8
    image = shown.viewer.layers[f"{CASE} | image"]
    assert layer.editable and np.allclose(layer.scale, image.scale) and np.allclose(layer.translate, image.translate)
    assert "affine" in layer.metadata and layer.units == image.units
    assert [name for name in shown.viewer.layers if str(name).endswith("labels")] == [layer]
    assert shown.viewer.layers.selection.active is layer


def test_a_stroke_is_durable_and_undo_too(tab: LabelTab, study: Study) -> None:
    layer = tab.layer.layer
    assert layer is not None
    before = layer.data.copy()
    layer.mode = "paint"
    layer.brush_size = 3
    layer.paint((5, 10, 10), 1)
    painted = layer.data.copy()
    assert painted[5].any() and tab.labelling.flush(5)
    assert np.array_equal(stored(study), painted)
    with open_labels(study, write=False) as store:
        assert store.states(CASE)[5] == SliceState.LABELLED
    layer.undo()
    assert tab.labelling.flush(5) and np.array_equal(stored(study), before)
    with open_labels(study, write=False) as store:
        assert store.states(CASE)[5] == SliceState.UNLABELLED, "an undone first stroke is no label"
    layer.redo()
    assert tab.labelling.flush(5) and np.array_equal(stored(study), painted)
