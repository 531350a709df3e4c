"""Predicting: scans in, label maps out that lie exactly over them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.failures import explain
from napari_ssl_seg.training.settings import FinetuneSettings, make_settings

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.volumes import Geometry


def predict(
    study: Study,
    run: str | Run,
    *,
    split: str | None = "test",
    cases: Iterable[str] | None = None,
    probabilities: bool = False,
    device: str = "auto",
) -> Generator[Event, None, list[Path]]:
    """Segment scans of the study into ``predictions/CASE.nii.gz`` of the run's folder.

    Parameters
    ----------
    split
        ``train``, ``validation``, ``test``, or ``all`` (or None); ignored where ``cases`` are named.
    probabilities
        Also write ``probabilities/CASE.nii.gz``: one channel a class, the background first; for overlapping targets one a
        target. They are in memory as a whole.

    Yields
    ------
    Event
        ``prediction`` after each scan, and ``progress`` with the time left.

    Returns
    -------
    list of Path
        One file a scan, in the order of the cases.

    Raises
    ------
    UserError
        When the run cannot predict, a scan cannot be read, or memory runs out.
    """
    found = study.run(run) if isinstance(run, str) else run
    if cases is not None:
        wanted = [study.case(case_id).id for case_id in cases]
    else:
        wanted = [case.id for case in study.cases(split=None if split == "all" else split)]
    if not wanted:
        raise RunError(
            f"{study.name} has no scan in the split {split or 'all'}; choose another split or name the cases"
        )
    predictor = _Predictor(found, device)
    written, progress = [], _Progress(found, len(wanted))
    for number, case_id in enumerate(wanted):
        yield progress.event(number)
        scan = study.patches_source(case_id, purpose="predict")
        path = found.prediction_path(case_id)
        extra = found.probabilities / f"{case_id}.nii.gz" if probabilities else None
        predictor.write(scan.array, scan.geometry, path, extra, case_id)
        written.append(path)
        event = Event("prediction", {"case": case_id, "file": path.relative_to(found.folder).as_posix()}, found.id)
        found.append(event)
        yield event
    yield progress.event(len(wanted))
    return written


def predict_files(
    run: Run,
    images: Any,
    out: str | os.PathLike[str],
    *,
    probabilities: bool = False,
    device: str = "auto",
) -> Generator[Event, None, list[Path]]:
    """Segment scans that belong to no study into ``out/NAME.nii.gz``.

    Parameters
    ----------
    images
        A folder, a file, or a list of files (a tuple of files is the channels of one scan), as for `Study.create`.
    probabilities
        Also write ``out/NAME_probabilities.nii.gz``.

    Yields, Returns, Raises
        As `predict`.
    """
    from napari_ssl_seg.study.layouts import find_cases
    from napari_ssl_seg.training.weights import describe_weights
    from napari_ssl_seg.volumes import normalise, read_volume

    predictor = _Predictor(run, device)
    name = describe_weights(run)["normalisation"]
    channels = predictor.spec.in_channels
    found = find_cases(images, channels=channels if channels > 1 else None).cases
    written, progress = [], _Progress(run, len(found))
    for number, case in enumerate(found):
        yield progress.event(number)
        volume = read_volume(case.images if len(case.images) > 1 else case.images[0])
        array = normalise(volume.array, name).array
        array = np.ascontiguousarray(array if array.ndim == 4 else array[None], dtype=np.float32)
        path = Path(out) / f"{case.id}.nii.gz"
        extra = Path(out) / f"{case.id}_probabilities.nii.gz" if probabilities else None
        predictor.write(array, volume.geometry, path, extra, str(case.images[0]))
        written.append(path)
        yield Event("prediction", {"case": case.id, "file": str(path)}, run.id)
    yield progress.event(len(found))
    return written


class _Predictor:
    """A run's network on a device, and how its channels become label values."""

    def __init__(self, run: Run, device: str) -> None:
        from napari_ssl_seg.training.hardware import choose_precision, pick_device
        from napari_ssl_seg.training.weights import load_answer, load_segmentation

        self.network, self.spec, _ = load_segmentation(run)
        self.answer = load_answer(run)
        settings = {name: value for name, value in run.record.settings.items() if name in FinetuneSettings.model_fields}
        self.settings = make_settings(FinetuneSettings, settings)
        self.device = pick_device(device).name
        self.network.to(self.device)
        self.precision = choose_precision(self.device, self.settings.precision)

    def write(self, array: np.ndarray, geometry: Geometry, path: Path, probabilities: Path | None, name: str) -> None:
        """Segment (C, z, y, x) and write it, in the orientation of its source."""
        from napari_ssl_seg.volumes import Volume, write_volume

        if array.shape[0] != self.spec.in_channels:
            raise RunError(
                f"{name} has {array.shape[0]} channels and the network takes {self.spec.in_channels}; predict scans of the"
                " kind that it was trained on"
            )
        wanted = probabilities is not None
        result = self._segment(array, wanted)
        numbers = self.answer.numbers(result) if wanted else result
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, Volume(self._values(numbers), geometry))
        if probabilities is not None:
            write_volume(probabilities, Volume(result, geometry, axes="czyx"))

    def _values(self, numbers: np.ndarray) -> np.ndarray:
        """Label values, in the numbers' own memory where they fit into it."""
        values = self.answer.written
        if numbers.dtype == values.dtype:
            for plane in numbers:
                plane[...] = values[plane]
            return numbers
        return values[numbers]

    def _segment(self, array: np.ndarray, probabilities: bool) -> np.ndarray:
        from napari_ssl_seg.training.hardware import limited_threads
        from napari_ssl_seg.training.sliding import segment

        try:
            with limited_threads(self.settings.threads):
                return segment(
                    self.network,
                    array,
                    self.spec,
                    device=self.device,
                    overlap=self.settings.overlap,
                    precision=self.precision,
                    probabilities=probabilities,
                    overlapping=self.answer.overlapping,
                )
        except UserError:
            raise
        except (RuntimeError, MemoryError) as error:
            raise explain(error, self.settings, self.device, self.spec.patch) from None


class _Progress:
    def __init__(self, run: Run, total: int) -> None:
        self.run, self.total, self.start = run, total, time.monotonic()

    def event(self, done: int) -> Event:
        left = (time.monotonic() - self.start) / done * (self.total - done) if done else None
        data = {"what": "predicting", "done": done, "total": self.total, "seconds_left": left}
        return Event("progress", data, self.run.id)
