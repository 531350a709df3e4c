"""What to label next, and the round: publish, fine-tune, suggest, propose. No Qt; the functions below are for workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from napari_ssl_seg.annotation import Proposal
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion import Suggestion
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

COUNT = 10
ITERATIONS = 300
STRATEGY = "mixed"


@dataclass(frozen=True)
class Plan:
    """What a round begins with."""

    run: Run | None
    """A fine-tuning that was prepared; None where nothing new can be trained on."""
    words: str
    """Why, or on what."""


class NextToLabel:
    """Suggestions, in their order, and which is next.

    Signals
    -------
    changed()
    """

    changed = Signal()

    def __init__(self) -> None:
        self._waiting: list[Suggestion] = []

    @property
    def waiting(self) -> tuple[Suggestion, ...]:
        """Suggestions that were neither labelled nor skipped."""
        return tuple(self._waiting)

    @property
    def first(self) -> Suggestion | None:
        return self._waiting[0] if self._waiting else None

    def show(self, suggestions: Sequence[Suggestion]) -> None:
        """Others take the place of those that waited."""
        self._waiting = list(suggestions)
        self.changed.emit()

    def drop(self, case_id: str, slice_index: int | None) -> None:
        """A slice was labelled, or skipped: it is not next any more."""
        left = [item for item in self._waiting if (item.case_id, item.slice_index) != (case_id, slice_index)]
        if len(left) != len(self._waiting):
            self._waiting = left
            self.changed.emit()

    def pass_over(self) -> Suggestion | None:
        """Take the first away and return it."""
        item = self.first
        if item is not None:
            self.drop(item.case_id, item.slice_index)
        return item


def ask_what_next(study: Study, strategy: str = STRATEGY, count: int = COUNT, seed: int = 0) -> Any:
    """Suggestions (a generator of events for a worker; the list is its result)."""
    from napari_ssl_seg.suggestion import suggest

    return (yield from suggest(study, strategy=strategy, count=count, seed=seed))


def publish_labels(study: Study) -> None:
    """Let the study see what was drawn: training, scores and suggestions read it from there."""
    study.refresh()


def plan_round(study: Study, *, device: str = "auto", iterations: int | None = None) -> Plan:
    """Publish, and prepare a fine-tuning from the last weights on what is labelled now; nothing is trained yet."""
    from napari_ssl_seg.suggestion.rounds import last_weights
    from napari_ssl_seg.training import prepare_finetune

    publish_labels(study)
    if not study.cases(split="train", labelled=True):
        return Plan(None, "Nothing is labelled in a scan of the train split yet: suggestions come without training.")
    start = last_weights(study)
    run = prepare_finetune(
        study,
        start if start is not None else "scratch",
        iterations=iterations or ITERATIONS,
        device=device,
        train={"preview_seconds": 0.0},
    )
    return Plan(run, f"Training {run.record.title} …")


def after_training(study: Study, run: Run) -> None:
    """Keep where a round stands on the curve of label efficiency."""
    from napari_ssl_seg.suggestion.rounds_table import note_round

    note_round(study, run)


def propose(study: Study, run_id: str, case_id: str) -> Generator[Event, None, Proposal | None]:
    """What a run makes of a scan, as a proposal (a generator for a worker); None where it cannot segment."""
    from napari_ssl_seg.annotation import proposal_from_prediction

    try:
        run = study.run(run_id)
        if run.record.kind != "finetune":
            return None
        found = yield from proposal_from_prediction(study, run, case_id)
    except UserError:
        return None
    return replace(found, source=run.record.title or run.id)


def without(proposal: Proposal, slices: Collection[int]) -> Proposal:
    """A proposal that leaves some slices alone."""
    return replace(proposal, slices=tuple(z for z in proposal.slices if z not in slices))


def skip_for_now(study: Study, suggestion: Suggestion) -> None:
    """It comes back after the others."""
    from napari_ssl_seg.suggestion import skip

    skip(study, suggestion.case_id, suggestion.slice_index)


@dataclass(frozen=True)
class Efficiency:
    """The curve of a study."""

    points: tuple[tuple[float, float | None, float], ...] = ()
    """Labelled slices, minutes spent by then (None: not logged), Dice."""
    chance: tuple[tuple[float, float], ...] = ()
    """Slices, and the Dice that as many random ones reached, in the mean of the repeats."""

    def line(self, *, minutes: bool) -> list[tuple[float, float]]:
        """Points (x, Dice), x ascending."""
        places = [(p[1] if minutes else p[0], p[2]) for p in self.points]
        return sorted((float(x), dice) for x, dice in places if x is not None)


def efficiency_points(study: Study) -> Efficiency:
    """What was reached after each round, and what chance reached where that was simulated; a look at each run."""
    from napari_ssl_seg.suggestion import efficiency, kept_baseline

    points = tuple((float(p.slices), p.minutes, float(p.dice)) for p in efficiency(study))
    drawn: dict[int, list[float]] = {}
    for point in kept_baseline(study):
        drawn.setdefault(point.slices, []).append(point.dice)
    return Efficiency(points, tuple((float(n), sum(dice) / len(dice)) for n, dice in sorted(drawn.items())))


def simulate_chance(study: Study) -> Generator[Event, None, Any]:
    """Train on random slices of those that are labelled (a generator for a worker); what is found is kept in the study."""
    from napari_ssl_seg.suggestion import random_baseline

    return (yield from random_baseline(study, iterations=ITERATIONS))
