"""Closing the window while something goes on: how long it takes, how it ends, and what is left behind.

    xvfb-run -s "-screen 0 1600x1000x24" python benchmarks/closing.py [--times 20] [--kinds NAME ...]

Each time a fresh process opens the real window on a study of phantoms, starts one kind of work and is told to close in the
middle of it. Counted: seconds from the close to the end of the process, its exit code, what it wrote on standard error, and
processes that it left (a run in a process of its own is told to go on, and is the only one that may). Goal: 3 s, 0, nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from common import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.gui.tour import Tour

GOAL_SECONDS = 3.0
MARK = "NAPARI_SSL_SEG_CLOSING"
CLOSED = "closed"


def main() -> None:
    """Open, start, close, look, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--child", nargs=3, metavar=("KIND", "STUDY", "DELAY"), help="used by the script itself")
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child[0], Path(chosen.child[1]), float(chosen.child[2]))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "phantoms"
        from napari_ssl_seg.sample import write_phantom_study_files

        write_phantom_study_files(source, "cardiac", subjects=8)
        for kind in chosen.kinds:
            results.append(close_often(kind, source, Path(folder), chosen.times))
            print(results[-1], flush=True)
    keep("closing", {"goal_seconds": GOAL_SECONDS, "results": results})


def close_often(kind: str, source: Path, folder: Path, times: int) -> dict[str, Any]:
    """What became of ``times`` windows."""
    seconds, codes, noisy, left = [], [], [], 0
    for number in range(times):
        study = folder / f"{kind}-{number}"
        took, code, errors, orphans = close_once(kind, source, study, number / max(1, times))
        seconds.append(took)
        codes.append(code)
        left += orphans
        if errors:
            noisy.append(errors[-300:])
    return {
        "kind": kind,
        "times": times,
        "median_s": round(statistics.median(seconds), 2),
        "longest_s": round(max(seconds), 2),
        "within_goal": sum(took <= GOAL_SECONDS for took in seconds),
        "exit_code_0": codes.count(0),
        "with_errors": len(noisy),
        "errors": noisy[:2],
        "processes_left": left,
    }


def close_once(kind: str, source: Path, study: Path, delay: float) -> tuple[float, int, str, int]:
    """Seconds, exit code, standard error, processes left over that were not asked to stay."""
    from napari_ssl_seg import Study

    Study.create(study, images=source).close()
    mark = f"{os.getpid()}-{study.name}"
    words = [sys.executable, __file__, "--child", kind, str(study), str(delay)]
    environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if line.strip() == CLOSED:
            break
    begun = time.monotonic()
    _, errors = process.communicate(timeout=120)
    took = time.monotonic() - begun
    survivors = [other for other in psutil.process_iter() if _marked(other, mark)]
    stays = kind == "detached"
    for survivor in survivors:
        survivor.kill()
    return took, process.returncode, errors.strip(), max(0, len(survivors) - stays)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
        return False


# -- in the child -----------------------------------------------------------------------------------------------------
def child(kind: str, study: Path, delay: float) -> None:
    """Open, start, wait until it is at work and ``delay`` seconds more, close."""
    import napari
    from qtpy.QtCore import QTimer

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.tour import Tour

    viewer = napari.Viewer(show=True)
    dock = SSLDock(viewer)
    viewer.window.add_dock_widget(dock, name="SSL segmentation", area="right")
    tour = Tour(viewer, dock)
    tour.settle()
    if kind != "import":
        dock.open_study(study)
        tour.settle()
        dock.workbench.open_case(dock.workbench.cases[0].id)
        tour.settle()
    at_work = KINDS[kind](tour, study)
    end = time.monotonic() + 60
    while not at_work() and time.monotonic() < end:
        tour.settle(0.05)
    tour.settle(delay)

    def close() -> None:
        print(CLOSED, flush=True)
        viewer.close()

    QTimer.singleShot(0, close)
    napari.run()


