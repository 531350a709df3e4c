"""Look at every file once: header and fingerprint of images, values of labels. No image voxel is kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from napari_ssl_seg.errors import StudyError, VolumeError
from napari_ssl_seg.study.classes import MAX_CLASS_VALUE
from napari_ssl_seg.study.hashing import combine, file_stamp, hash_file
from napari_ssl_seg.study.records import Problem
from napari_ssl_seg.volumes import Geometry, geometry_mismatch, read_header, read_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study.pairing import FoundCase
    from napari_ssl_seg.volumes import VolumeHeader

FourD = Literal["channels", "time"]
OnProblem = Literal["skip", "raise"]
Progress = Callable[[int, int, Path], None]
"""Called with the cases done, their number and the file just read; what it raises ends the import."""

MAX_WORKERS = 8
LABEL_MARK = "label: "
"""Begins the warnings that are about a case's label."""
UNREADABLE_NAME = "its name is not readable text; rename it"


class LabelFacts(NamedTuple):
    """What is stored of a label map."""

    values: tuple[int, ...]
    slices: tuple[int, ...]
    """Axial slices that hold any value other than 0."""
    fingerprint: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """A case whose files were looked at."""

    found: FoundCase
    geometry: Geometry
    dtype: str
    channels: int
    frames: int
    """Time points; 1 for everything but a 4D file that is read as time."""
    fingerprint: str
    content: str
    stamp: str
    label: Path | None = None
    label_facts: tuple[LabelFacts, ...] = ()
    """One; one a frame where the label map has time points too."""
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def examine_cases(
    found: Sequence[FoundCase],
    *,
    four_d: FourD = "channels",
    on_problem: OnProblem = "skip",
    progress: Progress | None = None,
) -> tuple[list[Examined], list[Problem]]:
    """Examine all cases on a few threads (the time goes into unpacking and hashing, which run beside each other).

    Returns
    -------
    examined
        In the order of ``found``, without the cases whose image cannot be used.
    problems
        What was left out. A case whose label alone is refused stays in, unlabelled.

    Raises
    ------
    StudyError
        With ``on_problem="raise"``, for the first file that cannot be used.
    """
    results: dict[int, Examined | Problem] = {}
    workers = max(1, min(MAX_WORKERS, os.cpu_count() or 1, len(found)))
    with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
        futures = {pool.submit(_examine, case, four_d): number for number, case in enumerate(found)}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                number = futures[future]
                result = results[number] = future.result()
                if on_problem == "raise":
                    _raise_problem(result)
                if progress is not None:
                    progress(done, len(found), found[number].images[0])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    ordered = [results[number] for number in range(len(found))]
    examined = [item for item in ordered if isinstance(item, Examined)]
    problems = [problem for item in ordered for problem in (item.problems if isinstance(item, Examined) else (item,))]
    examined, odd = _same_channels(examined)
    if odd and on_problem == "raise":
        raise StudyError(f"{odd[0].path}: {odd[0].reason}")
    return examined, problems + odd


def _raise_problem(result: Examined | Problem) -> None:
    problem = result if isinstance(result, Problem) else next(iter(result.problems), None)
    if problem is not None:
        text = str(problem.path)
        raise StudyError(problem.reason if text in problem.reason else f"{text}: {problem.reason}")


