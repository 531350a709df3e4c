"""A form made from a pydantic model: nothing lists hyper-parameters twice.

A field's ``title``, ``description``, bounds and, in ``json_schema_extra``, ``unit`` and ``basic`` are all that is read.
Basic fields are shown, the others are folded under ``More ...``. Used for a method's Config and for training settings.
"""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.fields import BoolField, ChoiceField, FloatField, IntField, TextField, TupleField
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic.fields import FieldInfo


FIELD_WIDTH = 130
LONGEST_UNIT = 8
"""Characters; a longer unit is told by the tooltip only, so that labels stay short."""


class ConfigForm(QWidget):
    """Inputs for the fields of a model.

    Parameters
    ----------
    model
        A pydantic model class; None: an empty form (`set_model` fills it).
    values
        What to start from; the model's defaults where a field is missing.
    only, hide
        Names of the fields to show (in this order), or to leave out.
    basic
        Names of the fields shown at once; None: those that say so themselves, or all where none does.

    Signals
    -------
    changed(dict)
        The values, when the user changed one and all are within their bounds.
    invalid(str)
        What is wrong, in one sentence, when they are not.
    """

    changed = Signal(dict)
    invalid = Signal(str)

    def __init__(
        self,
        model: type[BaseModel] | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        only: Collection[str] | None = None,
        hide: Collection[str] = (),
        basic: Collection[str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model: type[BaseModel] | None = None
        self._fields: dict[str, Any] = {}
        self._filling = False
        self._hidden = 0
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._body: QWidget | None = None
        self.more_button = QToolButton()
        self.error_label = QLabel()
        self._advanced = QWidget()
        if model is not None:
            self.set_model(model, values, only=only, hide=hide, basic=basic)

    # -- making it ------------------------------------------------------------------------------------------------
    def set_model(
        self,
        model: type[BaseModel],
        values: Mapping[str, Any] | None = None,
        *,
        only: Collection[str] | None = None,
        hide: Collection[str] = (),
        basic: Collection[str] | None = None,
    ) -> None:
        """Show another model's fields."""
        unfolded = self._body is not None and self.more_button.isChecked()
        if self._body is not None:
            self._layout.removeWidget(self._body)
            self._body.hide()
            self._body.deleteLater()
        self._model = model
        names = [name for name in (only or model.model_fields) if name in model.model_fields and name not in hide]
        shown = set(basic) if basic is not None else {name for name in names if _extra(model, name).get("basic")}
        shown = shown or set(names)
        self._build(model, names, shown)
        self.set_values({**self.defaults(), **(values or {})})
        self.more_button.setChecked(unfolded)

    def _build(self, model: type[BaseModel], names: list[str], shown: set[str]) -> None:
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(4)
        front, self._advanced = QWidget(), QWidget()
        layouts = [_grid(front), _grid(self._advanced)]
        self._hidden = sum(name not in shown for name in names)
        self._fields = {}
        for name in names:
            info = model.model_fields[name]
            field = make_field(info)
            field.setToolTip(tooltip(name, info))
            field.setAccessibleName(title(name, info))
            field.edited.connect(self._edited)
            label = QLabel(title(name, info))
            label.setWordWrap(True)
            label.setToolTip(field.toolTip())
            label.setBuddy(field)
            grid = layouts[name not in shown]
            row = grid.rowCount()
            grid.addWidget(label, row, 0)
            grid.addWidget(field, row, 1)
            self._fields[name] = field
        self.more_button = QToolButton()
        mark(self.more_button, "quiet")
        self.more_button.setCheckable(True)
        self.more_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.more_button.toggled.connect(self._unfold)
        self.error_label = QLabel()
        self.error_label.setWordWrap(True)
        mark(self.error_label, "error")
        self.error_label.hide()
        body.addWidget(front)
        body.addWidget(self.more_button)
        body.addWidget(self._advanced)
        body.addWidget(self.error_label)
        self.more_button.setVisible(len(shown) < len(names))
        self._unfold(False)
        self._layout.addWidget(self._body)
        self._body.show()

    def _unfold(self, open_: bool) -> None:
        hidden = self._hidden
        self._advanced.setVisible(open_)
        self.more_button.setText("▾ Less" if open_ else f"▸ More … ({hidden})")

    # -- values ---------------------------------------------------------------------------------------------------
    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(self._fields)

    def field(self, name: str) -> Any:
        """The input of a field."""
        return self._fields[name]

    def defaults(self) -> dict[str, Any]:
        """The model's own values."""
        assert self._model is not None
        found = {name: info.get_default(call_default_factory=True) for name, info in self._model.model_fields.items()}
        return {name: value for name, value in found.items() if value is not PydanticUndefined}

    def values(self) -> dict[str, Any]:
        """What the inputs show, by field; not checked."""
        return {name: field.value() for name, field in self._fields.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these; fields that are not named stay as they are. Emits nothing."""
        self._filling = True
        try:
            for name, value in values.items():
                if name in self._fields:
                    self._fields[name].set_value(value)
        finally:
            self._filling = False
        self.problem()

    def changed_values(self) -> dict[str, Any]:
        """Only those that differ from the model's defaults."""
        defaults = self.defaults()
        return {name: value for name, value in self.values().items() if value != defaults.get(name, PydanticUndefined)}

    def reset(self) -> None:
        """Back to the paper's values."""
        self.set_values(self.defaults())
        self._edited()

    def problem(self) -> str | None:
        """What is wrong with the values, in one sentence; None when all are good. Also shown under the form."""
        text = None
        if self._model is not None:
            try:
                self._model.model_validate({**self.defaults(), **self.values()})
            except ValidationError as error:
                first = error.errors()[0]
                name = str(first["loc"][0]) if first["loc"] else ""
                info = self._model.model_fields.get(name)
                text = f"{title(name, info) if info else 'settings'}: {first['msg']}"
        self.error_label.setText(text or "")
        self.error_label.setVisible(text is not None)
        return text

    def _edited(self) -> None:
        if self._filling:
            return
        text = self.problem()
        if text is None:
            self.changed.emit(self.values())
        else:
            self.invalid.emit(text)


def title(name: str, info: FieldInfo) -> str:
    """What the field is called, with its unit where that is short."""
    text = info.title or name.replace("_", " ").capitalize()
    unit_ = unit(info)
    return f"{text} ({unit_})" if 0 < len(unit_) <= LONGEST_UNIT else text


def unit(info: FieldInfo) -> str:
    """What the field is counted in; empty where nothing is said."""
    return str(info.json_schema_extra.get("unit", "")) if isinstance(info.json_schema_extra, dict) else ""


def tooltip(name: str, info: FieldInfo) -> str:
    """What the field does, the paper's value and the bounds."""
    low, high, _ = _bounds(info)
    default = info.get_default(call_default_factory=True)
    lines = [f"<b>{title(name, info)}</b>"]
    if info.description:
        lines.append(info.description)
    if default is not PydanticUndefined:
        shown = "automatic" if default is None else default
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


def _extra(model: type[BaseModel], name: str) -> dict[str, Any]:
    extra = model.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _grid(widget: QWidget) -> QGridLayout:
    layout = QGridLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(4)
    layout.setColumnStretch(0, 1)
    layout.setColumnMinimumWidth(1, FIELD_WIDTH)
    return layout
