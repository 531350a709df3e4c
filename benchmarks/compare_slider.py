"""What a move of the slider costs the window's thread with the Compare tab, beyond what napari needs to draw the layers.

    OMP_NUM_THREADS=1 xvfb-run -s "-screen 0 1600x1000x24" python benchmarks/compare_slider.py [--rounds 6] [--moves 12]

A scan of 512 x 512 x 200 with 13 labels, its reference and four methods in the grid (five cells of image and labels), words
in the cells, the curve and the list of slices below and beside them. Rounds alternate: the panel as it is; and the same
layers in the same grid with everything of ours cut off (no words, no curve, nothing called when the slider moves). Each move
is followed by a drawing of the whole window. Kept are the processor time of the window's own thread, which other programs on
a busy machine disturb least, and the wall time, of a move with its drawing; and the wall time inside our own callback.
Goal: 5 ms more with the panel than without. Painting: one stroke of the brush on one slice until its numbers stand in the
cell, and scoring that slice alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import keep

from napari_ssl_seg import Study
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.volumes import Volume, write_volume

if TYPE_CHECKING:
    from napari_ssl_seg.gui.compare_tab import CompareTab

SPACING = (1.5, 0.8, 0.8)
LABELS, METHODS, GOAL_MS = 13, 4, 5.0


def main() -> None:
    """Measure and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--moves", type=int, default=12)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 512, 512))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), tuple(chosen.shape))
        results = measure(study, chosen.rounds, chosen.moves)
    keep(
        "compare_slider",
        {"shape": list(chosen.shape), "labels": LABELS, "methods": METHODS, "goal_ms": GOAL_MS, **results},
    )


def organs(shape: tuple[int, ...]) -> np.ndarray:
    """Thirteen ellipsoids, all of them in the middle slices."""
    rng = np.random.default_rng(0)
    found = np.zeros(shape, np.uint8)
    grid = np.ogrid[tuple(slice(size) for size in shape)]
    for label in range(1, LABELS + 1):
        row, column = divmod(label - 1, 4)
        centre = (shape[0] / 2, shape[1] * (row + 0.5) / 4, shape[2] * (column + 0.5) / 4)
        radius = (
            shape[0] * rng.uniform(0.2, 0.45),
            shape[1] * rng.uniform(0.06, 0.11),
            shape[2] * rng.uniform(0.06, 0.11),
        )
        found[sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radius, strict=True)) < 1] = label
    return found


