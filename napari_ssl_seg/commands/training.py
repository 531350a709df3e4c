"""Verbs: pretrain, finetune, resume, repeat, job, stop, runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_ssl_seg.training import Event, Run
    from napari_ssl_seg.training.repeating import Outcome


def pretrain(study: str, method: str, train: list[str], settings: list[str], **options: Any) -> dict[str, Any]:
    """Pretrain on the unlabelled scans of the train split."""
    from napari_ssl_seg import training
    from napari_ssl_seg.cli import parse_settings
    from napari_ssl_seg.study import Study

    given = {**options, "train": parse_settings(train), "settings": parse_settings(settings)}
    return _finish(training.pretrain(Study.open(study), method, **given))


def finetune(
    study: str, init: str, cases: str | None, train: list[str], settings: list[str], **options: Any
) -> dict[str, Any]:
    """Fine-tune on the labelled slices of the train split, alone or jointly with a method."""
    from napari_ssl_seg import training
    from napari_ssl_seg.cli import parse_settings
    from napari_ssl_seg.study import Study

    given = {
        **options,
        "cases": parse_budget(cases),
        "train": parse_settings(train),
        "settings": parse_settings(settings),
    }
    return _finish(training.finetune(Study.open(study), init, **given))


def resume(study: str, run: str, iterations: int | None) -> dict[str, Any]:
    """Go on with a stopped or failed run."""
    from napari_ssl_seg import training
    from napari_ssl_seg.study import Study

    opened = Study.open(study)
    return _finish(training.resume(opened, opened.run(run), iterations=iterations))


def repeat(study: str, run: str | None) -> dict[str, Any]:
    """Train a run once more from its record, and say what differs. Without ``run``, ``study`` is the folder of the run."""
    from pathlib import Path

    from napari_ssl_seg import training
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.repeating import compare_weights, prepare_repeat

    if run is None:
        first = training.Run.open(study)
        opened = Study.open(Path(study).absolute().parents[1])
    else:
        opened = Study.open(study)
        first = opened.run(run)
    again, differences = prepare_repeat(opened, first)
    for text in differences:
        print(f"differs: {text}", file=sys.stderr)
    result = _finish(training.train(opened, again)) | {"repeats": first.id, "differences": list(differences)}
    if result["state"] != "finished" or first.state != "finished":
        return result | {"verdict": "not both runs are finished, so their weights are not compared"}
    outcome = compare_weights(first, again)
    result |= {"same_weights": outcome.same, "largest_difference": None if outcome.same else outcome.largest}
    return result | {"verdict": _verdict(outcome, differences)}


def job(file: str, slurm: bool, **where: Any) -> dict[str, Any]:
    """Run a job file, or write the script with which a cluster does."""

    from napari_ssl_seg.training.jobs import run_job, write_slurm_script

    if not slurm:
        return _finish(run_job(file))
    script = write_slurm_script(file, **where)
    return {"script": str(script), "submit_with": f"sbatch {script}", "text": script.read_text(encoding="utf-8")}


def _verdict(outcome: Outcome, differences: Sequence[str]) -> str:
    if outcome.same:
        return "the same weights, to the last bit"
    apart = f"the weights differ by up to {outcome.largest:.3g} ({outcome.where or 'other tensors'})"
    return (
        f"{apart}; what is not as it was: {'; '.join(differences)}"
        if differences
        else f"{apart}, and nothing else does"
    )


def stop(study: str, run: str) -> dict[str, Any]:
    """Ask a run to save and stop at its next step."""
    from napari_ssl_seg.study import Study

    found = Study.open(study).run(run)
    state = found.state
    if state in ("running", "paused", "queued"):
        found.request_stop()
    return {"run": found.id, "state": state, "asked_to_stop": state in ("running", "paused", "queued")}


def runs(study: str) -> dict[str, Any]:
    """Every run with its state and best validation Dice."""
    from napari_ssl_seg.study import Study

    rows = []
    for run in Study.open(study).runs():
        record, step = run.record, run.latest("step")
        best = _validation_dice(run)
        rows.append(
            {
                "run": run.id,
                "kind": record.kind,
                "title": record.title,
                "state": run.state,
                "step": f"{step.data['step']}/{step.data['total']}" if step else "-",
                "best_dice": max(best, default=None),
                "parent": record.parent,
            }
        )
    return {"runs": rows}


def parse_budget(text: str | None) -> int | str | None:
    """``"5"`` as 5, ``"10%"`` as it stands."""
    if text is None:
        return None
    if text.strip().endswith("%"):
        return text.strip()
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"--cases {text!r} is neither a number nor a percentage; write for example 5 or 10%") from error


def _finish(events: Generator[Event, None, Run]) -> dict[str, Any]:
    from napari_ssl_seg.commands.text import follow

    start = time.monotonic()
    run = follow(events)
    step = run.latest("step")
    result: dict[str, Any] = {
        "run": run.id,
        "state": run.state,
        "seconds": round(time.monotonic() - start, 2),
        "folder": str(run.folder),
        "step": step.data["step"] if step else 0,
        "losses": dict(step.data["losses"]) if step else {},
    }
    if known := _validation_dice(run):
        result["best_validation_dice"] = max(known)
    if known := _validation_dice(run, "pretext"):
        result["pretext_dice"] = known[-1]
    return result


def _validation_dice(run: Run, what: str | None = None) -> list[float]:
    """Mean Dice of each evaluation of that kind (`training.events`), in their order."""
    found = [
        event.data.get("mean_dice")
        for event in run.events()
        if event.kind == "evaluation" and event.data.get("what") == what
    ]
    return [value for value in found if value is not None]
