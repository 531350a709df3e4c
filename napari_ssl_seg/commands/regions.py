"""Verb: regions."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.regions.settings import RegionSettings

GO_ON = "stopped after about {done} of {total} slices, which are kept; the same command goes on from there"


def prepare(
    study: str,
    source: str | None,
    checkpoint: str | None,
    model_type: str | None,
    split: str,
    alpha: float,
    settings: list[str],
    fetch: str | None,
    yes: bool,
) -> dict[str, Any]:
    """Make the regions of a study's scans, or fetch weights for them."""
    if fetch is not None:
        return _fetch(fetch, yes)
    from napari_ssl_seg.cli import parse_settings
    from napari_ssl_seg.commands.text import follow, until_stopped
    from napari_ssl_seg.regions import prepare_regions
    from napari_ssl_seg.regions.anchors import count_anchors
    from napari_ssl_seg.study import Study

    if not 0 < alpha <= 1:
        raise UserError(f"--alpha is a share of the area, more than 0 and at most 1, not {alpha:g}")
    named = {"source": source, "checkpoint": checkpoint, "model_type": model_type}
    chosen = _settings({**parse_settings(settings), **{name: value for name, value in named.items() if value}})
    start = time.monotonic()
    with Study.open(study) as opened:
        cases = [case.id for case in opened.cases(None if split == "all" else "train")]
        if not cases:
            raise UserError(f"{study} has no case in the split train; use --split all")
        prepared = prepare_regions(opened, chosen, cases, purpose="predict" if split == "all" else "train")
        regions = follow(until_stopped(prepared, GO_ON))
        per_slice = [0 if areas is None else len(areas) for case in cases for areas in regions.case_areas(case)]
        # K belongs to pretraining, so other splits have no say in it, even where their regions are made.
        found = count_anchors(opened, regions, [case.id for case in opened.cases("train")] or cases, alpha=alpha)
    return {
        "source": regions.settings.source,
        "title": regions.title,
        "key": regions.key,
        "cases": len(cases),
        "slices": len(per_slice),
        "done": len(per_slice),
        "empty_slices": sum(count == 0 for count in per_slice),
        "regions_per_slice": statistics.median(per_slice),
        "alpha": alpha,
        "K": found.k,
        "k_histogram": {str(k): count for k, count in found.histogram().items()},
        "seconds": round(time.monotonic() - start, 2),
    }


def _settings(values: Mapping[str, Any]) -> RegionSettings:
    from pydantic import ValidationError

    from napari_ssl_seg.regions.settings import RegionSettings

    try:
        return RegionSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        if field not in RegionSettings.model_fields:
            known = ", ".join(RegionSettings.model_fields)
            raise UserError(f"regions have no setting {field!r}; they have: {known}") from error
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise UserError(f"setting {field} of the regions cannot be {first['input']!r}; it {reason}") from error


def _fetch(model_type: str, yes: bool) -> dict[str, Any]:
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.regions.sam_weights import fetch_weights, find_checkpoint, get_weights

    start = time.monotonic()
    info = get_weights(model_type)
    if find_checkpoint(model_type) is None:
        print(info.notice(), file=sys.stderr)
        if not yes and not _agreed():
            raise UserError("nothing was downloaded; add --yes to agree")
    path = follow(fetch_weights(model_type))
    return {
        "model_type": model_type,
        "title": info.title,
        "file": str(path),
        "bytes": info.bytes,
        "sha256": info.sha256,
        "licence": info.licence,
        "seconds": round(time.monotonic() - start, 2),
    }


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("Download it under this licence? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
