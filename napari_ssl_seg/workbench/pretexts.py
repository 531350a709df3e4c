"""What a method would train on, ready to be shown: questions of the panel, and answers as plain arrays.

`answer` runs in a worker: it calls the same `inspect` as the command line, which calls the trainer's own ``pretext``.
Nothing here knows Qt or napari, and torch is imported only when the first question is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.workbench.regions import require_answer

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import View
    from napari_ssl_seg.methods.inspection import Inspection
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

THUMBNAIL = 128
"""Longest side of a thumbnail, in pixels."""
PREVIEW = 512
"""Longest side of the larger picture of what cannot be a layer, in pixels."""
LAYER_KINDS = ("image", "labels", "mask", "boxes", "points")
PARTS = ("share", "ratio", "coverage", "fraction", "overlap")
"""A number between 0 and 1 whose name holds one of these is shown in per cent."""


@dataclass(frozen=True)
class InspectionRequest:
    """One question: this method, with these settings, at this place of this case, with this seed."""

    study: Study
    method: str
    case_id: str
    slice_index: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dims: int = 2
    preset: str = "small"
    run_id: str | None = None
    pressed: bool = False
    """Whether the user waits for it: a slow source of regions is then asked, too."""
    generation: int = 0
    """Rises with every question: an answer to an older one than the last is stale."""


@dataclass(frozen=True)
class Picture:
    """A view of the pretext, as a layer and as a thumbnail."""

    name: str
    title: str
    kind: str
    array: np.ndarray | None
    """(z, y, x) of the patch; one slice in 2D. Boxes: (N, 6), start z, y, x, then stop; points: (N, 3). None: no layer
    (curve, matrix, table)."""
    limits: tuple[float, float] | None
    """Values drawn as black and white."""
    thumbnail: np.ndarray
    """(H, W, 3), uint8."""
    output: bool = False
    """Made by a trained run, not by the pretext."""
    preview: np.ndarray | None = None
    """(H, W, 3), uint8: a larger picture of what is no layer."""


@dataclass(frozen=True)
class InspectionAnswer:
    """What came of a question."""

    request: InspectionRequest
    pictures: tuple[Picture, ...]
    """In the order of the method's own pipeline; what a run made of it at the end."""
    chips: tuple[str, ...]
    """Named numbers, in words."""
    placement: Mapping[str, Any]
    """scale, translate, units, axis_labels and metadata of the layers, so that they lie where the patch was cut."""
    front: str
    """Name of the picture of what the network gets."""
    seconds: float
    notes: tuple[str, ...] = ()
    """Sentences about what is not as it would be in a run."""


def warm_up() -> None:
    """Import what the first answer needs (in a worker): seconds for torch, which the window does not wait for."""
    for module in ("torch", "napari_ssl_seg.methods.inspection", "napari_ssl_seg.pretext.sampling"):
        import_module(module)


class Inspector:
    """Numbers the questions, so that only the answer to the last one is shown."""

    def __init__(self) -> None:
        self._generation = 0

    def ask(self, study: Study, method: str, case_id: str, slice_index: int, **options: Any) -> InspectionRequest:
        """The next question."""
        self._generation += 1
        return InspectionRequest(study, method, case_id, slice_index, generation=self._generation, **options)

    def is_current(self, answer_: InspectionAnswer) -> bool:
        """Whether nothing newer has been asked since."""
        return answer_.request.generation == self._generation

    def forget(self) -> None:
        """Make every open question stale."""
        self._generation += 1


def answer(request: InspectionRequest) -> InspectionAnswer:
    """Answer a question (in a worker).

    Raises
    ------
    UserError
        When method, settings, case, slice or run do not fit each other; `NotLookedAt` where the method needs regions of a
        slow source that nobody has pressed for.
    """
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.methods.inspection import inspect
    from napari_ssl_seg.networks.patch import plan_spec

    study = request.study
    method = get_method(request.method, request.settings)
    if method.needs.regions and not request.pressed:
        require_answer(study, request.case_id, request.slice_index, request.settings)
    scan = study.patches_source(request.case_id, purpose="show")
    spec = plan_spec(
        request.dims,
        scan.array.shape[0],
        study.median_shape(),
        study.median_spacing(),
        preset=request.preset,
        name=(*method.networks, "unet")[0],
    )
    inspection = inspect(
        study,
        method,
        request.case_id,
        spec=spec,
        slice_index=request.slice_index,
        seed=request.seed,
        run=study.run(request.run_id) if request.run_id else None,
    )
    return _answer(request, inspection, scan.geometry)


