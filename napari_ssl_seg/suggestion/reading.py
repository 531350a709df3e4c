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
    from napari_ssl_seg.suggestion.variations import Pass
    from napari_ssl_seg.training.runs import Run

FORMAT = 1
SLAB_BYTES = 2**28
"""Probabilities of a 2D network that are held at a time."""


@dataclass(frozen=True)
class Reading:
    """One case by one run."""

    case_id: str
    numbers: np.ndarray
    """What is predicted (z, y, x): 0 background, then the classes of the run in order."""
    sums: Sums


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
    study: Study, run: Run, cases: Sequence[Case], *, variation: str = "tta", device: str = "auto"
) -> Generator[Event, None, Readings]:
    """Ask a run about every case, or the cache where it was asked before.

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
    start, usable = time.monotonic(), [case for case in cases if case.channels == channels]
    if not usable:
        raise RunError(f"run {run.id} takes scans of {channels} channels, and there is none; name another run")
    for done, case in enumerate(usable):
        left = (time.monotonic() - start) / done * (len(usable) - done) if done else None
        yield Event("progress", {"what": "asking", "done": done, "total": len(usable), "seconds_left": left}, run.id)
        path = _cached(study, run, int(description.get("step", 0)), variation, case)
        kept = _load(path, case)
        if kept is None:
            reader = reader or _Reader(study, run, device)
            kept = yield from reader.read(case, passes)
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

    def read(self, case: Case, passes: Sequence[Pass]) -> Generator[Event, None, Reading]:
        array = self.study.patches_source(case.id, purpose="predict").array
        numbers, sums = [], []
        for low, high in self._slabs(array.shape):
            part = array if (low, high) == (0, array.shape[1]) else np.asarray(array[:, low:high])
            mean: Any = 0.0
            for number, way in enumerate(passes):
                if number:
                    yield Event(
                        "progress", {"what": f"asking {case.id}", "done": low, "total": array.shape[1]}, self.run.id
                    )
                answer = way.undo(self._segment(way.change(np.asarray(part)), way))
                mean = mean + answer / np.float32(len(passes))
            shown = np.asarray(self.answer.numbers(mean))
            numbers.append(shown.astype(np.uint8 if self.answer.channels < 256 else np.uint16))
            sums.append(measure(mean, numbers[-1], overlapping=self.answer.overlapping))
        return Reading(case.id, np.concatenate(numbers), Sums.joined(sums))

    def _slabs(self, shape: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Slices that go through together: all of them, unless it is a 2D network on a large scan."""
        depth = shape[1]
        step = depth
        if self.spec.dims == 2:
            step = max(1, SLAB_BYTES // (4 * self.answer.channels * math.prod(shape[2:])))
        for low in range(0, depth, step):
            yield low, min(low + step, depth)

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


def _cached(study: Study, run: Run, step: int, variation: str, case: Case) -> Path:
    key = hashlib.sha256(f"{case.id} {case.fingerprint} {case.frame}".encode()).hexdigest()[:24]
    return study.cache_folder / "suggestion" / f"{run.id}-{step}-{variation}" / f"{key}.npz"


def _save(path: Path, reading: Reading) -> None:
    arrays: dict[str, Any] = {part.name: getattr(reading.sums, part.name) for part in fields(Sums)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, format=np.int64(FORMAT), numbers=reading.numbers, **arrays)


def _load(path: Path, case: Case) -> Reading | None:
    """What `_save` wrote; None where there is nothing, or nothing whole."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            if int(data["format"]) != FORMAT or data["numbers"].shape != tuple(case.shape):
                return None
            return Reading(case.id, data["numbers"], Sums(*(data[part.name] for part in fields(Sums))))
    except Exception:  # whatever a damaged zip raises: it is read anew
        return None
