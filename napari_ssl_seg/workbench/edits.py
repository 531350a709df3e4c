"""What was painted on in a comparison: kept while its study is open, told from what was saved, and written to files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ssl_seg.volumes import Geometry


@dataclass(frozen=True, eq=False)
class Edit:
    """Labels that were painted on, (z, y, x)."""

    case_id: str
    key: str
    """Of the method, or `REFERENCE`."""
    title: str
    labels: NDArray[Any]
    geometry: Geometry | None
    version: int
    """How often they were painted on."""
    saved: bool = False


class Edits:
    """Of one study. The arrays are those that are painted on, so what was painted last is always in them."""

    def __init__(self) -> None:
        self._edits: dict[tuple[str, str], Edit] = {}

    def keep(
        self, case_id: str, key: str, labels: NDArray[Any], *, title: str = "", geometry: Geometry | None = None
    ) -> None:
        """Go on with these labels in place of those that were read; they are not saved yet."""
        before = self.get(case_id, key)
        version = 1 if before is None else before.version + 1
        self._edits[case_id, key] = Edit(case_id, key, title or key, labels, geometry, version)

    def get(self, case_id: str, key: str) -> Edit | None:
        """What was painted on; None where nothing was."""
        return self._edits.get((case_id, key))

    def of_case(self, case_id: str) -> list[Edit]:
        """All of a case."""
        return [edit for edit in self._edits.values() if edit.case_id == case_id]

    @property
    def unsaved(self) -> list[Edit]:
        """What would be lost, of every case."""
        return [edit for edit in self._edits.values() if not edit.saved]

    def forget(self, case_id: str | None = None) -> None:
        """Go back to what is on disk, of one case or of all."""
        self._edits = {} if case_id is None else {key: edit for key, edit in self._edits.items() if key[0] != case_id}

    def write(self, folder: Path) -> list[Path]:
        """Write what is not saved, one file each; nothing that is there is written over.

        Raises
        ------
        UserError
            When a file cannot be written; what was written before it counts as saved.
        """
        from napari_ssl_seg.volumes import Volume, write_volume

        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for edit in self.unsaved:
            path = _free(folder, f"{_plain(edit.case_id)}_{_plain(edit.title)}_edited")
            assert edit.geometry is not None
            write_volume(path, Volume(edit.labels, edit.geometry))
            self._edits[edit.case_id, edit.key] = replace(edit, saved=True)
            written.append(path)
        return written


def unsaved_words(edits: list[Edit]) -> str:
    """``case_1 (reference, scratch) and case_2 (scratch)``."""
    by_case: dict[str, list[str]] = {}
    for edit in edits:
        by_case.setdefault(edit.case_id, []).append(edit.title)
    parts = [f"{case_id} ({', '.join(titles)})" for case_id, titles in by_case.items()]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _free(folder: Path, stem: str) -> Path:
    path, number = folder / f"{stem}.nii.gz", 2
    while path.exists():
        path = folder / f"{stem}_{number}.nii.gz"
        number += 1
    return path
