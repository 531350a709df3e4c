"""Which runs of a study are asked where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run


def with_weights(runs: Sequence[Run], kind: str) -> list[Run]:
    """Those of a kind that have left weights, oldest first."""
    return [run for run in runs if run.weights_path.is_file() and run.record.kind == kind]


def newest_finetuning(study: Study, runs: Sequence[Run] | None) -> Run | None:
    """The last of the named runs that segments, or the study's newest; None where there is none."""
    found = with_weights(study.runs() if runs is None else runs, "finetune")
    return found[-1] if found else None


def needed_finetuning(study: Study, runs: Sequence[Run] | None, strategy: str) -> Run:
    """As `newest_finetuning`; raises RunError where there is none."""
    found = newest_finetuning(study, runs)
    if found is None:
        raise RunError(
            f"{strategy} asks a fine-tuned run, and there is none with weights; fine-tune first, or take diversity or mixed"
        )
    return found


def encoder_run(study: Study, runs: Sequence[Run] | None) -> Run | None:
    """The first named run of any kind; where none is asked for the newest pretraining, else fine-tuning, else None."""
    if runs is not None:
        for run in runs:
            if run.weights_path.is_file():
                return run
        if not runs:
            return None
        raise RunError(f"run {runs[0].id} has no weights yet (it is {runs[0].state}); let it go on until it ends")
    known = study.runs()
    found = with_weights(known, "pretrain") or with_weights(known, "finetune")
    return found[-1] if found else None


def best_finetunings(study: Study, runs: Sequence[Run] | None, count: int = 2) -> list[Run]:
    """All named runs that segment, or the study's best in validation (those without one last, newer first).

    Raises
    ------
    RunError
        When there are not two.
    """
    found = with_weights(study.runs() if runs is None else runs, "finetune")
    if runs is None:
        newest_first = list(reversed(found))
        found = sorted(newest_first, key=lambda run: -best_dice(run))[:count]
    if len(found) < 2:
        raise RunError(
            f"disagreement compares two fine-tuned runs or more, and there {'is' if len(found) == 1 else 'are'}"
            f" {len(found)}; fine-tune another (with another seed or start), or take uncertainty"
        )
    return found


def best_dice(run: Run) -> float:
    """The best mean Dice of a run's validations; -1 where it had none."""
    found = [
        event.data.get("mean_dice")
        for event in run.events()
        if event.kind == "evaluation" and not event.data.get("what")
    ]
    return max((float(value) for value in found if value is not None), default=-1.0)
