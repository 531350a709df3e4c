"""Verbs: download, phantoms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from napari_ssl_seg.errors import UserError


def download(name: str | None, out: str | None, accept_licence: bool) -> dict[str, Any]:
    """Fetch a public set; without a name, list those known."""
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.sample import fetch, get_dataset, list_datasets

    if name is None:
        return {
            "datasets": [
                {"name": key, "title": item.title, "megabytes": round(item.size / 1e6), "licence": item.licence}
                for key, item in list_datasets().items()
            ]
        }
    item = get_dataset(name)
    print(item.notice(), file=sys.stderr)
    if not accept_licence and not _agreed():
        raise UserError("the licence was not agreed to; add --accept-licence")
    folder = follow(fetch(item, Path(out or ".")))
    return {"name": item.name, "folder": str(folder), "licence": item.licence}


def phantoms(out: str, kind: Literal["cardiac", "abdomen"], subjects: int, seed: int) -> dict[str, Any]:
    """Make phantom scans with labels, ready for `create`."""
    from napari_ssl_seg.sample import write_phantom_study_files

    write_phantom_study_files(Path(out), kind=kind, subjects=subjects, seed=seed)
    return {
        "folder": out,
        "images": str(Path(out) / "images"),
        "labels": str(Path(out) / "labels"),
        "subjects": subjects,
    }


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("Do you agree to this licence? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
