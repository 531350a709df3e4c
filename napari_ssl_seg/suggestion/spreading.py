"""From a ranking to a few that do not repeat one another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_ssl_seg.suggestion.records import Ranked, Spot


class Spread:
    """Says whether a slice may join those that were taken: not beside one of them, nor of a case that has its share."""

    def __init__(self, gaps: Mapping[str, int], per_case: int, beside: Iterable[Spot] = ()) -> None:
        self.gaps, self.per_case = gaps, per_case
        self._taken: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}
        for spot in beside:
            if spot.slice_index is not None:
                self._taken.setdefault(spot.case_id, []).append(spot.slice_index)

    def allows(self, spot: Spot) -> bool:
        if self._counts.get(spot.case_id, 0) >= self.per_case:
            return False
        index = spot.slice_index
        if index is None:
            return True
        gap = self.gaps.get(spot.case_id, 1)
        return all(abs(index - other) >= gap for other in self._taken.get(spot.case_id, ()))

    def take(self, spot: Spot) -> None:
        self._counts[spot.case_id] = self._counts.get(spot.case_id, 0) + 1
        if spot.slice_index is not None:
            self._taken.setdefault(spot.case_id, []).append(spot.slice_index)


def shares(count: int, cases: int) -> list[int]:
    """How many slices of one case may be taken, round after round until there are enough."""
    even = max(1, math.ceil(count / max(cases, 1)))
    return [even, 2 * even, 4 * even]


def spread_out(
    ranking: Sequence[Ranked], count: int, gaps: Mapping[str, int], labelled: Sequence[Spot] = ()
) -> list[Ranked]:
    """The best ``count`` of a ranking (best first) that lie apart from one another and from what is labelled.

    Where there are not so many, the share of a case grows first; then slices beside labelled ones are taken, and last any.
    """
    cases = len({item.spot.case_id for item in ranking})
    rules = [(share, gaps, labelled) for share in shares(count, cases)]
    rules += [(count, gaps, ()), (count, dict.fromkeys(gaps, 1), ())]
    taken: list[Ranked] = []
    for share, apart, beside in rules:
        spread = Spread(apart, share, beside)
        for item in taken:
            spread.take(item.spot)
        known = {item.spot for item in taken}
        for item in ranking:
            if len(taken) == count:
                return taken
            if item.spot not in known and spread.allows(item.spot):
                spread.take(item.spot)
                taken.append(item)
    return taken
