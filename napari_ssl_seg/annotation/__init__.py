"""Labelling: the store that keeps every stroke, and the tools that make labels of few clicks.

Nothing heavy is imported here: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.annotation.database import LabelsUnwritable
    from napari_ssl_seg.annotation.effort import Effort, EffortSum, effort_by_tool, sum_effort
    from napari_ssl_seg.annotation.export import export_labels
    from napari_ssl_seg.annotation.interpolation import fill_between
    from napari_ssl_seg.annotation.painting import apply_region, changed_voxels
    from napari_ssl_seg.annotation.prompts import PromptSession, open_prompts
    from napari_ssl_seg.annotation.proposals import Proposal, accept, proposal_from_prediction
    from napari_ssl_seg.annotation.publishing import publish
    from napari_ssl_seg.annotation.reader import LabelReader
    from napari_ssl_seg.annotation.records import Entry
    from napari_ssl_seg.annotation.region_ladder import Region, RegionLadder, build_ladder
    from napari_ssl_seg.annotation.states import SliceState
    from napari_ssl_seg.annotation.store import LabelStore, open_labels
    from napari_ssl_seg.annotation.writer import Writer

__all__ = [
    "Effort",
    "EffortSum",
    "Entry",
    "LabelReader",
    "LabelStore",
    "LabelsUnwritable",
    "PromptSession",
    "Proposal",
    "Region",
    "RegionLadder",
    "SliceState",
    "Writer",
    "accept",
    "apply_region",
    "build_ladder",
    "changed_voxels",
    "effort_by_tool",
    "export_labels",
    "fill_between",
    "open_labels",
    "open_prompts",
    "proposal_from_prediction",
    "publish",
    "sum_effort",
]

_HOMES = {
    "Effort": "effort",
    "EffortSum": "effort",
    "Entry": "records",
    "LabelReader": "reader",
    "LabelStore": "store",
    "LabelsUnwritable": "database",
    "PromptSession": "prompts",
    "Proposal": "proposals",
    "Region": "region_ladder",
    "RegionLadder": "region_ladder",
    "SliceState": "states",
    "Writer": "writer",
    "accept": "proposals",
    "apply_region": "painting",
    "build_ladder": "region_ladder",
    "changed_voxels": "painting",
    "effort_by_tool": "effort",
    "export_labels": "export",
    "fill_between": "interpolation",
    "open_labels": "store",
    "open_prompts": "prompts",
    "proposal_from_prediction": "proposals",
    "publish": "publishing",
    "sum_effort": "effort",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.annotation.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
