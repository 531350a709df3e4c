"""Matched crops: the partner of a patch is cut around the point of another scan that shows the same part of the body."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.anatomy.matching import Match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ssl_seg.anatomy.matching import PointMatcher

Index = tuple[int, int, int]
MATCH_REDRAWS = 100
"""How often a point whose match is not accepted is drawn anew, as in Alice's code."""


@dataclass(frozen=True)
class Partner:
    """Where the two crops of a pair lie."""

    start: Index
    """Of the patch."""
    partner_start: Index
    match: Match
    draws: int
    """Points that were tried."""


def middle_of(start: Sequence[int], size: Sequence[int]) -> Index:
    """The voxel around which a patch of ``size`` that starts there is cut: 2 and 16 voxels give 10."""
    z, y, x = (at + side // 2 for at, side in zip(start, size, strict=True))
    return z, y, x


def start_around(point: Sequence[float], size: Sequence[int]) -> Index:
    """The inverse of `middle_of`, of the nearest voxel; may be negative, and the patch is then padded."""
    z, y, x = (math.floor(at + 0.5) - side // 2 for at, side in zip(point, size, strict=True))
    return z, y, x


def possible_starts(shape: Sequence[int], size: Sequence[int]) -> int:
    """How many patches of ``size`` there are in a scan; one where it is smaller."""
    return math.prod(max(length - side, 0) + 1 for length, side in zip(shape, size, strict=True))


def find_partner(
    matcher: PointMatcher,
    case_id: str,
    other_id: str,
    start: Index,
    size: Sequence[int],
    *,
    redraw: Callable[[], Index] | None = None,
    most: int = MATCH_REDRAWS,
) -> Partner:
    """The partner of the patch at ``start``, or where its match is not accepted that of another patch of the scan.

    Parameters
    ----------
    start, size
        Of the patch, in voxels (z, y, x).
    redraw
        Gives the start of another patch; None: it must be this one.
    most
        So many points are tried. If the matcher accepts none of them, the first one's partner is what the matcher falls
        back to, and the match says so: ``accepted`` is False, with the reason why the first was rejected.
    """
    if case_id == other_id:
        z, y, x = (float(at) for at in middle_of(start, size))
        return Partner(start, start, Match((z, y, x), 1.0, 0.0, "same scan", accepted=True), 1)
    tried, first = start, None
    tries = most if redraw is not None else 1
    for draws in range(1, tries + 1):
        match = matcher.match(case_id, middle_of(tried, size), other_id)
        if match.accepted:
            return Partner(tried, start_around(match.point, size), match, draws)
        first = first or match
        if redraw is not None and draws < tries:
            tried = redraw()
    assert first is not None
    guess = matcher.fallback(case_id, middle_of(start, size), other_id)
    why = dict.fromkeys(text for text in (first.reason, guess.reason) if text)
    flagged = replace(guess, accepted=False, reason="; ".join(why) or "no point was accepted")
    return Partner(start, start_around(guess.point, size), flagged, tries)


def zoomed_out(
    array: np.ndarray, start: Sequence[int], size: Sequence[int], *, fill: float
) -> tuple[np.ndarray, np.ndarray]:
    """The slices of a patch, with the whole of each scaled into the patch's height and width; voxels stay square.

    Parameters
    ----------
    array
        (C, z, y, x).
    start, size
        Of the patch; slices outside the scan are ``fill``, as is what is left beside the scan.

    Returns
    -------
    tuple of ndarray
        (C, *size), nearest voxels, and the patch's box in it: start (z, y, x), then stop; cut off at the picture's border.
    """
    depth, *plane = array.shape[1:]
    zoom = max(1.0, *(length / side for length, side in zip(plane, size[1:], strict=True)))
    picture = np.full((array.shape[0], *size), fill, dtype=array.dtype)
    first, last = max(start[0], 0), min(start[0] + size[0], depth)
    margins, picks, corners = [], [], []
    for length, side, at, extent in zip(plane, size[1:], start[1:], size[1:], strict=True):
        shown = min(side, max(1, math.floor(length / zoom)))
        margin = (side - shown) // 2
        picks.append(np.minimum(((np.arange(shown) + 0.5) * zoom).astype(np.int64), length - 1))
        margins.append(slice(margin, margin + shown))
        corners.append([min(max(margin + edge / zoom, 0.0), float(side)) for edge in (at, at + extent)])
    if last > first:
        slices = array[:, first:last]
        picture[:, first - start[0] : last - start[0], margins[0], margins[1]] = slices[:, :, picks[0]][..., picks[1]]
    box = np.array([0, corners[0][0], corners[1][0], size[0], corners[0][1], corners[1][1]], dtype=np.float32)
    return picture, box
