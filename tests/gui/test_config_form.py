"""Forms made from configs: what is shown, what is emitted, and what is said about a value that does not fit."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.methods import list_methods


class Settings(BaseModel):
    ratio: float = Field(
        0.75, ge=0.1, le=0.9, title="Mask ratio", description="How much is hidden.", json_schema_extra={"basic": True}
    )
    side: int = Field(16, gt=1, lt=65, multiple_of=2, json_schema_extra={"unit": "voxels", "basic": True})
    fill: Literal["mean", "zero"] = "mean"
    flip: bool = False
    rate: float = Field(1e-4, gt=0, le=1)
    steps: int | None = Field(None, ge=1)
    patch: tuple[int, ...] = (32, 48, 32)
    window: tuple[float, float] = (-1.0, 1.0)

    @model_validator(mode="after")
    def _zero_needs_no_flip(self) -> Settings:
        if self.flip and self.fill == "zero":
            raise ValueError("flip goes with mean only")
        return self


@pytest.fixture
def form(qtbot: Any) -> ConfigForm:
    made = ConfigForm(Settings)
    qtbot.addWidget(made)
    made.show()
    return made


def test_it_starts_from_the_defaults_and_gives_them_back(form: ConfigForm) -> None:
    assert Settings(**form.values()) == Settings()
    assert form.changed_values() == {}


def test_basic_fields_are_shown_and_the_others_folded_away(form: ConfigForm) -> None:
    shown = {name for name in form.field_names if form.field(name).isVisible()}
    assert shown == {"ratio", "side"}
    assert form.more_button.text().endswith("(6)")
    form.more_button.setChecked(True)
    assert all(form.field(name).isVisible() for name in form.field_names)


def test_a_change_emits_all_values(form: ConfigForm, qtbot: Any) -> None:
    with qtbot.waitSignal(form.changed) as caught:
        form.field("side").setValue(32)
    assert caught.args[0]["side"] == 32
    assert caught.args[0]["ratio"] == 0.75
    assert form.changed_values() == {"side": 32}


def test_setting_values_from_outside_emits_nothing(form: ConfigForm, qtbot: Any) -> None:
    with qtbot.assertNotEmitted(form.changed):
        form.set_values({"ratio": 0.5, "patch": (8, 16), "steps": 100, "rate": 3e-5, "fill": "zero", "unknown": 1})
    assert form.values() == {
        "ratio": 0.5,
        "side": 16,
        "fill": "zero",
        "flip": False,
        "rate": 3e-5,
        "steps": 100,
        "patch": (8, 16),
        "window": (-1.0, 1.0),
    }


def test_inputs_keep_to_the_bounds(form: ConfigForm) -> None:
    side, ratio = form.field("side"), form.field("ratio")
    assert (side.minimum(), side.maximum(), side.singleStep()) == (2, 64, 2)
    ratio.setValue(5.0)
    assert ratio.value() == 0.9


def test_small_numbers_can_be_read_and_typed(form: ConfigForm) -> None:
    rate = form.field("rate")
    assert rate.text() == "0.0001"
    rate.lineEdit().setText("2e-6")
    rate.interpretText()
    assert rate.value() == pytest.approx(2e-6)
    assert rate.text() == "2e-06"


@pytest.mark.parametrize(
    ("name", "text", "problem"), [("patch", "32, many", "Patch"), ("steps", "0", "Steps"), ("steps", "1.5", "Steps")]
)
def test_what_cannot_be_is_said_in_one_sentence_and_not_emitted(
    form: ConfigForm, qtbot: Any, name: str, text: str, problem: str
) -> None:
    field = form.field(name)
    with qtbot.assertNotEmitted(form.changed), qtbot.waitSignal(form.invalid) as caught:
        field.setText(text)
        field.editingFinished.emit()
    assert caught.args[0].startswith(problem)
    assert form.error_label.text() == caught.args[0]
    form.reset()
    assert form.problem() is None and form.error_label.text() == ""


def test_settings_that_do_not_go_together_are_said(form: ConfigForm) -> None:
    form.field("flip").setChecked(True)
    form.field("fill").set_value("zero")
    assert "flip goes with mean only" in (form.problem() or "")


def test_the_tooltip_tells_meaning_default_bounds_and_flag(form: ConfigForm) -> None:
    tip = form.field("ratio").toolTip()
    for part in ("How much is hidden.", "0.75", "0.1", "0.9", "--set ratio="):
        assert part in tip
    assert "voxels" in form.field("side").toolTip()


def test_another_model_takes_the_place_of_the_first_and_stays_unfolded(form: ConfigForm) -> None:
    class Other(BaseModel):
        depth: int = Field(3, json_schema_extra={"basic": True})
        width: int = 5

    form.more_button.setChecked(True)
    form.set_model(Other, {"width": 7})
    assert form.values() == {"depth": 3, "width": 7}
    assert form.field("width").isVisibleTo(form)


def test_only_and_hide_choose_the_fields(qtbot: Any) -> None:
    form = ConfigForm(Settings, only=["rate", "ratio", "flip"], hide=["flip"], basic=["rate"])
    qtbot.addWidget(form)
    assert form.field_names == ("rate", "ratio")


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_every_method_has_a_form_that_gives_its_defaults_back(method: Any, qtbot: Any) -> None:
    form = ConfigForm(method.Config)
    qtbot.addWidget(form)
    assert method.Config(**form.values()) == method.Config()


class Sourced(BaseModel):
    source: Literal["auto", "one", "two"] = Field("auto", json_schema_extra={"basic": True})
    scale: float = Field(1.0, json_schema_extra={"basic": True, "when": {"source": ["auto", "one"]}})
    points: int = Field(32, json_schema_extra={"basic": True, "when": {"source": ["auto", "two"]}})
    fast: bool = Field(False, json_schema_extra={"when": {"source": ["two"]}})
    steps: int = Field(3, json_schema_extra={"when": {"source": ["two"], "fast": [True]}})
    always: int = 5
    share: float = Field(512 / 1500, ge=0, le=1)


@pytest.fixture
def sourced(qtbot: Any) -> ConfigForm:
    made = ConfigForm(Sourced)
    qtbot.addWidget(made)
    made.show()
    return made


def shown(form: ConfigForm) -> set[str]:
    return {name for name in form.field_names if form.field(name).isVisible()}


def test_fields_that_do_not_count_are_not_shown_and_keep_their_values(sourced: ConfigForm, qtbot: Any) -> None:
    assert shown(sourced) == {"source", "scale", "points"}
    sourced.field("scale").setValue(7.0)
    sourced.field("source").set_value("two")
    assert shown(sourced) == {"source", "points"}
    assert sourced.values()["scale"] == 7.0
    sourced.set_values({"source": "one"})
    assert shown(sourced) == {"source", "scale"}, "also when it is set from outside"


def test_more_counts_only_what_counts(sourced: ConfigForm) -> None:
    assert sourced.more_button.text().endswith("(2)")
    sourced.field("source").set_value("two")
    assert sourced.more_button.text().endswith("(3)")
    sourced.more_button.setChecked(True)
    assert shown(sourced) == {"source", "points", "fast", "always", "share"}
    sourced.field("fast").setChecked(True)
    assert "steps" in shown(sourced), "what depends on a folded field, too"
    sourced.field("source").set_value("one")
    assert shown(sourced) == {"source", "scale", "always", "share"}


def test_a_value_may_stand_for_another(sourced: ConfigForm) -> None:
    sourced.set_meaning("source", {"auto": "one"})
    assert shown(sourced) == {"source", "scale"} and sourced.values()["source"] == "auto"
    sourced.set_meaning("source", {"auto": "two"})
    assert shown(sourced) == {"source", "points"}


def test_a_field_may_depend_on_one_of_another_form(qtbot: Any) -> None:
    form = ConfigForm(Sourced, only=("scale", "points"))
    qtbot.addWidget(form)
    form.show()
    assert shown(form) == {"scale", "points"}
    form.set_values({"source": "two"})
    assert shown(form) == {"points"}


def test_numbers_are_as_given_though_they_are_shown_rounded(sourced: ConfigForm) -> None:
    assert sourced.values()["share"] == 512 / 1500
    sourced.field("share").setValue(0.25)
    assert sourced.values()["share"] == 0.25


def test_other_usual_values_stand_where_nothing_was_chosen(sourced: ConfigForm) -> None:
    sourced.set_usual({"scale": 7.0, "steps": 9})
    assert sourced.values()["scale"] == 7.0
    assert "scale" not in sourced.changed_values()
    sourced.field("scale").set_value(3.0)
    assert sourced.changed_values()["scale"] == 3.0
    sourced.set_usual({})
    assert sourced.values()["scale"] == 3.0, "what was chosen stays"
    assert sourced.values()["steps"] == Sourced.model_fields["steps"].default
    sourced.set_usual({"scale": 7.0})
    sourced.reset()
    assert sourced.values()["scale"] == 7.0
