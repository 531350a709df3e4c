"""Tab 2: what a method would train on, on the open case and slice, while its settings are turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.anatomy_panel import AnatomyPanel
from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.chips import ChipRow
from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.method_choice import MethodChoice
from napari_ssl_seg.gui.region_box import RegionBox
from napari_ssl_seg.gui.seed_row import SeedRow
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.thumbnails import ThumbnailRow
from napari_ssl_seg.gui.view_layers import ViewLayers
from napari_ssl_seg.gui.workers import LatestOnly, run
from napari_ssl_seg.workbench import sentence
from napari_ssl_seg.workbench.pretexts import Inspector, answer, fitting_runs, warm_up
from napari_ssl_seg.workbench.regions import NotLookedAt, field_names

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_ssl_seg.methods import Method
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.pretexts import InspectionAnswer

DELAY_MILLISECONDS = 60
"""How long the slider and the fields rest before the views are drawn again."""
DIM_MILLISECONDS = 150
"""A view that is ready sooner replaces the old one without dimming it."""


class PretextTab(QWidget):
    """Asks the `Inspector` and shows its answers; the pretext itself is computed off the window's thread."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self._inspector = Inspector()
        self._views = ViewLayers(viewer)
        self._methods: dict[str, type[Method]] = {}
        self._settings: dict[str, dict[str, Any]] = {}
        self._answer: InspectionAnswer | None = None
        self._warm = False
        self._worker = LatestOnly(
            answer,
            self._show,
            self._fail,
            on_busy=self._busy,
            delay=DELAY_MILLISECONDS,
            gives_way=self._waits,
            owner=self,
        )
        self._dimmer = QTimer(self)
        self._dimmer.setSingleShot(True)
        self._dimmer.setInterval(DIM_MILLISECONDS)
        self._dimmer.timeout.connect(self._dim)
        self._make()
        self._lay_out()
        self._connect()
        self._fill_methods()
        self._study_changed(workbench.study)

    # -- making it ------------------------------------------------------------------------------------------------
    def _make(self) -> None:
        self.method_box = MethodChoice([])
        self.paper_label = QLabel()
        self.paper_label.setWordWrap(True)
        mark(self.paper_label, "hint")
        self.dims_box = ChoiceField([])
        self.dims_box.setToolTip("A slice or a block of the scan; the network is 2D or 3D accordingly")
        self.run_box = ChoiceField([])
        self.run_box.setToolTip("Also show what a trained run makes of this very sample")
        self.case_label = QElidingLabel()
        self.case_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.previous_button, self.next_button = QToolButton(), QToolButton()
        for button, text, help_ in (
            (self.previous_button, "◀", "Previous case (Shift+N)"),
            (self.next_button, "▶", "Next case (N)"),
        ):
            button.setText(text)
            button.setToolTip(help_)
            button.setAccessibleName(help_)
        self.form = ConfigForm(sliders=True)
        self.regions = RegionBox(self._workbench, self._viewer)
        self.draw, self.chips = SeedRow(), ChipRow()
        self.thumbnails = ThumbnailRow()
        self.anatomy = AnatomyPanel(self._workbench, self._viewer)
        self.status = QLabel()
        self.status.setWordWrap(True)
        mark(self.status, "hint")
        self.empty_label = QLabel()
        self.empty_label.setWordWrap(True)
        self.open_button = QPushButton("Open the first case")
        mark(self.open_button, "primary")

    def _lay_out(self) -> None:
        case_row = QHBoxLayout()
        case_row.setSpacing(4)
        case_row.addWidget(self.case_label, 1)
        case_row.addWidget(self.previous_button)
        case_row.addWidget(self.next_button)
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        top.setVerticalSpacing(4)
        top.addRow("Method", self.method_box)
        top.addRow("", self.paper_label)
        top.addRow("Case", case_row)
        top.addRow("Patch", self.dims_box)
        self.run_label = QLabel("Output of")
        top.addRow(self.run_label, self.run_box)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(8)
        body.addLayout(top)
        body.addWidget(self.regions)
        body.addWidget(self.form)
        body.addWidget(self.draw)
        body.addWidget(self.status)
        body.addWidget(self.chips)
        body.addWidget(self.thumbnails)
        body.addWidget(self.anatomy)
        body.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 8, 4, 4)
        layout.addWidget(self.empty_label)
        layout.addWidget(self.open_button)
        layout.addWidget(self.body, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        bench = self._workbench
        bench.study_changed.connect(self._study_changed)
        bench.case_changed.connect(self._case_changed)
        bench.slice_changed.connect(self._slice_changed)
        bench.runs_changed.connect(self._fill_runs)
        self.method_box.edited.connect(self._method_changed)
        self.dims_box.edited.connect(self.ask)
        self.run_box.edited.connect(self.ask)
        self.form.changed.connect(self._settings_changed)
        self.regions.changed.connect(self._regions_changed)
        self.regions.form.invalid.connect(lambda text: self._worker.drop())
        self.regions.prepared.connect(lambda: self.ask(now=True))
        self.form.invalid.connect(lambda text: self._worker.drop())
        self.draw.changed.connect(self.ask)
        self.draw.redraw_button.clicked.connect(lambda: self.ask(now=True, pressed=True))
        self.regions.show_row.made.connect(lambda source: self.ask())
        self.previous_button.clicked.connect(lambda: self._step_case(-1))
        self.next_button.clicked.connect(lambda: self._step_case(1))
        self.open_button.clicked.connect(lambda: self._step_case(1))
        self.thumbnails.chosen.connect(self._bring_to_front)
        self.thumbnails.alone.connect(self._show_alone)

    # -- choices --------------------------------------------------------------------------------------------------
    def _fill_methods(self) -> None:
        from napari_ssl_seg.methods import list_methods

        self._methods = {method.name: method for method in list_methods()}
        self.method_box.set_methods(list(self._methods.values()))
        self._method_changed()

    @property
    def method(self) -> str | None:
        """Name of the chosen method."""
        return self.method_box.value()

    def choose_method(self, name: str) -> None:
        """Choose a method by name."""
        self.method_box.set_value(name)

    def _method_changed(self) -> None:
        method = self._methods.get(self.method or "")
        if method is None:
            return
        self.paper_label.setText(method.paper)
        self.method_box.setToolTip(
            f"<qt><b>{method.title}</b><br>{(method.__doc__ or '').splitlines()[0]}<br>{method.paper}</qt>"
        )
        values = self._settings.get(method.name)
        self.regions.set_method(method, values)
        self.form.set_model(method.Config, values, hide=field_names() if method.needs.regions else ())
        self.regions.follow(self._asks())
        patches = ((2, "2D: the shown slice"), (3, "3D: a block around it"))
        refill(self.dims_box, [(text, dims) for dims, text in patches if dims in method.dims])
        self.dims_box.setEnabled(self.dims_box.count() > 1)
        self._fill_runs()
        self._views.clear()
        self.ask()

    def _fill_runs(self) -> None:
        runs = fitting_runs(self._workbench.runs, self.method or "") if self._workbench.study is not None else []
        refill(self.run_box, [("no run", None), *((title, run_id) for run_id, title in runs)])
        for place, (run_id, _) in enumerate(runs, start=1):
            self.run_box.setItemData(place, run_id, Qt.ItemDataRole.ToolTipRole)
        self.run_label.setVisible(bool(runs))
        self.run_box.setVisible(bool(runs))

    def values(self) -> dict[str, Any]:
        """The settings of the method, those of its regions included."""
        return {**self.regions.values(), **self.form.values()}

    def _regions_changed(self, values: dict[str, Any]) -> None:
        self.form.set_values(values)  # none of its own fields: which of them count may depend on these
        self._settings_changed()

    def _settings_changed(self, *_: Any) -> None:
        if self.method is not None:
            self._settings[self.method] = self.values()
            self.regions.set_others(self.form.values())
        self.ask()

    # -- study, case, slice ---------------------------------------------------------------------------------------
    def _study_changed(self, study: Study | None) -> None:
        self._forget()
        self.regions.set_study(study)
        self._fill_runs()
        self._show_state()

    def _case_changed(self, case_id: str | None) -> None:
        self._forget()
        self.regions.show_row.forget()
        self._show_state()
        self.regions.show_row.ask()
        self.ask()

    def _slice_changed(self, index: int) -> None:
        self._show_place()
        self.regions.show_row.ask()
        if not self._asks() or (self.dims_box.value() != 2 and self._answer is not None):
            return
        if self._answer is not None and self._answer.request.case_id == self._workbench.case_id:
            shift = index - self._answer.request.slice_index
            scale, translate = self._answer.placement["scale"], self._answer.placement["translate"]
            self._views.follow(translate[0] + shift * scale[0])
        self.ask()

    def _show_state(self) -> None:
        study, case_id = self._workbench.study, self._workbench.case_id
        self.body.setVisible(case_id is not None)
        self.empty_label.setVisible(case_id is None)
        self.open_button.setVisible(study is not None and case_id is None)
        self.empty_label.setText(
            "Open a study in the tab 1 Study; here you then see what a method would train on."
            if study is None
            else "Open a case to see what a method would train on: double click one in the tab 1 Study, or start here."
        )
        self._show_place()

    def _show_place(self) -> None:
        case = self._workbench.case
        if case is not None:
            index = self._workbench.slice_index
            self.case_label.setText(f"{case.id} · {index}/{case.shape[0]}")
            self.case_label.setToolTip(f"{case.id}, slice {index} of {case.shape[0]} (the slider chooses it)")

    def _step_case(self, step: int) -> None:
        try:
            self._workbench.next_case(step)
        except UserError as error:
            self._workbench.fail(error)

    # -- asking ---------------------------------------------------------------------------------------------------
    def ask(self, *_: Any, now: bool = False, pressed: bool = False) -> None:
        """Ask for the views of what is chosen, once the tab is looked at; ``pressed``: also where it takes long."""
        study, case_id, method = self._workbench.study, self._workbench.case_id, self.method
        if study is None or case_id is None or method is None or not self._asks():
            return
        if self.form.problem() is not None or self.regions.problem() is not None:
            return
        self.anatomy.use(self.values())
        question = self._inspector.ask(
            study,
            method,
            case_id,
            self._workbench.slice_index,
            settings=self.values(),
            seed=self.draw.seed,
            dims=int(self.dims_box.value() or 2),
            run_id=self.run_box.value(),
            pressed=pressed,
        )
        self._worker.submit(question, now=now)

    def _asks(self) -> bool:
        return self.isVisible()

    def _waits(self) -> bool:
        return self.regions.show_row.quick_busy

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if not self._warm:
            self._warm = True
            run(warm_up, owner=self)
        self._views.bring_back()
        self.regions.follow(True)
        place = (self._workbench.case_id, self._workbench.slice_index)
        if self._answer is None or (self._answer.request.case_id, self._answer.request.slice_index) != place:
            self.ask(now=True)

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        if not event.spontaneous():  # another tab is looked at: the scan is to be seen again
            self._views.set_aside()
            self.regions.follow(False)

    @property
    def busy(self) -> bool:
        """Whether views are being made."""
        return self._worker.busy

    # -- answers --------------------------------------------------------------------------------------------------
    def _show(self, found: InspectionAnswer) -> None:
        if not self._inspector.is_current(found):
            return
        self._answer = found
        self._views.show(found)
        self.regions.show_row.layers.to_front()
        self.thumbnails.show_pictures(found.pictures)
        self.thumbnails.mark_shown(self._views.visible_views())
        self.chips.show_texts(found.chips)
        mark(self.status, "hint")
        lines = [f"{self._title(found)}, drawn in {1000 * found.seconds:.0f} ms"]
        # Where regions come from is said in their box already.
        lines += [f"{note}." for note in found.notes if not note.startswith("regions are")]
        self.status.setText("\n".join(lines))

    @staticmethod
    def _title(found: InspectionAnswer) -> str:
        shape = next((picture.array.shape for picture in found.pictures if picture.array is not None), ())
        sides = shape[1:] if found.request.dims == 2 else shape
        return "patch " + "×".join(str(side) for side in sides)

    def _fail(self, error: Exception) -> None:
        waits = isinstance(error, NotLookedAt)
        if waits:  # views of another slice must not lie on this one
            self._forget_views()
        mark(self.status, "hint" if waits else "error")
        self.status.setText(sentence(error))

    def _busy(self, busy: bool) -> None:
        if busy:
            self._dimmer.start()
            return
        self._dimmer.stop()
        self._views.dim(False)
        self.thumbnails.dim(False)

    def _dim(self) -> None:
        if self._answer is None:
            mark(self.status, "hint")
            self.status.setText("loading the scan, and what looks at it …")
        self._views.dim(True)
        self.thumbnails.dim(True)

    def _forget(self) -> None:
        self._inspector.forget()
        self._worker.drop()
        self._forget_views()

    def _forget_views(self) -> None:
        self._answer = None
        self._views.clear()
        self.thumbnails.show_pictures(())
        self.chips.show_texts(())
        self.status.clear()
        mark(self.status, "hint")

    def _bring_to_front(self, name: str) -> None:
        self._views.bring_to_front(name)
        self.regions.show_row.layers.to_front()
        self.thumbnails.mark_shown(self._views.visible_views())

    def _show_alone(self, name: str) -> None:
        self._views.show_alone(name)
        self.thumbnails.mark_shown(self._views.visible_views())
