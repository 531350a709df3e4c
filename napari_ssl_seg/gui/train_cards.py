"""The two cards of the Train tab: what to pretrain, and what to fine-tune on how many labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.budget import Budget, refill
from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.eliding import ElidingCombo
from napari_ssl_seg.gui.fields import ChoiceField, IntField
from napari_ssl_seg.gui.joint_choice import JointChoice, joint_only
from napari_ssl_seg.gui.method_choice import MethodChoice
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.train_choices import SCRATCH, Start
from napari_ssl_seg.training.settings import FinetuneSettings, PretrainSettings
from napari_ssl_seg.workbench.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.training.settings import TrainSettings

    Rate = Callable[..., tuple[float, bool]]
ELSEWHERE = ("iterations", "device", "preview_case", "preview_slice")
"""Settings that have an input of their own, or follow what is looked at."""


class ColumnLabel(QLabel):
    """As wide as the widest of its column, so that a row wraps when its input has no room beside the *column*."""

    def __init__(self, text: str, column: Iterable[QLabel]) -> None:
        super().__init__(text)
        self._column = column

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        return QSize(max([hint.width(), *(label.sizeHint().width() for label in self._column)]), hint.height())


class Card(QFrame):
    """A frame with a form, a folded part, a hint and its Start; ``job_asked``: what it would start is wanted as a file."""

    start_asked = Signal()
    job_asked = Signal()
    edited = Signal()

    def __init__(self, title: str, button: str, settings: type[TrainSettings], steps: int) -> None:
        super().__init__()
        mark(self, "card")
        self._labels: dict[QWidget, QLabel] = {}
        self._dims: dict[tuple[str, str], tuple[int, ...]] = {}
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.form.setVerticalSpacing(4)
        self.heading = QToolButton()
        self.heading.setCheckable(True)
        self.heading.setToolTip("Fold or unfold this card")
        self.heading.toggled.connect(self._open)
        self._title = title
        mark(self.heading, "quiet")
        font = self.heading.font()
        font.setBold(True)
        self.heading.setFont(font)
        self.network = ChoiceField(["small"])
        self.network.setToolTip("Network and size; small trains on two CPU cores")
        self.dims = ChoiceField(["automatic"])
        self.dims.setToolTip("2D learns from single slices, 3D from blocks; automatic chooses by the slice thickness")
        self.budget = Budget(steps)
        self.budget.setToolTip("How long to train; minutes are turned into steps by the speed measured here")
        self.train_form = ConfigForm(settings, hide=ELSEWHERE, basic=())
        self.fold = QToolButton()
        mark(self.fold, "quiet")
        self.fold.setCheckable(True)
        self.fold.setText("▸ More …")
        self.fold.toggled.connect(self._unfold)
        self.network_row = QWidget()
        row = QHBoxLayout(self.network_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.network, 3)
        row.addWidget(self.dims, 2)
        self.folded = QWidget()
        self.folded.setVisible(False)
        self.folded_layout = QVBoxLayout(self.folded)
        self.folded_layout.setContentsMargins(0, 0, 0, 0)
        self.folded_layout.addWidget(self.train_form)
        self.job_button = QPushButton("Save as a job …")
        self.job_button.setToolTip("A file that the command line or a cluster runs unchanged; nothing is started here")
        mark(self.job_button, "quiet")
        self.job_button.clicked.connect(self.job_asked)
        self.folded_layout.addWidget(self.job_button, 0, Qt.AlignmentFlag.AlignLeft)
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        mark(self.hint, "hint")
        self.button = QPushButton(button)
        mark(self.button, "primary")
        self.button.clicked.connect(self.start_asked)
        self.content = QWidget()
        content = QVBoxLayout(self.content)
        content.setContentsMargins(0, 0, 0, 0)
        content.setSpacing(5)
        content.addLayout(self.form)
        content.addWidget(self.fold, 0, Qt.AlignmentFlag.AlignLeft)
        content.addWidget(self.folded)
        content.addWidget(self.hint)
        content.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 8)
        layout.setSpacing(5)
        layout.addWidget(self.heading)
        layout.addWidget(self.content)
        self.set_open(True)
        for widget in (self.network, self.dims, self.budget):
            widget.edited.connect(self.edited)

    def add_row(self, text: str, widget: QWidget) -> None:
        """A labelled input."""
        label = ColumnLabel(text, self._labels.values())
        label.setBuddy(widget)
        label.setToolTip(widget.toolTip())
        widget.setAccessibleName(text)
        self.form.addRow(label, widget)
        self._labels[widget] = label

    def show_row(self, widget: QWidget, visible: bool) -> None:
        """Show a row, or hide it with its label."""
        widget.setVisible(visible)
        self._labels[widget].setVisible(visible)

    @property
    def opened(self) -> bool:
        """Whether the card shows its content."""
        return self.heading.isChecked()

    def set_open(self, on: bool) -> None:
        """Show the content, or only the heading."""
        self.heading.setChecked(on)
        self._open(on)

    def _open(self, on: bool) -> None:
        self.content.setVisible(on)
        self.heading.setText(f"{'▾' if on else '▸'}  {self._title}")

    def set_primary(self, primary: bool) -> None:
        """Whether this Start is the next step."""
        mark(self.button, "primary" if primary else "")

    def set_networks(self, networks: dict[str, dict[str, Any]]) -> None:
        """Offer these networks' presets, and the dimensions that each has."""
        self._dims = {
            (name, preset): tuple(entry["dims"])
            for name, presets in networks.items()
            for preset, entry in presets.items()
        }
        self._offer_networks()
        self.network.edited.connect(self._offer_dims)

    def fitting_networks(self) -> Collection[str]:
        """Names of the networks that may be chosen; empty: all."""
        return ()

    def _offer_networks(self) -> None:
        only = self.fitting_networks()
        fitting = [(name, preset) for name, preset in self._dims if not only or name in only]
        refill(self.network, [(f"{name} · {preset}", (name, preset)) for name, preset in fitting])
        self._offer_dims()

    def _offer_dims(self) -> None:
        dims = self._dims.get(self.network.value(), (2, 3))
        refill(self.dims, [("automatic", None), *((f"{number}D", number) for number in sorted(dims))])

    def network_values(self) -> dict[str, Any]:
        """network, preset and dims as `pretrain` takes them."""
        chosen = self.network.value()
        name, preset = chosen if isinstance(chosen, tuple) else ("unet", "small")
        return {"network": name, "preset": preset, "dims": self.dims.value() if self.dims.value() in (2, 3) else None}

    def train_values(self) -> dict[str, Any]:
        """Training settings that the user changed."""
        return {name: value for name, value in self.train_form.changed_values().items() if name not in ELSEWHERE}

    def problem(self) -> str | None:
        """What keeps it from starting."""
        return self.train_form.problem()

    def show_expected(self, rate: float, measured: bool) -> None:
        """Say how long it will take."""
        self.budget.set_rate(rate)
        about = f"About {duration(self.budget.seconds)}" if self.budget.seconds >= 1 else "A moment"
        basis = "as measured here" if measured else "a guess; the first run measures it"
        steps = f", {count(self.budget.iterations, 'step')}" if self.budget.unit.value() == "minutes" else ""
        self.hint.setText(f"{about} ({basis}){steps}")

    def _unfold(self, on: bool) -> None:
        self.folded.setVisible(on)
        self.fold.setText("▾ Less" if on else "▸ More …")
        if on:
            self.train_form.more_button.setChecked(True)
            self.train_form.more_button.hide()


