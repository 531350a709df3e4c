"""Which label belongs to which image, and which files are channels of one case: by their names.

Names agree when they are the same, when the label's lacks nnU-Net's channel suffix (``case_0000`` with ``case``), or when
only a word such as ``_seg`` or ``_label`` tells them apart; files in like-named subfolders are preferred.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_ssl_seg.study.records import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

MAX_GUESSED_CHANNELS = 8
_CHANNEL = re.compile(r"(?P<base>.+)_(?P<number>\d{4})")
_LABEL_WORDS = "segmentations?|seg|labels?|lab|masks?|gt|groundtruth|manual|annotations?|roi"
_IMAGE_WORDS = "images?|img|scan|volume|vol|ct|mri?|t1|t1w|t2|t2w"
_LABEL_SUFFIX = re.compile(rf"(?:^|[_\-. ])(?:{_LABEL_WORDS})$", re.IGNORECASE)
_LABEL_PREFIX = re.compile(rf"^(?:{_LABEL_WORDS})[_\-. ]?(?=\d)", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(rf"(?:^|[_\-. ])(?:{_IMAGE_WORDS})$", re.IGNORECASE)
_IMAGE_PREFIX = re.compile(rf"^(?:{_IMAGE_WORDS})[_\-. ]?(?=\d)", re.IGNORECASE)


@dataclass(frozen=True)
class NamedFile:
    """A volume with the part of its path that says whose it is."""

    path: Path
    stem: str
    """The name without extension."""
    folder: str = ""
    """Subfolders below the place where it was looked for, with ``/``."""


@dataclass(frozen=True)
class FoundCase:
    """One case before anything of it was read."""

    stem: str
    images: tuple[Path, ...]
    folder: str = ""
    label: Path | None = None
    id: str = ""
    name: str = ""
    """What a rule for groups looks at: file name with subfolder."""


def group_channels(
    files: Sequence[NamedFile], label_stems: Iterable[str] = (), channels: int | None = None
) -> list[FoundCase]:
    """Cases from image files, where ``X_0000``, ``X_0001`` ... are the channels of case ``X``.

    Scans are often numbered the same way (``scan_0000``, ``scan_0001``), so names alone do not decide: a label called
    ``X`` makes them channels, one called ``X_0000`` makes them scans. Without labels they are channels where ``channels``
    (from a dataset.json) says so, or where several cases have them, at most eight each.
    """
    labels = set(label_stems)
    sets: dict[tuple[str, str], dict[int, list[NamedFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        if match := _CHANNEL.fullmatch(file.stem):
            sets[file.folder, match["base"]][int(match["number"])].append(file)
    named = {base for _, base in sets} & labels
    several = len(sets) > 1

    def is_case(base: str, numbered: dict[int, list[NamedFile]]) -> bool:
        whole = sorted(numbered) == list(range(len(numbered))) and all(len(same) == 1 for same in numbered.values())
        if not whole or any(file.stem in labels for same in numbered.values() for file in same):
            return False
        if channels is not None:
            return len(numbered) <= channels
        return base in labels or (len(numbered) <= MAX_GUESSED_CHANNELS and (bool(named) or several))

    members: dict[Path, tuple[str, str]] = {}
    for (folder, base), numbered in sets.items():
        if is_case(base, numbered):
            members.update({file.path: (folder, base) for same in numbered.values() for file in same})
    cases: dict[Hashable, FoundCase] = {}
    for file in sorted(files, key=lambda file: file.stem if file.path in members else ""):
        key: Hashable = members.get(file.path, file.path)
        stem = members[file.path][1] if file.path in members else file.stem
        earlier = cases.get(key, FoundCase(stem, (), file.folder))
        cases[key] = replace(earlier, images=(*earlier.images, file.path))
    order = {file.path: place for place, file in enumerate(files)}
    return sorted(cases.values(), key=lambda case: order[case.images[0]])


def channel_base(stem: str, channels: int) -> str:
    """``X`` for the first file ``X_0000`` of several channels; other names as they are."""
    match = _CHANNEL.fullmatch(stem)
    return match["base"] if match and channels > 1 else stem


def pair_labels(cases: Sequence[FoundCase], labels: Sequence[NamedFile]) -> tuple[list[FoundCase], list[Problem]]:
    """Give each case the one label whose name agrees with its own.

    Returns
    -------
    cases
        In the same order, with ``label`` set where one fits.
    problems
        Labels that fit no case, or more than one, or compete with another for the same.
    """
    paired: dict[int, NamedFile] = {}
    left = dict(enumerate(labels))
    for image_key, label_key in _LEVELS:
        by_key: dict[Hashable, list[int]] = defaultdict(list)
        for number, label in left.items():
            by_key[label_key(label)].append(number)
        asking: dict[Hashable, list[int]] = defaultdict(list)
        for number, case in enumerate(cases):
            if number not in paired:
                asking[image_key(case)].append(number)
        for key, numbers in asking.items():
            fitting = by_key.get(key, [])
            if len(numbers) == len(fitting) == 1:
                paired[numbers[0]] = left.pop(fitting[0])
    cores = {label_core(case.stem) for case in cases} | {image_core(case.stem) for case in cases}
    problems = [
        Problem(
            label.path,
            "more than one image or label has this name; leave one, or put images and labels into like-named subfolders"
            if label_core(label.stem) in cores
            else NO_IMAGE,
        )
        for label in left.values()
    ]
    return [
        replace(case, label=paired[number].path) if number in paired else case for number, case in enumerate(cases)
    ], problems


NO_IMAGE = "no image has the name of this label"


def label_core(stem: str) -> str:
    """``case_1_seg`` -> ``case_1``; ``label0001`` -> ``0001``; other names as they are."""
    return _LABEL_PREFIX.sub("", _LABEL_SUFFIX.sub("", stem))


def image_core(stem: str) -> str:
    """``case_1_ct`` -> ``case_1``; ``img0001`` -> ``0001``; other names as they are."""
    return _IMAGE_PREFIX.sub("", _IMAGE_SUFFIX.sub("", stem))


def is_label_of(stem: str, stems: Iterable[str]) -> bool:
    """Whether ``stem`` is the name of a label of one of the images ``stems`` in the same folder."""
    core = label_core(stem)
    return core != stem and any(core in (other, image_core(other)) for other in stems if other != stem)


def _in_folder(key: Callable[[str], str]) -> Callable[[FoundCase | NamedFile], Hashable]:
    return lambda file: (file.folder, key(file.stem))


def _anywhere(key: Callable[[str], str]) -> Callable[[FoundCase | NamedFile], Hashable]:
    return lambda file: key(file.stem)


# From the surest to the loosest: how an image's name is read, and how a label's.
_LEVELS = [
    (place(image), place(label))
    for place in (_in_folder, _anywhere)
    for image, label in ((str, str), (str, label_core), (image_core, label_core))
]


def assign_ids(cases: Sequence[FoundCase]) -> list[FoundCase]:
    """Name every case after its image file; where names repeat, a subfolder goes in front, or ``_2`` behind.

    Names that differ in capitals alone count as the same: on many disks their predictions would be one file.
    """
    often = Counter(case.stem.casefold() for case in cases)
    proposed = [
        "_".join([*case.folder.split("/"), case.stem]) if case.folder and often[case.stem.casefold()] > 1 else case.stem
        for case in cases
    ]
    taken = {name.casefold() for name in proposed}
    seen: set[str] = set()
    result = []
    for case, name in zip(cases, proposed, strict=True):
        unique, number = name, 1
        while unique.casefold() in seen or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique.casefold())
        result.append(replace(case, id=unique, name=f"{case.folder}/{case.images[0].name}".lstrip("/")))
    return result
