"""What Alice needs of a study before its first step: somebody who finds a point of one scan in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.methods.base import Prepared

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_ssl_seg.anatomy.matching import PointMatcher
    from napari_ssl_seg.methods.alice import Alice
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

ONE_SCAN = (
    "there is one scan to train on, so both crops of a pair are the same place of it, and what scans share is not learnt;"
    " add a second scan"
)
ZERO_MASK = (
    "swin_unetr cannot leave hidden patches out: a learnt token stands in their place (Alice's zero-mask variant), and what"
    " lies behind its map of stride 16 is not pretrained"
)
NOT_YET = (
    "no matcher has been prepared for these scans yet, so the second crop is taken at the same fraction of the field of view;"
    " a pretraining prepares one"
)


def prepare(method: Alice, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
    """A matcher for these cases, from the study's cache where it is there.

    Returns
    -------
    Prepared
        ``facts``: ``matcher``, its name.
    """
    from napari_ssl_seg.anatomy import SameFieldMatcher, prepare_matcher

    warnings = [ZERO_MASK] if method.spec is not None and method.spec.name == "swin_unetr" else []
    matcher: PointMatcher | None = None
    if len(case_ids) == 1:
        warnings.append(ONE_SCAN)
        matcher = SameFieldMatcher(study)
    elif method.config.pairs == "matched":
        matcher = yield from prepare_matcher(study, case_ids, method.config)
    facts = {"matcher": matcher.name if matcher is not None else "none"}
    return Prepared(method, matcher=matcher, warnings=tuple(warnings), facts=facts)


def prepare_slice(method: Alice, study: Study) -> Prepared:
    """The matcher that a run left in the study's cache; until there is one, the same field of view, and a note of it."""
    from napari_ssl_seg.anatomy import SameFieldMatcher

    if method.config.pairs == "random":
        return Prepared(method)
    found = _at_hand(method, study)
    if found is None:
        return Prepared(method, matcher=SameFieldMatcher(study), warnings=(NOT_YET,))
    return Prepared(method, matcher=found)


_shown: dict[Any, PointMatcher] = {}
"""The last matcher of an inspector, with the scans that it has embedded: another slice does not wait for these again."""


def _at_hand(method: Alice, study: Study) -> PointMatcher | None:
    from napari_ssl_seg.anatomy import cached_matcher
    from napari_ssl_seg.anatomy.settings import matcher_part

    ids = [case.id for case in study.cases(split="train")]
    if not ids:
        return None
    key = (id(study), matcher_part(method.config), study.fingerprint(ids))
    if key not in _shown:
        found = cached_matcher(study, ids, method.config)
        if found is None:
            return None
        _shown.clear()
        _shown[key] = found
    return _shown[key]
