"""What to label next: slices or scans, each with its reason in words and a number; and the round of labelling and training.

Nothing heavy is imported here: each public name is fetched when it is first used, and torch when a network is asked.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.suggestion.curve import EfficiencyPoint, efficiency, kept_baseline, random_baseline
    from napari_ssl_seg.suggestion.records import Suggestion, list_strategies
    from napari_ssl_seg.suggestion.rounds import Round, next_round
    from napari_ssl_seg.suggestion.skips import Skip, forget_skips, skip, skipped
    from napari_ssl_seg.suggestion.suggesting import suggest

_HOMES = {
    "EfficiencyPoint": "curve",
    "Round": "rounds",
    "Skip": "skips",
    "Suggestion": "records",
    "efficiency": "curve",
    "forget_skips": "skips",
    "kept_baseline": "curve",
    "list_strategies": "records",
    "next_round": "rounds",
    "random_baseline": "curve",
    "skip": "skips",
    "skipped": "skips",
    "suggest": "suggesting",
}
__all__ = [
    "EfficiencyPoint",
    "Round",
    "Skip",
    "Suggestion",
    "efficiency",
    "forget_skips",
    "kept_baseline",
    "list_strategies",
    "next_round",
    "random_baseline",
    "skip",
    "skipped",
    "suggest",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
