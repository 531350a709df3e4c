"""The map of a run's embedding beside the viewer: a point a slice or patch; a click opens that place in its scan."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_ssl_seg.embedding.colours import COLOURINGS, colours
from napari_ssl_seg.embedding.projection import list_projections
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.scatter import Scatter
from napari_ssl_seg.gui.style import mark, sheet_for
from napari_ssl_seg.gui.work_row import WorkRow
from napari_ssl_seg.workbench.embedding import MapRequest, make_map

if TYPE_CHECKING:
    import napari.viewer

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.embedding import MadeMap

NAME = "Embedding map"
HELP = (
    "Point at a dot to see which place it is; click it to open that place. Wheel: zoom, drag: move, double click: all."
)
WHAT = {"slices": "slices", "patches": "patches"}
SHORT = {"slice": "slice position", "label": "label", "case": "scan", "split": "split"}


class EmbeddingMap(QWidget):
    """One run's map.

    Attributes
    ----------
    made
        What is shown; None before the first.
    """

    def __init__(self, workbench: Workbench, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self._run = ""
        self.made: MadeMap | None = None
        self.title = QElidingLabel()
        self.title.setElideMode(Qt.TextElideMode.ElideMiddle)
        mark(self.title, "heading")
        self.what = _choice(list(WHAT.items()), "A dot is a slice (the patch in its middle), or a patch of the scan")
        self.projection = _choice(
            [(name, name.upper()) for name in list_projections()],
            "\n".join(list_projections().values())
            + ("" if "umap" in list_projections() else "\nUMAP: install umap-learn"),
        )
        self.colour = _choice([(name, SHORT[name]) for name in COLOURINGS], "What the colours of the dots mean")
        self.scatter = Scatter()
        self.scatter.setToolTip(HELP)
        self.axes = QLabel()
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        self.place = QLabel()
        self.place.setWordWrap(True)
        for label in (self.axes, self.legend, self.place):
            mark(label, "hint")
        self.axes.setWordWrap(True)
        self.work = WorkRow(workbench, unit="batch")
        row = QHBoxLayout()
        for words, field in (("Dots", self.what), ("Map", self.projection), ("Colour", self.colour)):
            label = QLabel(words)
            label.setBuddy(field)
            row.addWidget(label)
            row.addWidget(field, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(4)
        layout.addWidget(self.title)
        layout.addLayout(row)
        layout.addWidget(self.scatter, 1)
        layout.addWidget(self.axes)
        layout.addWidget(self.legend)
        layout.addWidget(self.place)
        layout.addWidget(self.work)
        self.what.edited.connect(self.refresh)
        self.projection.edited.connect(self.refresh)
        self.colour.edited.connect(self._paint)
        self.scatter.pointed.connect(self._tell)
        self.scatter.chosen.connect(self.open_place)
        self.work.ended.connect(self._show)
        workbench.slice_changed.connect(self._follow)
        workbench.case_changed.connect(self._follow)
        viewer.events.theme.connect(self._theme_changed)
        self._theme_changed()

    def show_run(self, run_id: str, title: str) -> None:
        """Make the map of this run, or take it from the cache."""
        self._run = run_id
        self.title.setText(title)
        self.refresh()

    def refresh(self) -> None:
        """Make what is asked for."""
        study = self._workbench.study
        if study is None or not self._run:
            return
        if self.work.busy:  # what was asked before is of no interest; `_show` asks again
            self.work.stop()
            return
        self.work.start("Embedding", make_map, study, self._asked())

    def open_place(self, index: int) -> None:
        """Open the scan of a dot at its slice."""
        if self.made is None:
            return
        place = self.made.embedding.places[index]
        try:
            if self._workbench.case_id != place.case_id:
                self._workbench.open_case(place.case_id)
            self._workbench.set_slice(place.centre[0])
        except UserError as error:
            self._workbench.fail(error)

    # -- showing --------------------------------------------------------------------------------------------------
    def _asked(self) -> MapRequest:
        return MapRequest(self._run, self.what.value(), self.projection.value())

    def _show(self, made: MadeMap | None) -> None:
        if made is None or made.request != self._asked():
            if (
                self._run
                and self.work.outcome == "stopped"
                and (self.made is None or self.made.request != self._asked())
            ):
                self.refresh()
            return
        self.made = made
        self.axes.setText(
            f"Across: {made.flat.axes[0]}; up: {made.flat.axes[1]}. {len(made.flat.points)} {made.request.what}."
        )
        self._paint()
        self._tell(-1)
        self._follow()

    def _paint(self) -> None:
        if self.made is None:
            return
        known = self.made.embedding
        drawn = colours(self.colour.value(), known.places, known.labels, self._workbench.classes)
        self.scatter.set_points(self.made.flat.points, drawn.of_points)
        self.legend.setText(
            " &nbsp; ".join(
                f'<span style="color:{colour}">●</span>&nbsp;{escape(words)}'
                if colour != "transparent"
                else escape(words)
                for words, colour in drawn.legend
            )
        )

    def _tell(self, index: int) -> None:
        if self.made is None or index < 0:
            self.place.setText(HELP)
            return
        place, label = self.made.embedding.places[index], int(self.made.embedding.labels[index])
        names = {info.value: info.name for info in self._workbench.classes} | {0: "background", -1: "no label"}
        z, y, x = place.centre
        where = f"slice {z}" if self.made.request.what == "slices" else f"slice {z}, row {y}, column {x}"
        self.place.setText(f"{place.case_id} · {where} · {names.get(label, f'label {label}')} · {place.split}")

    def _follow(self, _changed: Any = None) -> None:
        """The ring stands at the slice that is open."""
        if self.made is None or not isalive(self) or self.made.request.what != "slices":
            return
        here = (self._workbench.case_id, self._workbench.slice_index)
        found = (
            number
            for number, place in enumerate(self.made.embedding.places)
            if (place.case_id, place.centre[0]) == here
        )
        self.scatter.mark(next(found, -1))

    def _theme_changed(self, _event: Any = None) -> None:
        if isalive(self):
            from napari_ssl_seg.gui.curves import plot_colors

            self.setStyleSheet(sheet_for(self._viewer))
            self.scatter.set_text_color(plot_colors(str(self._viewer.theme)).text)


def show_map(workbench: Workbench, viewer: napari.viewer.Viewer, run_id: str, title: str) -> EmbeddingMap:
    """The map of a run in a dock at the left, as a tab; the one that is open is used again."""
    panel = next((child for child in _open_panels(viewer) if child._workbench is workbench), None)
    if panel is None:
        panel = EmbeddingMap(workbench, viewer)
        viewer.window.add_dock_widget(
            panel, area="left", name=NAME, tabify=True
        )  # beside the layer list: both are tall
    panel.show_run(run_id, title)
    return panel


def _open_panels(viewer: napari.viewer.Viewer) -> list[EmbeddingMap]:
    window: Any = viewer.window._qt_window  # napari has no public way to ask for a dock
    return [panel for panel in window.findChildren(EmbeddingMap) if isalive(panel) and panel.isVisibleTo(window)]


def _choice(choices: list[tuple[str, str]], tip: str) -> ChoiceField:
    from napari_ssl_seg.gui.budget import refill

    field = ChoiceField([choices[0][0]])
    refill(field, [(words, name) for name, words in choices])
    field.setToolTip(tip)
    return field
