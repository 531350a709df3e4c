"""Look at what a method trains on: the trainer's own `pretext` on one patch, and what a trained run makes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.methods.registry import get_method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from napari_ssl_seg.methods.base import Batch, Method, Pretext, View
    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run


@dataclass(frozen=True)
class Inspection:
    """A patch of one scan as a method sees it."""

    method: Method
    case_id: str
    seed: int
    spec: NetworkSpec
    batch: Batch
    """Of one patch; ``origins[0]`` says where it lies in the scan."""
    pretext: Pretext
    views: tuple[View, ...]
    """The pretext's views, then those of the run's output."""
    stats: Mapping[str, float]
    slice_index: int
    """The axial slice of the scan that was asked for."""
    seconds: float
    """What it took to make the batch, the pretext and the output."""
    warnings: tuple[str, ...] = ()
    """Of `Method.prepare_slice`: what is not as it would be in a run."""

    @property
    def row(self) -> int:
        """Index of the shown slice along the patch's first axis; 0 in 2D."""
        if self.spec.dims == 2:
            return 0
        return min(max(self.slice_index - self.batch.origins[0][0], 0), self.batch.image.shape[2] - 1)


def inspect(
    study: Study,
    method: Method | str,
    case_id: str,
    *,
    spec: NetworkSpec,
    slice_index: int | None = None,
    seed: int = 0,
    run: Run | None = None,
) -> Inspection:
    """Run a method's pretext on a patch around that slice.

    Parameters
    ----------
    study, case_id
        Which scan.
    method
        With its settings; a name stands for its defaults.
    spec
        Dimensions and patch; with a run, the run's own are used.
    slice_index
        Axial slice; None: the middle one.
    seed
        Of the masks, boxes and partner.
    run
        A pretraining of the same method, or a fine-tuning jointly with it, whose output is shown too.

    Raises
    ------
    UserError
        When the case, the slice, or the run does not fit.
    """
    import torch  # noqa: F401  (so that `seconds` does not count its loading)

    from napari_ssl_seg.pretext.sampling import batch_at, generator_for

    started = time.perf_counter()
    method = get_method(method) if isinstance(method, str) else method
    model = None
    if run is not None:
        method, model, spec = _model_of(run, method)
    if spec.dims not in method.dims:
        possible = " and ".join(f"{dims}D" for dims in sorted(method.dims))
        raise UserError(f"{method.title} works in {possible} only; choose that")
    method = method.on_network(spec)
    depth = study.case(case_id).shape[0]
    index = depth // 2 if slice_index is None else slice_index
    needs = method.needs
    others = [case.id for case in study.cases(split="train")] if needs.paired or needs.companions else []
    prepared = Prepared(method)
    if 0 <= index < depth:  # otherwise the batch says so
        prepared = method.prepare_slice(study, case_id, index)
    method = prepared.method
    drawn = method.sampled(spec)
    batch = batch_at(study, case_id, drawn, needs, slice_index=index, seed=seed, case_ids=others, prepared=prepared)
    pretext = method.pretext(batch, generator_for(seed, 0))
    views = pretext.views
    if model is not None:
        views += method.output_views(model, pretext)
    scale = (float(batch.image.min()), float(batch.image.max()))
    shown = tuple(replace(view, range=scale) if view.kind == "image" and view.range is None else view for view in views)
    return Inspection(
        method=method,
        case_id=case_id,
        seed=seed,
        spec=spec,
        batch=batch,
        pretext=pretext,
        views=shown,
        stats=dict(pretext.stats),
        slice_index=index,
        seconds=time.perf_counter() - started,
        warnings=prepared.warnings,
    )


def save_inspection(inspection: Inspection, out_dir: str | Path) -> list[Path]:
    """Write one PNG a view (``01_scan.png`` ...), ``tensors.npz`` and ``stats.json``; return their paths.

    Of a 3D patch the PNG shows the axial slice that was asked for; ``tensors.npz`` holds the whole patch: ``inputs``,
    ``target_NAME`` and ``view_NAME``.
    """
    import numpy as np

    from napari_ssl_seg.files import atomic_path, write_json
    from napari_ssl_seg.methods.pictures import write_picture

    folder = Path(out_dir)
    paths = []
    for number, view in enumerate(inspection.views, start=1):
        paths.append(folder / f"{number:02d}_{view.name}.png")
        write_picture(
            paths[-1], view, row=inspection.row, dims=inspection.spec.dims, backdrop=backdrop_of(view, inspection.views)
        )

    arrays = {"inputs": inspection.pretext.inputs.numpy(force=True)}
    arrays |= {f"target_{name}": value.numpy(force=True) for name, value in inspection.pretext.targets.items()}
    arrays |= {
        f"view_{view.name}": view.data.numpy(force=True) for view in inspection.views if hasattr(view.data, "numpy")
    }
    paths.append(folder / "tensors.npz")
    with atomic_path(paths[-1]) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
    paths.append(folder / "stats.json")
    write_json(paths[-1], _record(inspection))
    return paths


def backdrop_of(view: View, views: Sequence[View]) -> View | None:
    """The image that a view's boxes or points are drawn on."""
    images = [other for other in views if other.kind == "image"]
    return next((image for image in images if image.name == view.over), images[0] if images else None)


def _record(inspection: Inspection) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return value if value == value else None  # JSON has no NaN

    return {
        "method": inspection.method.name,
        "config": inspection.method.config.model_dump(mode="json"),
        "network": inspection.spec.model_dump(mode="json"),
        "case": inspection.case_id,
        "slice": inspection.slice_index,
        "seed": inspection.seed,
        "partners": list(inspection.batch.partner_ids),
        "origin": list(inspection.batch.origins[0]),
        "views": [{"name": view.name, "title": view.title, "kind": view.kind} for view in inspection.views],
        "stats": {name: number(float(value)) for name, value in inspection.stats.items()},
        "tables": {
            view.name: {row: number(float(value)) for row, value in view.data.items()}
            for view in inspection.views
            if view.kind == "table"
        },
        "seconds": round(inspection.seconds, 4),
    }


def _model_of(run: Run, method: Method) -> tuple[Method, nn.Module, NetworkSpec]:
    """A pretraining's method with the settings asked for where they do not shape the model, its whole model, its heads
    included, and the network that it was made for."""
    made_by = run.record.method or run.record.joint
    if made_by != method.name:
        raise RunError(
            f"run {run.id} was made by {made_by or 'fine-tuning'}, not by {method.name}; choose a run of that method"
        )
    try:
        stamp = run.checkpoint_path("last").stat().st_mtime_ns
    except OSError:
        stamp = 0
    own, model, spec = _load(run.folder, stamp)
    return method.fitted_to(own), model, spec


@lru_cache(maxsize=2)
def _load(folder: Path, stamp: int) -> tuple[Method, nn.Module, NetworkSpec]:
    """Kept while a slider moves; ``stamp`` makes a newer checkpoint another entry."""
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.training.weights import load_pretraining

    return load_pretraining(Run(folder))
