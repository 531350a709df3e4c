"""Regions of the shown slice, how far a study is prepared, and weights: questions of the panel, answered without Qt.

`segment`, `look`, `prepare` and `check_weights` run in a worker. Nothing heavy is imported before the first of them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.workbench.words import count, file_size

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SOURCES = {"sam": "SAM", "felzenszwalb": "Felzenszwalb", "slic": "SLIC", "masks": "Masks"}
"""Every definite source, and its name where there is little room."""
SLOW = frozenset({"sam"})
"""Sources that are asked by a press only, where the slice is not in the cache."""
QUICK_SECONDS = 1.0
"""A slow source that took less for a slice (on a GPU) is asked without a press."""
_took: dict[str, float] = {}


class NotLookedAt(UserError):
    """A slow source has not seen that slice, and nobody has pressed for it."""


@dataclass(frozen=True)
class RegionsRequest:
    """One question: what these sources see in this slice, with these values of a method's settings."""

    study: Study
    case_id: str
    slice_index: int
    values: Mapping[str, Any]
    sources: tuple[str, ...]
    pressed: frozenset[str] = frozenset()
    """Slow sources that are to be asked even where the cache has nothing."""
    generation: int = 0


@dataclass(frozen=True)
class SourceRegions:
    """What one source sees in a slice."""

    source: str
    title: str
    labels: np.ndarray | None
    """(y, x), 0 = in no region, 1.. by descending area; None: not made (yet)."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """A table of the regions, column by column; ``index`` is the label."""
    problem: str = ""
    """Why there is none, in one sentence."""
    weights_missing: str = ""
    """The type of Segment Anything whose weights are not there."""


@dataclass(frozen=True)
class RegionsAnswer:
    """What came of a question."""

    request: RegionsRequest
    found: tuple[SourceRegions, ...]
    placement: Mapping[str, Any]
    """scale, translate, units, axis_labels and metadata of a layer (1, y, x) of that slice."""


@dataclass(frozen=True)
class RegionsState:
    """Where regions come from, and how many of the study's slices have theirs."""

    source: str
    """The definite one; empty where there is a problem."""
    line: str
    """What it is, in words."""
    ready: int = 0
    slices: int = 0
    cases: int = 0
    problem: str = ""

    @property
    def complete(self) -> bool:
        return self.slices > 0 and self.ready == self.slices

    @property
    def progress_line(self) -> str:
        """How far the study is prepared, in words."""
        if self.problem:
            return ""
        if self.complete:
            return f"All {count(self.slices, 'slice')} of {count(self.cases, 'scan')} are prepared."
        return f"{_grouped(self.ready)} of {_grouped(self.slices)} slices prepared"


def field_names() -> tuple[str, ...]:
    """Names of the settings that are about regions; the others of a method are its own."""
    from napari_ssl_seg.regions.settings import RegionSettings

    return tuple(RegionSettings.model_fields)


def region_settings(values: Mapping[str, Any], **changes: Any) -> RegionSettings:
    """The part of a method's settings that is about regions; raises UserError where a value is out of bounds."""
    from pydantic import ValidationError

    from napari_ssl_seg.regions.settings import RegionSettings

    own = {name: value for name, value in {**values, **changes}.items() if name in RegionSettings.model_fields}
    try:
        return RegionSettings.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        info = RegionSettings.model_fields.get(name)
        raise UserError(f"{info.title if info is not None else name}: {first['msg']}; change that setting") from error


def auto_source(values: Mapping[str, Any]) -> str:
    """What "auto" stands for with these values, now; a glance at the folder of weights."""
    from napari_ssl_seg.regions.settings import resolve_settings

    try:
        return resolve_settings(region_settings(values, source="auto")).source
    except UserError:
        return "sam"  # weights were named, and something is wrong with them: that is to be seen


