"""Verb: inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def inspect_case(
    study: str,
    method: str,
    case: str,
    slice_index: int | None,
    seed: int,
    out: str,
    run: str | None,
    network: str | None,
    preset: str | None,
    dims: int | None,
    settings: list[str],
) -> dict[str, Any]:
    """Write the views that the trainer would see for one case."""
    from napari_ssl_seg.cli import parse_settings
    from napari_ssl_seg.methods.inspection import inspect, save_inspection
    from napari_ssl_seg.methods.variants import get_variant
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import plan_network

    opened = Study.open(study)
    chosen = get_variant(method, parse_settings(settings))
    spec = plan_network(
        opened,
        network=network,
        preset=preset,
        dims=dims,
        allowed_dims=chosen.dims,
        allowed_networks=chosen.networks,
    )
    shown = inspect(
        opened,
        chosen,
        case,
        spec=spec,
        slice_index=slice_index,
        seed=seed,
        run=opened.run(run) if run else None,
    )
    files = save_inspection(shown, Path(out))
    return {
        "case": case,
        "method": chosen.name,
        "seed": seed,
        "views": [view.name for view in shown.views],
        "stats": {name: float(value) for name, value in shown.stats.items()},
        "seconds": round(shown.seconds, 3),
        "files": [str(file) for file in files],
    }
