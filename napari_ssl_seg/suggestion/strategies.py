"""The strategies: each asks what it needs and returns the best few spots, best first, with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.suggestion.choosing_runs import best_finetunings, needed_finetuning
from napari_ssl_seg.suggestion.measures import differences, expected_dice, typical_size
from napari_ssl_seg.suggestion.reading import read_cases
from napari_ssl_seg.suggestion.records import Ranked, Spot
from napari_ssl_seg.suggestion.spreading import spread_out

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion.measures import Sums
    from napari_ssl_seg.suggestion.pool import Pool
    from napari_ssl_seg.suggestion.reading import Readings
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run


@dataclass(frozen=True)
class Task:
    """What was asked for."""

    study: Study
    pool: Pool
    runs: tuple[Run, ...] | None
    """Those named; None: the strategy chooses."""
    count: int
    seed: int
    variation: str
    device: str

    def spread(self, ranking: Sequence[Ranked]) -> list[Ranked]:
        """The best of a ranking, apart from one another and from what is labelled."""
        return spread_out(ranking, self.count, self.pool.gaps, self.pool.labelled)


def at_random(task: Task) -> Generator[Event, None, list[Ranked]]:
    """Every candidate with the same chance, wherever it lies."""
    yield from ()
    spots = task.pool.candidates
    order = np.random.default_rng(task.seed).permutation(len(spots))[: task.count]
    what = "slices" if task.pool.unit == "slice" else "scans"
    return [Ranked(spots[index], 0.0, f"drawn at random: 1 of {len(spots)} unlabelled {what}") for index in order]


def uncertainty(task: Task) -> Generator[Event, None, list[Ranked]]:
    """By the mean entropy of the prediction over the voxels where a structure may be."""
    run = needed_finetuning(task.study, task.runs, "uncertainty")
    readings = yield from read_cases(task.study, run, task.pool, variation=task.variation, device=task.device)
    return task.spread(ranked_by_entropy(readings, task.pool.candidates))


def ranked_by_entropy(readings: Readings, spots: Sequence[Spot]) -> list[Ranked]:
    """All spots that were read, the least sure first."""
    spots, sums = _of_spots(readings, spots)
    pull = typical_size(sums.possible)
    scores = sums.entropy / (sums.possible + pull)
    below = _share_below(scores)
    found = []
    for index, spot in enumerate(spots):
        count = int(sums.possible[index])
        mean = sums.entropy[index] / max(count, 1)
        reason = f"unsure: mean entropy {mean:.2f} over {count} voxels"
        if below[index] >= 0.5:
            reason += f", more than {below[index]:.0%} of the others"
        found.append(Ranked(spot, float(scores[index]), reason, readings.run.id))
    return _best_first(found)


def expected_error(task: Task) -> Generator[Event, None, list[Ranked]]:
    """By the Dice that the run's own probabilities predict, the lowest first."""
    run = needed_finetuning(task.study, task.runs, "expected_error")
    readings = yield from read_cases(task.study, run, task.pool, variation=task.variation, device=task.device)
    spots, sums = _of_spots(readings, task.pool.candidates)
    dice = expected_dice(sums)
    sizes = (sums.area + sums.soft) / 2
    pull = np.array([typical_size(sizes[:, channel]) for channel in range(sizes.shape[1])])
    errors = np.where(np.isnan(dice), 0.0, 1.0 - dice) * sizes / (sizes + pull)
    scores = errors.max(axis=1, initial=0.0)
    found = []
    for index, spot in enumerate(spots):
        if np.isnan(dice[index]).all():
            reason = "no structure is predicted here"
        else:
            worst = int(errors[index].argmax())
            name, value = readings.names[worst], dice[index, worst]
            reason = f"predicted Dice {np.nanmean(dice[index]):.2f}"
            if np.isfinite(dice[index]).sum() > 1:
                reason += f", lowest for {name} ({value:.2f})"
        found.append(Ranked(spot, float(scores[index]), reason, run.id))
    return task.spread(_best_first(found))


