"""Sliders beside numbers: positions and values, and that both follow each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.number_slider import SliderScale, slider_scale

SCALES = [
    slider_scale(0.05, 0.95, 0.7),
    slider_scale(1, 3000, 100.0),
    slider_scale(2, 64, 16, integer=True, step=2),
    slider_scale(1, 10_000, 50, integer=True),
    slider_scale(1, 2000, None, integer=True, automatic=True),
]


class Settings(BaseModel):
    source: str = Field("a", json_schema_extra={"basic": True})
    ratio: float = Field(0.7, ge=0.0, le=1.0, json_schema_extra={"basic": True})
    scale: float = Field(100.0, ge=0.0, le=1e5, json_schema_extra={"basic": True, "slider": (1, 3000)})
    size: int | None = Field(None, ge=1, le=2000, json_schema_extra={"basic": True})
    free: float = Field(1.0, ge=0.0, json_schema_extra={"basic": True})
    folded: int = Field(3, ge=0, le=9)


@pytest.mark.parametrize("scale", SCALES)
def test_the_ends_are_the_bounds(scale: SliderScale) -> None:
    assert scale.value(scale.steps) == pytest.approx(scale.high, rel=0.02)
    assert scale.value(int(scale.automatic)) == pytest.approx(scale.low)
    assert scale.position(scale.high) == scale.steps


@given(st.sampled_from(SCALES), st.data())
def test_values_rise_with_positions_and_lie_within_the_bounds(scale: SliderScale, data: Any) -> None:
    first, second = sorted(data.draw(st.integers(scale.automatic, scale.steps)) for _ in range(2))
    assert scale.low <= scale.value(first) <= scale.value(second) <= scale.high
    assert not scale.integer or isinstance(scale.value(first), int)


@given(st.sampled_from(SCALES), st.floats(0, 1))
def test_a_value_stands_near_its_position(scale: SliderScale, share: float) -> None:
    position = scale.automatic + round(share * (scale.steps - scale.automatic))
    assert abs(scale.position(scale.value(position)) - position) <= max(6, 0.02 * scale.steps)


def test_a_default_at_the_lower_end_is_well_in_the_slider() -> None:
    scale = slider_scale(0, 100_000, 100.0)
    assert 0.15 < scale.position(100.0) / scale.steps < 0.5
    assert slider_scale(0.05, 0.95, 0.7).knee == 0


def test_nothing_stands_for_automatic() -> None:
    scale = SCALES[-1]
    assert scale.position(None) == 0 and scale.value(0) is None
    assert scale.position("no number") == 0


@pytest.fixture
def form(qtbot: Any) -> ConfigForm:
    made = ConfigForm(Settings, sliders=True)
    qtbot.addWidget(made)
    made.show()
    return made


def test_basic_numbers_with_both_bounds_have_one(form: ConfigForm) -> None:
    assert {name for name in form.field_names if form.slider(name) is not None} == {"ratio", "scale", "size"}


def test_slider_and_number_follow_each_other(form: ConfigForm, qtbot: Any) -> None:
    slider = form.slider("ratio")
    assert slider is not None
    with qtbot.waitSignal(form.changed) as caught:
        slider.setValue(slider.scale.position(0.25))
    assert caught.args[0]["ratio"] == pytest.approx(0.25, abs=0.01)
    form.field("ratio").setValue(0.9)
    assert slider.value() == slider.scale.position(0.9)
    form.set_values({"ratio": 0.1})
    assert slider.value() == slider.scale.position(0.1)
    form.reset()
    assert slider.value() == slider.scale.position(0.7)


def test_a_slider_sets_and_clears_what_may_be_automatic(form: ConfigForm) -> None:
    slider = form.slider("size")
    assert slider is not None and form.values()["size"] is None and slider.value() == 0
    slider.setValue(slider.maximum())
    assert form.values()["size"] == 2000
    slider.setValue(0)
    assert form.values()["size"] is None


def test_a_number_beyond_the_slider_is_kept(form: ConfigForm) -> None:
    form.field("scale").setValue(50_000)
    slider = form.slider("scale")
    assert slider is not None and slider.value() == slider.maximum()
    assert form.values()["scale"] == 50_000
