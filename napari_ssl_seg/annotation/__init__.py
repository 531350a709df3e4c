"""Labelling: the store that keeps every stroke, and the tools that make labels of few clicks.

Nothing heavy is imported here: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.annotation.interpolation import fill_between
    from napari_ssl_seg.annotation.painting import apply_region, changed_voxels
    from napari_ssl_seg.annotation.prompts import PromptSession, open_prompts
    from napari_ssl_seg.annotation.proposals import Proposal, accept, proposal_from_prediction
    from napari_ssl_seg.annotation.region_ladder import Region, RegionLadder, build_ladder

__all__ = [
    "PromptSession",
    "Proposal",
    "Region",
    "RegionLadder",
    "accept",
    "apply_region",
    "build_ladder",
    "changed_voxels",
    "fill_between",
    "open_prompts",
    "proposal_from_prediction",
]

_HOMES = {
    "PromptSession": "prompts",
    "Proposal": "proposals",
    "Region": "region_ladder",
    "RegionLadder": "region_ladder",
    "accept": "proposals",
    "apply_region": "painting",
    "build_ladder": "region_ladder",
    "changed_voxels": "painting",
    "fill_between": "interpolation",
    "open_prompts": "prompts",
    "proposal_from_prediction": "proposals",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.annotation.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
