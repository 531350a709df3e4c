"""Verbs: create, info, methods."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_ssl_seg.errors import StudyError, UserError

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study, Target


def create(
    study: str,
    images: list[str],
    labels: str | None,
    split: str,
    seed: int,
    groups: str | None,
    normalisation: str,
    four_d: Literal["channels", "time"],
    sparse_labels: bool,
    targets: list[str] | None = None,
    lesions: list[int] | None = None,
) -> dict[str, Any]:
    """Make a study; what could not be used is listed, the rest is in."""
    from napari_ssl_seg.study import Study

    made = Study.create(
        study,
        images=images[0] if len(images) == 1 and Path(images[0]).is_dir() else images,
        labels=labels,
        split=parse_split(split),
        seed=seed,
        groups=groups,
        normalisation=normalisation,
        four_d=four_d,
        sparse_labels=sparse_labels,
        targets=parse_targets(targets),
        progress=_Progress("reading"),
    )
    for value in lesions or ():
        made.set_class(value, lesion=True)
    return describe_study(made)


def info(study: str) -> dict[str, Any]:
    """What a study holds."""
    from napari_ssl_seg.study import Study

    return describe_study(Study.open(study))


def methods() -> dict[str, Any]:
    """Every method with every field of its Config."""
    from napari_ssl_seg.methods import describe_methods

    return {"methods": describe_methods()}


def parse_split(text: str) -> tuple[float, float, float]:
    """``"70,10,20"`` as three percentages that add up to 100."""
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--split {text!r} is not three numbers; write for example --split 70,10,20") from error
    if min(train, validation, test) < 0 or abs(train + validation + test - 100) > 0.01:
        raise UserError(f"--split {text!r} must be three percentages that add up to 100")
    return train, validation, test


def parse_targets(items: list[str] | None) -> tuple[Target, ...]:
    """``["whole tumour=1,2,4", "enhancing=4"]``, or one file (YAML or JSON) with such a mapping.

    A file may also be nnU-Net's: the mapping under ``labels``, the order of painting under ``regions_class_order``.
    """
    from napari_ssl_seg.study.targets import read_targets
    from napari_ssl_seg.study.targets_file import read_targets_file

    if not items:
        return ()
    given: dict[str, Any] = {}
    if len(items) == 1 and "=" not in items[0]:
        given, order = read_targets_file(Path(items[0]))
        try:
            return read_targets(given, order)
        except StudyError as error:
            raise StudyError(f"{items[0]}: {error}") from error
    else:
        for item in items:
            name, equals, values = item.rpartition("=")
            try:
                given[name.strip()] = [int(value) for value in values.split(",")]
            except ValueError as error:
                raise UserError(
                    f"--targets {item!r} is not NAME=VALUES; write for example 'tumour core=1,4'"
                ) from error
            if not equals:
                raise UserError(f"--targets {item!r} is not NAME=VALUES; write for example 'tumour core=1,4'")
    return read_targets(given)


def describe_study(study: Study) -> dict[str, Any]:
    """Numbers by split, ids, classes and what was left out, as plain values."""
    cases = study.cases()
    return {
        "study": str(study.folder),
        "cases": len(cases),
        "labelled": sum(case.label is not None for case in cases),
        "counts": dict(study.counts()),
        "splits": {name: [case.id for case in cases if case.split == name] for name in ("train", "validation", "test")},
        "classes": [
            {"value": item.value, "name": item.name, "color": item.color, "lesion": item.lesion}
            for item in study.classes
        ],
        "targets": {target.name: list(target.values) for target in study.settings.targets},
        "runs": [run.id for run in study.runs()],
        "problems": [{"file": str(problem.path), "reason": problem.reason} for problem in study.problems],
        "warnings": [{"case": case.id, "warning": text} for case in cases for text in case.warnings],
    }


class _Progress:
    """A line on standard error every two seconds."""

    def __init__(self, what: str) -> None:
        self.what, self.printed = what, time.monotonic()

    def __call__(self, done: int, total: int, path: object) -> None:
        if time.monotonic() - self.printed > 2:
            self.printed = time.monotonic()
            print(f"{self.what} {done}/{total}", file=sys.stderr, flush=True)
