"""A run trained once more from nothing but its record, and whether the same comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.training.runs import Run
from napari_ssl_seg.training.verbs import recorded_settings
from napari_ssl_seg.training.versions import CODE, versions

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import RunRecord


@dataclass(frozen=True)
class Outcome:
    """How far the weights of two runs lie apart."""

    same: bool
    """Every tensor, to the last bit."""
    largest: float
    """Largest absolute difference of a weight; infinite where the tensors are not even the same ones."""
    where: str = ""
    """Name of the tensor with that difference."""


def prepare_repeat(study: Study, run: Run) -> tuple[Run, tuple[str, ...]]:
    """Make a queued run of the same record; nothing is trained.

    Returns
    -------
    (Run, differences)
        One sentence for each thing that is not as it was: code, versions, device, scans or labels, normalisation.

    Raises
    ------
    RunError
        When a scan that it used is no longer in the study, or the device is not here.
    """
    from napari_ssl_seg.training.hardware import pick_device

    record = run.record
    known = {case.id for case in study.cases()}
    used = sorted({case_id for ids in record.cases.values() for case_id in ids})
    if missing := [case_id for case_id in used if case_id not in known]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise RunError(
            f"run {run.id} used {missing[0]}{more}, which {study.name} no longer has; put that back to repeat it"
        )
    settings = recorded_settings(run)
    now = {**versions(), "device": pick_device(record.device).title}
    fingerprint = study.fingerprint(used)
    changes = {
        "settings": settings.model_dump(mode="json"),
        "versions": now,
        "fingerprint": fingerprint,
        "normalisation": study.settings.normalisation,
    }
    new = record.model_copy(update=changes)
    return Run.create(study.runs_folder, new), tuple(_differences(record, new))


def _differences(old: RunRecord, new: RunRecord) -> list[str]:
    found = []
    if old.fingerprint != new.fingerprint:
        found.append("the scans or labels are not those of then")
    if old.normalisation != new.normalisation:
        found.append(f"normalisation was {old.normalisation}, is {new.normalisation}")
    if CODE in old.versions and old.versions[CODE] != new.versions[CODE]:
        found.append("the code of napari-ssl-seg is not that of then")
    for name in (*old.versions, *(name for name in new.versions if name not in old.versions)):
        was, is_ = old.versions.get(name, "not noted"), new.versions.get(name, "not here")
        if name != CODE and was != is_:
            found.append(f"{name} was {was}, is {is_}")
    return found


def compare_weights(first: Run, second: Run) -> Outcome:
    """The weights that two runs have left; raises RunError where one has left none."""
    import torch
    from safetensors.torch import load_file

    for run in (first, second):
        if not run.weights_path.exists():
            raise RunError(f"run {run.id} has left no weights to compare with; train it to its end first")
    one, other = (load_file(run.weights_path) for run in (first, second))
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return Outcome(False, float("inf"))
    if all(torch.equal(one[name], other[name]) for name in one):
        return Outcome(True, 0.0)
    apart = {name: float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel()}
    where = max(apart, key=lambda name: apart[name])
    return Outcome(False, apart[where], where)
