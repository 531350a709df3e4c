"""A form made from a pydantic model: nothing lists hyper-parameters twice.

A field's ``title``, ``description``, bounds and, in ``json_schema_extra``, ``unit``, ``basic``, ``when`` and ``slider``
are all that is read. Basic fields are shown, the others are folded under ``More ...``; a field that does not count with
the present values of others (``when={"source": ["slic"]}``) is not shown at all, and keeps its value. Used for a method's
Config and for training settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.eliding import letters_wide
from napari_ssl_seg.gui.field_kinds import extra, make_field, make_slider, title, tooltip
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from napari_ssl_seg.gui.number_slider import NumberSlider


FIELD_WIDTH, WITH_SLIDER = 130, 164
DIGITS_BESIDE = 6
ROUNDED = 1e-10
"""Inputs round to ten places behind the point."""


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
    sliders
        Whether basic numbers with both bounds get a slider.

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
        sliders: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model: type[BaseModel] | None = None
        self._fields: dict[str, Any] = {}
        self._rows: dict[str, tuple[QLabel, QWidget, bool]] = {}
        self._sliders: dict[str, NumberSlider] = {}
        self._with_sliders = sliders
        self._given: dict[str, Any] = {}
        self._usual: dict[str, Any] = {}
        self._others: dict[str, Any] = {}
        self._meanings: dict[str, dict[Any, Any]] = {}
        self._filling = False
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
        self._given, self._usual, self._others, self._meanings = {}, {}, {}, {}
        names = [name for name in (only or model.model_fields) if name in model.model_fields and name not in hide]
        shown = (
            set(basic)
            if basic is not None
            else {name for name in names if extra(model.model_fields[name]).get("basic")}
        )
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
        width = WITH_SLIDER if self._with_sliders else FIELD_WIDTH
        layouts = [_grid(front, width), _grid(self._advanced, width)]
        self._fields, self._rows, self._sliders = {}, {}, {}
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
            slider = make_slider(info, field) if self._with_sliders and name in shown else None
            cell = field
            if slider is not None:
                slider.setToolTip(field.toolTip())
                slider.setAccessibleName(f"{title(name, info)}, slider")
                self._sliders[name] = slider
                if isinstance(
                    field, QAbstractSpinBox
                ):  # the room of its buttons is for digits; the arrow keys still work
                    field.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
                cell = _beside(slider, field)
            if self._with_sliders:  # what a choice would like must not take the room of the names
                cell.setSizePolicy(QSizePolicy.Policy.Ignored, cell.sizePolicy().verticalPolicy())
            grid = layouts[name not in shown]
            row = grid.rowCount()
            grid.addWidget(label, row, 0)
            grid.addWidget(cell, row, 1)
            self._fields[name] = field
            self._rows[name] = (label, cell, name in shown)
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
        self._unfold(False)
        self._layout.addWidget(self._body)
        self._body.show()

    def _unfold(self, open_: bool) -> None:
        self._advanced.setVisible(open_)
        self._show_what_counts()

    # -- what counts ----------------------------------------------------------------------------------------------
    def set_meaning(self, name: str, meanings: Mapping[Any, Any]) -> None:
        """Values of a field that stand for others when it is asked which fields count: ``{"auto": "felzenszwalb"}``."""
        self._meanings[name] = dict(meanings)
        self._show_what_counts()

    def counts(self, name: str) -> bool:
        """Whether a field counts with the present values, and is therefore shown (or folded away)."""
        assert self._model is not None
        for other, wanted in extra(self._model.model_fields[name]).get("when", {}).items():
            if other in self._fields:
                if not self.counts(other):
                    return False
                value = self._fields[other].value()
            else:
                value = self._others.get(other, self.defaults().get(other))
            if self._meanings.get(other, {}).get(value, value) not in wanted:
                return False
        return True

    def _show_what_counts(self) -> None:
        folded = 0
        for name, (label, cell, basic) in self._rows.items():
            counts = self.counts(name)
            label.setVisible(counts)
            cell.setVisible(counts)
            folded += counts and not basic
        self.more_button.setText("▾ Less" if self.more_button.isChecked() else f"▸ More … ({folded})")
        self.more_button.setVisible(folded > 0)

    # -- values ---------------------------------------------------------------------------------------------------
    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(self._fields)

    def field(self, name: str) -> Any:
        """The input of a field."""
        return self._fields[name]

    def slider(self, name: str) -> NumberSlider | None:
        """The slider beside a field, where it has one."""
        return self._sliders.get(name)

    def defaults(self) -> dict[str, Any]:
        """The model's own values, and those of `set_usual` in their place."""
        assert self._model is not None
        found = {name: info.get_default(call_default_factory=True) for name, info in self._model.model_fields.items()}
        return {name: value for name, value in found.items() if value is not PydanticUndefined} | self._usual

    def set_usual(self, values: Mapping[str, Any]) -> None:
        """Take these for defaults in place of the model's own, where nothing else was chosen; the earlier ones no more."""
        before, shown = self.defaults(), self.values()
        self._usual = dict(values)
        now = self.defaults()
        untouched = {name for name, value in shown.items() if value == before.get(name, PydanticUndefined)}
        self.set_values({name: now[name] for name in untouched if name in now})

    def values(self) -> dict[str, Any]:
        """What the inputs show, by field; not checked."""
        return {name: self._exact(name, field.value()) for name, field in self._fields.items()}

    def _exact(self, name: str, shown: Any) -> Any:
        """A number as it was given, where the input shows it rounded: 512/1500 is not another setting for that."""
        given = self._given.get(name)
        near = isinstance(given, float) and isinstance(shown, float) and abs(given - shown) < ROUNDED
        return given if near else shown

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these; fields that are not named stay as they are. Emits nothing."""
        self._filling = True
        try:
            for name, value in values.items():
                if name in self._fields:
                    self._given[name] = value
                    self._fields[name].set_value(value)
                else:
                    self._others[name] = value
        finally:
            self._filling = False
        for slider in self._sliders.values():
            slider.follow()
        self._show_what_counts()
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
        self._show_what_counts()
        text = self.problem()
        if text is None:
            self.changed.emit(self.values())
        else:
            self.invalid.emit(text)


def _beside(slider: NumberSlider, field: QWidget) -> QWidget:
    cell = QWidget()
    layout = QHBoxLayout(cell)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    field.setMinimumWidth(letters_wide(field, DIGITS_BESIDE))
    layout.addWidget(slider, 1)
    layout.addWidget(field, 1)
    return cell


def _grid(widget: QWidget, width: int) -> QGridLayout:
    layout = QGridLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(4)
    layout.setColumnStretch(0, 1)
    layout.setColumnMinimumWidth(1, width)
    return layout
