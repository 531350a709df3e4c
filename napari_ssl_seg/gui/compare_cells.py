"""What stands in each cell of a comparison: arrays, colours, and the words for every slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_ssl_seg.gui.style import mix
from napari_ssl_seg.workbench.compared_entry import REFERENCE
from napari_ssl_seg.workbench.surface_bins import LOST, MIDDLE, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from napari.layers import Labels

    from napari_ssl_seg.workbench.compared_case import CaseComparison
    from napari_ssl_seg.workbench.slice_numbers import SliceNumbers

Mode = Literal["side by side", "overlay", "blink"]
MODES: tuple[Mode, ...] = ("side by side", "overlay", "blink")
LABELS, ERRORS, DISTANCES = "labels", "errors", "distances"
ERROR_COLORS: dict[int | None, str] = {1: "#D81B60", 2: "#1E88E5", 3: "#FFC107"}
"""Missed, extra, other class: fixed, and told apart with every kind of colour vision."""
ERROR_WORDS = {1: "missed", 2: "extra", 3: "other class"}
REFERENCE_COLOR = "#9AA0AA"
SHORT, SAME, BEYOND, LOST_COLOR = "#2166AC", "#F7F7F7", "#B2182B", "#FFC107"
"""Blue falls short, red goes beyond (ColorBrewer's RdBu); amber where there is nothing."""
FIRST_COLORS, LAST_COLORS = ("#5FD38D", "#12703C"), ("#F0A37C", "#A8440F")
"""Of the best and of the last, on dark and on light."""


@dataclass(frozen=True)
class Cell:
    """What one cell shows."""

    key: str
    title: str
    color: str
    labels: np.ndarray | None
    extra: np.ndarray | None
    """Errors or distances, where these are looked at."""
    text: Callable[[int], str]
    """Slice -> name and numbers; the first line alone where cells lie over each other."""
    rank: Callable[[int], int]
    method: int | None = None

    @property
    def is_reference(self) -> bool:
        return self.key == REFERENCE


def cells_of(case: CaseComparison, numbers: SliceNumbers, extras: Mapping[str, np.ndarray | None]) -> list[Cell]:
    """Reference, methods, and those that have not predicted the case; ``extras`` by key."""
    cells = []
    if case.reference is not None:
        cells.append(
            Cell(
                REFERENCE, REFERENCE, REFERENCE_COLOR, case.reference, None, lambda i: f"{REFERENCE}\nslice {i}", _none
            )
        )
    for place, method in enumerate(case.methods):
        entry = method.entry
        cells.append(
            Cell(
                entry.key,
                entry.title,
                entry.color,
                method.labels,
                extras.get(entry.key),
                lambda index, place=place: numbers.text(place, index),  # type: ignore[misc]
                lambda index, place=place: int(numbers.ranks[place, index]),  # type: ignore[misc]
                place,
            )
        )
    for entry, words in [
        *((entry, "not predicted yet") for entry in case.missing),
        *((entry, "another grid") for entry, _ in case.refused),
    ]:
        words = f"{entry.title}\n{words}"
        cells.append(Cell(entry.key, entry.title, entry.color, None, None, lambda _i, words=words: words, _none))  # type: ignore[misc]
    return cells


def error_colours() -> dict[int | None, Any]:
    """Of the layer of errors."""
    return {None: "transparent", 0: "transparent", **ERROR_COLORS}


def distance_colours() -> dict[int | None, Any]:
    """Of the layer of distances: value of `surface_bins` -> colour."""
    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent", MIDDLE: SAME, LOST: LOST_COLOR}
    for step in range(1, STEPS + 1):
        share = (step / STEPS) ** 0.7  # small distances are told apart best
        colours[MIDDLE + step] = mix(SAME, BEYOND, share)
        colours[MIDDLE - step] = mix(SAME, SHORT, share)
    return colours


def rank_colour(rank: int, count: int, text: str, dark: bool) -> str:
    """Of the words in a cell: the best and the last stand out, the others are as all text is."""
    if rank == 1 and count > 1:
        return FIRST_COLORS[0 if dark else 1]
    return LAST_COLORS[0 if dark else 1] if rank and rank == count > 2 else text


def outline(labels: Labels, cell: Cell, *, over: bool, outlined: bool, flat: bool) -> None:
    """In the overlay the reference stays filled, and each method is an outline in its own colour; ``flat``: not in 3D."""
    from napari.utils.colormaps import DirectLabelColormap

    alone = over and not cell.is_reference
    key = "napari_ssl_seg_colours"
    contour = 1 if (alone or outlined) and flat else 0
    if labels.contour != contour:
        labels.contour = contour
        labels.opacity = 1.0 if contour else 0.5
    # Filled again with another case, the layer has the colours of the classes again.
    in_one_colour = set(labels.colormap.color_dict) <= {None, 0}
    if alone and not in_one_colour:
        labels.metadata[key] = labels.colormap
        labels.colormap = DirectLabelColormap(color_dict={None: cell.color, 0: "transparent"})
    elif not alone and key in labels.metadata:
        colours = labels.metadata.pop(key)
        if in_one_colour:
            labels.colormap = colours


def _none(_index: int) -> int:
    return 0
