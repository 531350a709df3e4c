"""The verb: suggest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.suggestion.choosing_runs import with_weights
from napari_ssl_seg.suggestion.pool import MOST_SLICES, MOST_VOXELS, Limit, make_pool
from napari_ssl_seg.suggestion.records import STRATEGIES, Spot, Suggestion
from napari_ssl_seg.suggestion.skips import skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion.pool import Pool
    from napari_ssl_seg.suggestion.records import Purpose, Ranked, Unit
    from napari_ssl_seg.suggestion.strategies import Task
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

MOST = 1000


def suggest(
    study: Study,
    *,
    strategy: str = "mixed",
    runs: Sequence[str | Run] | None = None,
    count: int = 10,
    skip: Iterable[tuple[str, int | None]] = (),
    seed: int = 0,
    purpose: Purpose = "label",
    unit: Unit = "slice",
    variation: str = "tta",
    device: str = "auto",
) -> Generator[Event, None, list[Suggestion]]:
    """What to label next, the most useful first. Never a case of the split test.

    Parameters
    ----------
    strategy
        A name of `list_strategies`.
    runs
        Runs (or their ids) to ask. Of a fine-tuning the predictions count, of any run the embedding. None: the newest
        fine-tuning is asked how sure it is, the two best in validation whether they agree, and the newest pretraining (or
        else fine-tuning) what looks alike; where there is no run at all, or an empty list is given, the scans themselves.
    count
        How many.
    skip
        Slices ``(case, index)`` or whole cases ``(case, None)`` to leave out now. What `suggestion.skip` has kept comes after
        everything else.
    seed
        Of what is drawn: the random strategy, the clusters, and which cases of a very large study are looked at.
    purpose
        ``label``: slices to train on, of the split train; ``validation``: slices to measure with, of the split validation
        (random or diversity suit those: a measure on what is uncertain would look worse than the whole).
    unit
        Axial slices, or whole cases without any label.
    variation
        How a run is asked how sure it is: ``tta`` (test-time augmentation), ``dropout`` or ``none`` (`variations`).

    Yields
    ------
    Event
        ``progress``. Close the generator to stop.

    Returns
    -------
    list of Suggestion
        As many as asked for, or all there are.

    Raises
    ------
    UserError
        When a strategy has not got the runs that it needs, nothing is left to label, or an argument is wrong.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"there is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    if not 1 <= count <= MOST:
        raise UserError(f"{count} suggestions were asked for; ask for 1 to {MOST}")
    from napari_ssl_seg.suggestion.strategies import Task

    study.refresh()
    chosen = None if runs is None else tuple(study.run(run) if isinstance(run, str) else run for run in runs)
    limit = _limit(study, strategy, chosen, variation, device)
    pool = make_pool(study, purpose=purpose, unit=unit, skip=skip, seed=seed, limit=limit)
    fresh, passed = _without_skipped(study, pool)
    rank = _strategy(strategy)
    found: list[Ranked] = []
    if fresh.candidates:
        found += yield from rank(Task(study, fresh, chosen, count, seed, variation, device))
    if len(found) < count and passed:  # only when nothing else is left, the longest ago first
        task = Task(study, replace(pool, candidates=passed), chosen, len(passed), seed, variation, device)
        again = {item.spot: item for item in (yield from rank(task))}
        found += [again[spot] for spot in passed if spot in again]
    return [
        Suggestion(item.spot.case_id, item.spot.slice_index, item.score, item.reason, strategy, item.run)
        for item in found[:count]
    ]


def _limit(study: Study, strategy: str, runs: Sequence[Run] | None, variation: str, device: str) -> Limit:
    """How much a strategy may look at: chance sees everything, networks what they can in minutes."""
    from napari_ssl_seg.suggestion.variations import plan_passes

    if strategy == "random":
        return Limit()
    asked = study.runs() if runs is None else list(runs)
    tuned = with_weights(asked, "finetune")
    if not tuned and not with_weights(asked, "pretrain"):
        return Limit(slices=MOST_SLICES)
    from napari_ssl_seg.training.hardware import pick_device

    where = "cpu" if pick_device(device).name == "cpu" else "gpu"
    in_3d = strategy != "diversity" and any(run.record.network.get("dims") == 3 for run in tuned[-2:])
    passes = len(plan_passes(variation, flips=False)) if tuned and strategy not in ("diversity", "disagreement") else 1
    return Limit(slices=MOST_SLICES, voxels=MOST_VOXELS[where] / passes, whole=in_3d)


def _without_skipped(study: Study, pool: Pool) -> tuple[Pool, tuple[Spot, ...]]:
    """The pool without what was skipped, and what was, the longest ago first."""
    kept = skipped(study)
    if not kept:
        return pool, ()
    when = {Spot(item.case_id, item.slice_index): item.time for item in kept}

    def time_of(spot: Spot) -> float | None:
        known = [when[key] for key in (spot, Spot(spot.case_id, None)) if key in when]
        return max(known, default=None)

    fresh = tuple(spot for spot in pool.candidates if time_of(spot) is None)
    passed = [(time, spot) for spot in pool.candidates if (time := time_of(spot)) is not None]
    return replace(pool, candidates=fresh), tuple(spot for _, spot in sorted(passed, key=lambda item: item[0]))


def _strategy(name: str) -> Callable[[Task], Generator[Event, None, list[Ranked]]]:
    from napari_ssl_seg.suggestion import mixing, strategies

    return {
        "mixed": mixing.mixed,
        "diversity": mixing.diversity,
        "uncertainty": strategies.uncertainty,
        "disagreement": strategies.disagreement,
        "expected_error": strategies.expected_error,
        "random": strategies.at_random,
    }[name]
