"""The tools that are ours: Region, Prompt, Fill between; what a proposal can become; the state of the slice. Widgets only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.eliding import ElidingButton
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.label_keys import shown
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES = [
    ("automatic", "auto"),
    ("basins", "watershed"),
    ("Felzenszwalb", "felzenszwalb"),
    ("SLIC", "slic"),
    ("Segment Anything", "sam"),
]
EMBEDDING = "embedding:"
"""Before the id of a run, whose embedding makes the regions."""


class ToolBox(QWidget):
    """Region and Prompt can be in hand; Fill between is done at once.

    Signals
    -------
    region_asked(on), prompt_asked(on), between_asked(), stepped(1 finer, -1 coarser), source_chosen(str),
    overwrite_asked(on)
    """

    region_asked = Signal(bool)
    prompt_asked = Signal(bool)
    between_asked = Signal()
    stepped = Signal(int)
    source_chosen = Signal(str)
    overwrite_asked = Signal(bool)

    def __init__(self, keys: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        heading = QLabel("Tools")
        mark(heading, "heading")
        heading.setToolTip("Beside those of napari: brush, eraser, fill, polygon and picker work as ever")
        head = QHBoxLayout()
        head.addWidget(heading)
        head.addStretch(1)
        self.region = _switch(f"Region  {shown(keys.get('region'))}", "Region")
        self.region.setToolTip(
            "Click gives the region under the pointer to the class in hand, Shift+click takes it away, a drag sweeps"
            f" ({keys.get('region', '')}); {keys.get('coarser', '')} and {keys.get('finer', '')} change its size"
        )
        self.prompt = _switch(f"Prompt  {shown(keys.get('prompt'))}", "Prompt")
        self.between = ElidingButton(f"Fill between  {shown(keys.get('between'))}")
        self.between.setToolTip(
            "Propose what lies between the labelled slices of this scan, class by class"
            f" ({keys.get('between', '')}); nothing is changed until you accept it"
        )
        self.coarser = _small(shown(keys.get("coarser")), "Next larger region at the pointer")
        self.finer = _small(shown(keys.get("finer")), "Next smaller region at the pointer")
        self.coarser.setText(f"larger  {shown(keys.get('coarser'))}")
        self.finer.setText(f"smaller  {shown(keys.get('finer'))}")
        self.source = ChoiceField([])
        refill(self.source, SOURCES)
        self.source.setToolTip("Where regions come from; those of a run group what looks alike to it")
        self.source.setAccessibleName("Regions come from")
        self.overwrite = QCheckBox("draw over other classes  B")
        self.overwrite.setToolTip(
            "Off: voxels of another class stay as they are, with every tool. The same as napari's preserve labels (B)"
        )
        self.note = QLabel()
        self.note.setWordWrap(True)
        mark(self.note, "hint")
        self._lay_out(head)
        self.region.clicked.connect(self.region_asked)
        self.prompt.clicked.connect(self.prompt_asked)
        self.between.clicked.connect(lambda: self.between_asked.emit())
        self.finer.clicked.connect(lambda: self.stepped.emit(1))
        self.coarser.clicked.connect(lambda: self.stepped.emit(-1))
        self.source.edited.connect(lambda: self.source_chosen.emit(self.source.value()))
        self.overwrite.clicked.connect(self.overwrite_asked)
        self.say("")
        self.allow_prompts(False, "")

    def _lay_out(self, head: QHBoxLayout) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(_flow(self.region, self.prompt, self.between))
        layout.addWidget(_flow(self.source, self.coarser, self.finer))
        layout.addWidget(self.note)
        layout.addWidget(self.overwrite)

    def say(self, text: str, *, error: bool = False) -> None:
        """One line about the tool in hand; an empty one hides it."""
        mark(self.note, "error" if error else "hint")
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def allow_prompts(self, on: bool, why_not: str) -> None:
        """Prompts need a checkpoint of Segment Anything."""
        self.prompt.setEnabled(on)
        self.prompt.setToolTip(
            "Click: this belongs to it. Shift+click: this does not. Drag: a box around it. Accept the answer to draw it."
            if on
            else why_not or "Prompts need a checkpoint of Segment Anything; the tab 2 Pretext fetches one"
        )

    def set_runs(self, runs: Sequence[tuple[str, str]]) -> None:
        """Offer the embeddings of these runs, (title, id)."""
        refill(self.source, [*SOURCES, *((f"clusters of {title}", EMBEDDING + run) for title, run in runs)])

    def set_writable(self, on: bool) -> None:
        for widget in (self.region, self.between, self.overwrite):
            widget.setEnabled(on)


class ProposalBox(QWidget):
    """What waits to be accepted; hidden where nothing does.

    Signals
    -------
    accepted(what), refused(what)
        ``slice``, ``class``, ``region``, ``all``.
    """

    accepted = Signal(str)
    refused = Signal(str)

    def __init__(self, keys: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = QLabel()
        self.words.setWordWrap(True)
        mark(self.words, "hint")
        self.buttons: dict[str, ElidingButton] = {}
        for name, text, key, help_ in (
            ("slice", "Accept slice", "accept", "Draw what is proposed on this slice"),
            ("class", "Class", "", "Draw what is proposed for the class in hand, on every slice that waits"),
            ("region", "Region", "accept_region", "Draw what is proposed inside the region under the pointer"),
            ("all", "All", "", "Draw all that is proposed"),
        ):
            button = ElidingButton(f"{text}  {shown(keys.get(key))}".rstrip())
            button.setToolTip(help_ + (f" ({keys[key]})" if key in keys else ""))
            button.clicked.connect(lambda _=False, name=name: self.accepted.emit(name))
            self.buttons[name] = button
        self.refuse = ElidingButton(f"Refuse slice  {shown(keys.get('refuse'))}".rstrip())
        self.refuse.setToolTip(f"Take this slice out of the proposal ({keys.get('refuse', '')})")
        self.refuse.clicked.connect(lambda: self.refused.emit("slice"))
        self.refuse_all = ElidingButton("Refuse all")
        self.refuse_all.clicked.connect(lambda: self.refused.emit("all"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.words)
        layout.addWidget(_flow(*self.buttons.values(), self.refuse, self.refuse_all))
        self.setVisible(False)

    def show_words(self, text: str, *, here: bool) -> None:
        """What waits; ``here``: on this slice too. Nothing hides the box."""
        self.words.setText(text)
        self.setVisible(bool(text))
        for name in ("slice", "region"):
            self.buttons[name].setEnabled(here)
        self.refuse.setEnabled(here)


class SliceBox(QWidget):
    """The state of the slice that is shown.

    Signals
    -------
    checked(), flagged()
        Say so of this slice, or take it back.
    """

    checked = Signal()
    flagged = Signal()

    def __init__(self, keys: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.check = ElidingButton(f"✓ Checked  {shown(keys.get('checked'))}")
        self.check.setCheckable(True)
        self.check.setToolTip(f"This slice is right ({keys.get('checked', '')}); again: it is labelled only")
        self.flag = ElidingButton(f"⚑ Flag  {shown(keys.get('flag'))}")
        self.flag.setCheckable(True)
        self.flag.setToolTip(f"Something is to be settled here: the slice does not train ({keys.get('flag', '')})")
        self.check.clicked.connect(lambda: self.checked.emit())
        self.flag.clicked.connect(lambda: self.flagged.emit())
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.check, 1)
        row.addWidget(self.flag, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.words)
        layout.addLayout(row)

    def show_state(self, words: str, *, checked: bool, flagged: bool, writable: bool) -> None:
        self.words.setText(words[:1].upper() + words[1:])
        self.check.setChecked(checked)
        self.flag.setChecked(flagged)
        for button in (self.check, self.flag):
            button.setEnabled(writable)


def _flow(*widgets: QWidget) -> QWidget:
    """Beside each other, and below where letters are too large for that."""
    row = QWidget()
    flow = QFlowLayout(row)
    flow.setContentsMargins(0, 0, 0, 0)
    flow.setSpacing(4)
    for widget in widgets:
        flow.addWidget(widget)
    return row


def _switch(text: str, name: str) -> QToolButton:
    button = _small(text, "")
    button.setAccessibleName(name)
    button.setCheckable(True)
    mark(button, "switch")
    return button


def _small(text: str, help_: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(help_)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return button
