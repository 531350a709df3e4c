"""Next to label: the reason in words with its number, Go, Skip; and the one button that suggests, trains and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_ssl_seg.gui.eliding import ElidingButton
from napari_ssl_seg.gui.fields import ChoiceField, IntField
from napari_ssl_seg.gui.label_keys import shown
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.workbench.labelling_next import NextToLabel

STRATEGIES = ("mixed", "diversity", "uncertainty", "disagreement", "expected_error", "random")
MOST_CHECKED = 500


class NextBox(QFrame):
    """The card.

    Signals
    -------
    go_asked(), skip_asked(), round_asked(), suggest_asked()
    """

    go_asked = Signal()
    skip_asked = Signal()
    round_asked = Signal()
    suggest_asked = Signal()

    def __init__(self, keys: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        mark(self, "card")
        heading = QLabel("Next to label")
        mark(heading, "heading")
        self.strategy = ChoiceField(STRATEGIES)
        self.strategy.setAccessibleName("How slices are chosen")
        self.strategy.setToolTip(
            "mixed: what is typical first, then what the networks are unsure of; random is the baseline to beat"
        )
        head = QHBoxLayout()
        head.addWidget(heading)
        head.addStretch(1)
        head.addWidget(self.strategy)
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.go = ElidingButton(f"Go  {shown(keys.get('go'))}")
        self.go.setToolTip(f"Open that slice, with what a run proposes there ({keys.get('go', '')})")
        self.skip = ElidingButton(f"Skip  {shown(keys.get('skip'))}")
        self.skip.setToolTip(f"Not this one now; it comes back after the others ({keys.get('skip', '')})")
        self.suggest = ElidingButton("Suggest")
        self.suggest.setToolTip("Ask again, without training")
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        for button in (self.go, self.skip, self.suggest):
            buttons.addWidget(button, 1)
        self.round = ElidingButton(f"Suggest, train and go on  {shown(keys.get('next'))}")
        mark(self.round, "primary")
        self.round.setToolTip(
            "Fine-tune from the last weights on what is labelled now, ask what to label next, open it with its proposal"
            f" ({keys.get('next', '')})"
        )
        self.after = IntField(0, MOST_CHECKED)
        self.after.setSpecialValueText("never")
        self.after.setSingleStep(1)
        self.after.setAccessibleName("Checked slices before training starts by itself")
        self.after.setToolTip("Start a round by itself after so many newly checked slices")
        auto = QHBoxLayout()
        auto.addWidget(QLabel("by itself after"))
        auto.addWidget(self.after)
        auto.addWidget(QLabel("checked"))
        auto.addStretch(1)
        self.status = QLabel()
        self.status.setWordWrap(True)
        mark(self.status, "hint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 8)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.reason)
        layout.addLayout(buttons)
        layout.addWidget(self.round)
        layout.addLayout(auto)
        layout.addWidget(self.status)
        self.go.clicked.connect(lambda: self.go_asked.emit())
        self.skip.clicked.connect(lambda: self.skip_asked.emit())
        self.suggest.clicked.connect(lambda: self.suggest_asked.emit())
        self.round.clicked.connect(lambda: self.round_asked.emit())
        self.say("")

    def show_next(self, following: NextToLabel) -> None:
        """What is next, and why."""
        first = following.first
        if first is None:
            self.reason.setText("Nothing is suggested yet.")
        else:
            where = f"slice {first.slice_index} of {first.case_id}" if first.slice_index is not None else first.case_id
            more = len(following.waiting) - 1
            after = f" ({count(more, 'more waits', 'more wait')})" if more else ""
            self.reason.setText(f"<b>{where}</b>: {first.reason}{after}")
        for button in (self.go, self.skip):
            button.setEnabled(first is not None)

    def show_busy(self, words: str) -> None:
        """What goes on; empty: nothing."""
        self.round.setEnabled(not words)
        self.suggest.setEnabled(not words)
        self.say(words)

    def say(self, text: str) -> None:
        self.status.setText(text)
        self.status.setVisible(bool(text))
