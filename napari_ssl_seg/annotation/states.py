"""What is said of a slice: whether anybody labelled it, and whether it may train."""

from __future__ import annotations

from enum import IntEnum


class SliceState(IntEnum):
    """State of one axial slice of a case; only `LABELLED` and `CHECKED` ones train."""

    UNLABELLED = 0
    PROPOSED = 1
    """A prediction or an interpolation lies there, which nobody has accepted."""
    LABELLED = 2
    CHECKED = 3
    FLAGGED = 4
    """Somebody should look at it again; it does not train until then."""

    @property
    def trains(self) -> bool:
        """Whether training may use the slice."""
        return self in (SliceState.LABELLED, SliceState.CHECKED)


TRAINING_STATES = tuple(state for state in SliceState if state.trains)
