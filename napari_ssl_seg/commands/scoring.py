"""Verbs: predict, evaluate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.evaluation import ScoreTable


def predict(
    study: str,
    run: str,
    split: str,
    images: list[str] | None,
    out: str | None,
    probabilities: bool,
    device: str,
) -> dict[str, Any]:
    """Segment scans of the study, or files outside it."""
    from napari_ssl_seg import training
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.study import Study

    opened = Study.open(study)
    found = opened.run(run)
    if images is None:
        if out is not None:
            raise UserError("--out goes with --images; predictions of the study's own scans lie in the run's folder")
        files = follow(
            training.predict(
                opened, found, split=None if split == "all" else split, probabilities=probabilities, device=device
            )
        )
    else:
        if out is None:
            raise UserError("--images needs --out, the folder where the predictions go")
        files = follow(
            training.predict_files(found, images=images, out=Path(out), probabilities=probabilities, device=device)
        )
    return {"run": found.id, "predictions": [str(path) for path in files]}


def evaluate(
    study: str | None,
    runs: list[str] | None,
    split: str,
    pred: str | None,
    ref: str | None,
    csv: str | None,
    targets: list[str] | None = None,
    lesions: list[int] | None = None,
    resample: bool = False,
) -> dict[str, Any]:
    """Score the predictions of runs, or of two folders."""
    from napari_ssl_seg import evaluation
    from napari_ssl_seg.commands.studies import parse_targets
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.study import Study

    if (pred is None) != (ref is None) or (study is None) == (pred is None):
        raise UserError("evaluate takes either a STUDY or both --pred DIR and --ref DIR")
    if targets and study is not None:
        raise UserError("--targets goes with --pred and --ref; a study has its own")
    more: dict[str, Any] = {"resample": resample, **({} if lesions is None else {"lesions": tuple(lesions)})}
    if study is not None:
        opened = Study.open(study)
        chosen = [opened.run(name) for name in runs] if runs else None
        table = follow(evaluation.evaluate(opened, chosen, split=split, **more))
    else:
        assert pred is not None and ref is not None
        table = follow(evaluation.evaluate_folders(pred, ref, targets=parse_targets(targets), **more))
    if csv is not None:
        table.to_csv(csv)
    return {"rows": len(table.rows), "csv": csv, "summary": summary_rows(table)}


def compare(
    study: str,
    methods: str,
    cases: Sequence[int],
    repeats: int,
    out: str,
    pretrain_iterations: int | None,
    finetune_iterations: int | None,
    network: str | None,
    preset: str | None,
    dims: int | None,
    device: str,
    predictions: list[str] | None = None,
) -> dict[str, Any]:
    """Run the protocol for several methods and write a report."""
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.comparing import note_finished, noted
    from napari_ssl_seg.protocol import Protocol, compare_methods
    from napari_ssl_seg.protocol_report import write_comparison_report
    from napari_ssl_seg.study import Study

    opened = Study.open(study)
    protocol = Protocol(
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        budgets=tuple(sorted(set(cases))),
        repeats=repeats,
        pretrain_iterations=pretrain_iterations,
        finetune_iterations=finetune_iterations,
        network=network,
        preset=preset,
        dims=dims,
        device=device,
        predictions=_named_folders(predictions or []),
    )
    folder = Path(out)
    outcome = follow(noted(opened, protocol, compare_methods(opened, protocol), folder))
    report = write_comparison_report(opened, protocol, outcome, folder)
    note_finished(folder, report)
    return {
        "report": str(report),
        "csv": str(folder / "scores.csv"),
        "summary": str(folder / "summary.csv"),
        "latex": str(folder / "tables.tex"),
        "results": outcome.summary(),
    }


def _named_folders(texts: Sequence[str]) -> dict[str, str]:
    """``nnU-Net=/folder`` as name and folder."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not name.strip() or not folder or name.strip() in found:
            raise UserError(f"--predictions takes NAME=FOLDER, each name once, not {text!r}")
        found[name.strip()] = folder
    return found


def summary_rows(table: ScoreTable) -> list[dict[str, Any]]:
    """Method x class means as plain values; NaN becomes null."""
    return [
        {name: (None if isinstance(value, float) and value != value else value) for name, value in row.items()}
        for row in table.summary()
    ]
