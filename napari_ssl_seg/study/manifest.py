"""What a ``dataset.json`` says: of the Medical Segmentation Decathlon, which names every file, or of nnU-Net, which names none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError, UserError
from napari_ssl_seg.files import inside, read_json
from napari_ssl_seg.study.classes import MAX_CLASS_VALUE
from napari_ssl_seg.study.pairing import FoundCase
from napari_ssl_seg.study.records import Problem, Target
from napari_ssl_seg.study.targets import read_targets
from napari_ssl_seg.volumes import is_volume_file, volume_stem

if TYPE_CHECKING:
    from pathlib import Path

NAME = "dataset.json"
LONGEST_NAME = 4096
"""Letters of a path that any system takes."""


@dataclass(frozen=True)
class Manifest:
    """The parts that matter here."""

    path: Path | None = None
    class_names: dict[int, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    """nnU-Net's regions, where it names any."""
    channels: int | None = None
    """How many channels (modalities) it names."""
    cases: tuple[FoundCase, ...] | None = None
    """The files that it names, with their labels; None where it names none."""
    problems: tuple[Problem, ...] = ()
    """Entries that lead out of its folder or are no file names."""


def has_manifest(folder: Path) -> bool:
    """Whether ``folder`` is described by a dataset.json."""
    return (folder / NAME).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Raises StudyError when the dataset.json in ``folder`` is not readable as one."""
    path = folder / NAME
    try:
        content = read_json(path)
    except UserError as error:
        raise StudyError(str(error)) from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} describes no data set; remove it, or choose images and labels yourself")
    named = content.get("channel_names", content.get("modality"))
    cases, problems = _named_cases(folder, content)
    return Manifest(
        path=path,
        class_names=_class_names(content.get("labels")),
        targets=_targets(path, content),
        channels=len(named) if isinstance(named, dict) and named else None,
        cases=cases,
        problems=problems,
    )


def _named_cases(folder: Path, content: dict[str, Any]) -> tuple[tuple[FoundCase, ...] | None, tuple[Problem, ...]]:
    training, tests = content.get("training"), content.get("test")
    if not isinstance(training, list):
        return None, ()
    cases, problems = [], []
    for entry in [*training, *(tests if isinstance(tests, list) else [])]:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        try:
            if not isinstance(image, str) or not (label is None or isinstance(label, str)):
                raise UserError(
                    f"the entry {str(entry)[:80]} names no image; mend it or choose images and labels yourself"
                )
            if len(image) > LONGEST_NAME or len(label or "") > LONGEST_NAME:
                raise UserError(f"an entry names a file with {max(len(image), len(label or ''))} letters; mend it")
            path = inside(folder, image)
            cases.append(
                FoundCase(volume_stem(path), _channel_files(path), "", inside(folder, label) if label else None)
            )
        except (UserError, ValueError, OSError) as error:  # ValueError: a zero byte in a name
            problems.append(Problem(folder / NAME, str(error)))
    return tuple(cases), tuple(problems)


def _channel_files(path: Path) -> tuple[Path, ...]:
    """The file, or where nnU-Net gave it channel suffixes its channels."""
    if path.exists() or not is_volume_file(path):
        return (path,)
    stem = volume_stem(path)
    files: list[Path] = []
    while (channel := path.with_name(f"{stem}_{len(files):04d}{path.name[len(stem) :]}")).exists():
        files.append(channel)
    return tuple(files) or (path,)


def _targets(path: Path, content: dict[str, Any]) -> tuple[Target, ...]:
    """From nnU-Net's region-based ``{"whole tumor": [1, 2, 3], "enhancing": 3}`` with its ``regions_class_order``."""
    labels, order = content.get("labels"), content.get("regions_class_order")
    if not isinstance(labels, dict) or not any(
        isinstance(values, list) and len(values) > 1 for values in labels.values()
    ):
        return ()
    given = {
        name: values
        for name, values in labels.items()
        if name not in ("background", "ignore") and values not in (0, [0])
    }
    ordered = isinstance(order, list)
    try:
        return read_targets(given, order if ordered else None)
    except (StudyError, TypeError, ValueError, OverflowError) as error:
        if not ordered:  # nnU-Net's own sign of regions is missing: the plain classes are what is left
            return ()
        raise StudyError(f"{path} names regions that cannot be used: {error}") from error


def _class_names(labels: Any) -> dict[int, str]:
    """From ``{"1": "liver"}`` (Decathlon) or ``{"liver": 1}`` (nnU-Net); regions of several values are left out."""
    names: dict[int, str] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, number = (key, value) if isinstance(value, int) else (value, key)
        try:
            number = int(number)
        except (TypeError, ValueError):
            continue
        if 1 <= number <= MAX_CLASS_VALUE and isinstance(name, str) and name.strip() not in ("", *names.values()):
            names[number] = name.strip()
    return names
