"""One time round: fine-tune on what is labelled now, ask what to label next, and have its proposals ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.suggestion.choosing_runs import with_weights
from napari_ssl_seg.suggestion.rounds_table import note_round

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion.records import Suggestion, Unit
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

ITERATIONS = 300
FIRST_CASES = 8
"""Of the suggestions, so many cases get their proposals at once."""


@dataclass(frozen=True)
class Round:
    """What a round leaves behind."""

    run: Run
    """The fine-tuning; where it was stopped, the rest is empty."""
    suggestions: tuple[Suggestion, ...]
    predictions: tuple[Path, ...]
    """Label maps of the suggested cases by this run, the first suggestion's first."""


def next_round(
    study: Study,
    *,
    init: str | Run | None = None,
    strategy: str = "mixed",
    count: int = 10,
    unit: Unit = "slice",
    iterations: int = ITERATIONS,
    seed: int = 0,
    device: str = "auto",
    variation: str = "tta",
    train: Mapping[str, Any] | None = None,
) -> Generator[Event, None, Round]:
    """Fine-tune on what is labelled now, suggest what to label next, and predict those cases.

    Parameters
    ----------
    init
        What the fine-tuning starts from: a run or its id, or ``scratch``. None: see `last_weights`.
    iterations, seed, device, train
        Of the fine-tuning, as in `training.finetune`.
    strategy, count, unit, variation
        Of the suggestions, as in `suggest`.

    Yields
    ------
    Event
        Of the fine-tuning (with its run), the suggesting and the predicting. A fine-tuning that is asked to stop ends the
        round; closing the generator ends it anywhere.

    Returns
    -------
    Round

    Raises
    ------
    UserError
        When nothing is labelled yet, or a step fails.
    """
    from napari_ssl_seg.suggestion.suggesting import suggest
    from napari_ssl_seg.training import finetune, predict

    study.refresh()
    start = init if init is not None else last_weights(study) or "scratch"
    options = {"preview_seconds": 0.0, **(train or {})}
    run = yield from finetune(study, start, iterations=iterations, seed=seed, device=device, train=options)
    if run.state != "finished":
        return Round(run, (), ())
    note_round(study, run)
    found = yield from suggest(
        study, strategy=strategy, runs=None, count=count, unit=unit, seed=seed, variation=variation, device=device
    )
    cases = list(dict.fromkeys(item.case_id for item in found))[:FIRST_CASES]
    files = (yield from predict(study, run, cases=cases, device=device)) if cases else []
    return Round(run, tuple(found), tuple(files))


def last_weights(study: Study) -> Run | None:
    """The newest finished fine-tuning whose classes are the study's, else the newest finished pretraining, else None."""
    runs = [run for run in study.runs() if run.state == "finished"]
    classes = {info.value for info in study.classes}
    tuned = [run for run in with_weights(runs, "finetune") if set(run.record.classes) == classes]
    found = tuned or with_weights(runs, "pretrain")
    return found[-1] if found else None
