"""Where the same anatomy lies in another scan: a Self-supervised Anatomical eMbedding, registration, or the same field of view.

Nothing heavy is imported here: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.anatomy.embedding import EmbeddingMatcher
    from napari_ssl_seg.anatomy.matching import Match, PointMatcher, SameFieldMatcher
    from napari_ssl_seg.anatomy.net import EmbeddingNet
    from napari_ssl_seg.anatomy.prepare import cached_matcher, prepare_matcher, resolve_matcher, same_field_of_view
    from napari_ssl_seg.anatomy.registration import AffineMatcher
    from napari_ssl_seg.anatomy.robust import AffineMap, fit_affine
    from napari_ssl_seg.anatomy.settings import MatcherSettings

__all__ = [
    "AffineMap",
    "AffineMatcher",
    "EmbeddingMatcher",
    "EmbeddingNet",
    "Match",
    "MatcherSettings",
    "PointMatcher",
    "SameFieldMatcher",
    "cached_matcher",
    "fit_affine",
    "prepare_matcher",
    "resolve_matcher",
    "same_field_of_view",
]

_HOMES = {
    "AffineMap": "robust",
    "AffineMatcher": "registration",
    "EmbeddingMatcher": "embedding",
    "EmbeddingNet": "net",
    "Match": "matching",
    "MatcherSettings": "settings",
    "PointMatcher": "matching",
    "SameFieldMatcher": "matching",
    "cached_matcher": "prepare",
    "fit_affine": "robust",
    "prepare_matcher": "prepare",
    "resolve_matcher": "prepare",
    "same_field_of_view": "prepare",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
