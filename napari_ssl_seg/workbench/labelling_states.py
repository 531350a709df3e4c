"""The states of slices in the words and colours of the window, and as runs along an axis. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

UNLABELLED, PROPOSED, LABELLED, CHECKED, FLAGGED = range(5)
"""As `annotation.SliceState`, whose names cost nothing here."""
TRAINED = (LABELLED, CHECKED)


class StateLook(NamedTuple):
    """How a state is told: never by its colour alone."""

    name: str
    colour: str
    sign: str
    help: str


LOOKS = {
    UNLABELLED: StateLook("unlabelled", "#7a7f8c", "", "Nothing was drawn here; does not train"),
    PROPOSED: StateLook(
        "proposed", "#b9a3e3", "?", "A proposal waits to be accepted, changed or refused; does not train"
    ),
    LABELLED: StateLook("labelled", "#2f86c1", "–", "Drawn on; trains"),
    CHECKED: StateLook("checked", "#2e9d6a", "✓", "Looked at and found right; trains, and counts for the next round"),
    FLAGGED: StateLook("flagged", "#d1495b", "⚑", "Something is to be settled first; does not train"),
}
"""Colours that are neither those of classes nor those of methods."""


class Stretch(NamedTuple):
    """Neighbouring slices of one state: ``start`` to one before ``stop``."""

    start: int
    stop: int
    state: int


def stretches(states: NDArray[np.uint8]) -> list[Stretch]:
    """A case's states as runs of the same, from its first slice."""
    if not len(states):
        return []
    ends = [*(np.flatnonzero(np.diff(states.astype(np.int16))) + 1), len(states)]
    starts = [0, *ends[:-1]]
    return [Stretch(int(a), int(b), int(states[a])) for a, b in zip(starts, ends, strict=True)]


def legend_counts(states: NDArray[np.uint8]) -> dict[int, int]:
    """How many slices are in each state."""
    return {state: int(np.count_nonzero(states == state)) for state in LOOKS}


def touched(states: NDArray[np.uint8], slices: Iterable[int]) -> list[int]:
    """Of the slices that were drawn on, those that become labelled; a flag stays until it is taken away."""
    return [z for z in slices if states[z] not in (LABELLED, FLAGGED)]


def state_line(states: NDArray[np.uint8], index: int) -> str:
    """``slice 14: labelled · 3 of 35 train``."""
    if not 0 <= index < len(states):
        return ""
    trains = int(np.isin(states, TRAINED).sum())
    return f"slice {index}: {LOOKS[int(states[index])].name} · {trains} of {len(states)} train"


def settled(states: NDArray[np.uint8]) -> set[int]:
    """Slices that somebody has drawn on, checked or flagged: nothing is proposed there."""
    return {int(z) for z in np.flatnonzero(np.isin(states, (LABELLED, CHECKED, FLAGGED)))}
