"""From settings to a matcher: what "auto" means for these scans, and training or registering what is not in the cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.anatomy.grid import Grids, common_spacing, extent
from napari_ssl_seg.anatomy.matching import SameFieldMatcher
from napari_ssl_seg.anatomy.settings import MatcherSettings, matcher_part, settings_key
from napari_ssl_seg.anatomy.store import WEIGHTS, cases_digest, load_tensors, matcher_folder
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_ssl_seg.anatomy.embedding import EmbeddingMatcher
    from napari_ssl_seg.anatomy.matching import PointMatcher
    from napari_ssl_seg.anatomy.registration import AffineMatcher
    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.study.records import Purpose

SAME_FIELD = 0.15
"""Scans count as one field of view when, along each axis, the longest is by no more than this longer than the shortest."""
MOST_TRAINING_SCANS = 200
"""That an embedding is trained on; of more, so many are drawn."""
WAIT_SECONDS = 0.5


def prepare_matcher(
    study: Study, case_ids: Sequence[str], settings: MatcherSettings, *, purpose: Purpose = "train"
) -> Generator[Event, None, PointMatcher]:
    """Make, or read from the study's cache, what matches points between scans.

    May be stopped (closed) at any event; called again it goes on from there, and where another process makes the same it waits.

    Parameters
    ----------
    case_ids
        Scans of the split train: the embedding is trained on these, none else.
    settings
        `MatcherSettings`, or a method's config that has them among others.
    purpose
        What the points are matched for: the matcher reads no scan that this purpose may not see.

    Yields
    ------
    Event
        ``progress`` with ``what``, ``done``, ``total``, ``seconds_left``, ``text``; ``warning``.

    Returns
    -------
    PointMatcher
        With a single scan, where there is nothing to match, the `SameFieldMatcher`, after a warning.

    Raises
    ------
    UserError
        When there is no scan, or one cannot be read or must not be used.
    """
    cases = _allowed(study, case_ids)
    study.refresh([case.id for case in cases])
    resolved = resolve_matcher(settings, cases)
    if len({case.fingerprint for case in cases}) < 2 and resolved.matcher != "same_field":
        yield Event(
            "warning",
            {"message": f"{study.name} has one scan to train on, so there is no other scan to find its points in"},
        )
        return SameFieldMatcher(study)
    if resolved.matcher == "same_field":
        return SameFieldMatcher(study)
    folder = _folder(study, cases, resolved)
    if resolved.matcher == "affine":
        from napari_ssl_seg.anatomy.registration import prepare_registrations

        affine = _affine(study, cases, resolved, folder, purpose)
        if affine.template is not None:
            yield from prepare_registrations(affine, [case.id for case in cases])
        return affine
    embedding = _embedding(study, cases, resolved, folder, purpose)
    if embedding is None:
        yield from _train(study, cases, resolved, folder)
        embedding = _embedding(study, cases, resolved, folder, purpose)
        assert embedding is not None
    return embedding


def cached_matcher(
    study: Study, case_ids: Sequence[str], settings: MatcherSettings, *, purpose: Purpose = "show"
) -> PointMatcher | None:
    """The matcher, where it needs no work: an embedding that is trained already, the same field of view; None otherwise."""
    cases = _allowed(study, case_ids)
    resolved = resolve_matcher(settings, cases)
    if resolved.matcher == "same_field" or len({case.fingerprint for case in cases}) < 2:
        return SameFieldMatcher(study)
    folder = _folder(study, cases, resolved)
    if resolved.matcher == "affine":
        affine = _affine(study, cases, resolved, folder, purpose)
        made = len(list(folder.glob("*.json"))) >= len(cases) - 1
        return affine if made or affine.template is None else None
    return _embedding(study, cases, resolved, folder, purpose)


def resolve_matcher(settings: MatcherSettings, cases: Sequence[Case]) -> MatcherSettings:
    """The matcher's settings alone, "auto" made definite for these scans."""
    own = matcher_part(settings)
    if own.matcher != "auto":
        return own
    return own.model_copy(update={"matcher": "same_field" if same_field_of_view(cases) else "embedding"})


def same_field_of_view(cases: Sequence[Case]) -> bool:
    """Whether all scans have the same size in mm, within 15 % along each axis."""
    extents = np.array([extent(case) for case in cases])
    return bool(np.all(extents.max(axis=0) <= (1.0 + SAME_FIELD) * extents.min(axis=0)))


def _allowed(study: Study, case_ids: Sequence[str]) -> list[Case]:
    cases = [study.allowed(case_id, "train") for case_id in dict.fromkeys(case_ids)]
    if not cases:
        raise UserError(f"{study.name} has no scan in the split train to learn from; make a study with some")
    return cases


def _folder(study: Study, cases: Sequence[Case], resolved: MatcherSettings) -> Path:
    digest = cases_digest(study, [case.id for case in cases])
    spacing = common_spacing(cases, resolved.match_spacing)
    return matcher_folder(study, settings_key(resolved, cases=digest, spacing=spacing))


def _grids(study: Study, cases: Sequence[Case], resolved: MatcherSettings, purpose: Purpose) -> Grids:
    spacing = common_spacing(cases, resolved.match_spacing)
    return Grids(study, spacing, channel=resolved.match_channel, purpose=purpose)


def _train(
    study: Study, cases: Sequence[Case], resolved: MatcherSettings, folder: Path
) -> Generator[Event, None, None]:
    from filelock import FileLock, Timeout

    from napari_ssl_seg.anatomy.training import WHAT, train_embedding

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "training.lock")
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            waiting = {"what": WHAT, "done": 0, "total": resolved.match_iterations, "seconds_left": None}
            yield Event("progress", {**waiting, "text": "another process trains it", "waiting": True})
            time.sleep(WAIT_SECONDS)
    try:
        chosen = [case.id for case in cases]
        if len(chosen) > MOST_TRAINING_SCANS:
            rng = np.random.default_rng(resolved.match_seed)
            chosen = sorted(rng.choice(chosen, MOST_TRAINING_SCANS, replace=False).tolist())
        yield from train_embedding(_grids(study, cases, resolved, "train"), chosen, resolved, folder)
    finally:
        lock.release()


def _embedding(
    study: Study, cases: Sequence[Case], resolved: MatcherSettings, folder: Path, purpose: Purpose
) -> EmbeddingMatcher | None:
    tensors = load_tensors(folder / WEIGHTS)
    if tensors is None:
        return None
    from napari_ssl_seg.anatomy.embedding import EmbeddingMatcher
    from napari_ssl_seg.anatomy.net import EmbeddingNet

    net = EmbeddingNet()
    try:
        net.load_state_dict(tensors)
    except RuntimeError:  # another layout: made anew when it is asked for
        return None
    return EmbeddingMatcher(
        net,
        _grids(study, cases, resolved, purpose),
        largest_cycle=resolved.match_cycle,
        least_score=resolved.match_score,
        consensus=resolved.match_consensus,
        folder=folder / "vectors",
    )


def _affine(
    study: Study, cases: Sequence[Case], resolved: MatcherSettings, folder: Path, purpose: Purpose
) -> AffineMatcher:
    from napari_ssl_seg.anatomy.registration import AffineMatcher

    template = None
    if resolved.match_template:
        sizes = np.array([np.prod(extent(case)) for case in cases])
        template = cases[int(np.argsort(sizes, kind="stable")[len(cases) // 2])].id
    return AffineMatcher(_grids(study, cases, resolved, purpose), folder, template)