def _examine(found: FoundCase, four_d: FourD) -> Examined | Problem:
    """One case; raises nothing that one bad file can cause."""
    path = found.images[0]
    stamp = file_stamp(found.images)  # before the reading, so that what is written meanwhile is noticed later
    try:
        for path in found.images:
            str(path).encode()  # a name that is no text cannot be stored
        headers: list[VolumeHeader] = []
        for path in found.images:
            header = read_header(path, verify=True)
            if headers and (mismatch := geometry_mismatch(headers[0].geometry, header.geometry)):
                return Problem(path, f"it cannot be a channel beside {found.images[0].name}: {mismatch}")
            if len(found.images) > 1 and header.channels > 1:
                return Problem(
                    path, f"it has {header.channels} channels of its own, so it cannot be one channel of a case"
                )
            headers.append(header)
        hashes = []
        for path, header in zip(found.images, headers, strict=True):
            hashes.append(hash_file(path, expected=header.stream_bytes))
    except VolumeError as error:
        return Problem(path, str(error))
    except UnicodeEncodeError:
        return Problem(path, UNREADABLE_NAME)
    except Exception as error:  # a defect of ours or of a reader's must not cost the other scans
        return Problem(path, f"it cannot be read ({type(error).__name__}: {error}); please report this")
    first = headers[0]
    time = four_d == "time" and first.channels > 1
    result = Examined(
        found=found,
        geometry=first.geometry,
        dtype=first.dtype,
        channels=len(headers) if len(headers) > 1 else (1 if time else first.channels),
        frames=first.channels if time else 1,
        fingerprint=combine(item.sha256 for item in hashes),
        content=combine(item.content for item in hashes),
        stamp=stamp,
        warnings=tuple(text for header in headers for text in header.warnings),
    )
    if found.label is None:
        return result
    stamp = f"{stamp} {file_stamp([found.label])}"
    try:
        str(found.label).encode()
        facts = examine_label(found.label, result.geometry, path.name, frames=result.frames)
    except VolumeError as error:
        return replace(result, problems=(Problem(found.label, str(error)),))
    except UnicodeEncodeError:
        return replace(result, problems=(Problem(found.label, UNREADABLE_NAME),))
    except Exception as error:
        text = f"it cannot be read ({type(error).__name__}: {error}); please report this"
        return replace(result, problems=(Problem(found.label, text),))
    return replace(result, label=found.label, label_facts=facts, stamp=stamp)


def examine_label(path: Path, image: Geometry, image_name: str, *, frames: int = 1) -> tuple[LabelFacts, ...]:
    """Values, slices and fingerprint of a label map, one entry a frame.

    Raises
    ------
    VolumeError
        When it cannot be read, holds anything but classes, or does not share the grid of its image.
    """
    header = read_header(path)
    if mismatch := geometry_mismatch(image, header.geometry):
        raise VolumeError(f"{path} does not share the grid of its image {image_name}: {mismatch}; resample the label")
    if header.channels != frames:
        raise VolumeError(
            f"{path} has {header.channels} volumes where its image {image_name} has {frames}; give one label map for each"
        )
    volume = read_volume(path, role="label", four_d="time")
    fingerprint = hash_file(path, expected=header.stream_bytes).sha256
    arrays = volume.array if volume.array.ndim == 4 else volume.array[None]
    facts = []
    for array in arrays:
        values, slices = label_contents(array)
        if values and values[-1] > MAX_CLASS_VALUE:
            raise VolumeError(
                f"{path} holds the label {values[-1]}; classes go up to {MAX_CLASS_VALUE}, is it an image?"
            )
        facts.append(LabelFacts(values, slices, fingerprint, volume.warnings))
    return tuple(facts)


def label_contents(array: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values other than 0, and the axial slices that hold any; ``array`` is (z, y, x), unsigned integers.

    Values up to 65535 are ticked off slice by slice, which takes a twentieth of the time of sorting the voxels.
    """
    slices = tuple(int(index) for index in np.flatnonzero(array.reshape(len(array), -1).any(axis=1)))
    if array.dtype.itemsize > 2:
        values = np.unique(array)
    else:
        seen = np.zeros(MAX_CLASS_VALUE + 1, dtype=bool)
        for index in slices:
            seen[array[index]] = True
        values = np.flatnonzero(seen)
    return tuple(int(value) for value in values if value), slices


def _same_channels(examined: list[Examined]) -> tuple[list[Examined], list[Problem]]:
    """A network has one number of input channels: cases with another than most are left out."""
    counts = Counter(item.channels for item in examined)
    if len(counts) < 2:
        return examined, []
    usual = max(counts, key=lambda channels: (counts[channels], -channels))
    problems = [
        Problem(
            item.found.images[0], f"it has {item.channels} channels where most cases have {usual}; add or remove some"
        )
        for item in examined
        if item.channels != usual
    ]
    return [item for item in examined if item.channels == usual], problems
