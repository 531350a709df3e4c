"""Changes that could not be written when the window was closed: kept in a file of the user's own, for the next opening.

A window that is closed while the study's disk is full or gone would take them with it. They go to `places.state_folder`, which
lies on another disk often enough, and never under the study's name; the next window that may write takes them in.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.annotation.effort import Effort
from napari_ssl_seg.annotation.packing import pack, unpack
from napari_ssl_seg.annotation.records import BoxChange, StateChange
from napari_ssl_seg.annotation.states import SliceState
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.places import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_ssl_seg.study import Study

Change = BoxChange | StateChange | Effort
LIMIT = 2**30


def keep_unsaved(study: Study, changes: Sequence[Change]) -> Path:
    """Write changes to a file for the next opening; raises UserError where that is not possible either."""
    path = _folder() / f"{_mark(study)}-{time.time_ns()}-{secrets.token_hex(4)}.json"
    record = {
        "study": str(study.folder),
        "created": study.settings.created,
        "time": time.time(),
        "changes": [_as_json(item) for item in changes],
    }
    write_json(path, record)
    return path


def unsaved_files(study: Study) -> list[Path]:
    """Files with changes of this study, oldest first."""
    try:
        return sorted(_folder().glob(f"{_mark(study)}-*.json"))
    except OSError:
        return []


def read_unsaved(path: Path, study: Study) -> list[Change]:
    """The changes in a file, in order; none where it is of another study that lay in the same place.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    record = read_json(path, limit=LIMIT)
    try:
        if record["created"] != study.settings.created:
            return []
        return [_from_json(item) for item in record["changes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no labels that can be read ({error}); move it away") from error


def _folder() -> Path:
    return state_folder() / "unsaved labels"


def _mark(study: Study) -> str:
    return hashlib.sha256(str(study.folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _as_json(change: Change) -> dict[str, Any]:
    match change:
        case BoxChange():
            return {
                "case": change.case_id,
                "start": list(change.start),
                "shape": list(change.values.shape),
                "tool": change.tool,
                "efforts": [vars(effort) for effort in change.efforts],
                "voxels": base64.b64encode(pack(change.values)).decode(),
            }
        case StateChange():
            return {"case": change.case_id, "slices": list(change.slices), "state": int(change.state)}
        case _:
            return {"effort": vars(change)}


def _from_json(item: dict[str, Any]) -> Change:
    if "effort" in item:
        return Effort(**item["effort"])
    if "state" in item:
        return StateChange(str(item["case"]), tuple(map(int, item["slices"])), SliceState(item["state"]))
    z, y, x = map(int, item["start"])
    values = unpack(base64.b64decode(item["voxels"]), [int(size) for size in item["shape"]])
    efforts = tuple(Effort(**effort) for effort in item["efforts"])
    return BoxChange(str(item["case"]), (z, y, x), values, str(item["tool"]), efforts)