class PretrainCard(Card):
    """Method, network, budget."""

    def __init__(self) -> None:
        super().__init__(
            "Pretrain", "Start pretraining", PretrainSettings, PretrainSettings.model_fields["iterations"].default
        )
        self.method = MethodChoice(["…"])
        self.method.setToolTip("What the network learns from scans without labels")
        self.add_row("Method", self.method)
        self.add_row("Network", self.network_row)
        self.add_row("Budget", self.budget)
        self.method_form = ConfigForm()
        self.folded_layout.insertWidget(0, self.method_form)
        self.method.edited.connect(self._method_chosen)

    def set_methods(self, methods: Sequence[type[Method]]) -> None:
        self._methods = {method.name: method for method in methods}
        self.method.set_methods(methods)
        self._method_chosen()

    def _method_chosen(self) -> None:
        method = self._methods.get(self.method.value())
        if method is not None:
            self.method.setToolTip(method.paper)
            fields = tuple(method.Config.model_fields)
            self.method_form.set_model(method.Config, basic=fields, hide=joint_only(method.Config))
            self.train_form.set_usual(method.training)
            if self._dims:
                self._offer_networks()
        self.edited.emit()

    def fitting_networks(self) -> Collection[str]:
        """Those that the method works on."""
        method = self._methods.get(self.method.value())
        return () if method is None else method.networks

    def _offer_dims(self) -> None:
        super()._offer_dims()
        method = self._methods.get(self.method.value())
        if method is not None:
            fitting = [number for number in (2, 3) if number in method.dims and self.dims.findData(number) >= 0]
            refill(self.dims, [("automatic", None), *((f"{number}D", number) for number in fitting)])

    def values(self) -> dict[str, Any]:
        """Arguments of `training.pretrain`."""
        return {
            "method": self.method.value(),
            **self.network_values(),
            "iterations": self.budget.iterations,
            "settings": self.method_form.changed_values() if self.method_form.field_names else {},
            "train": self.train_values(),
        }

    def problem(self) -> str | None:
        return super().problem() or self.method_form.problem()