def _answer(request: InspectionRequest, inspection: Inspection, geometry: Any) -> InspectionAnswer:
    from napari_ssl_seg.methods.inspection import backdrop_of
    from napari_ssl_seg.volumes import layer_kwargs

    dims, own = inspection.spec.dims, len(inspection.pretext.views)
    pictures = tuple(
        _picture(view, inspection.row, dims, backdrop_of(view, inspection.views), output=number >= own)
        for number, view in enumerate(inspection.views)
    )
    inputs = inspection.pretext.inputs
    images = [view.name for view in inspection.pretext.views if view.kind == "image"]
    front = next((view.name for view in inspection.pretext.views if view.data is inputs), images[-1] if images else "")
    placement = dict(layer_kwargs(geometry))
    origin = inspection.batch.origins[0]
    placement["translate"] = tuple(
        start + index * step
        for start, index, step in zip(placement["translate"], origin, placement["scale"], strict=True)
    )
    placement["metadata"] = {**placement["metadata"], "patch_origin": origin}
    return InspectionAnswer(
        request=request,
        pictures=pictures,
        chips=tuple(chips(inspection.stats, inspection.batch.partner_ids, inspection.views)),
        placement=placement,
        front=front,
        seconds=inspection.seconds,
        notes=inspection.warnings,
    )


def layer_array(view: View, dims: int) -> np.ndarray:
    """The first sample of a view in (z, y, x); of several channels the first; boxes as (N, 6), points as (N, 3).

    Points that are none (NaN, or negative) are left out.
    """
    data = view.data
    array = np.asarray(data.numpy(force=True) if hasattr(data, "numpy") else data)[0]
    if view.kind == "boxes":
        if dims == 3:
            return array.astype(np.float64)
        zero, one = np.zeros((len(array), 1)), np.ones((len(array), 1))
        return np.concatenate([zero, array[:, :2], one, array[:, 2:]], axis=1)
    if view.kind == "points":
        array = array.reshape(-1, dims).astype(np.float64)
        array = array[np.isfinite(array).all(axis=1) & (array >= 0).all(axis=1)]
        return array if dims == 3 else np.concatenate([np.zeros((len(array), 1)), array], axis=1)
    if view.kind == "image":
        return array[0][None] if dims == 2 else array[0]
    if array.dtype == bool:
        array = array.astype(np.uint8)
    return array[None] if dims == 2 else array


def chips(stats: Mapping[str, float], partners: tuple[str, ...] = (), views: tuple[View, ...] = ()) -> list[str]:
    """Named numbers in words: ``share masked 75 %``, ``boxes 40``, ``donor hippocampus_007``."""
    # Of several patches the first is shown; its donor is the first partner, or what the title of that view names.
    found = [f"donor {partner}" for partner in partners[:1]]
    found += [f"donor {view.title.partition(': ')[2]}" for view in views if view.name == "donor" and ": " in view.title]
    found += [f"{name.replace('_', ' ')} {text}" for name, text in _joined(stats).items()]
    for view in views:
        if view.kind == "table" and isinstance(view.data, Mapping):
            found += [f"{view.name} {row} {number(str(row), value)}" for row, value in view.data.items()]
    return found


def _joined(stats: Mapping[str, float]) -> dict[str, str]:
    """Numbers as text; those that differ by their axis only (``block_z``, ``block_y``, ``block_x``) as one: ``8×8×16``."""
    found: dict[str, list[str]] = {}
    for name, value in stats.items():
        stem, _, axis = name.rpartition("_")
        found.setdefault(stem if axis in ("z", "y", "x") and stem else name, []).append(number(name, value))
    return {name: "×".join(texts) for name, texts in found.items()}


def number(name: str, value: float) -> str:
    """A number as its name wants it."""
    value = float(value)
    if value != value:
        return "–"
    if any(part in name for part in PARTS) and 0 <= value <= 1:
        return f"{100 * value:.0f} %" if value == 0 or value >= 0.01 else f"{100 * value:.2g} %"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def fitting_runs(runs: list[Run], method: str) -> list[tuple[str, str]]:
    """Id and title of the pretrainings of a method, and the fine-tunings jointly with it, that have saved something to look
    at, newest first."""
    from napari_ssl_seg.errors import UserError

    found = []
    for run in reversed(runs):
        try:
            record = run.record
        except UserError:
            continue
        if method in (record.method, record.joint) and run.checkpoint_path("last").is_file():
            found.append((run.id, record.title or run.id))
    return found


def _picture(view: View, row: int, dims: int, backdrop: View | None, *, output: bool) -> Picture:
    from napari_ssl_seg.methods.pictures import picture

    drawn = picture(view, row=row, dims=dims, backdrop=backdrop).convert("RGB")
    preview = None
    if view.kind not in LAYER_KINDS:
        larger = drawn.copy()
        larger.thumbnail((PREVIEW, PREVIEW))
        preview = np.asarray(larger, dtype=np.uint8)
    drawn.thumbnail((THUMBNAIL, THUMBNAIL))
    return Picture(
        name=view.name,
        title=view.title,
        kind=view.kind,
        array=layer_array(view, dims) if view.kind in LAYER_KINDS else None,
        limits=view.range,
        thumbnail=np.asarray(drawn, dtype=np.uint8),
        output=output,
        preview=preview,
    )
