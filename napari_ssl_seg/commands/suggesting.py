"""Verb: suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ssl_seg.suggestion.records import Purpose, Unit


def suggest(
    study: str,
    strategy: str,
    runs: list[str] | None,
    count: int,
    seed: int,
    unit: Unit,
    purpose: Purpose,
    variation: str,
    device: str,
) -> dict[str, Any]:
    """What to label next, with reasons."""
    from napari_ssl_seg import suggestion
    from napari_ssl_seg.commands.text import follow, until_stopped
    from napari_ssl_seg.study import Study

    with Study.open(study) as opened:
        events = suggestion.suggest(
            opened,
            strategy=strategy,
            runs=runs,
            count=count,
            seed=seed,
            unit=unit,
            purpose=purpose,
            variation=variation,
            device=device,
        )
        stopped = "stopped after {done} of {total}; what was found out is kept, start it again and it goes on"
        found = follow(until_stopped(events, stopped))
    rows = [
        {
            "case": item.case_id,
            "slice": item.slice_index,
            "score": round(item.score, 4),
            "reason": item.reason,
            "run": item.run,
        }
        for item in found
    ]
    return {"strategy": strategy, "suggestions": rows}
