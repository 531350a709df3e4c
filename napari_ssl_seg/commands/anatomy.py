"""Verb: anatomy."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from napari_ssl_seg.anatomy import Match, MatcherSettings, PointMatcher
    from napari_ssl_seg.study import Study

GO_ON = "stopped after {done} of {total}; the same command goes on from there"


def anatomy(
    study: str,
    action: str,
    case: str | None,
    point: str | None,
    other: str | None,
    matcher: str | None,
    out: str | None,
    size: float | None,
    settings: list[str],
) -> dict[str, Any]:
    """Make the matcher of a study's scans, or match a point with it."""
    from napari_ssl_seg.anatomy.settings import matcher_settings
    from napari_ssl_seg.cli import parse_settings
    from napari_ssl_seg.study import Study

    values = parse_settings(settings)
    if matcher is not None:
        values["matcher"] = matcher
    chosen = matcher_settings(values)
    with Study.open(study) as opened:
        if action == "prepare":
            if case is not None:
                raise UserError(f"{case!r} is too much: `anatomy STUDY prepare` takes no case")
            return _prepare(opened, chosen)
        if case is None or point is None or other is None:
            raise UserError("matching needs a case, a point and another case: `anatomy STUDY match CASE z,y,x OTHER`")
        return _match(opened, chosen, case, _point(point), other, out, size)


def _prepare(study: Study, settings: MatcherSettings) -> dict[str, Any]:
    from napari_ssl_seg.anatomy.grid import common_spacing

    start = time.monotonic()
    matcher, same_field = _matcher(study, settings)
    train = study.cases("train")
    result: dict[str, Any] = {
        "matcher": matcher.name,
        "scans": len(train),
        "same_field_of_view": same_field,
    }
    if matcher.name != "same field of view":
        result["spacing_mm"] = common_spacing(train, settings.match_spacing)
    return {**result, "seconds": round(time.monotonic() - start, 2)}


def _match(
    study: Study,
    settings: MatcherSettings,
    case_id: str,
    point: tuple[float, ...],
    other_id: str,
    out: str | None,
    size: float | None,
) -> dict[str, Any]:
    from napari_ssl_seg.anatomy.matching import check_point

    check_point(point, study.case(case_id).shape, case_id)  # said before anything is trained
    study.case(other_id)
    matcher, _ = _matcher(study, settings)
    match = matcher.match(case_id, point, other_id)
    result: dict[str, Any] = {"matcher": matcher.name, "case": case_id, "other": other_id, **_told(match)}
    if not match.accepted:
        result["fallback"] = _told(matcher.fallback(case_id, point, other_id))
    if out is not None:
        from napari_ssl_seg.anatomy.showing import match_pictures, save_pictures

        pictures = match_pictures(
            study, matcher, case_id, point, other_id, match, side_mm=size, channel=settings.match_channel
        )
        result["files"] = save_pictures(pictures, out)
    return result


def _told(match: Match) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 4)

    return {
        "point": [round(value, 2) for value in match.point],
        "score": number(match.score),
        "cycle_error_mm": number(match.cycle_error),
        "how": match.how,
        "accepted": match.accepted,
        "reason": match.reason,
    }


def _matcher(study: Study, settings: MatcherSettings) -> tuple[PointMatcher, bool]:
    """The matcher, trained or registered where it was not, and whether all scans have one field of view."""
    from napari_ssl_seg.anatomy import prepare_matcher, same_field_of_view
    from napari_ssl_seg.commands.text import follow, until_stopped

    if len(study.cases()) < 2:
        raise UserError(f"{study.name} has one scan, so there is no other one to find its points in; add scans")
    train = study.cases("train")
    events = prepare_matcher(study, [case.id for case in train], settings, purpose="show")
    return follow(until_stopped(events, GO_ON)), same_field_of_view(train)


def _point(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise UserError(f"{text!r} is not a point; write z,y,x in voxels, for example 12,40,25")
    return values
