"""What Alice needs of a study before its first step: somebody who finds a point of one scan in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.anatomy.matching import SameFieldMatcher
from napari_ssl_seg.methods.base import Prepared

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

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


def prepare(method: Alice, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
    """A matcher for these cases.

    Returns
    -------
    Prepared
        ``facts``: ``matcher``, its name.
    """
    warnings = [ZERO_MASK] if method.spec is not None and method.spec.name == "swin_unetr" else []
    if method.config.pairs == "random":
        return Prepared(method, warnings=tuple(warnings), facts={"matcher": "none"})
    matcher: Any
    if len(case_ids) == 1:
        warnings.append(ONE_SCAN)
        matcher = SameFieldMatcher(study)
    else:
        import napari_ssl_seg.anatomy as anatomy

        if hasattr(anatomy, "prepare_matcher"):
            matcher = yield from anatomy.prepare_matcher(study, case_ids, method.config)
        else:
            matcher = SameFieldMatcher(study)
    return Prepared(method, matcher=matcher, warnings=tuple(warnings), facts={"matcher": matcher.name})


def prepare_slice(method: Alice, study: Study) -> Prepared:
    """The matcher that a run left in the study's cache; until there is one, the same field of view, and a note of it."""
    if method.config.pairs == "random":
        return Prepared(method)
    return Prepared(method, matcher=SameFieldMatcher(study))
