"""Verb: labels."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_ssl_seg.annotation import Effort, LabelStore
    from napari_ssl_seg.study import Study

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")


def labels(
    study: str,
    action: str,
    cases: list[str],
    out: str | None,
    file_format: str,
    file: str | None,
    entry: int | None,
    delete: bool,
) -> dict[str, Any]:
    """One of the actions on a study's label store."""
    from napari_ssl_seg.study import Study

    with Study.open(study) as opened:
        match action:
            case "status":
                return _status(opened)
            case "publish":
                from napari_ssl_seg.annotation import publish

                return {"published": publish(opened, cases or None)}
            case "export":
                return _export(opened, cases, out, file_format)
            case "history":
                return _history(opened, _one(cases, action))
            case "effort":
                return _effort(opened, out, delete)
            case _:
                return _write(opened, action, _one(cases, action), file, entry)


def _status(study: Study) -> dict[str, Any]:
    from napari_ssl_seg.annotation import open_labels
    from napari_ssl_seg.annotation.lock import WriterLock
    from napari_ssl_seg.annotation.publishing import unpublished
    from napari_ssl_seg.annotation.unsaved import unsaved_files

    store = open_labels(study, write=False)
    try:
        return {
            "slices": {state.name.lower(): count for state, count in store.counts().items()},
            "cases": store.stored_cases(),
            "not published yet": unpublished(study),
            "not saved yet": [str(path) for path in unsaved_files(study)],
            "labelled by": WriterLock(store.folder).living_holder() or "nobody now",
        }
    finally:
        store.close()


def _export(study: Study, cases: Sequence[str], out: str | None, file_format: str) -> dict[str, Any]:
    from napari_ssl_seg.annotation import LabelReader, export_labels
    from napari_ssl_seg.files import inside

    if out is None:
        raise UserError("say where the labels go: --out FILE for one case, --out DIR for several")
    reader = LabelReader(study)
    try:
        chosen = list(cases) or reader.stored_cases()
    finally:
        reader.close()
    if not chosen:
        raise UserError(f"nothing was labelled in {study.name}; name the cases whose own labels are to be exported")
    if Path(out).name.lower().endswith(SUFFIXES):
        if len(chosen) != 1:
            raise UserError(f"{out} is one file, and {len(chosen)} cases would go into it; name one, or give a folder")
        targets = [Path(out)]
    else:
        targets = [inside(out, f"{case_id}.{file_format}") for case_id in chosen]
    return {"files": [str(export_labels(study, *pair)) for pair in zip(chosen, targets, strict=True)]}


def _history(study: Study, case_id: str) -> dict[str, Any]:
    from napari_ssl_seg.annotation import LabelReader

    reader = LabelReader(study)
    try:
        entries = reader.history(case_id)
    finally:
        reader.close()
    rows = [
        {
            "entry": entry.number,
            "time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time)),
            "kind": entry.kind,
            "tool": entry.tool if entry.source is None else f"{entry.tool} of {entry.source}",
            "voxels": entry.changed,
            "from z,y,x": ",".join(map(str, entry.start)),
            "box": "x".join(map(str, entry.shape)),
        }
        for entry in entries
    ]
    return {"case": case_id, "entries": len(rows), "history": rows}


def _effort(study: Study, out: str | None, delete: bool) -> dict[str, Any]:
    from napari_ssl_seg.annotation import effort_by_tool, open_labels, sum_effort
    from napari_ssl_seg.files import write_text

    store = open_labels(study, write=delete)
    try:
        efforts = store.effort()
        if out is not None:
            write_text(out, effort_csv(efforts))
        if delete:
            _check_writable(store)
            store.delete_effort()
    finally:
        store.close()
    total = sum_effort(efforts)
    tools = [{"tool": tool, **vars(sums)} for tool, sums in effort_by_tool(efforts).items()]
    return {**vars(total), "deleted": delete, **({} if out is None else {"file": out}), "tools": tools}


def effort_csv(efforts: Iterable[Effort]) -> str:
    """A row a piece of work."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "slice", "tool", "seconds", "clicks", "voxels", "time"])
    for one in efforts:
        table.writerow([one.case_id, one.slice_index, one.tool, one.seconds, one.clicks, one.voxels, one.time])
    return text.getvalue()


def _write(study: Study, action: str, case_id: str, file: str | None, entry: int | None) -> dict[str, Any]:
    from napari_ssl_seg.annotation import open_labels

    store = open_labels(study)
    try:
        _check_writable(store)
        if action == "restore":
            if entry is None:
                raise UserError(f"say which entry: --entry N; `labels {study.folder} history {case_id}` lists them")
            return {"case": case_id, "restored": entry, "entry": store.restore(case_id, entry)}
        if file is None:
            raise UserError("say which label file is to be imported: --file FILE")
        from napari_ssl_seg.volumes import geometry_mismatch, read_header, read_volume

        volume = read_volume(file, role="label")
        image = study.case(case_id).images[0]
        if mismatch := geometry_mismatch(read_header(image).geometry, volume.geometry):
            raise UserError(f"{file} does not share the grid of its image {image.name}: {mismatch}; resample the label")
        return {"case": case_id, "entry": store.import_labels(case_id, volume.array, Path(file).name)}
    finally:
        store.close()


def _check_writable(store: LabelStore) -> None:
    if not store.writable:
        raise UserError(f"nothing was changed: {store.why_read_only}")


def _one(cases: Sequence[str], action: str) -> str:
    if len(cases) != 1:
        raise UserError(f"{action} is for one case; name it")
    return cases[0]