class FinetuneCard(Card):
    """What to start from, and how many labels to use."""

    def __init__(self) -> None:
        super().__init__(
            "Fine-tune", "Start fine-tuning", FinetuneSettings, FinetuneSettings.model_fields["iterations"].default
        )
        self._starts: dict[str, Start] = {}
        self._available = (0, 0)
        self.init = ChoiceField([SCRATCH])
        self.init.setToolTip("Weights to start from: those of a run, or random ones (scratch), for comparison")
        self.labels = IntField(1, 1, 1)
        self.labels_unit = ElidingCombo()
        for text, unit in (("scans", "cases"), ("% of scans", "percent"), ("slices", "slices")):
            self.labels_unit.addItem(text, unit)
        self.labels_hint = QLabel()
        mark(self.labels_hint, "hint")
        labels = QWidget()
        labels.setToolTip(
            "Labelled scans or slices of the train split to learn from; smaller budgets are parts of larger ones"
        )
        row = QHBoxLayout(labels)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.labels, 1)
        row.addWidget(self.labels_unit, 1)
        row.addWidget(self.labels_hint)
        self.add_row("Start from", self.init)
        self.joint = JointChoice()
        self.add_row("Labels", labels)
        self.add_row("Train jointly with", self.joint.choice)
        self.add_row("Network", self.network_row)
        self.add_row("Budget", self.budget)
        self.folded_layout.insertWidget(0, self.joint.form)
        self.joint.edited.connect(self.edited)
        self.init.edited.connect(self._init_chosen)
        self.labels_unit.currentIndexChanged.connect(lambda _index: self._limit_labels(full=True))

    def set_starts(self, starts: Sequence[Start]) -> None:
        """Offer these runs, newest first, and scratch; the newest is proposed when there was none before."""
        had_runs = bool(self._starts)
        kept = self.init.value()
        self._starts = {start.id: start for start in starts}
        refill(self.init, [*((start.title, start.id) for start in starts), ("scratch (random weights)", SCRATCH)])
        known = kept in self._starts or kept == SCRATCH
        self.init.set_value(kept if known and (had_runs or not starts) else (starts[0].id if starts else SCRATCH))
        self._init_chosen()

    def set_available(self, cases: int, slices: int) -> None:
        """How many labelled cases and slices the train split has."""
        changed = (cases, slices) != self._available
        self._available = (cases, slices)
        self._limit_labels(full=changed)

    def _limit_labels(self, *, full: bool) -> None:
        unit, (cases, slices) = self.labels_unit.currentData(), self._available
        most = {"cases": cases, "percent": 100, "slices": slices}[unit]
        self.labels.setMaximum(max(1, most))
        if full:
            self.labels.setValue(max(1, most))
        self.labels_hint.setText({"cases": f"of {cases}", "percent": f"of {cases}", "slices": f"of {slices}"}[unit])
        self.labels.setEnabled(most > 0)
        self.button.setEnabled(cases > 0)
        self.button.setToolTip("" if cases else "No scan of the train split has a label yet")

    def _init_chosen(self) -> None:
        start = self._starts.get(self.init.value())
        self.show_row(self.network_row, start is None)
        self.init.setToolTip(start.title if start is not None else "Random weights, for comparison")
        self.edited.emit()

    @property
    def start(self) -> Start | None:
        """The run to start from; None: scratch."""
        return self._starts.get(self.init.value())

    def values(self) -> dict[str, Any]:
        """Arguments of `training.finetune`."""
        unit, number, (cases, slices) = self.labels_unit.currentData(), self.labels.value(), self._available
        budget: dict[str, Any] = {}
        if unit == "cases" and number < cases:
            budget = {"cases": number}
        elif unit == "percent" and number < 100:
            budget = {"cases": f"{number}%"}
        elif unit == "slices" and number < slices:
            budget = {"slices": number}
        network = self.network_values() if self.start is None else {}
        return {
            "init": self.start.id if self.start is not None else SCRATCH,
            **budget,
            **network,
            **self.joint.values(),
            "iterations": self.budget.iterations,
            "train": self.train_values(),
        }

    def problem(self) -> str | None:
        return super().problem() or self.joint.problem()

    def show_expected(self, rate: float, measured: bool) -> None:
        super().show_expected(rate, measured)
        if not self._available[0]:
            self.hint.setText("No scan of the train split has a label yet; add labels in the tab 1 Study")
        elif self.start is not None and self.start.dims:
            self.hint.setText(f"{self.hint.text()}; {self.start.dims}D network of the run it starts from")

    def describe_labels(self) -> str:
        """``2 of 14 labelled scans``."""
        return f"{self.labels.value()} of {count(self._available[0], 'labelled scan')}"