# -- regions of the shown slice ---------------------------------------------------------------------------------------
def segment(request: RegionsRequest) -> RegionsAnswer:
    """Answer a question (in a worker). A source that fails says so in its place; the others are shown.

    Raises
    ------
    UserError
        When the scan has no such slice or cannot be read.
    """
    from napari_ssl_seg.volumes import layer_kwargs

    scan = request.study.patches_source(request.case_id, purpose="show")
    geometry = scan.geometry
    pixel = float(geometry.spacing[1] * geometry.spacing[2])
    found = tuple(_regions(request, source, pixel) for source in request.sources)
    placement = dict(layer_kwargs(geometry))
    first, step = placement["translate"][0], placement["scale"][0]
    placement["translate"] = (first + request.slice_index * step, *placement["translate"][1:])
    return RegionsAnswer(request, found, placement)


def _regions(request: RegionsRequest, source: str, pixel: float) -> SourceRegions:
    from napari_ssl_seg.regions import find_checkpoint, resolve_settings, slice_regions, source_title

    title = SOURCES[source]
    try:
        asked = region_settings(request.values, source=source)
        if source == "sam" and not asked.checkpoint and find_checkpoint(asked.model_type) is None:
            return SourceRegions(source, title, None, weights_missing=asked.model_type)
        settings = resolve_settings(asked)
        title = source_title(settings)
        place = (request.study, request.case_id, request.slice_index)
        if source not in request.pressed and not answers_at_once(*place, settings):
            return SourceRegions(source, title, None)
        with timed(*place, settings):
            labels = slice_regions(request.study, settings, *place[1:], purpose="show")
    except UserError as error:
        return SourceRegions(source, title, None, problem=" ".join(str(error).split()))
    return SourceRegions(source, title, labels, region_table(labels, pixel))


def answers_at_once(study: Study, case_id: str, index: int, settings: RegionSettings) -> bool:
    """Whether the regions of a slice are there, or are made so quickly that a slider may ask; ``settings`` resolved."""
    from napari_ssl_seg.regions import region_key
    from napari_ssl_seg.regions.prepare import case_files

    if settings.source not in SLOW or _took.get(region_key(settings), QUICK_SECONDS) < QUICK_SECONDS:
        return True
    return case_files(study, settings, [case_id])[case_id].has(index)


@contextmanager
def timed(study: Study, case_id: str, index: int, settings: RegionSettings) -> Iterator[None]:
    """Remember how long a slow source takes for a slice that was not there."""
    from napari_ssl_seg.regions import region_key

    if answers_at_once(study, case_id, index, settings):
        yield
        return
    key, begun = region_key(settings), time.monotonic()
    yield
    took = time.monotonic() - begun
    if took < QUICK_SECONDS or key in _took:  # the first time its weights are read, too, and that says nothing
        _took[key] = took


def require_answer(study: Study, case_id: str, index: int, values: Mapping[str, Any]) -> None:
    """Raise `NotLookedAt` where the regions of a slice would take long."""
    from napari_ssl_seg.regions import resolve_settings, source_title

    settings = resolve_settings(region_settings(values))
    if not answers_at_once(study, case_id, index, settings):
        raise NotLookedAt(
            f"{source_title(settings)} has not looked at this slice yet, which takes a while: press Redraw for this slice,"
            " or prepare all scans"
        )


def region_table(labels: np.ndarray, pixel: float) -> dict[str, Any]:
    """Area and share of every region of a slice, as columns; ``index`` is the label, 0 for what is in none.

    Parameters
    ----------
    labels
        (y, x).
    pixel
        Area of one pixel in mm².
    """
    pixels = np.bincount(labels.reshape(-1), minlength=1)
    index = np.flatnonzero(pixels)
    share = 100.0 * pixels[index] / max(labels.size, 1)
    return {
        "index": index,
        "region": np.where(index == 0, "none", np.char.add("#", index.astype(str))),
        "area (mm²)": np.array([float(f"{value * pixel:.3g}") for value in pixels[index]]),
        "pixels": pixels[index],
        "share (%)": np.array([float(f"{value:.2g}") for value in share]),
    }


