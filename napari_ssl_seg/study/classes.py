"""Names and colours of the labelled structures."""

from __future__ import annotations

import colorsys
import re
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.records import ClassInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_CLASS_VALUE = 65535

# Okabe and Ito, "Color universal design" (2008), without the black, which scans are full of.
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_GOLDEN_RATIO = 0.618033988749895
_COLOR = re.compile(r"#[0-9a-f]{6}")


def class_color(position: int) -> str:
    """Colour of the class at ``position`` (0, 1, ...) of a study: Okabe-Ito first, then hues far apart."""
    if position < len(OKABE_ITO):
        return OKABE_ITO[position]
    turn = position - len(OKABE_ITO)
    red, green, blue = colorsys.hls_to_rgb(
        (0.08 + turn * _GOLDEN_RATIO) % 1.0, (0.55, 0.72, 0.42)[turn % 3], (0.75, 0.95, 0.6)[turn // 3 % 3]
    )
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def make_classes(values: Iterable[int], names: Mapping[int, str] | None = None) -> list[ClassInfo]:
    """A class for each value found in labels or named, ascending, with colours in that order."""
    names = dict(names or {})
    everything = sorted({*values, *names} - {0})
    return [
        ClassInfo(value, names.get(value) or f"class {value}", class_color(position))
        for position, value in enumerate(everything)
    ]


def new_classes(known: Iterable[ClassInfo], values: Iterable[int]) -> list[ClassInfo]:
    """Classes for those of ``values`` that are not ``known``, with colours that follow on."""
    taken = {item.value for item in known}
    added = sorted({*values} - taken - {0})
    return [ClassInfo(value, f"class {value}", class_color(len(taken) + place)) for place, value in enumerate(added)]


def change_class(
    known: Iterable[ClassInfo], value: int, name: str | None, color: str | None, lesion: bool | None = None
) -> ClassInfo:
    """The class of ``value`` with another name, colour or mark as lesions, or a new one.

    Raises
    ------
    StudyError
        When the value, the name (empty, or another class's) or the colour (not #rrggbb) cannot be used.
    """
    number = check_value(value)
    by_value = {item.value: item for item in known}
    old = by_value.get(number) or new_classes(by_value.values(), [number])[0]
    others = [item.name for item in by_value.values() if item.value != number]
    return ClassInfo(
        number,
        old.name if name is None else check_name(name, others),
        old.color if color is None else check_color(color),
        old.lesion if lesion is None else bool(lesion),
    )


def check_value(value: int) -> int:
    """``value`` as a class value; raises StudyError when it is no whole number from 1 to 65535."""
    if isinstance(value, bool) or int(value) != value or not 1 <= value <= MAX_CLASS_VALUE:
        raise StudyError(f"{value} cannot be a class; use a whole number from 1 to {MAX_CLASS_VALUE}")
    return int(value)


def check_color(color: str) -> str:
    """``color`` in small letters; raises StudyError when it is not written as #rrggbb."""
    if not isinstance(color, str) or not _COLOR.fullmatch(color.lower()):
        raise StudyError(f"{color!r} is not a colour; write it as #rrggbb, for example #e69f00")
    return color.lower()


def read_names(classes: Mapping[int | str, str] | Iterable[str] | None) -> dict[int, str]:
    """Class names as users give them: value -> name, or the names of the classes 1, 2, ... in their order.

    Raises
    ------
    StudyError
        When a value is no class value, or a name is empty or given twice.
    """
    if classes is None:
        return {}
    if isinstance(classes, str):
        raise StudyError(f"classes must be names by value, for example {{1: {classes!r}}}")
    pairs = classes.items() if hasattr(classes, "items") else enumerate(classes, start=1)
    names: dict[int, str] = {}
    for value, name in pairs:
        try:
            number = int(value)
        except (TypeError, ValueError) as error:
            raise StudyError(f"{value!r} is not a class value; give class names by value, 1 to 65535") from error
        if number == 0:
            continue  # background is often written down, and never a class
        names[check_value(number)] = check_name(name, names.values())
    return names


def check_name(name: str, others: Iterable[str]) -> str:
    """``name`` without blanks at its ends; raises StudyError when it is empty or among ``others``."""
    text = str(name).strip()
    if not text:
        raise StudyError("a class needs a name; write at least one letter")
    if text in set(others):
        raise StudyError(f"two classes are called {text!r}; give each its own name")
    return text
