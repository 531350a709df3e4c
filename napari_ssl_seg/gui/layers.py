"""Layers of a case, named and coloured stably: made once, filled again afterwards, never piled up.

Our layers carry their case and role in ``layer.metadata["napari_ssl_seg"]``. A layer that a user made is never touched,
also where it bears the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points, Shapes

    from napari_ssl_seg.study import ClassInfo

KEY = "napari_ssl_seg"
MASK_COLOUR = "#cc79a7"
BOX_COLOUR, BOX_WIDTH = "#f0e442", 0.6
POINT_COLOUR, POINT_SIZE = "#f0e442", 0.6
"""Size in voxels."""
SMALL = 2**22
"""Values. Data of smaller layers are copied, and written over by the next of the same shape: told of an array of its own,
napari works out anew what the viewer extends over, which costs 30 ms a layer."""
COLOURS_AT_LEAST = 64

_coloured: WeakKeyDictionary[Layer, dict[int | None, Any]] = WeakKeyDictionary()


def layer_name(case_id: str, *parts: str) -> str:
    """``07`` and ``fdas``, ``fused`` -> ``case 07 | fdas | fused``; an id that has a word in it stands for itself."""
    head = case_id if any(character.isalpha() for character in case_id) else f"case {case_id}"
    return " | ".join((head, *parts))


def layer_tag(layer: Layer) -> dict[str, Any] | None:
    """Case, role and group of a layer of ours; None for any other."""
    tag = layer.metadata.get(KEY)
    return tag if isinstance(tag, dict) else None


def own_layers(viewer: ViewerModel, *, case: str | None = None, group: str | None = None) -> list[Layer]:
    """Our layers, of one case and of one group where these are named, in the viewer's order."""
    found = []
    for layer in viewer.layers:
        tag = layer_tag(layer)
        if tag is not None and case in (None, tag.get("case")) and group in (None, tag.get("group")):
            found.append(layer)
    return found


def remove_own(viewer: ViewerModel, layers: Iterable[Layer]) -> None:
    """Take layers of ours away."""
    for layer in list(layers):
        if layer in viewer.layers:
            viewer.layers.remove(layer)


def find_own(viewer: ViewerModel, name: str, kind: type | None = None) -> Layer | None:
    """Our layer of that name."""
    for layer in viewer.layers:
        if layer.name == name and layer_tag(layer) is not None and (kind is None or isinstance(layer, kind)):
            return layer
    return None


def show_image(
    viewer: ViewerModel,
    name: str,
    data: np.ndarray,
    *,
    placement: Mapping[str, Any],
    tag: Mapping[str, Any],
    contrast: tuple[float, float] | None = None,
    visible: bool | None = None,
    **options: Any,
) -> Image:
    """Show ``data`` (z, y, x) as the image layer ``name``.

    ``placement`` holds scale, translate, units, axis_labels and metadata (`volumes.layer_kwargs`). Contrast limits that
    the user set on the layer stay, unless ``contrast`` is given; ``visible`` None: shown when new, else as it is.
    """
    from napari.layers import Image

    layer = find_own(viewer, name)
    if not isinstance(layer, Image):
        _make_room(viewer, layer)
        limits = contrast if contrast is not None else robust_range(data)
        return viewer.add_image(
            _own(data),
            name=name,
            visible=visible is not False,
            contrast_limits=limits,
            **{"colormap": "gray", "interpolation2d": "nearest", **options},
            **_placed(placement, tag),
        )
    _fill(layer, data)
    _move(layer, placement, tag)
    if contrast is not None and tuple(layer.contrast_limits) != tuple(contrast):
        layer.contrast_limits = contrast
    _set_visible(layer, visible)
    return layer


