"""From a field of a pydantic model to its input and its words: type, bounds, title, unit, help."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import PydanticUndefined

from napari_ssl_seg.gui.fields import BoolField, ChoiceField, FloatField, IntField, TextField, TupleField
from napari_ssl_seg.gui.number_slider import NumberSlider, slider_scale

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

LONGEST_UNIT = 8
"""Characters; a longer unit is told by the tooltip only, so that labels stay short."""


def title(name: str, info: FieldInfo) -> str:
    """What the field is called, with its unit where that is short."""
    text = info.title or name.replace("_", " ").capitalize()
    unit_ = unit(info)
    return f"{text} ({unit_})" if 0 < len(unit_) <= LONGEST_UNIT else text


def unit(info: FieldInfo) -> str:
    """What the field is counted in; empty where nothing is said."""
    return str(extra(info).get("unit", ""))


def tooltip(name: str, info: FieldInfo) -> str:
    """What the field does, the paper's value and the bounds."""
    low, high, _ = _bounds(info)
    default = info.get_default(call_default_factory=True)
    lines = [f"<b>{title(name, info)}</b>"]
    if info.description:
        lines.append(info.description)
    if default is not PydanticUndefined:
        shown = "automatic" if default is None else f"{default:.6g}" if isinstance(default, float) else default
        lines.append(f"Paper and default: {shown}")
    if unit(info):
        lines.append(f"Unit: {unit(info)}")
    if low is not None or high is not None:
        lines.append(f"From {'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}")
    return "<qt>" + "<br>".join(lines) + f"<br><i>--set {name}=…</i></qt>"


def make_field(info: FieldInfo) -> Any:
    """The input for a field's type and bounds."""
    return _field(info.annotation, _bounds(info))


def _field(annotation: Any, bounds: tuple[float | None, float | None, float | None]) -> Any:
    low, high, step = bounds
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _field(args[0], bounds)
    if origin in (typing.Union, types.UnionType):
        kinds = [arg for arg in args if arg is not type(None)]
        if all(kind in (int, float) for kind in kinds):
            return TextField("number", "automatic")
        if len(kinds) == 1 and typing.get_origin(kinds[0]) is Literal:
            return ChoiceField([None, *typing.get_args(kinds[0])])
        if any(typing.get_origin(kind) in (tuple, list) for kind in kinds):
            return TextField("numbers", "automatic")
        return TextField("text", "automatic") if str in kinds else TextField("number", "automatic")
    if origin is Literal:
        return ChoiceField(args)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ChoiceField([member.value for member in annotation])
    if origin in (tuple, list):
        if origin is tuple and Ellipsis not in args and 1 <= len(args) <= 4:
            return TupleField([_field(arg, bounds) for arg in args])
        return TextField("numbers")
    if annotation is bool:
        return BoolField()
    if annotation is int:
        return IntField(low, high, step)
    if annotation is float:
        return FloatField(low, high)
    return TextField()


def _bounds(info: FieldInfo) -> tuple[float | None, float | None, float | None]:
    low = high = step = None
    for item in info.metadata:
        integer = info.annotation is int
        if getattr(item, "ge", None) is not None:
            low = item.ge
        if getattr(item, "gt", None) is not None:
            low = item.gt + 1 if integer else item.gt
        if getattr(item, "le", None) is not None:
            high = item.le
        if getattr(item, "lt", None) is not None:
            high = item.lt - 1 if integer else item.lt
        if getattr(item, "multiple_of", None) is not None:
            step = item.multiple_of
    return low, high, step


def make_slider(info: FieldInfo, field: Any) -> NumberSlider | None:
    """A slider that moves the field, where it is a number with both bounds.

    ``json_schema_extra["slider"]``: (low, high) of the slider alone, where the bounds allow much more than is sensible.
    """
    low, high, step = _bounds(info)
    kinds = [kind for kind in _kinds(info.annotation) if kind is not type(None)]
    if low is None or high is None or len(kinds) != 1 or kinds[0] not in (int, float):
        return None
    low, high = extra(info).get("slider", (low, high))
    default = info.get_default(call_default_factory=True)
    automatic = type(None) in _kinds(info.annotation)
    return NumberSlider(
        field, slider_scale(low, high, default, integer=kinds[0] is int, step=step, automatic=automatic)
    )


def extra(info: FieldInfo) -> dict[str, Any]:
    """What ``json_schema_extra`` says; empty where it says nothing."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)
