"""Layers: names, places, colours, and that they are reused. On the viewer's model alone, without a window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari.components import ViewerModel

from napari_ssl_seg.gui import layers

PLACE = {
    "scale": (3.0, 1.5, 1.5),
    "translate": (-10.0, 4.0, 2.0),
    "units": ("mm",) * 3,
    "axis_labels": ("z", "y", "x"),
    "metadata": {"affine": np.eye(4)},
}
TAG = {"case": "07", "group": "pretext", "role": "fused"}


def show(viewer: ViewerModel, name: str = "case 07 | fdas | fused", **options: Any) -> Any:
    image = np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5)
    return layers.show_image(viewer, name, image, **{"placement": PLACE, "tag": TAG, **options})


def test_names_say_case_and_role() -> None:
    assert layers.layer_name("07", "fdas", "fused") == "case 07 | fdas | fused"
    assert layers.layer_name("hippocampus_003", "image") == "hippocampus_003 | image"


def test_a_layer_lies_where_its_volume_lies() -> None:
    layer = show(ViewerModel())
    assert tuple(layer.scale) == PLACE["scale"] and tuple(layer.translate) == PLACE["translate"]
    assert tuple(str(unit) for unit in layer.units) == ("millimeter",) * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert np.array_equal(layer.metadata["affine"], np.eye(4))
    assert layers.layer_tag(layer) == TAG


def test_the_same_name_fills_the_same_layer_and_keeps_what_the_user_set() -> None:
    viewer = ViewerModel()
    first = show(viewer)
    first.contrast_limits, first.visible, first.opacity = (3, 9), False, 0.4
    again = layers.show_image(
        viewer, first.name, np.ones((1, 4, 5)), placement={**PLACE, "translate": (5.0, 4.0, 2.0)}, tag=TAG
    )
    assert again is first and len(viewer.layers) == 1
    assert again.data.shape == (1, 4, 5) and again.translate[0] == 5.0
    assert tuple(again.contrast_limits) == (3, 9) and again.opacity == 0.4 and not again.visible


def test_a_layer_of_the_users_with_the_same_name_is_left_alone() -> None:
    viewer = ViewerModel()
    users = viewer.add_image(np.zeros((2, 2, 2)), name="case 07 | fdas | fused")
    ours = show(viewer)
    assert ours is not users and len(viewer.layers) == 2
    layers.remove_own(viewer, layers.own_layers(viewer))
    assert list(viewer.layers) == [users]


def test_a_name_that_changes_its_kind_changes_its_layer() -> None:
    viewer = ViewerModel()
    show(viewer)
    mask = layers.show_mask(viewer, "case 07 | fdas | fused", np.ones((2, 4, 5), bool), placement=PLACE, tag=TAG)
    assert list(viewer.layers) == [mask]


def test_own_layers_can_be_asked_for_by_case_and_group() -> None:
    viewer = ViewerModel()
    one = show(viewer)
    other = show(viewer, "case 08 | image", tag={"case": "08", "group": "case", "role": "image"})
    viewer.add_points(np.zeros((1, 3)))
    assert layers.own_layers(viewer) == [one, other]
    assert layers.own_layers(viewer, case="08") == [other]
    assert layers.own_layers(viewer, group="pretext") == [one]


def test_class_colours_are_those_of_the_study_and_background_is_clear() -> None:
    classes = [
        SimpleNamespace(value=1, name="LV", color="#e69f00"),
        SimpleNamespace(value=4, name="RV", color="#56b4e9"),
    ]
    colours = layers.class_colours(classes)
    layer = layers.show_labels(ViewerModel(), "x", np.array([[[0, 1, 4]]]), placement=PLACE, tag=TAG, colours=colours)
    assert np.allclose(layer.get_color(1), [230 / 255, 159 / 255, 0, 1], atol=1e-3)
    assert np.allclose(layer.get_color(4)[:3], [86 / 255, 180 / 255, 233 / 255], atol=1e-3)
    assert layer.colormap.map(0)[3] == 0
    assert not layer.editable


def test_labels_of_a_pretext_have_the_colours_of_their_thumbnail() -> None:
    from napari_ssl_seg.methods.pictures import PALETTE

    colours = layers.view_colours(np.array([0, 1, 2, 9]))
    assert colours[0] == "transparent"
    assert np.allclose(colours[2], PALETTE[2] / 255) and np.allclose(colours[9], PALETTE[2] / 255)


def test_boxes_are_rectangles_on_every_slice_that_they_cover() -> None:
    boxes = np.array([[2, 1, 0, 4, 5, 3], [0, 0, 0, 1, 2, 2]])
    rectangles = layers.box_rectangles(boxes)
    assert [set(corners[:, 0]) for corners in rectangles] == [{2.0}, {3.0}, {0.0}]
    assert rectangles[0][:, 1].min() == 0.5 and rectangles[0][:, 1].max() == 4.5
    assert rectangles[0][:, 2].min() == -0.5 and rectangles[0][:, 2].max() == 2.5


def test_boxes_are_reused_also_when_there_are_none() -> None:
    viewer = ViewerModel()
    first = layers.show_boxes(viewer, "b", np.array([[0, 1, 1, 1, 3, 3]]), placement=PLACE, tag=TAG)
    for boxes in (np.zeros((0, 6)), np.array([[0, 1, 1, 1, 3, 3], [0, 2, 2, 1, 4, 4]])):
        again = layers.show_boxes(viewer, "b", boxes, placement=PLACE, tag=TAG)
        assert again is first and len(again.data) == len(boxes)
    assert list(viewer.layers) == [first]


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=6),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_contrast_limits_are_always_finite_and_rising(data: np.ndarray) -> None:
    low, high = layers.robust_range(data)
    assert np.isfinite([low, high]).all() and low < high


@pytest.mark.parametrize(
    ("values", "dtype"), [([0, 3], np.uint8), ([0, 300], np.uint16), ([0, 70_000], np.int32), ([-1, 3], np.int32)]
)
def test_labels_take_the_smallest_type_that_holds_them(values: list[int], dtype: type) -> None:
    found = layers.compact(np.array(values, np.int64))
    assert found.dtype == dtype and found.tolist() == values


def test_points_lie_on_the_scan_and_are_filled_again() -> None:
    viewer = ViewerModel()
    layer = layers.show_points(viewer, "p", np.array([[0, 1, 2], [1, 3, 4]]), placement=PLACE, tag=TAG)
    assert np.allclose(layer.data_to_world((1, 3, 4)), (-10 + 3, 4 + 4.5, 2 + 6))
    again = layers.show_points(viewer, "p", np.zeros((0, 3)), placement=PLACE, tag=TAG, visible=False)
    assert again is layer and len(layer.data) == 0 and not layer.visible
    labels = layers.show_labels(viewer, "p", np.ones((1, 2, 2), np.uint8), placement=PLACE, tag=TAG)
    assert list(viewer.layers) == [labels]


def test_labels_are_outlined_and_tell_their_rows() -> None:
    viewer = ViewerModel()
    data = np.array([[[0, 1], [1, 2]]], np.uint8)
    options: dict[str, Any] = {"placement": PLACE, "tag": TAG}
    layer = layers.show_labels(viewer, "r", data, contour=1, features={"index": [1, 2], "area": [5, 6]}, **options)
    assert layer.contour == 1
    assert "area: 6" in layer.get_status((0, 1, 1))["value"]
    again = layers.show_labels(viewer, "r", data, contour=0, features={"index": [2], "area": [9]}, **options)
    assert again is layer and layer.contour == 0 and "area: 9" in layer.get_status((0, 1, 1))["value"]


def test_data_of_the_same_shape_are_written_over_without_touching_what_was_handed_over() -> None:
    viewer = ViewerModel()
    first, second = np.zeros((1, 3, 4), np.float32), np.ones((1, 3, 4), np.float32)
    layer = layers.show_image(viewer, "i", first, placement=PLACE, tag=TAG)
    held = layer.data
    layers.show_image(viewer, "i", second, placement=PLACE, tag=TAG)
    assert layer.data is held and (held == 1).all()
    assert not first.any(), "the caller's array stays as it was"
    layers.show_image(viewer, "i", np.full((1, 5, 4), 2, np.float32), placement=PLACE, tag=TAG)
    assert layer.data.shape == (1, 5, 4)


def test_a_colormap_that_the_user_changed_stays_until_the_colours_are_others() -> None:
    viewer = ViewerModel()
    data, options = np.array([[[0, 1], [1, 2]]], np.uint8), {"placement": PLACE, "tag": TAG}
    colours: dict[int | None, Any] = {None: "white", 0: "transparent"}
    layer = layers.show_labels(viewer, "r", data, colours=colours, **options)  # type: ignore[arg-type]
    chosen = layer.colormap = type(layer.colormap)(color_dict={None: "red", 0: "transparent"})
    layers.show_labels(viewer, "r", data, colours=colours, **options)  # type: ignore[arg-type]
    assert layer.colormap is chosen
    layers.show_labels(viewer, "r", data, colours={None: "blue", 0: "transparent"}, **options)  # type: ignore[arg-type]
    assert layer.colormap is not chosen
