"""Verb: demo. The whole circle on bundled phantom scans, in minutes on two CPU cores."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study

METHODS = ("simmim", "volume_fusion")
LABELLED = 2
PRETRAIN_STEPS = 200
FINETUNE_STEPS = 160
BATCH = 8
SEED = 0


def demo(out: str, no_window: bool) -> dict[str, Any]:
    """Create a study, look at pretexts, pretrain, fine-tune with two labels, predict, score, report, show."""
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.protocol import Protocol, compare_methods
    from napari_ssl_seg.protocol_report import write_comparison_report

    start, folder = time.monotonic(), Path(out)
    study = _study(folder / "study")
    _say(f"study: {len(study.cases())} scans in {study.folder}")
    drawn = _draw_pretexts(study, folder / "pretext")
    _say(f"pretext views: {len(drawn)} pictures in {folder / 'pretext'}")

    protocol = Protocol(
        methods=("scratch", *METHODS),
        budgets=(LABELLED,),
        repeats=1,
        pretrain_iterations=PRETRAIN_STEPS,
        finetune_iterations=FINETUNE_STEPS,
        dims=2,
        preset="small",
        pretrain_settings={"batch_size": BATCH},
        finetune_settings={"batch_size": BATCH, "evaluate_every": FINETUNE_STEPS // 4},
    )
    outcome = follow(compare_methods(study, protocol))
    report = write_comparison_report(study, protocol, outcome, folder)
    _say(f"report: {report}")
    result: dict[str, Any] = {
        "study": str(study.folder),
        "report": str(report),
        "results": outcome.summary(),
    }
    if _can_draw():
        from napari_ssl_seg.gui.tour import take_screenshots

        shots = take_screenshots(study.folder, folder / "screenshots")
        result["screenshots"] = [str(path) for path in shots]
    else:
        _say("no screenshots: there is no screen here, or napari is not installed")
    result["seconds"] = round(time.monotonic() - start)
    if _can_draw() and not no_window:
        from napari_ssl_seg.gui.app import show

        show(study.folder)
    return result


def _study(folder: Path) -> Study:
    from napari_ssl_seg.sample import bundled_study_source
    from napari_ssl_seg.study import Study

    if (folder / "study.db").exists():
        return Study.open(folder)
    source = bundled_study_source("cardiac")
    return Study.create(folder, images=source, split=(60, 10, 30), seed=SEED, name="cardiac phantoms")


def _draw_pretexts(study: Study, folder: Path) -> list[Path]:
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.methods.inspection import inspect, save_inspection
    from napari_ssl_seg.training import plan_network

    case = study.cases(split="train")[0]
    files: list[Path] = []
    for name in METHODS:
        method = get_method(name, {})
        spec = plan_network(study, dims=2, preset="small", allowed_dims=method.dims)
        files += save_inspection(inspect(study, method, case.id, spec=spec, seed=SEED), folder / name)
    return [path for path in files if path.suffix == ".png"]


def _can_draw() -> bool:
    screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("win32", "darwin")
    return screen and importlib.util.find_spec("napari") is not None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