def show_labels(
    viewer: ViewerModel,
    name: str,
    data: np.ndarray,
    *,
    placement: Mapping[str, Any],
    tag: Mapping[str, Any],
    colours: Mapping[int | None, Any] | None = None,
    visible: bool | None = None,
    editable: bool = False,
    opacity: float = 0.5,
    contour: int = 0,
    features: Mapping[str, Any] | None = None,
) -> Labels:
    """Show ``data`` (z, y, x; whole numbers) as the labels layer ``name``; ``colours`` as of `class_colours`.

    ``contour``: width of outlines in pixels of ``data``, 0 fills. ``features``: columns of a table, of which ``index`` is
    the label; the status bar tells the row of the label under the mouse. ``opacity`` is for a new layer.
    """
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    data = compact(data)
    layer = find_own(viewer, name)
    if not isinstance(layer, Labels):
        _make_room(viewer, layer)
        extra = {"colormap": DirectLabelColormap(color_dict=dict(colours))} if colours is not None else {}
        shown = visible is not False
        layer = viewer.add_labels(
            _own(data), name=name, visible=shown, opacity=opacity, **extra, **_placed(placement, tag)
        )
        layer.contour = contour
    else:
        if layer.contour != contour:
            layer.contour = contour
        _fill(layer, data)
        _move(layer, placement, tag)
        if colours is not None and _coloured.get(layer) != dict(colours):
            layer.colormap = DirectLabelColormap(color_dict=dict(colours))
        _set_visible(layer, visible)
    if colours is not None:
        _coloured[layer] = dict(colours)
    if features is not None:
        import pandas

        layer.features = pandas.DataFrame(dict(features))
    layer.editable = editable
    return layer


def show_mask(viewer: ViewerModel, name: str, data: np.ndarray, **options: Any) -> Labels:
    """Show a mask (z, y, x) in one colour."""
    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent", 1: MASK_COLOUR}
    return show_labels(viewer, name, (np.asarray(data) != 0).astype(np.uint8), **{"colours": colours, **options})


def show_boxes(
    viewer: ViewerModel,
    name: str,
    boxes: np.ndarray,
    *,
    placement: Mapping[str, Any],
    tag: Mapping[str, Any],
    visible: bool | None = None,
    colour: str = BOX_COLOUR,
) -> Shapes:
    """Show boxes, (N, 6): start (z, y, x), then stop, in voxels; as rectangles on every slice that they cover."""
    from napari.layers import Shapes

    rectangles = box_rectangles(boxes)
    layer = find_own(viewer, name)
    if isinstance(layer, Shapes):  # a new layer costs ten times as much
        layer.data = (rectangles, ["rectangle"] * len(rectangles)) if rectangles else []
        if rectangles:
            layer.edge_color, layer.face_color, layer.edge_width = colour, "transparent", BOX_WIDTH
        _move(layer, placement, tag)
        _set_visible(layer, visible)
        return layer
    _make_room(viewer, layer)
    return viewer.add_shapes(
        rectangles or None,
        ndim=3,
        shape_type="rectangle",
        name=name,
        edge_color=colour,
        face_color="transparent",
        edge_width=BOX_WIDTH,
        visible=visible is not False,
        **_placed(placement, tag),
    )


def show_points(
    viewer: ViewerModel,
    name: str,
    points: np.ndarray,
    *,
    placement: Mapping[str, Any],
    tag: Mapping[str, Any],
    visible: bool | None = None,
    colour: str = POINT_COLOUR,
) -> Points:
    """Show points, (N, 3) in voxels (z, y, x), on the slices in which they lie."""
    from napari.layers import Points

    layer = find_own(viewer, name)
    data = np.asarray(points, dtype=float).reshape(-1, 3)
    if isinstance(layer, Points):
        layer.selected_data = set()
        layer.data = data
        _move(layer, placement, tag)
        _set_visible(layer, visible)
        return layer
    _make_room(viewer, layer)
    layer = viewer.add_points(
        data,
        ndim=3,
        name=name,
        size=POINT_SIZE,
        face_color=colour,
        border_width=0,
        visible=visible is not False,
        **_placed(placement, tag),
    )
    layer.editable = False
    return layer


