"""What a fine-tuned run makes of the cases of a pool: its labels, and sums of how sure it is. Kept in the study's cache."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.suggestion.measures import Sums, measure
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.suggestion.pool import Pool
    from napari_ssl_seg.suggestion.variations import Pass
    from napari_ssl_seg.training.runs import Run

FORMAT = 1
SLAB_BYTES = 2**28
"""Probabilities of a 2D network that are held at a time."""


@dataclass(frozen=True)
class Reading:
    """One case by one run."""

    case_id: str
    planes: np.ndarray
    """Which axial slices were looked at."""
    numbers: np.ndarray
    """What is predicted there (planes, y, x): 0 background, then the classes of the run in order."""
    sums: Sums
    """A row a plane."""

    def rows(self, slices: Sequence[int]) -> np.ndarray:
        """Where some slices are among the planes."""
        places = {int(plane): row for row, plane in enumerate(self.planes)}
        return np.array([places[index] for index in slices], int)


@dataclass(frozen=True)
class Readings:
    """All cases of a pool by one run."""

    run: Run
    classes: dict[int, str]
    """Label value -> name, in the order of the numbers 1, 2, ..."""
    by_case: dict[str, Reading]

    @property
    def names(self) -> list[str]:
        return list(self.classes.values())


def read_cases(
    study: Study, run: Run, pool: Pool, *, variation: str = "tta", device: str = "auto"
) -> Generator[Event, None, Readings]:
    """Ask a run about the slices of a pool that may be suggested, or the cache where it was asked before.

    Yields
    ------
    Event
        ``progress`` before each case and within long ones; stop by closing the generator.

    Raises
    ------
    UserError
        When the run is no fine-tuning with weights, or a scan cannot be read.
    """
    from napari_ssl_seg.suggestion.variations import plan_passes
    from napari_ssl_seg.training.weights import describe_weights, load_answer

    description = describe_weights(run)
    if description["kind"] != "finetune":
        raise RunError(f"run {run.id} is a pretraining, which segments nothing; name a fine-tuned run")
    passes = plan_passes(variation, flips=bool(run.record.settings.get("flips")))
    channels = int(description["network"]["in_channels"])
    found: dict[str, Reading] = {}
    reader: _Reader | None = None
    start, usable = time.monotonic(), [case for case in pool.open_cases if case.channels == channels]
    if not usable:
        raise RunError(f"run {run.id} takes scans of {channels} channels, and there is none; name another run")
    for done, case in enumerate(usable):
        left = (time.monotonic() - start) / done * (len(usable) - done) if done else None
        yield Event("progress", {"what": "asking", "done": done, "total": len(usable), "seconds_left": left}, run.id)
        path = _cached(study, run, int(description.get("step", 0)), variation, case)
        kept = _load(path, case)
        lacking = sorted(set(pool.planes[case.id]) - set(() if kept is None else kept.planes.tolist()))
        if lacking or kept is None:
            reader = reader or _Reader(study, run, device)
            kept = _together(kept, (yield from reader.read(case, lacking, passes)))
            _save(path, kept)
        found[case.id] = kept
    yield Event("progress", {"what": "asking", "done": len(usable), "total": len(usable), "seconds_left": 0.0}, run.id)
    return Readings(run, load_answer(run).named, found)


class _Reader:
    """A run's network on a device."""

    def __init__(self, study: Study, run: Run, device: str) -> None:
        from napari_ssl_seg.training.hardware import choose_precision, pick_device
        from napari_ssl_seg.training.settings import FinetuneSettings, make_settings
        from napari_ssl_seg.training.weights import load_answer, load_segmentation

        self.study, self.run = study, run
        self.network, self.spec, _ = load_segmentation(run)
        self.answer = load_answer(run)
        known = {name: value for name, value in run.record.settings.items() if name in FinetuneSettings.model_fields}
        self.settings = make_settings(FinetuneSettings, known)
        self.device = pick_device(device).name
        self.network.to(self.device)
        self.precision = choose_precision(self.device, self.settings.precision)

    def read(self, case: Case, planes: Sequence[int], passes: Sequence[Pass]) -> Generator[Event, None, Reading]:
        """Some slices by a 2D network; every slice by one in 3D."""
        array = self.study.patches_source(case.id, purpose="predict").array
        if self.spec.dims == 3:
            planes = range(array.shape[1])
        numbers, sums = [], []
        for chosen in self._slabs(array.shape, planes):
            part = _cut(array, chosen)
            mean: Any = 0.0
            for number, way in enumerate(passes):
                if number:
                    data = {"what": f"asking {case.id}", "done": chosen[0], "total": array.shape[1]}
                    yield Event("progress", data, self.run.id)
                mean = mean + way.undo(self._segment(way.change(part), way)) / np.float32(len(passes))
            shown = np.asarray(self.answer.numbers(mean))
            numbers.append(shown.astype(np.uint8 if self.answer.channels < 256 else np.uint16))
            sums.append(measure(mean, numbers[-1], overlapping=self.answer.overlapping))
        return Reading(case.id, np.asarray(planes), np.concatenate(numbers), Sums.joined(sums))

    def _slabs(self, shape: Sequence[int], planes: Sequence[int]) -> Iterator[Sequence[int]]:
        """Slices that go through together: all of them, unless it is a 2D network on a large scan."""
        step = len(planes)
        if self.spec.dims == 2:
            step = max(1, SLAB_BYTES // (4 * self.answer.channels * math.prod(shape[2:])))
        for low in range(0, len(planes), step):
            yield planes[low : low + step]

    def _segment(self, array: np.ndarray, way: Pass) -> np.ndarray:
        from napari_ssl_seg.suggestion.variations import dropping
        from napari_ssl_seg.training.failures import explain
        from napari_ssl_seg.training.hardware import limited_threads
        from napari_ssl_seg.training.sliding import segment

        try:
            with limited_threads(self.settings.threads), dropping(self.network, way.seed):
                return segment(
                    self.network,
                    array,
                    self.spec,
                    device=self.device,
                    overlap=min(0.25, self.settings.overlap),
                    precision=self.precision,
                    probabilities=True,
                    overlapping=self.answer.overlapping,
                )
        except (RuntimeError, MemoryError) as error:
            raise explain(error, self.settings, self.device, self.spec.patch) from None


def _cut(array: np.ndarray, planes: Sequence[int]) -> np.ndarray:
    """Axial slices of (C, z, y, x), which may lie on disk, as an array in memory."""
    if len(planes) == array.shape[1]:
        return np.asarray(array[:, :])
    return np.stack([np.asarray(array[:, index]) for index in planes], axis=1)


def _together(old: Reading | None, new: Reading) -> Reading:
    """Both, by plane."""
    if old is None:
        return new
    planes = np.concatenate([old.planes, new.planes])
    order = np.argsort(planes)
    sums = Sums.joined([old.sums, new.sums])
    rows = Sums(*(getattr(sums, part.name)[order] for part in fields(Sums)))
    return Reading(old.case_id, planes[order], np.concatenate([old.numbers, new.numbers])[order], rows)


def _cached(study: Study, run: Run, step: int, variation: str, case: Case) -> Path:
    key = hashlib.sha256(f"{case.id} {case.fingerprint} {case.frame}".encode()).hexdigest()[:24]
    return study.cache_folder / "suggestion" / f"{run.id}-{step}-{variation}" / f"{key}.npz"


def _save(path: Path, reading: Reading) -> None:
    arrays: dict[str, Any] = {part.name: getattr(reading.sums, part.name) for part in fields(Sums)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, format=np.int64(FORMAT), planes=reading.planes, numbers=reading.numbers, **arrays)


def _load(path: Path, case: Case) -> Reading | None:
    """What `_save` wrote; None where there is nothing, or nothing whole."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            if int(data["format"]) != FORMAT or data["numbers"].shape[1:] != tuple(case.shape[1:]):
                return None
            sums = Sums(*(data[part.name] for part in fields(Sums)))
            return Reading(case.id, data["planes"], data["numbers"], sums)
    except Exception:  # whatever a damaged zip raises: it is read anew
        return None
