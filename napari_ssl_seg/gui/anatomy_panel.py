"""The same place in another scan: click a point of the open case, see its match, the map of similarity, and both crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui import layers
from napari_ssl_seg.gui.anatomy_clicks import CanvasClicks
from napari_ssl_seg.gui.anatomy_pictures import MatchPicturesView
from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.work_row import WorkRow
from napari_ssl_seg.gui.workers import LatestOnly
from napari_ssl_seg.workbench import sentence
from napari_ssl_seg.workbench.anatomy import (
    AXES,
    MatchRequest,
    find,
    has_matcher,
    look,
    middle,
    moved_to_slice,
    other_cases,
    prepare,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel

    from napari_ssl_seg.anatomy.matching import Point
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.anatomy import MatchAnswer, MatcherState

DELAY_MILLISECONDS = 40
LOOK_MILLISECONDS = 300
GROUP = "anatomy"


class AnatomyPanel(QFrame):
    """A card that is folded at first; nothing is asked, and no click heard, until it is opened."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self._point: Point | None = None
        self._own: Mapping[str, Any] | None = None
        self.answer: MatchAnswer | None = None
        self.state: MatcherState | None = None
        mark(self, "card")
        self._make()
        self._lay_out()
        self._finder = LatestOnly(find, self._show, self._fail, delay=DELAY_MILLISECONDS, owner=self)
        self._looker = LatestOnly(
            lambda question: (question, look(*question)), self._looked, self._fail, delay=LOOK_MILLISECONDS, owner=self
        )
        self._clicks = CanvasClicks(viewer, workbench, self.ask_at)
        self._connect()
        self._study_changed(workbench.study)
        self._fold(False)

    # -- making it ------------------------------------------------------------------------------------------------
    def _make(self) -> None:
        from napari_ssl_seg.anatomy import MatcherSettings

        self.head = QToolButton()
        self.head.setCheckable(True)
        self.head.setToolTip("Where a point of this scan lies in another one, as matched crops are cut for Alice")
        mark(self.head, "quiet")
        self.other_box = ChoiceField([])
        self.other_box.setToolTip("The scan in which the point is looked for")
        self.axis_box = ChoiceField([])
        for axis, title in AXES.items():
            self.axis_box.addItem(title, axis)
        self.heat_box = QCheckBox("similarity")
        self.heat_box.setToolTip("Show how similar each place of the other scan is to the point")
        self.heat_box.setChecked(True)
        self.form = ConfigForm(sliders=True)
        self.form.set_model(MatcherSettings, None)
        self.prepare_button = QPushButton("Train the matcher")
        self.prepare_button.setToolTip(
            "In the background, once a study; minutes on a processor. Alice does it by itself otherwise"
        )
        self.work = WorkRow(self._workbench, self.prepare_button, unit="step")
        self.pictures = MatchPicturesView()
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        self.open_button = QPushButton("Open the match")
        self.open_button.setToolTip("Open the other scan at the slice of the match, with the point marked")

    def _lay_out(self) -> None:
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        top.setVerticalSpacing(4)
        top.addRow("Find in", self.other_box)
        shown = QHBoxLayout()
        shown.addWidget(self.axis_box, 1)
        shown.addWidget(self.heat_box)
        top.addRow("Slices", shown)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(6)
        body.addLayout(top)
        for widget in (self.pictures, self.verdict, self.open_button, self.work, self.form):
            body.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.setSpacing(4)
        layout.addWidget(self.head, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.body)

    def _connect(self) -> None:
        bench = self._workbench
        bench.study_changed.connect(self._study_changed)
        bench.case_changed.connect(self._case_changed)
        bench.slice_changed.connect(self._slice_changed)
        self.head.toggled.connect(self._fold)
        self.other_box.edited.connect(self.ask)
        self.axis_box.edited.connect(self.ask)
        self.heat_box.toggled.connect(self._redraw)
        self.form.changed.connect(self._settings_changed)
        self.prepare_button.clicked.connect(self.prepare)
        self.work.ended.connect(self._prepared)
        self.pictures.asked.connect(self.ask_at)
        self.open_button.clicked.connect(self.open_match)

    def _fold(self, open_: bool) -> None:
        self.head.setText(("▾ " if open_ else "▸ ") + "Same place in another scan")
        self.body.setVisible(open_)
        self._follow()

    # -- what is looked at ----------------------------------------------------------------------------------------
    @property
    def is_open(self) -> bool:
        """Whether it is unfolded, in a tab that is looked at."""
        return self.head.isChecked() and self.isVisible()

    @property
    def busy(self) -> bool:
        """Whether anything of it is at work."""
        return self._finder.busy or self._looker.busy or self.work.busy

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._follow()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        if not event.spontaneous():
            self._follow()

    def _follow(self) -> None:
        self._clicks.listen(self.is_open)
        if self.is_open:
            self.look_again()
            self.ask()
        else:
            self._remove_layers()

    def use(self, values: Mapping[str, Any]) -> None:
        """Take the matcher's settings from those of a method that has them; otherwise the panel's own count."""
        own = dict(values) if has_matcher(values) else None
        if own == self._own:
            return
        self._own = own
        self.form.setVisible(own is None)
        self._settings_changed()

    def values(self) -> Mapping[str, Any]:
        """The settings that count."""
        return self.form.values() if self._own is None else self._own

    def _settings_changed(self, *_: Any) -> None:
        self.work.forget()
        if self.is_open:
            self.look_again()
            self.ask()

    def _study_changed(self, study: Study | None) -> None:
        self.work.stop()
        self.work.forget()
        self.state = None
        self._case_changed(self._workbench.case_id)

    def _case_changed(self, case_id: str | None) -> None:
        self._finder.drop()
        self._point = None
        self._forget()
        before = self.other_box.value()
        self.other_box.blockSignals(True)
        self.other_box.clear()
        for other in other_cases(self._workbench.cases, case_id):
            self.other_box.addItem(other, other)
        self.other_box.set_value(before)
        self.other_box.blockSignals(False)
        if self.is_open:
            self.look_again()
            self.ask()

    def _slice_changed(self, index: int) -> None:
        if self._point is not None:
            self._point = moved_to_slice(self._point, index)
        if self.is_open:
            self.ask()

    # -- asking ---------------------------------------------------------------------------------------------------
    def ask_at(self, point: Any) -> None:
        """Look for a point (z, y, x) of the open case, in voxels; one outside the scan is not asked about."""
        case = self._workbench.case
        if case is None or not all(-0.5 <= p <= n - 0.5 for p, n in zip(point, case.shape, strict=True)):
            return
        self._point = tuple(float(value) for value in point)  # type: ignore[assignment]
        self.ask()

    def ask(self, *_: Any) -> None:
        """Look for the point again: in what is chosen now."""
        study, case, other = self._workbench.study, self._workbench.case, self.other_box.value()
        if study is None or case is None or other is None or not self.is_open or self.form.problem() is not None:
            return
        if self._point is None:
            self._point = middle(case, self._workbench.slice_index)
        axis = int(self.axis_box.value() or 0)
        self._finder.submit(MatchRequest(study, case.id, self._point, other, dict(self.values()), axis))

    def look_again(self) -> None:
        """See whether the matcher is trained."""
        study = self._workbench.study
        if study is not None and not self.work.busy:
            self._looker.submit((study, dict(self.values())))

    def _looked(self, found: tuple[tuple[Study, Mapping[str, Any]], MatcherState]) -> None:
        (study, _), state = found
        if study is not self._workbench.study:
            return
        self.state = state
        self.prepare_button.setVisible(not state.ready and not state.problem and not self.work.busy)
        self.prepare_button.setText("Register all scans" if state.matcher == "affine" else "Train the matcher")
        if self.work.outcome != "failed":
            self.work.say(state.problem or state.line, "problem" if state.problem else "hint")

    # -- answers --------------------------------------------------------------------------------------------------
    def _show(self, answer: MatchAnswer) -> None:
        request = answer.request
        if request.study is not self._workbench.study or request.case_id != self._workbench.case_id or not self.is_open:
            return
        self.answer = answer
        self._redraw()
        text, accepted = answer.verdict
        mark(self.verdict, "hint" if accepted else "problem")
        self.verdict.setText(f"{text} ({answer.matcher}, {1000 * answer.seconds:.0f} ms)")
        self.verdict.show()
        self.open_button.show()
        self._mark_point(np.array(request.point))

    def _redraw(self, *_: Any) -> None:
        self.pictures.show_answer(self.answer, heat=self.heat_box.isChecked())

    def _fail(self, error: Exception) -> None:
        self._forget()
        mark(self.verdict, "error")
        self.verdict.setText(sentence(error))
        self.verdict.show()

    def _forget(self) -> None:
        self.answer = None
        self.pictures.show_answer(None)
        self.verdict.hide()
        self.open_button.hide()
        self._remove_layers()

    def _mark_point(self, point: np.ndarray) -> None:
        image = self._clicks.image_layer()
        case_id = self._workbench.case_id
        if image is None or case_id is None:
            return
        chosen = self._viewer.layers.selection.active
        layers.show_points(
            self._viewer,
            layers.layer_name(case_id, "anatomical point"),
            np.round(point)[None],
            placement={name: getattr(image, name)[-3:] for name in ("scale", "translate", "units", "axis_labels")},
            tag={"case": case_id, "group": GROUP, "role": "point"},
        )
        if chosen is not None and chosen in self._viewer.layers:  # a new layer would take the place of the one in hand
            self._viewer.layers.selection.active = chosen

    def _remove_layers(self) -> None:
        layers.remove_own(self._viewer, layers.own_layers(self._viewer, group=GROUP))

    def open_match(self) -> None:
        """Open the other scan where the match lies; the way back is then a press away."""
        answer = self.answer
        if answer is None:
            return
        request, match = answer.request, answer.match
        try:
            self._workbench.open_case(request.other_id)
        except UserError as error:
            self._workbench.fail(error)
            return
        self.other_box.set_value(request.case_id)
        self._workbench.set_slice(round(match.point[0]))
        self.ask_at(match.point)

    # -- training -------------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Train the embedding, or register the scans, in the background."""
        study = self._workbench.study
        if study is None or self.work.busy:
            return
        self.prepare_button.hide()
        self.work.start("training the matcher", prepare, study, dict(self.values()))

    def _prepared(self, name: str | None) -> None:
        self.look_again()
        self.ask()