def nothing(tour: Tour, study: Path) -> Callable[[], bool]:
    """Only the study is open."""
    return lambda: True


def importing(tour: Tour, study: Path) -> Callable[[], bool]:
    """A study is being made."""
    from napari_ssl_seg.gui.dock import STUDY
    from napari_ssl_seg.sample import write_phantom_study_files
    from napari_ssl_seg.workbench.importing import plan_import

    scans = write_phantom_study_files(study.with_name(f"{study.name}-more"), "cardiac", subjects=12)
    tab = tour.dock.tab(STUDY)
    tab.create_study(plan_import(scans))
    return lambda: bool(tab.working)


def views(tour: Tour, study: Path) -> Callable[[], bool]:
    """Views of a pretext are being drawn, slice after slice."""
    from qtpy.QtCore import QTimer

    from napari_ssl_seg.gui.dock import PRETEXT

    tab = tour.dock.show_tab(PRETEXT)
    tab.choose_method("fdas")
    moving = QTimer(tab)
    moving.timeout.connect(lambda: tour.dock.workbench.set_slice((tour.dock.workbench.slice_index + 1) % 8))
    moving.start(50)
    return lambda: bool(tab.busy)


def training(tour: Tour, study: Path) -> Callable[[], bool]:
    """A pretraining goes on in the window."""
    return _train(tour, detached=False)


def detached(tour: Tour, study: Path) -> Callable[[], bool]:
    """A pretraining goes on in a process of its own."""
    return _train(tour, detached=True)


def _train(tour: Tour, *, detached: bool) -> Callable[[], bool]:
    from napari_ssl_seg.gui.dock import TRAIN
    from napari_ssl_seg.training import prepare_pretrain

    study = tour.dock.workbench.require_study()
    tab = tour.dock.show_tab(TRAIN)
    run = prepare_pretrain(study, "simmim", dims=2, device="cpu", iterations=100_000)
    tab.add_run(run, detached=detached)
    return lambda: run.latest("step") is not None


def regions(tour: Tour, study: Path) -> Callable[[], bool]:
    """Superpixels of all scans are being prepared."""
    from napari_ssl_seg.gui.dock import PRETEXT

    tab = tour.dock.show_tab(PRETEXT)
    tab.choose_method("lrc")
    tour.settle()
    tab.regions.prepare()
    return lambda: bool(tab.regions.work.busy)


def comparing(tour: Tour, study: Path) -> Callable[[], bool]:
    """Predictions from files are being scored."""
    from napari_ssl_seg.gui.dock import COMPARE

    opened = tour.dock.workbench.require_study()
    case = opened.cases(split="test")[0]
    tour.dock.workbench.open_case(case.id)
    tab = tour.dock.show_tab(COMPARE)
    tab.page.add_button.add_files([case.label])
    return lambda: True


def painting(tour: Tour, study: Path) -> Callable[[], bool]:
    """Strokes have just been made that are still on their way to the disk."""
    from napari_ssl_seg.gui.dock import LABEL

    tour.dock.show_tab(LABEL)
    tour.settle()
    layer = next(layer for layer in tour.viewer.layers if layer.name.endswith("| labels"))
    layer.mode = "paint"
    for step in range(20):
        layer.paint((2, 10 + step, 12), 1)
    return lambda: True


def suggesting(tour: Tour, study: Path) -> Callable[[], bool]:
    """The next slices to label are being looked for."""
    from napari_ssl_seg.gui.dock import LABEL

    tab = tour.dock.show_tab(LABEL)
    tour.settle()
    tab.page.next.suggest.click()
    return lambda: True


KINDS: dict[str, Callable[[Tour, Path], Callable[[], bool]]] = {
    "nothing": nothing,
    "import": importing,
    "views": views,
    "training": training,
    "detached": detached,
    "regions": regions,
    "comparing": comparing,
    "painting": painting,
    "suggesting": suggesting,
}


if __name__ == "__main__":
    main()