# -- the whole study --------------------------------------------------------------------------------------------------
def look(study: Study, values: Mapping[str, Any]) -> RegionsState:
    """Where regions come from with these values, and how many slices of the study are in the cache (in a worker)."""
    from napari_ssl_seg.regions import resolve_settings, source_title
    from napari_ssl_seg.regions.prepare import case_files

    try:
        asked = region_settings(values)
        settings = resolve_settings(asked)
        cases = study.cases()
        files = case_files(study, settings, [case.id for case in cases])
    except UserError as error:
        return RegionsState("", "", problem=" ".join(str(error).split()))
    line = source_title(settings)
    if settings.source == "sam":
        line = f"{line}, from {Path(settings.checkpoint).name}"
    elif asked.source == "auto":
        line = line.replace("(no SAM weights)", "(no SAM weights found)")
    ready = 0
    for file in files.values():
        ready += file.shape[0] if file.pack.is_file() else len(file.look()[0])
    return RegionsState(settings.source, line, ready, sum(case.shape[0] for case in cases), len(cases))


def prepare(study: Study, method: str, values: Mapping[str, Any]) -> Generator[Event, None, tuple[str, ...]]:
    """Make the regions of every scan, and all else that a method needs before its first step (in a worker).

    What is in the cache is not made again, so it may be stopped (closed) after any slice and called again.

    Yields
    ------
    Event
        ``progress`` and ``warning``.

    Returns
    -------
    tuple of str
        Sentences that the user should see.
    """
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.regions import prepare_regions

    chosen = get_method(method, values)
    cases = study.cases()
    train = [case.id for case in cases if case.split == "train"]
    others = [case.id for case in cases if case.split != "train"]
    # Those that are trained on come first: what is left out by a stop is what training does not wait for.
    yield from prepare_regions(study, region_settings(values), [*train, *others], purpose="show")
    if not train:
        return ()
    prepared = yield from chosen.prepare(study, train)
    return prepared.warnings


@dataclass(frozen=True)
class Progress:
    """An event of work as a bar and a line show it."""

    text: str
    fraction: float | None
    seconds_left: float | None

    @classmethod
    def of(cls, event: Event) -> Progress:
        """From a ``progress`` event of `prepare` or of a download."""
        data: Any = event.data
        done, total = float(data.get("done") or 0), float(data.get("total") or 0)
        what = str(data.get("what", ""))
        if "download" in what or "check" in what:
            numbers = f"{file_size(done)} of {file_size(total)}" if total else file_size(done)
        else:
            numbers = f"{_grouped(done)} of {_grouped(total)}" if total else ""
        text = " ".join(part for part in (what, numbers) if part)
        if data.get("waiting"):
            text += ", waiting for another program that prepares the rest"
        left = data.get("seconds_left")
        return cls(text, done / total if total else None, None if left is None else float(left))


def _grouped(number: float) -> str:
    """``4 628``, which no line breaks."""
    return f"{number:,.0f}".replace(",", "\u202f")


# -- weights ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Weights:
    """Public weights that can be fetched."""

    model_type: str
    title: str
    size: str
    notice: str
    """Address, size, licence and checksum: to be read before it starts."""
    there: bool


def weights_on_offer() -> list[Weights]:
    """Smallest first, as they are known."""
    from napari_ssl_seg.regions import find_checkpoint, known_weights

    return [
        Weights(name, info.title, file_size(info.bytes), info.notice(), find_checkpoint(name) is not None)
        for name, info in known_weights().items()
    ]


def check_weights(path: str | Path) -> str | None:
    """Read a file of weights once (in a worker) and say which model it holds; None for one of another size.

    Raises
    ------
    UserError
        When it is missing, damaged, or no model of Segment Anything.
    """
    from napari_ssl_seg.regions.sam_checkpoint import load_sam
    from napari_ssl_seg.regions.sam_layout import infer_layout

    state = load_sam(path).state_dict()
    return infer_layout({name: tuple(tensor.shape) for name, tensor in state.items()}).backbone
