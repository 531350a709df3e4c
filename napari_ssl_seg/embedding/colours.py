"""Colours of the points of a map, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.embedding.places import Place
    from napari_ssl_seg.study import ClassInfo

COLOURINGS = {
    "slice": "position of the slice, from feet to head",
    "label": "label with most voxels",
    "case": "scan",
    "split": "split",
}
CIVIDIS = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
"""Six colours along matplotlib's map that is read alike by all eyes."""
SPLITS = {"train": "#0072B2", "validation": "#E69F00", "test": "#CC79A7"}
BACKGROUND, UNLABELLED = "#8c8c8c", "#c9c9c9"
MOST_NAMED = 12


@dataclass(frozen=True)
class Colours:
    """One colour a point, and a legend: words and their colour."""

    of_points: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]


def colours(name: str, places: Sequence[Place], labels: np.ndarray, classes: Sequence[ClassInfo] = ()) -> Colours:
    """Colour points by the position of their slice, their label, scan or split.

    Raises
    ------
    UserError
        For any other name.
    """
    if name == "slice":
        points = tuple(_mixed(place.height) for place in places)
        return Colours(points, (("first slice", CIVIDIS[0]), ("middle", _mixed(0.5)), ("last slice", CIVIDIS[-1])))
    if name == "label":
        known = {info.value: (info.name, info.color) for info in classes}
        meaning = {-1: ("no label", UNLABELLED), 0: ("background", BACKGROUND), **known}
        present = np.unique(labels).tolist()
        legend = tuple(meaning.get(value, (f"label {value}", BACKGROUND)) for value in present)
        return Colours(tuple(meaning.get(int(v), ("", BACKGROUND))[1] for v in labels), legend)
    if name == "split":
        present = [split for split in SPLITS if any(place.split == split for place in places)]
        return Colours(
            tuple(SPLITS.get(place.split, BACKGROUND) for place in places), tuple((s, SPLITS[s]) for s in present)
        )
    if name == "case":
        cases = list(dict.fromkeys(place.case_id for place in places))
        by_case = {case: _hue(number) for number, case in enumerate(cases)}
        legend = tuple((case, by_case[case]) for case in cases[:MOST_NAMED])
        if len(cases) > MOST_NAMED:
            legend += ((f"and {len(cases) - MOST_NAMED} more", "transparent"),)
        return Colours(tuple(by_case[place.case_id] for place in places), legend)
    raise UserError(f"points are coloured by {', '.join(COLOURINGS)}, not by {name!r}")


def _mixed(share: float) -> str:
    """A colour along `CIVIDIS`."""
    place = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    first = min(int(place), len(CIVIDIS) - 2)
    low, high = (np.array([int(CIVIDIS[first + step][at : at + 2], 16) for at in (1, 3, 5)]) for step in (0, 1))
    red, green, blue = (low + (high - low) * (place - first)).round().astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _hue(number: int) -> str:
    """Colours that stay apart however many there are: each turns the hue by the golden angle."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb((number * 0.61803398875 + 0.55) % 1.0, 0.65, 0.85)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