def disagreement(task: Task) -> Generator[Event, None, list[Ranked]]:
    """By 1 - mean Dice between the predictions of runs, pair by pair."""
    runs = best_finetunings(task.study, task.runs)
    readings = []
    for run in runs:
        part = yield from read_cases(task.study, run, task.pool, variation="none", device=task.device)
        readings.append(part)
    shared = [value for value in readings[0].classes if all(value in other.classes for other in readings[1:])]
    names = [readings[0].classes[value] for value in shared]
    found_in = [case_id for case_id in readings[0].by_case if all(case_id in other.by_case for other in readings)]
    counts_of: dict[Spot, np.ndarray] = {}
    planes = task.pool.planes
    for case_id in found_in:
        maps = [_renumbered(other, case_id, shared)[other.by_case[case_id].rows(planes[case_id])] for other in readings]
        counts = differences(maps, len(shared))
        if task.pool.unit == "case":
            counts_of[Spot(case_id, None)] = counts.sum(axis=0)
        else:
            counts_of |= {Spot(case_id, index): row for index, row in zip(planes[case_id], counts, strict=True)}
    spots = [spot for spot in task.pool.candidates if spot in counts_of]
    counts = np.stack([counts_of[spot] for spot in spots])
    same, sizes = counts[..., 0], counts[..., 1]
    apart = 1.0 - np.divide(same, sizes, out=np.ones_like(same), where=sizes > 0)
    pull = np.array([typical_size(sizes[:, channel]) for channel in range(len(shared))])
    weighted = apart * sizes / (sizes + pull)
    scores = weighted.max(axis=1, initial=0.0)
    who = {2: "the two best runs" if task.runs is None else "both runs"}.get(len(runs), f"the {len(runs)} runs")
    found = []
    for index, spot in enumerate(spots):
        worst = int(weighted[index].argmax())
        voxels = round(2.0 * (sizes[index, worst] - same[index, worst]))
        reason = f"{who} disagree on {apart[index, worst]:.0%} of {names[worst]} ({voxels} voxels)"
        if scores[index] <= 0:
            reason = f"{who} agree here (0 voxels apart)"
        found.append(Ranked(spot, float(scores[index]), reason, runs[0].id))
    return task.spread(_best_first(found))


def _renumbered(readings: Readings, case_id: str, values: Sequence[int]) -> np.ndarray:
    """A prediction with the numbers 1, 2, ... in the order of ``values``, 0 elsewhere."""
    table = np.zeros(len(readings.classes) + 1, np.uint16)
    for place, value in enumerate(readings.classes, start=1):
        table[place] = values.index(value) + 1 if value in values else 0
    return table[readings.by_case[case_id].numbers]


def _of_spots(readings: Readings, spots: Sequence[Spot]) -> tuple[list[Spot], Sums]:
    """The spots of cases that were read, and the sums of each: one row a spot."""
    from napari_ssl_seg.suggestion.measures import Sums

    by_case: dict[str, list[Spot]] = {}
    for spot in spots:
        if spot.case_id in readings.by_case:
            by_case.setdefault(spot.case_id, []).append(spot)
    parts = []
    for case_id, of_case in by_case.items():
        reading = readings.by_case[case_id]
        every = np.arange(len(reading.planes))
        groups = [every if spot.slice_index is None else reading.rows([spot.slice_index]) for spot in of_case]
        parts.append(reading.sums.grouped(groups))
    return [spot for of_case in by_case.values() for spot in of_case], Sums.joined(parts)


def _share_below(scores: np.ndarray) -> np.ndarray:
    """For each score the share of the others that are lower."""
    order = np.sort(scores)
    return np.searchsorted(order, scores, side="left") / max(len(scores) - 1, 1)


def _best_first(found: list[Ranked]) -> list[Ranked]:
    """By score; spots of the same score in their own order, so that the answer is the same every time."""
    return sorted(found, key=lambda item: (-item.score, item.spot.case_id, item.spot.slice_index or 0))
