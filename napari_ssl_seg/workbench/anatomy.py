"""The same place in another scan: what a click asks, what is found, and whether the matcher is trained; without Qt.

`find`, `look` and `prepare` run in a worker. Nothing heavy is imported before the first of them.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_ssl_seg.anatomy import Match, PointMatcher
    from napari_ssl_seg.anatomy.matching import Point
    from napari_ssl_seg.anatomy.showing import MatchPictures
    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.training.events import Event

AXES = {0: "axial", 1: "coronal", 2: "sagittal"}
NOT_READY = "not trained yet"


@dataclass(frozen=True)
class MatchRequest:
    """One question: where is this point of a case in another one?"""

    study: Study
    case_id: str
    point: Point
    """(z, y, x) in voxels."""
    other_id: str
    values: Mapping[str, Any]
    """Settings of the matcher, alone or among a method's."""
    axis: int = 0
    """Of the slices that are shown: see `AXES`."""


@dataclass(frozen=True)
class MatchAnswer:
    """What was found."""

    request: MatchRequest
    matcher: str
    """What matched, in words."""
    ready: bool
    """Whether that was the matcher asked for, and not the same field of view in its place."""
    match: Match
    guess: Match | None
    """What the matcher falls back to, where the match is not accepted."""
    pictures: MatchPictures
    seconds: float

    @property
    def verdict(self) -> tuple[str, bool]:
        """A sentence, and whether the match is accepted."""
        match = self.match
        parts = [f"{match.how} match at {_place(match.point)}"]
        if not math.isnan(match.score):
            parts.append(f"similarity {match.score:.2f}")
        if not math.isnan(match.cycle_error):
            parts.append(f"the way back ends {match.cycle_error:.3g} mm from the point")
        if match.accepted:
            return f"Accepted: {', '.join(parts)}.", True
        text = f"Rejected: {match.reason}."
        if self.guess is not None and self.guess.how != match.how:
            text += f" Fallback: {_place(self.guess.point)} ({self.guess.reason})."
        return text, False


@dataclass(frozen=True)
class MatcherState:
    """What would match, and whether it is there."""

    matcher: str
    """embedding, affine or same_field; empty where there is a problem."""
    line: str
    ready: bool
    problem: str = ""


def settings_of(values: Mapping[str, Any]) -> Any:
    """The matcher's settings among others; raises UserError where one is out of bounds."""
    from napari_ssl_seg.anatomy.settings import MatcherSettings, matcher_settings

    return matcher_settings({name: value for name, value in values.items() if name in MatcherSettings.model_fields})


def has_matcher(values: Mapping[str, Any]) -> bool:
    """Whether a method's settings say how points are matched."""
    return "matcher" in values


def other_cases(cases: Sequence[Case], case_id: str | None) -> list[str]:
    """Every case but one: those of the train split first, which the embedding knows."""
    found = [case for case in cases if case.id != case_id]
    return [case.id for case in sorted(found, key=lambda case: case.split != "train")]


def middle(case: Case, slice_index: int) -> Point:
    """The point that is looked for before one is clicked."""
    return float(slice_index), (case.shape[1] - 1) / 2, (case.shape[2] - 1) / 2


def moved_to_slice(point: Point, slice_index: int) -> Point:
    """The same place of the axial slice that the slider shows now."""
    return float(slice_index), point[1], point[2]


def find(request: MatchRequest) -> MatchAnswer:
    """Answer a question (in a worker).

    Raises
    ------
    UserError
        When a setting is out of bounds, the point lies outside the scan, or a scan cannot be read.
    """
    from napari_ssl_seg.anatomy import SameFieldMatcher
    from napari_ssl_seg.anatomy.showing import match_pictures

    begun = time.monotonic()
    settings = settings_of(request.values)
    found = _matchers.get(request.study, settings)
    matcher = found or SameFieldMatcher(request.study)
    match = matcher.match(request.case_id, request.point, request.other_id)
    guess = None if match.accepted else matcher.fallback(request.case_id, request.point, request.other_id)
    pictures = match_pictures(
        request.study,
        matcher,
        request.case_id,
        request.point,
        request.other_id,
        match,
        axis=request.axis,
        channel=settings.match_channel,
    )
    return MatchAnswer(request, matcher.name, found is not None, match, guess, pictures, time.monotonic() - begun)


def look(study: Study, values: Mapping[str, Any]) -> MatcherState:
    """What would match with these values (in a worker)."""
    from napari_ssl_seg.anatomy import resolve_matcher
    from napari_ssl_seg.errors import UserError

    train = study.cases("train")
    if len(study.cases()) < 2:
        return MatcherState("", "", False, "There is no other scan in this study to find a place in.")
    if len(train) < 2:
        return MatcherState("", "", False, "The matcher learns from scans of the train split, and there are not two.")
    try:
        settings = settings_of(values)
        resolved = resolve_matcher(settings, train)
        ready = _matchers.get(study, settings) is not None
    except UserError as error:
        return MatcherState("", "", False, " ".join(str(error).split()))
    auto = settings.matcher == "auto"
    lines = {
        "same_field": "Same field of view" + (": all scans have nearly the same size" if auto else ""),
        "affine": "Affine registration",
        "embedding": "Self-supervised Anatomical eMbedding" + (": the scans differ in size" if auto else ""),
    }
    line = lines[resolved.matcher]
    if not ready:
        line += f" · {NOT_READY}, so the same fraction of the field of view is shown"
    return MatcherState(resolved.matcher, line, ready)


def prepare(study: Study, values: Mapping[str, Any]) -> Generator[Event, None, str]:
    """Train the embedding or register the scans (in a worker); returns the matcher's name."""
    from napari_ssl_seg.anatomy import prepare_matcher

    train = [case.id for case in study.cases("train")]
    matcher = yield from prepare_matcher(study, train, settings_of(values), purpose="show")
    return matcher.name


class _Matchers:
    """The matcher that was used last, so that its vectors of scans stay in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Any, ...] = ()
        self._matcher: PointMatcher | None = None

    def get(self, study: Study, settings: Any) -> PointMatcher | None:
        """None where it is yet to be made; asked for again each time, then."""
        from napari_ssl_seg.anatomy import cached_matcher

        train = study.cases("train")
        key = (study, settings, tuple((case.id, case.fingerprint) for case in train))
        with self._lock:
            if self._key != key or self._matcher is None:
                self._matcher = cached_matcher(study, [case.id for case in train], settings, purpose="show")
                self._key = key
            return self._matcher


_matchers = _Matchers()


def _place(point: Sequence[float]) -> str:
    z, y, x = (f"{value:.0f}" for value in point)
    return f"z {z}, y {y}, x {x}"
