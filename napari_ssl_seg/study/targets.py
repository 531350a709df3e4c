"""Overlapping targets: unions of label values that are segmented side by side, such as the whole tumour and its core.

The label files stay plain label maps. A network answers for each target by itself (is this voxel in it or not), and
what it says becomes a label map again by nnU-Net's rule (``regions_class_order``): the targets are painted one after the
other, each with a label value of its own, so that the later ones lie on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.classes import check_name, check_value
from napari_ssl_seg.study.records import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study.records import ClassInfo


Targets = Mapping[str, Any] | Iterable[Target] | None
"""Name -> label values, or what `read_targets` gave."""


def read_targets(given: Targets, order: Sequence[int] | None = None) -> tuple[Target, ...]:
    """Targets as users give them, in the order in which they are painted.

    Parameters
    ----------
    given
        Name -> label values, for example ``{"whole tumour": [1, 2, 4], "tumour core": [1, 4], "enhancing": [4]}``.
    order
        nnU-Net's ``regions_class_order``: the value that each target is painted with, in the order of ``given``, which is
        then the order of painting. None: the largest target is painted first, each with its first value that no later
        target has.

    Raises
    ------
    StudyError
        When a name or a value is not one, two targets are the same, or a target would leave no trace in a label map.
    """
    if given is None:
        return ()
    if not hasattr(given, "items"):
        return tuple(given)  # type: ignore[arg-type]
    unions: dict[str, tuple[int, ...]] = {}
    for name, values in given.items():  # type: ignore[union-attr]
        unions[check_name(name, unions)] = _values(name, values)
    for name, union in unions.items():
        same = [other for other, values in unions.items() if values == union and other != name]
        if same:
            raise StudyError(f"the targets {name!r} and {same[0]!r} have the same values; leave one of them out")
    if order is not None:
        written = _check_order(unions, order)
    else:
        unions = dict(sorted(unions.items(), key=lambda item: -len(item[1])))
        written = _own_values(unions)
    return tuple(
        Target(name=name, values=values, written=value)
        for (name, values), value in zip(unions.items(), written, strict=True)
    )


def scored_classes(classes: Iterable[ClassInfo], targets: Sequence[Target]) -> list[ClassInfo]:
    """What is scored, as classes: themselves, or each target with the value and colour that it is painted with."""
    known = {item.value: item for item in classes}
    if not targets:
        return list(known.values())
    found = [replace(known[target.written], name=target.name) for target in targets if target.written in known]
    return sorted(found, key=lambda item: item.value)


def unions_of(targets: Iterable[Target]) -> dict[int, tuple[int, ...]]:
    """For each target the value that it is painted with -> the values that belong to it."""
    return {target.written: target.values for target in targets}


def _values(name: str, values: Any) -> tuple[int, ...]:
    numbers = [values] if isinstance(values, int) else values
    if isinstance(numbers, str | bytes) or not hasattr(numbers, "__iter__"):
        raise StudyError(f"the target {name!r} needs label values, not {values!r}; write for example {name}=1,2,4")
    try:
        found = tuple(sorted({check_value(value) for value in numbers}))
    except (TypeError, ValueError, OverflowError) as error:  # the latter: infinity
        raise StudyError(
            f"the target {name!r} needs label values, not {str(values)[:80]}; write for example 1,2,4"
        ) from error
    if not found:
        raise StudyError(f"the target {name!r} has no label values; write for example {name}=1,2,4")
    return found


def _check_order(unions: Mapping[str, tuple[int, ...]], order: Sequence[int]) -> list[int]:
    written = [check_value(value) for value in order]
    if len(written) != len(unions) or len(set(written)) != len(written):
        raise StudyError(
            f"the order of {len(unions)} targets needs as many label values, each once, not {list(order)}; give one a target"
        )
    for (name, values), value in zip(unions.items(), written, strict=True):
        if value not in values:
            raise StudyError(
                f"the target {name!r} cannot be painted with {value}, which is none of its values {values}"
            )
    return written


def _own_values(unions: Mapping[str, tuple[int, ...]]) -> list[int]:
    """For each target its first value that no later target has."""
    names, written = list(unions), []
    for place, name in enumerate(names):
        later = {value for other in names[place + 1 :] for value in unions[other]}
        own = [value for value in unions[name] if value not in later]
        if not own:
            raise StudyError(
                f"the target {name!r} is made of others alone, so it would leave no trace in a label map; leave it out, or"
                " give the order in which the targets are painted"
            )
        written.append(own[0])
    return written