def box_rectangles(boxes: np.ndarray, *, most: int = 2000) -> list[np.ndarray]:
    """Corners (4, 3) of the rectangles that boxes (N, 6) cut out of each slice; at most ``most`` of them."""
    rectangles = []
    for z0, y0, x0, z1, y1, x1 in np.asarray(boxes, dtype=float).reshape(-1, 6):
        for z in range(int(z0), max(int(z0) + 1, int(z1))):
            low, high = (y0 - 0.5, x0 - 0.5), (y1 - 0.5, x1 - 0.5)
            rectangles.append(
                np.array([(z, low[0], low[1]), (z, low[0], high[1]), (z, high[0], high[1]), (z, high[0], low[1])])
            )
    return rectangles[:most]


def class_colours(classes: Sequence[ClassInfo]) -> dict[int | None, Any]:
    """Colour by label value, as `DirectLabelColormap` wants it; a value that is no class is drawn in grey."""
    colours: dict[int | None, Any] = {None: "#999999", 0: "transparent"}
    colours.update({item.value: item.color for item in classes})
    return colours


def view_colours(data: np.ndarray) -> dict[int | None, Any]:
    """Colours of a label map that a pretext made, the same as in its thumbnail."""
    from napari_ssl_seg.methods.pictures import PALETTE

    shades = [tuple(channel / 255 for channel in colour) for colour in PALETTE.tolist()[1:]]
    # More than there are, so that they are the same for the next map.
    highest = max(COLOURS_AT_LEAST, 2 ** (int(data.max()).bit_length() if data.size else 0))
    return {
        None: "transparent",
        0: "transparent",
        **{value: shades[(value - 1) % len(shades)] for value in range(1, highest + 1)},
    }


def robust_range(data: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile of what is finite, from at most about 200,000 voxels; never an empty range."""
    flat = np.asarray(data).reshape(-1)
    flat = flat[:: max(1, flat.size // 200_000)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(flat, (1, 99)))
    if high <= low:
        low, high = float(flat.min()), float(flat.max())
    return (low, high) if high > low else (low, low + max(1.0, 1e-6 * abs(low)))


def compact(data: np.ndarray) -> np.ndarray:
    """Labels in the smallest unsigned type that holds them (napari steps through uint8 and uint16 twice as fast)."""
    data = np.asarray(data)
    if data.dtype in (np.uint8, np.uint16):
        return data
    low, high = (int(data.min()), int(data.max())) if data.size else (0, 0)
    if low < 0:
        return data.astype(np.int32)
    return data.astype(np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32)


def _own(data: np.ndarray) -> np.ndarray:
    return np.array(data) if data.size <= SMALL else data


def _fill(layer: Image | Labels, data: np.ndarray) -> None:
    held = layer.data
    ours = isinstance(held, np.ndarray) and held.flags.owndata and held.size <= SMALL
    if ours and held.shape == data.shape and held.dtype == data.dtype:
        held[...] = data
        layer.refresh(extent=False)
    else:
        layer.data = _own(data)


def _placed(placement: Mapping[str, Any], tag: Mapping[str, Any]) -> dict[str, Any]:
    placed = dict(placement)
    placed["metadata"] = {**placed.get("metadata", {}), KEY: dict(tag)}
    return placed


def _move(layer: Layer, placement: Mapping[str, Any], tag: Mapping[str, Any]) -> None:
    for name in ("scale", "translate"):
        if name in placement and not np.array_equal(getattr(layer, name), placement[name]):
            setattr(layer, name, placement[name])
    layer.metadata = {**layer.metadata, **placement.get("metadata", {}), KEY: dict(tag)}


def _set_visible(layer: Layer, visible: bool | None) -> None:
    if visible is not None and layer.visible != visible:
        layer.visible = visible


def _make_room(viewer: ViewerModel, layer: Layer | None) -> None:
    """A layer of ours of another kind gives its name away."""
    if layer is not None:
        viewer.layers.remove(layer)
