"""The strip of the Train tab: loss curves and Dice of the chosen runs, drawn over each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_ssl_seg.gui.curves import CurvePlot, PlotLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.gui.curves import PlotColors
    from napari_ssl_seg.workbench.run_progress import Curve, RunProgress


class TrainStrip(QWidget):
    """Plots beside each other: losses, and where a run was scored the Dice of its segmentation or of its pretext."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.loss = CurvePlot("Loss", x_label="step", log=True, empty_text="Start a run, or click one in the list.")
        self.dice = CurvePlot("Validation Dice", x_label="step", y_range=(0.0, 1.0), empty_text="No validation yet.")
        self.pretext = CurvePlot("Dice of the pretext", x_label="step", y_range=(0.0, 1.0))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.loss, 3)
        for plot in (self.dice, self.pretext):
            row.addWidget(plot, 2)
            plot.setVisible(False)

    def set_colors(self, colors: PlotColors) -> None:
        for plot in (self.loss, self.dice, self.pretext):
            plot.set_colors(colors)

    def show_runs(
        self,
        runs: Sequence[RunProgress],
        colors: Mapping[str, str],
        class_colors: Mapping[str, str],
        *,
        now: bool = False,
    ) -> None:
        """Draw these runs: one with its loss parts and classes, several each by its total and mean."""
        several = len(runs) > 1
        self.loss.set_lines(_lines(runs, [run.losses for run in runs], "total", colors, {}, several), now=now)
        dice = _lines(runs, [run.dice for run in runs], "mean", colors, class_colors, several)
        self.dice.setVisible(bool(dice))
        self.dice.set_lines(dice, now=now)
        pretext = _lines(runs, [run.pretext_dice for run in runs], "mean", colors, {}, several)
        self.pretext.setVisible(bool(pretext))
        self.pretext.set_lines(pretext, now=now)


def _lines(
    runs: Sequence[RunProgress],
    curves: Sequence[Mapping[str, Curve]],
    main: str,
    colors: Mapping[str, str],
    part_colors: Mapping[str, str],
    several: bool,
) -> list[PlotLine]:
    lines = []
    for run, parts in zip(runs, curves, strict=True):
        for index, (name, curve) in enumerate(parts.items()):
            if not curve.steps or (several and name != main):
                continue
            is_main = name == main or main not in parts
            color = colors[run.id] if is_main else part_colors.get(name, _PARTS[index % len(_PARTS)])
            label = run.title if several else name
            lines.append(PlotLine(label, color, np.array(curve.steps), np.array(curve.values), dashed=not is_main))
    return lines


_PARTS = ("#1E8FA6", "#B3682E", "#8A8A1C", "#B04ACD", "#7A7F8C")
