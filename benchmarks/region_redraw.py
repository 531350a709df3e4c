"""How soon the outlines of superpixels follow a slider, and the slice, in the real window.

    xvfb-run -s "-screen 0 1600x1000x24" python benchmarks/region_redraw.py [--scans FOLDER] [--rounds 15]

A CT of the torso is brought to 256 x 256 pixels a slice; the tab Pretext shows FDAS, and the regions of one source are
switched on. Measured from the moment a slider's handle or the slice moves until the layer holds the new regions, and until
the canvas has drawn them, with the views of the pretext redrawn besides; and the time that the processor worked for it in
all threads, which on a busy machine tells more. Goal: 300 ms.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from common import keep

from napari_ssl_seg import Study

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.gui.tour import Tour

SIDE = 256
GOAL_MS, LONGEST_MS = 300.0, 60_000
SLIDERS = {"felzenszwalb": "scale", "slic": "compactness"}


def main() -> None:
    """Measure each classical source, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--scans", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "torso")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), chosen.scans / "example_ct.nii.gz")
        results = [measure(study, source, chosen.rounds) for source in SLIDERS]
    keep("region_redraw", {"pixels": [SIDE, SIDE], "goal_ms": GOAL_MS, "rounds": chosen.rounds, "results": results})


def make_study(folder: Path, scan: Path) -> Path:
    """The middle of a scan, in slices of 256 x 256; twice, so that there is a donor."""
    from scipy.ndimage import zoom

    image: Any = nibabel.load(scan)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    middle = voxels.shape[2] // 2
    part = voxels[:, :, middle - 12 : middle + 12]
    sides = [SIDE / length for length in part.shape[:2]]
    enlarged = zoom(part, (*sides, 1), order=1).astype(np.int16)
    (folder / "images").mkdir()
    spacing = [*(size / factor for size, factor in zip(image.header.get_zooms()[:2], sides, strict=True)), 3.0]
    for number in range(2):
        nibabel.save(nibabel.Nifti1Image(enlarged, np.diag([*spacing, 1.0])), folder / "images" / f"torso_{number}.nii")
    Study.create(folder / "study", images=folder / "images", split=(100, 0, 0)).close()
    return folder / "study"


def measure(study: Path, source: str, rounds: int) -> dict[str, Any]:
    """Milliseconds from a movement to the new regions, for a parameter and for the slice."""
    from napari_ssl_seg.gui.dock import PRETEXT
    from napari_ssl_seg.gui.tour import WINDOW, _window

    with _window(WINDOW, "dark") as tour:
        dock = tour.dock
        dock.open_study(study)
        tour.settle()
        tab = dock.show_tab(PRETEXT)
        dock.workbench.open_case("torso_0")
        tab.choose_method("fdas")
        tour.settle()
        box = tab.regions
        box.form.field("source").set_value(source)
        box.show_row.switch(source)
        tour.settle()
        slider = box.form.slider(SLIDERS[source])
        at = slider.value()
        moves = [lambda step=step: slider.setValue(at + 8 * (1 + step)) for step in range(rounds)]
        parameter = [_answered(tour, move) for move in moves]
        first = dock.workbench.slice_index
        slices = [lambda step=step: dock.workbench.set_slice(first + 1 + step % 10) for step in range(min(rounds, 10))]
        found = {"source": source, "regions": int(box.show_row.layers.find(source).data.max())}
        found |= _summary("parameter", parameter)
        return found | _summary("slice", [_answered(tour, move) for move in slices])


def _answered(tour: Tour, move: Callable[[], None]) -> tuple[float, ...]:
    """Seconds until the layer holds the answer, until the canvas has drawn it, and of processor time for the former."""
    from qtpy.QtCore import QEventLoop, QTimer

    tour.settle()
    loop = QEventLoop()  # waiting in it costs nothing, unlike asking again and again
    QTimer.singleShot(LONGEST_MS, loop.quit)
    layers = tour.dock.tab(1).regions.show_row.layers
    show = layers.show
    marks: list[tuple[float, float]] = []

    def shown(answer: Any) -> None:
        show(answer)
        marks.append((time.perf_counter(), time.process_time()))
        QTimer.singleShot(0, loop.quit)  # after what the layer has asked to be drawn

    layers.show = shown
    begun, worked = time.perf_counter(), time.process_time()
    move()
    loop.exec()
    loop.processEvents()
    drawn = time.perf_counter()
    del layers.show
    return marks[0][0] - begun, drawn - begun, marks[0][1] - worked


def _summary(name: str, seconds: list[tuple[float, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, what in enumerate(("layer", "drawn", "processor")):
        values = sorted(1000 * pair[place] for pair in seconds)
        found[f"{name}_{what}_median_ms"] = round(statistics.median(values), 1)
        found[f"{name}_{what}_longest_ms"] = round(values[-1], 1)
    return found


if __name__ == "__main__":
    main()
