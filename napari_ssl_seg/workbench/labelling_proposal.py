"""A proposal for the open case: what of it waits to be accepted or refused. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_ssl_seg.workbench import labelling_states as states_
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_ssl_seg.annotation import Proposal, Region
    from napari_ssl_seg.workbench.labelling import Labelling

    Write = Callable[[Sequence[tuple[Sequence[int], NDArray[Any]]], str], int]
    """Gives boxes to the layer as one stroke of that tool; returns how many voxels have changed."""

ACCEPT = "accept"


class Proposing:
    """The proposal that is shown.

    Signals
    -------
    changed()
        Another proposal, or a part of it was accepted or refused.
    """

    changed = Signal()

    def __init__(self, labelling: Labelling, write: Write) -> None:
        self._labelling, self._write = labelling, write
        self._proposal: Proposal | None = None
        labelling.case_changed.connect(self._case_changed)

    @property
    def proposal(self) -> Proposal | None:
        """What waits; its labels are 0 where it was accepted or refused."""
        return self._proposal

    @property
    def slices(self) -> tuple[int, ...]:
        """Slices that wait."""
        return tuple(self._proposal.slices) if self._proposal is not None else ()

    def words(self, index: int) -> str:
        """``Proposed by fill between: 7 slices wait, this one too.``"""
        if self._proposal is None:
            return ""
        here = "this one too" if index in self.slices else "not this one"
        wait = count(len(self.slices), "slice waits", "slices wait")
        return f"Proposed by {self._proposal.source}: {wait}, {here}."

    def show(self, proposal: Proposal | None) -> None:
        """Show another proposal, or none; the one before is refused."""
        if self._proposal is None and proposal is None:
            return
        if self._proposal is not None:
            self._unmark(self.slices)
        case = self._labelling.case
        if proposal is not None and (case is None or proposal.case_id != case.case_id or not proposal.slices):
            proposal = None
        if proposal is not None:
            proposal = replace(proposal, labels=np.array(proposal.labels))
        self._proposal = proposal
        if proposal is not None and self._labelling.writable:
            states = self._labelling.states
            fresh = [z for z in proposal.slices if states[z] == states_.UNLABELLED]
            self._labelling.set_states(fresh, states_.PROPOSED)
        self.changed.emit()

    # -- accepting ------------------------------------------------------------------------------------------------
    def accept_slice(self, index: int) -> int:
        """Give a slice of it to the labels; returns how many voxels have changed."""
        return self._accept([index])

    def accept_all(self) -> int:
        return self._accept(list(self.slices))

    def accept_class(self, value: int) -> int:
        """Give one class of it to the labels, on every slice that waits."""
        return self._accept(list(self.slices), values={value})

    def accept_region(self, index: int, region: Region) -> int:
        """Give what it proposes inside a region of a slice to the labels."""
        return self._accept([index], region=region)

    def refuse_slice(self, index: int) -> None:
        """Take a slice out of it."""
        self._settle([index])

    def refuse_all(self) -> None:
        self._settle(list(self.slices))

    def _accept(self, slices: list[int], *, values: set[int] | None = None, region: Region | None = None) -> int:
        proposal, case = self._proposal, self._labelling.case
        slices = [z for z in slices if z in self.slices]
        if proposal is None or case is None or not slices or not self._labelling.writable:
            return 0
        from napari_ssl_seg.annotation import accept

        boxes = accept(
            case.labels,
            proposal,
            slices=slices,
            values=values,
            region=region,
            protected=self._labelling.protected,
            overwrite=self._labelling.overwrite,
        )
        voxels = self._write(boxes, ACCEPT)
        if values is None and region is None:
            # Where it proposes nothing, or what is there already, accepting says that this is right.
            here = [z for z in slices if case.states[z] in (states_.UNLABELLED, states_.PROPOSED)]
            self._labelling.set_states(here, states_.LABELLED)
            self._settle(slices)
        else:
            self._clear(slices, values, region)
        return voxels

    def _clear(self, slices: list[int], values: set[int] | None, region: Region | None) -> None:
        """What was accepted waits no longer."""
        assert self._proposal is not None
        labels = self._proposal.labels
        for z in slices:
            part = labels[z]
            if region is not None:
                (y, x), (height, width) = region.start, region.mask.shape
                part = part[y : y + height, x : x + width]
                part[region.mask[: part.shape[0], : part.shape[1]]] = 0
            if values is not None:
                part[np.isin(part, list(values))] = 0
        self._settle([z for z in slices if not labels[z].any()])

    def _settle(self, slices: list[int]) -> None:
        if self._proposal is None:
            return
        gone = set(slices)
        self._unmark(gone)
        left = tuple(z for z in self.slices if z not in gone)
        for z in gone & set(self.slices):
            self._proposal.labels[z] = 0
        self._proposal = replace(self._proposal, slices=left) if left else None
        self.changed.emit()

    def _unmark(self, slices: Any) -> None:
        states = self._labelling.states
        back = [z for z in slices if z < len(states) and states[z] == states_.PROPOSED]
        if back and self._labelling.writable:
            self._labelling.set_states(back, states_.UNLABELLED)

    def _case_changed(self, _case: object) -> None:
        if self._proposal is not None:
            self._proposal = None
            self.changed.emit()