def make_study(folder: Path, shape: tuple[int, ...]) -> Study:
    """One scan with its reference, and four runs whose predictions are the reference moved by some voxels."""
    label = organs(shape)
    image = (label.astype(np.int16) * 20 + np.arange(shape[2], dtype=np.int16) // 8).astype(np.int16)
    study = Study.create_from_arrays(
        folder / "study",
        [("large", image, label, SPACING)],
        classes={value: f"organ {value}" for value in range(1, LABELS + 1)},
        split=(0, 0, 100),
    )
    geometry = study.image("large", purpose="show").geometry
    for number in range(METHODS):
        run = Run.create(
            study.runs_folder, RunRecord(kind="finetune", title=f"method {number + 1}", network={}, settings={})
        )
        run.weights_path.write_bytes(b"")
        run.predictions.mkdir(exist_ok=True)
        write_volume(run.prediction_path("large"), Volume(np.roll(label, number + 1, axis=2), geometry))
    return study


def measure(study: Study, rounds: int, moves: int) -> dict[str, Any]:
    """Milliseconds of a move with and without the panel, one round after the other; and of a stroke."""
    from napari_ssl_seg.gui.dock import COMPARE
    from napari_ssl_seg.gui.tour import _window

    with _window((1600, 1000), "dark") as tour:
        tour.dock.workbench.set_study(study)
        tour.dock.workbench.open_case("large")
        tab = tour.dock.show_tab(COMPARE)
        tour.settle()
        tab.comparison.choose([entry.key for entry in tab.comparison.entries])
        tour.settle()
        assert len(tab.view.cells) == METHODS + 1
        begun = time.perf_counter()
        case = tab.comparison.read("large", tab.comparison.chosen)
        again = time.perf_counter() - begun
        inside: list[list[float]] = [[], []]
        heard = tab._step_changed
        tab._viewer.dims.events.current_step.disconnect(heard)

        def timed(event: Any = None) -> None:
            start, worked = time.perf_counter(), time.thread_time()
            heard(event)
            inside[0].append(1000 * (time.perf_counter() - start))
            inside[1].append(1000 * (time.thread_time() - worked))

        took: dict[str, list[list[float]]] = {"with": [[], []], "without": [[], []]}
        for number in range(2 * rounds + 2):
            name = ("with", "without")[number % 2]
            switch(tab, name == "with", timed)
            tour.settle()
            wall, own = move(tab, moves, number)
            if number >= 2:  # the first of each is for what is made when it is first drawn
                took[name][0] += wall
                took[name][1] += own
        switch(tab, True, timed)
        found = {name: {"wall": spread(pair[0]), "window_thread": spread(pair[1])} for name, pair in took.items()}
        beyond = {
            key: {
                part: round(found["with"][key][part] - found["without"][key][part], 2)
                for part in ("median_ms", "mean_ms")
            }
            for key in ("wall", "window_thread")
        }
        return {
            "rounds": rounds,
            "moves_per_round": moves,
            **found,
            "beyond_napari": beyond,
            "our_callback": {"wall": spread(inside[0]), "window_thread": spread(inside[1])},
            "reading_again_s": round(again, 3),
            "scored_slices": case.n_slices,
            "painting": painting(tab, tour),
        }


def switch(tab: CompareTab, on: bool, timed: Any) -> None:
    """The panel as it is, or napari's layers alone."""
    from napari_ssl_seg.gui.compare_text import cell_text

    event = tab._viewer.dims.events.current_step
    event.disconnect(timed)
    if on:
        event.connect(timed)
    for group in tab.view.cells:
        cell_text(group.labels).visible = on
    tab.strip.setVisible(on)
    tab.order.setVisible(on)


def move(tab: CompareTab, moves: int, number: int) -> tuple[list[float], list[float]]:
    """Milliseconds of moves over the middle slices, each with its drawing: on the clock, and of this thread."""
    from qtpy.QtWidgets import QApplication

    app = QApplication.instance()
    middle = tab._case.n_slices // 2
    tab._viewer.dims.set_current_step(0, middle + moves)  # so that the first move, too, is one
    app.processEvents()
    wall, own = [], []
    for step in range(moves):
        index = middle - moves // 2 + (step if number // 2 % 2 == 0 else moves - 1 - step)  # there, and back again
        start, worked = time.perf_counter(), time.thread_time()
        tab._viewer.dims.set_current_step(0, index)
        for _ in range(3):
            app.processEvents()
        wall.append(1000 * (time.perf_counter() - start))
        own.append(1000 * (time.thread_time() - worked))
    return wall, own


def painting(tab: CompareTab, tour: Any) -> dict[str, Any]:
    """A stroke on one slice until its numbers are said, and the scoring of the slice in it."""
    from napari_ssl_seg.workbench.rescoring import rescored

    index = tab._case.n_slices // 2
    tab.go_to(index)
    tour.settle()
    group = tab.view.cells[1]
    labels, case = group.labels.data, tab._case
    found: dict[str, list[list[float]]] = {
        "slice_scored_anew": [[], []],
        "of_all_methods": [[], []],
        "until_its_numbers_are_said": [[], []],
    }
    for number in range(30):
        for name, work in (
            ("slice_scored_anew", lambda: rescored(case, 0, labels, index)),
            ("of_all_methods", lambda: rescored(case, None, case.reference, index)),
            ("until_its_numbers_are_said", lambda: tab._painted(group.cell.key)),
        ):
            labels[index, 100 + number : 140, 200:240] = 1 + number % LABELS
            start, worked = time.perf_counter(), time.thread_time()
            work()
            found[name][0].append(1000 * (time.perf_counter() - start))
            found[name][1].append(1000 * (time.thread_time() - worked))
            tab._rested.stop()
    return {name: {"wall": spread(pair[0][3:]), "window_thread": spread(pair[1][3:])} for name, pair in found.items()}


def spread(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "least_ms": round(min(values), 2),
        "median_ms": round(statistics.median(values), 2),
        "mean_ms": round(statistics.fmean(values), 2),
        "longest_ms": round(max(values), 2),
    }


if __name__ == "__main__":
    main()
