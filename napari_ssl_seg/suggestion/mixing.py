"""Diversity, and diversity mixed with uncertainty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.suggestion.choosing_runs import encoder_run, newest_finetuning
from napari_ssl_seg.suggestion.coverage import distances, nearest, typical_first
from napari_ssl_seg.suggestion.reading import read_cases
from napari_ssl_seg.suggestion.records import Ranked
from napari_ssl_seg.suggestion.spreading import Spread, shares
from napari_ssl_seg.suggestion.strategies import ranked_by_entropy
from napari_ssl_seg.suggestion.vectors import place_spots

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_ssl_seg.suggestion.records import Spot
    from napari_ssl_seg.suggestion.strategies import Task
    from napari_ssl_seg.suggestion.vectors import Cloud
    from napari_ssl_seg.training.events import Event

FIRST_SLICES = 10
"""Labelled slices up to which typical ones come first, and diversity alone counts."""
FIRST_CASES = 3
"""Likewise, of cases."""
BARREN = 0.3
"""What a slice counts for whose nearest labelled slice shows no structure: it probably shows none either."""
UNSURE_SHARE = 0.5
"""Weight of the rank by uncertainty beside the rank by distance, once there are labels and a fine-tuned run."""


def diversity(task: Task) -> Generator[Event, None, list[Ranked]]:
    """Typical first while there are few labels, then what is farthest from everything labelled or taken."""
    cloud = yield from place_spots(task.study, task.pool, encoder_run(task.study, task.runs), device=task.device)
    if _few(task):
        return _typical(task, cloud)
    return _farthest(task, cloud, None)


def mixed(task: Task) -> Generator[Event, None, list[Ranked]]:
    """Diversity for the first labels; then ranks by distance and by uncertainty together.

    Before that a run that saw a handful of slices is unsure of the wrong things (hippocampus, 4 slices: half of what it was
    least sure of showed nothing at all).
    """
    run = newest_finetuning(task.study, task.runs)
    if run is None or _few(task):
        found = yield from diversity(task)
        return found if run is None else [replace(item, run=run.id) for item in found]  # its predictions are proposals
    cloud = yield from place_spots(task.study, task.pool, encoder_run(task.study, task.runs), device=task.device)
    readings = yield from read_cases(task.study, run, task.pool, variation=task.variation, device=task.device)
    unsure = {item.spot: item for item in ranked_by_entropy(readings, task.pool.candidates)}
    return _farthest(task, cloud, unsure)


def _few(task: Task) -> bool:
    return len(task.pool.labelled) < (FIRST_SLICES if task.pool.unit == "slice" else FIRST_CASES)


def _typical(task: Task, cloud: Cloud) -> list[Ranked]:
    gaps, labelled = task.pool.gaps, task.pool.labelled
    rules = [(share, gaps, labelled) for share in (*shares(task.count, len(task.pool.cases)), task.count)]
    rules.append((task.count, dict.fromkeys(gaps, 1), ()))
    weight = np.where(cloud.resembles_barren(np.arange(len(cloud.spots))), BARREN, 1.0)
    found: dict[int, int] = {}
    for share, apart, beside in rules:
        spread = Spread(apart, share, beside)

        def allowed(index: int, spread: Spread = spread) -> bool:
            if not spread.allows(cloud.spots[index]):
                return False
            spread.take(cloud.spots[index])
            return True

        found = dict(typical_first(cloud.points, cloud.labelled, allowed, task.count, task.seed, weight))
        if len(found) >= min(task.count, len(task.pool.candidates)):
            break
    total, what = len(cloud.spots), "slices" if task.pool.unit == "slice" else "scans"
    return [
        Ranked(cloud.spots[index], size / total, f"typical: {size} of {total} {what} look like it", cloud.source)
        for index, size in found.items()
    ]


def _farthest(task: Task, cloud: Cloud, unsure: dict[Spot, Ranked] | None) -> list[Ranked]:
    """Greedily the spot with the highest rank by distance, or by distance and uncertainty together.

    Distances are to what is labelled and to what was just taken; where that shows no structure they count less. They are said in words as multiples of the median
    candidate's distance at the start.
    """
    free = np.flatnonzero(~cloud.labelled)
    if unsure is not None:
        free = free[[cloud.spots[index] in unsure for index in free]]
    points = cloud.points[free]
    taken_points = cloud.points[cloud.labelled]
    gap = nearest(points, taken_points) if len(taken_points) else np.full(len(points), np.inf)
    if not np.isfinite(gap).all():
        gap = np.linalg.norm(points - points.mean(axis=0), axis=1)
    worth = np.where(cloud.resembles_barren(free), BARREN, 1.0)
    usual = float(np.median(gap)) or 1.0
    weight = np.zeros(len(free))
    if unsure is not None:
        weight = _ranks(np.array([unsure[cloud.spots[index]].score for index in free]))
    share = UNSURE_SHARE if unsure is not None else 0.0
    found: list[Ranked] = []
    chosen = np.zeros(len(free), bool)
    rules = [(part, task.pool.gaps, task.pool.labelled) for part in shares(task.count, len(task.pool.cases))]
    rules.append((task.count, dict.fromkeys(task.pool.gaps, 1), ()))
    for part, gaps, beside in rules:
        spread = Spread(gaps, part, beside)
        for item in found:
            spread.take(item.spot)
        open_ = ~chosen
        while len(found) < task.count and open_.any():
            scores = np.where(open_, (1 - share) * _ranks(gap * worth) + share * weight, -1.0)
            best = int(scores.argmax())
            spot = cloud.spots[free[best]]
            open_[best] = False
            if not spread.allows(spot):
                continue
            spread.take(spot)
            chosen[best] = True
            reason = f"unlike what is labelled: {gap[best] / usual:.1f} times as far as the median"
            run = cloud.source
            if unsure is not None:
                reason, run = f"{unsure[spot].reason}; {reason}", unsure[spot].run
            found.append(Ranked(spot, float(scores[best]), reason, run))
            gap = np.minimum(gap, distances(points, points[[best]])[:, 0])
    return found


def _ranks(values: np.ndarray) -> np.ndarray:
    """0 for the lowest to 1 for the highest, ties at the mean of their places."""
    order = np.sort(values)
    middle = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") - 1) / 2
    return middle / max(len(values) - 1, 1)
