"""What a stroke costs the window on top of napari's own painting, in a scan of 512 x 512 x 200: ``python benchmarks/label_strokes.py``.

Everything that the Label tab does between napari's event and the change's being handed to the writer is timed: on the clock, and
as time of the window's own thread (the clock also counts waiting for the writer's thread, and for whoever else uses the machine).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import nibabel
import numpy as np
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication, QWidget

from napari_ssl_seg.gui.label_layer import LabelLayer
from napari_ssl_seg.study import Study
from napari_ssl_seg.workbench import Workbench
from napari_ssl_seg.workbench.labelling import Labelling
from napari_ssl_seg.workbench.labelling_case import open_store, read_labels

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE, SLICE, STROKES = (512, 512, 200), 100, 60


class Timed:
    """The layer's listeners, timed."""

    def __init__(self, labels: LabelLayer) -> None:
        self.clock, self.thread = 0.0, 0.0
        self._calls: list[Any] = []
        for name, call in labels._calls().items():
            emitter = getattr(labels.layer.events, name)
            emitter.disconnect(call)
            self._calls.append(self._timed(call))
            emitter.connect(self._calls[-1])

    def _timed(self, call: Callable[..., Any]) -> Callable[..., None]:
        def timed(event: Any = None) -> None:
            clock, thread = time.perf_counter(), time.thread_time()
            call(event)
            self.clock += time.perf_counter() - clock
            self.thread += time.thread_time() - thread

        return timed

    def take(self) -> tuple[float, float]:
        found, self.clock, self.thread = (1000 * self.clock, 1000 * self.thread), 0.0, 0.0
        return found


def main() -> None:
    """Strokes of each kind, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "label_strokes.json")
    out = parser.parse_args().out
    app = QApplication([])
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "scan.nii.gz"
        voxels = np.random.default_rng(0).integers(0, 200, SHAPE, dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), image)
        bench, hand, viewer, owner = Workbench(), Labelling(), ViewerModel(), QWidget()
        bench.set_study(Study.create(Path(folder) / "study", images=[image], classes={1: "a", 2: "b"}))
        bench.open_case("scan")
        labels = LabelLayer(viewer, bench, hand, owner)
        hand.open(open_store(bench.study))
        case = read_labels(hand.opened, "scan")
        hand.show_case(case)
        labels.show(case, editable=True)
        viewer.dims.set_point(0, SLICE)
        results = measure(app, labels, hand)
        same = bool(hand.flush(60) and np.array_equal(hand.opened.store.labels("scan"), labels.layer.data))
        hand.close()
    found = {
        "shape": SHAPE[::-1],
        "strokes": STROKES,
        "load": os.getloadavg()[0],
        "stored": same,
        "milliseconds": results,
    }
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def measure(app: QApplication, labels: LabelLayer, hand: Labelling) -> dict[str, dict[str, float]]:
    """Each kind of stroke, so many times, a sixtieth of a second apart."""
    layer, rng = labels.layer, np.random.default_rng(1)
    hand.set_overwrite(True)
    layer.brush_size = 40
    corners = np.array([(20, 20), (480, 30), (470, 480), (30, 470)])

    def region(number: int) -> None:
        with labels.stroke("region"):
            labels.write([((SLICE, 100, 100), np.full((1, 200, 200), 1 + number % 2, np.uint8))])

    kinds: dict[str, Callable[[int], Any]] = {
        "brush of 40": lambda n: layer.paint((SLICE, *rng.integers(50, 450, 2)), 1 + n % 2),
        "region of 200 x 200": region,
        "polygon of 450 x 450": lambda n: layer.paint_polygon(np.insert(corners + n % 9, 0, SLICE, axis=1), 1 + n % 2),
        "fill of a slice": lambda n: layer.fill((SLICE, 250, 250), 1 + n % 2),
        "undo": lambda n: layer.undo(),
        "redo": lambda n: layer.redo(),
    }
    timed, results = Timed(labels), {}
    for name, stroke in kinds.items():
        spent = []
        for number in range(STROKES):
            timed.take()
            stroke(number)
            spent.append(timed.take())
            app.processEvents()
            time.sleep(1 / 60)
        clock, thread = np.array(spent).T
        results[name] = {
            "thread median": round(float(np.median(thread)), 2),
            "thread worst": round(float(thread.max()), 2),
            "clock median": round(float(np.median(clock)), 2),
            "clock 95 %": round(float(np.percentile(clock, 95)), 2),
        }
    return results


if __name__ == "__main__":
    main()
