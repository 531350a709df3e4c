"""What the matcher keeps in the study's cache: the trained embedding, its half-trained state, and registrations.

Everything is safetensors or JSON, written whole or not at all; what cannot be read is made anew.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import atomic_path, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_ssl_seg.study import Study

WEIGHTS = "embedding.safetensors"
HALF_DONE = "half.safetensors"
RECORD = "record.json"


def matcher_folder(study: Study, key: str) -> Path:
    """Where what one matcher made of some cases lies."""
    return study.cache_folder / "anatomy" / key


def cases_digest(study: Study, case_ids: Sequence[str]) -> str:
    """Of the contents of the images and how they are normalised; their order does not count, nor do labels or names."""
    chosen = set(case_ids)
    contents = sorted(f"{case.fingerprint} {case.frame}" for case in study.cases() if case.id in chosen)
    parts = [study.settings.normalisation, study.settings.four_d, *contents]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def load_tensors(path: Path) -> dict[str, Tensor] | None:
    """What `save_tensors` wrote; None where there is nothing, or nothing that can be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        return None
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError):
        return None


def save_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write what is worth knowing about a matcher: its settings, scans, losses and time."""
    write_json(folder / RECORD, dict(record))


def load_record(folder: Path) -> dict[str, Any]:
    """What `save_record` wrote; empty where there is none or it is damaged."""
    try:
        found = read_json(folder / RECORD)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}
