"""What a comparison is to be made of: methods, labels, steps, network, predictions from elsewhere, and where it goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.fields import ChoiceField, IntField, TextField
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.training_plan import labels_available
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from napari_ssl_seg.gui.train_choices import Choices
    from napari_ssl_seg.protocol import Protocol
    from napari_ssl_seg.study import Study

SCRATCH = "scratch"
USUAL_BUDGETS = (1, 5, 10)
ROWS_SHOWN = 7
FOLDER_ROLE = Qt.ItemDataRole.UserRole


class ProtocolForm(QDialog):
    """A dialog with everything filled in; `protocol` and `out` once it was accepted."""

    def __init__(self, study: Study, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Run a comparison")
        self._study = study
        self._available, _ = labels_available(study)
        self._choices: Choices | None = None
        self.protocol: Protocol | None = None
        self.out = study.folder / "comparisons" / time.strftime("%Y%m%d-%H%M%S")
        self.methods, self.others = QListWidget(), QListWidget()
        self.more = TextField(placeholder="fdas:ablation, scratch@unetr, simmim+mod")
        self.budgets = TextField("numbers")
        self.repeats = IntField(1, 100)
        self.pretrain_steps, self.finetune_steps = IntField(0, 10**7), IntField(0, 10**7)
        self.network, self.dims, self.device = ChoiceField([]), ChoiceField([]), ChoiceField([])
        self.folder = QLineEdit(str(self.out))
        self.summary, self.problem = QLabel(), QLabel()
        self.start_button, self.cancel_button = QPushButton("Start"), QPushButton("Cancel")
        self._fill()
        self._lay_out()
        self._connect()
        self._edited()

    def _fill(self) -> None:
        self._add_method("From scratch", SCRATCH, "No pretraining: what every other method is tested against", True)
        self.methods.setToolTip(
            "Ticked methods are pretrained where they are not yet, and fine-tuned on the same labels"
        )
        self.others.setToolTip("Label maps of the test scans, named like the scans; a double click changes the name")
        self.more.setToolTip("Variants, networks of their own, joint training: as `compare --methods` takes them")
        self.budgets.set_value([number for number in USUAL_BUDGETS if number <= self._available] or [1])
        self.budgets.setToolTip(
            "How many labelled scans to fine-tune on; larger numbers contain the smaller ones' scans"
        )
        self.repeats.set_value(3)
        self.repeats.setToolTip("Draws of labels, each with its own seed; three or more for a claim")
        for box in (self.pretrain_steps, self.finetune_steps):
            box.setSpecialValueText("as usual")
            box.set_value(0)
        refill(self.network, [("automatic", None)])
        refill(self.dims, [("automatic", None), ("2D", 2), ("3D", 3)])
        refill(self.device, [("automatic", "auto")])
        for label, role in ((self.summary, "hint"), (self.problem, "invalid")):
            label.setWordWrap(True)
            mark(label, role)
        mark(self.start_button, "primary")
        mark(self.cancel_button, "quiet")
        self.start_button.setEnabled(False)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setVerticalSpacing(5)
        line = self.fontMetrics().height() + 6
        self.methods.setFixedHeight(ROWS_SHOWN * line)
        self.others.setFixedHeight(3 * line)
        add, remove = QPushButton("Add a folder …"), QPushButton("Remove")
        browse = QPushButton("Browse …")
        for button in (add, remove, browse):
            mark(button, "quiet")
        add.clicked.connect(self._ask_predictions)
        remove.clicked.connect(lambda: [self.others.takeItem(self.others.row(i)) for i in self.others.selectedItems()])
        browse.clicked.connect(self._ask_out)
        form.addRow("Methods", self.methods)
        form.addRow("More", self.more)
        form.addRow("Labelled scans", self.budgets)
        form.addRow("Repeats", self.repeats)
        form.addRow("Steps", _row(QLabel("pretrain"), self.pretrain_steps, QLabel("fine-tune"), self.finetune_steps))
        form.addRow("Network", _row(self.network, self.dims))
        form.addRow("Device", self.device)
        form.addRow("Made elsewhere", self.others)
        form.addRow("", _row(add, remove, None))
        form.addRow("Folder", _row(self.folder, browse))
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.summary)
        layout.addWidget(self.problem)
        layout.addLayout(buttons)
        self.setMinimumWidth(520)

    def _connect(self) -> None:
        self.methods.itemChanged.connect(self._edited)
        for widget in (self.more, self.budgets, self.repeats, self.dims, self.network):
            widget.edited.connect(self._edited)
        self.budgets.textChanged.connect(self._edited)
        self.start_button.clicked.connect(self._accept)
        self.cancel_button.clicked.connect(self.reject)

    def set_choices(self, choices: Choices) -> None:
        """Offer these methods, networks and devices."""
        self._choices = choices
        while self.methods.count() > 1:
            self.methods.takeItem(1)
        for method in choices.methods:
            self._add_method(method.title, method.name, method.paper, False)
        networks = [
            (f"{name} · {preset}", (name, preset)) for name, presets in choices.networks.items() for preset in presets
        ]
        refill(self.network, [("automatic", None), *networks])
        refill(self.device, [("automatic", "auto"), *((found.describe(), found.name) for found in choices.devices)])
        self._edited()

    def _add_method(self, title: str, name: str, tip: str, ticked: bool) -> None:
        item = QListWidgetItem(title)
        item.setData(FOLDER_ROLE, name)
        item.setToolTip(tip)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.methods.addItem(item)

    def tick(self, *names: str) -> None:
        """Tick these methods, and no others."""
        for item in self._items():
            on = item.data(FOLDER_ROLE) in names
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def _items(self) -> list[QListWidgetItem]:
        return [item for row in range(self.methods.count()) if (item := self.methods.item(row)) is not None]

    @property
    def ticked(self) -> list[str]:
        """What is compared, as the command line takes it."""
        chosen = [str(i.data(FOLDER_ROLE)) for i in self._items() if i.checkState() == Qt.CheckState.Checked]
        return [*chosen, *(part.strip() for part in self.more.value().split(",") if part.strip())]

    def add_predictions(self, folder: str | Path) -> None:
        """A row of another framework's, called like its folder."""
        item = QListWidgetItem(Path(folder).name)
        item.setData(FOLDER_ROLE, str(folder))
        item.setToolTip(str(folder))
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        self.others.addItem(item)

    # -- what comes of it -----------------------------------------------------------------------------------------
    def _read(self) -> Protocol:
        """Raises UserError where something does not fit."""
        from napari_ssl_seg.contenders import parse_contenders
        from napari_ssl_seg.protocol import Protocol

        chosen = self.ticked
        if not chosen:
            raise UserError("nothing is ticked; tick the methods to compare")
        budgets = self.budgets.value()
        if not isinstance(budgets, tuple) or not all(isinstance(number, int) and number > 0 for number in budgets):
            raise UserError("labelled scans are whole numbers, such as 1, 5, 10")
        if max(budgets) > self._available:
            raise UserError(
                f"{max(budgets)} labelled scans are asked for, and the train split has {self._available}; take fewer"
            )
        dims = self.dims.value()
        network, preset = self.network.value() or (None, None)
        for method in self._choices.methods if self._choices is not None else ():
            if method.name in chosen and dims is not None and dims not in method.dims:
                raise UserError(f"{method.title} does not work in {dims}D; untick it, or choose other dimensions")
            if method.name in chosen and network is not None and method.networks and network not in method.networks:
                raise UserError(
                    f"{method.title} pretrains {' and '.join(method.networks)} alone; untick it, or choose automatic"
                )
        contenders = parse_contenders(chosen)
        others: dict[str, str] = {}
        for row in range(self.others.count()):
            item = self.others.item(row)
            assert item is not None
            if not item.text().strip() or item.text() in others:
                raise UserError("two folders have one name; give each of them its own by a double click")
            others[item.text().strip()] = str(item.data(FOLDER_ROLE))
        return Protocol(
            methods=tuple(contender.text for contender in contenders),
            budgets=tuple(sorted(set(budgets))),
            repeats=self.repeats.value(),
            pretrain_iterations=self.pretrain_steps.value() or None,
            finetune_iterations=self.finetune_steps.value() or None,
            network=network,
            preset=preset,
            dims=dims,
            device=self.device.value() or "auto",
            predictions=others,
        )

    def _edited(self, *_: Any) -> None:
        if self._choices is None:
            self.summary.setText("looking for methods and devices …")
            return
        try:
            protocol = self._read()
        except UserError as error:
            self._say(str(error))
            return
        self._say("")
        from napari_ssl_seg.protocol import trainings

        pretrained, tuned = trainings(protocol)
        parts = [count(pretrained, "pretraining")] if pretrained else []
        parts.append(count(tuned, "fine-tuning"))
        self.summary.setText(
            f"{' and '.join(parts)}, one after the other, in a process of its own that outlives this window. What is"
            " there already is not made again."
        )

    def _say(self, problem: str) -> None:
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.start_button.setEnabled(not problem)

    def _accept(self) -> None:
        try:
            self.protocol = self._read()
        except UserError as error:
            self._say(str(error))
            return
        self.out = Path(self.folder.text().strip() or self.out).expanduser()
        self.accept()

    def _ask_predictions(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with predictions, named after the scans")
        if folder:
            self.add_predictions(folder)

    def _ask_out(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the report and its tables")
        if folder:
            self.folder.setText(folder)


def _row(*widgets: QWidget | None) -> QWidget:
    """Beside each other; None takes the rest."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        if widget is None:
            row.addStretch(1)
        else:
            row.addWidget(widget, 0 if isinstance(widget, QLabel | QPushButton) else 1)
    return holder
