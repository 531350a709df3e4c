"""The label-efficiency curve of a study: validation Dice against slices labelled and minutes spent, and beside it chance."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError, StudyError
from napari_ssl_seg.suggestion.choosing_runs import best_dice, with_weights
from napari_ssl_seg.suggestion.rounds_table import ChanceNote, list_chance, list_rounds, note_chance, slices_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run


@dataclass(frozen=True)
class EfficiencyPoint:
    """One fine-tuning on the curve."""

    run: str | None
    """None where chance was simulated: those runs are not kept."""
    slices: int
    """Labelled slices that it was trained on."""
    minutes: float | None
    """Spent on labelling by then; None where no effort was logged."""
    dice: float
    """Best mean Dice on the labelled slices of the validation scans."""
    time: float
    """Seconds since 1970."""


def efficiency(study: Study) -> list[EfficiencyPoint]:
    """The study's rounds in their order; where it has had none, its finished fine-tunings. Costs a look at each run.

    Runs without a score (no labelled slice in the validation split) are left out.
    """
    notes = {note.run: note for note in list_rounds(study)}
    runs = [run for run in with_weights(study.runs(), "finetune") if run.state == "finished"]
    rounds = [run for run in runs if run.id in notes] or runs
    points = []
    for run in rounds:
        dice, note = best_dice(run), notes.get(run.id)
        if dice < 0:
            continue
        try:
            slices = note.slices if note else slices_of(study, run)
        except StudyError:  # it was trained on a case that has left the study
            continue
        when = note.time if note else run.record.created
        points.append(EfficiencyPoint(run.id, slices, note.minutes if note else None, dice, when))
    return points


def random_baseline(
    study: Study,
    *,
    budgets: Sequence[int] | None = None,
    repeats: int = 3,
    init: str | Run = "scratch",
    iterations: int = 300,
    seed: int = 0,
    device: str = "auto",
    train: Mapping[str, Any] | None = None,
) -> Generator[Event, None, list[EfficiencyPoint]]:
    """What as many slices would have reached had chance picked them, simulated by fine-tuning on random ones.

    What is found is kept in the study (`kept_baseline`); the runs themselves are not, as nobody should be suggested anything by
    them. They can only be drawn from what is labelled, so budgets reach up to half of that; and where those were suggested, not
    drawn, chance draws from a better lot than it would have had: the curve flatters chance, and is said to.

    Parameters
    ----------
    budgets
        Numbers of slices; None: those of `efficiency` up to half of what is labelled, or a quarter and a half of it.
    repeats
        Draws of each number; those of one repeat are nested.
    init, iterations, seed, device, train
        Of each fine-tuning, as in `training.finetune`.

    Returns
    -------
    list of EfficiencyPoint
        One a budget and repeat, with no minutes.

    Raises
    ------
    UserError
        When fewer than 4 slices are labelled, or none in the validation split.
    """
    from napari_ssl_seg.training import finetune

    study.refresh()
    spots = [
        (case.id, index)
        for case in study.cases(split="train", labelled=True)
        for index in (range(case.shape[0]) if case.labelled_slices is None else case.labelled_slices)
    ]
    if len(spots) < 4:
        raise RunError(f"{len(spots)} slices are labelled; label at least 4 to simulate chance on them")
    if not study.cases(split="validation", labelled=True):
        raise RunError("no slice is labelled in the validation split; label some there to measure with")
    most = len(spots) // 2
    wanted = budgets or sorted({point.slices for point in efficiency(study) if point.slices <= most})
    wanted = wanted or sorted({max(1, most // 2), most})
    found: list[EfficiencyPoint] = []
    for repeat in range(repeats):
        order = np.random.default_rng((seed, repeat)).permutation(len(spots))
        for budget in wanted:
            if not 1 <= budget <= len(spots):
                raise RunError(f"{budget} slices were asked for and {len(spots)} are labelled; ask for fewer")
            chosen: dict[str, list[int]] = {}
            for place in order[:budget]:
                chosen.setdefault(spots[place][0], []).append(spots[place][1])
            run = yield from finetune(
                study,
                init,
                slices=chosen,
                iterations=iterations,
                seed=seed + repeat,
                device=device,
                train={"preview_seconds": 0.0, **(train or {})},
            )
            note = ChanceNote(budget, repeat, best_dice(run), time.time())
            finished = run.state == "finished"
            shutil.rmtree(run.folder, ignore_errors=True)
            if not finished:
                return found
            note_chance(study, note)
            found.append(EfficiencyPoint(None, budget, None, note.dice, note.time))
    return found


def kept_baseline(study: Study) -> list[EfficiencyPoint]:
    """What `random_baseline` found the last time, by repeat and number of slices."""
    return [EfficiencyPoint(None, note.slices, None, note.dice, note.time) for note in list_chance(study)]
