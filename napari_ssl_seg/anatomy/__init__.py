"""Where the same anatomy lies in another scan: a Self-supervised Anatomical eMbedding, registration, or the same field of view.

Nothing heavy is imported here: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.anatomy.matching import Match, PointMatcher, SameFieldMatcher

__all__ = [
    "Match",
    "PointMatcher",
    "SameFieldMatcher",
]

_HOMES = {
    "Match": "matching",
    "PointMatcher": "matching",
    "SameFieldMatcher": "matching",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
