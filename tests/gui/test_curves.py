"""The line plot: its numbers without a screen, and the widget in a real viewer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.gui.plot_scale import Scale, log_ticks, round_ticks, segments, spaced, span, thin, tick_text


@given(st.floats(0.01, 100), st.floats(1.1, 50), st.booleans())
def test_pixels_and_values_are_inverse(low, factor, log):
    scale = Scale(low, low * factor, 10, 200, log=log)
    values = np.linspace(low, low * factor, 7)
    back = [scale.value(pixel) for pixel in scale.pixels(values)]
    np.testing.assert_allclose(back, values, rtol=1e-9)


def test_what_a_logarithm_cannot_show_is_nan():
    pixels = Scale(0.1, 10, 0, 100, log=True).pixels(np.array([-1.0, 0.0, 1.0]))
    assert np.isnan(pixels[:2]).all() and pixels[2] == pytest.approx(50)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_ticks_lie_within_the_range(low, width):
    ticks = round_ticks(low, low + width)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)


def test_ticks_by_hand():
    assert round_ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert log_ticks(0.1, 1.0) == pytest.approx([0.1, 0.2, 0.5, 1.0])
    assert [tick_text(value, 0.2) for value in (0, 0.2, 1.0)] == ["0", "0.2", "1.0"]
    assert tick_text(20_000, 10_000) == "20k"
    assert spaced([0.0, 1.0, 2.0], Scale(0, 2, 0, 20), 15) == [0.0, 2.0]


def test_range_of_nothing_and_of_one_value():
    assert span([]) == (0.0, 1.0)
    low, high = span([np.array([3.0, np.nan])])
    assert low < 3 < high
    assert span([np.array([-1.0, 0.0])], log=True) == (0.1, 1.0)


@given(st.integers(1, 20_000))
def test_thinning_keeps_the_extremes(count):
    y = np.random.default_rng(count).normal(size=count)
    x, thinned = thin(np.arange(count), y, limit=500)
    assert len(x) <= 510 or count <= 500
    assert thinned.max() == y.max() and thinned.min() == y.min()
    assert (np.diff(x) > 0).all()


def test_segments_break_at_nan_and_keep_lone_points():
    y = np.array([1.0, 2.0, np.nan, 3.0, np.nan])
    parts = segments(np.arange(5.0) * 10, y)
    np.testing.assert_array_equal(parts, [[0, 1], [10, 2], [28, 3], [32, 3]])


def test_dashes_cover_half_of_the_line():
    parts = segments(np.array([0.0, 100.0, 100.0]), np.array([0.0, 0.0, 60.0]), dashed=True)
    lengths = np.hypot(*(parts[1::2] - parts[0::2]).T)
    assert lengths.sum() == pytest.approx(80) and lengths.max() == pytest.approx(5)


@pytest.fixture
def plot(make_napari_viewer, qtbot):
    from napari_ssl_seg.gui.curves import CurvePlot

    viewer = make_napari_viewer(show=True)
    plot = CurvePlot("Dice", x_label="slice", y_range=(0, 1), whole_x=True, log=True, empty_text="nothing yet")
    viewer.window.add_dock_widget(plot, area="bottom")
    qtbot.waitUntil(plot.isVisible, timeout=20_000)
    return plot


def test_plot_draws_clicks_and_shows_values_at_the_cursor(plot, qtbot):
    from napari_ssl_seg.gui.curves import PlotLine

    plot.set_lines([PlotLine("scratch", "#D6457F", np.arange(11), np.linspace(0, 1, 11))])
    qtbot.waitUntil(lambda: plot.drawings == 1, timeout=20_000)
    plot.set_cursor(5)
    assert "0.500" in plot.legend_text
    with qtbot.waitSignal(plot.clicked) as caught:
        plot.click(7.4)
    assert caught.args == [7.0]
    with qtbot.waitSignal(plot.clicked) as caught:
        plot.click(99)
    assert caught.args == [10.0]
    image = plot.render()
    assert (np.abs(image[..., :3].astype(int) - (0xD6, 0x45, 0x7F)).sum(-1) < 30).any(), "the line is not on the screen"


def test_plot_is_drawn_at_most_five_times_a_second(plot, qtbot):
    from napari_ssl_seg.gui.curves import PlotLine

    for round_ in range(50):
        plot.set_lines([PlotLine("a", "#D6457F", np.arange(11), np.random.default_rng(round_).random(11))])
        qtbot.wait(10)
    assert 1 <= plot.drawings <= 5


def test_empty_plot_says_so(plot, qtbot):
    qtbot.wait(50)
    assert plot.drawings == 0 and plot.empty_visible
