"""A study of 100,000 scans: how long it takes to make, to open, to ask and to scroll, and in how much memory.

    OMP_NUM_THREADS=1 xvfb-run -s "-screen 0 1600x1000x24" python benchmarks/many_cases.py [--cases 100000] [--keep FOLDER]

The scans are tiny NIfTI files, each of other content (copies of one scan would all go to one split). Opening and asking are
measured in a fresh process, and so is the window. Goals: opened in 1 s, queries in 1 s, under 500 MB, and no step of
scrolling that the eye would see (50 ms).
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from common import keep

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (6, 6, 3)
FOLDERS = 1000


def main() -> None:
    """Make the study, ask in fresh processes, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder for the scans and the study, used again when it is there")
    parser.add_argument("--part", choices=("make", "ask", "window"), help="used by the script itself")
    chosen = parser.parse_args()
    if chosen.part:
        part = {"make": make, "ask": ask, "window": window}[chosen.part]
        print(json.dumps(part(chosen.keep, chosen.cases)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = chosen.keep or Path(folder)
        write_scans(root / "scans", chosen.cases)
        results = {}
        for name in ("make", "ask", "window"):
            if name == "make" and (root / "study" / "study.db").exists():
                continue
            words = [sys.executable, __file__, "--part", name, "--keep", str(root), "--cases", str(chosen.cases)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, results[name], flush=True)
    keep("many_cases", {"cases": chosen.cases, "results": results})


def write_scans(folder: Path, cases: int) -> None:
    """``folder/0123/scan_123456.nii``: a plain NIfTI-1 file of a few hundred bytes each."""
    if folder.exists():
        return
    import nibabel

    first = folder.parent / "first.nii"
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([1.0, 1.0, 3.0, 1.0])), first)
    head = first.read_bytes()[: -2 * int(np.prod(SHAPE))]
    rest = np.arange(np.prod(SHAPE) - 2, dtype=np.int16).tobytes()
    for number in range(cases):
        place = folder / f"{number % FOLDERS:04d}"
        if number < FOLDERS:
            place.mkdir()
        (place / f"scan_{number:06d}.nii").write_bytes(head + struct.pack("<i", number) + rest)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out."""
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def resident() -> float:
    """Megabytes of memory that this process has now."""
    return psutil.Process().memory_info().rss / 2**20


def make(root: Path, cases: int) -> dict[str, Any]:
    """Import everything."""
    from napari_ssl_seg import Study

    before = resident()
    seconds, study = timed(lambda: Study.create(root / "study", images=root / "scans"))
    assert sum(study.counts().values()) == cases
    return {
        "seconds": round(seconds, 1),
        "scans_a_second": round(cases / seconds),
        "memory_mb": round(resident() - before),
        "database_mb": round((root / "study" / "study.db").stat().st_size / 2**20),
    }


def ask(root: Path, cases: int) -> dict[str, Any]:
    """What the command line and a training ask of a study."""
    from napari_ssl_seg import Study

    before = resident()
    found: dict[str, Any] = {}
    seconds, study = timed(lambda: Study.open(root / "study"))
    found["open_s"] = round(seconds, 4)
    questions: dict[str, Callable[[], Any]] = {
        "counts": study.counts,
        "one_case": lambda: study.case(f"scan_{cases - 1:06d}"),
        "cases_of_a_split": lambda: study.cases(split="train"),
        "all_cases": study.cases,
        "labelled_order": lambda: study.train_labelled_order(0),
        "median_shape": study.median_shape,
    }
    for name, question in questions.items():
        found[f"{name}_s"] = round(statistics.median(timed(question)[0] for _ in range(3)), 4)
    found["look_at_every_file_s"] = round(timed(study.refresh)[0], 2)
    found["memory_mb"] = round(resident() - before)
    return found


def window(root: Path, cases: int) -> dict[str, Any]:
    """The tab Study: open, filter, sort, scroll."""
    import napari
    from qtpy.QtWidgets import QApplication, QLineEdit, QTableView

    from napari_ssl_seg.gui.dock import STUDY, SSLDock

    viewer = napari.Viewer(show=False)
    dock = SSLDock(viewer)
    viewer.window.add_dock_widget(dock, name="SSL segmentation", area="right")
    viewer.window._qt_window.show()
    events = QApplication.processEvents
    events()
    before = resident()

    def opened() -> None:
        task = dock.open_study(root / "study")
        while task.running:
            events()
        events()

    found: dict[str, Any] = {"open_s": round(timed(opened)[0], 3)}
    tab = dock.tab(STUDY)
    table = tab.findChild(QTableView)
    assert table.model().rowCount() == cases
    bar = table.verticalScrollBar()
    steps = []
    for place in np.linspace(0, bar.maximum(), 60).astype(int):
        steps.append(timed(lambda place=place: (bar.setValue(int(place)), table.viewport().repaint(), events()))[0])
    found["scroll_step_ms"] = {
        "median": round(1000 * statistics.median(steps), 1),
        "longest": round(1000 * max(steps), 1),
    }
    box = next(box for box in tab.findChildren(QLineEdit) if box.placeholderText().startswith("Filter"))
    found["filter_s"] = round(timed(lambda: (box.setText("scan_0999"), events()))[0], 3)
    found["filtered_rows"] = table.model().rowCount()
    found["unfilter_s"] = round(timed(lambda: (box.setText(""), events()))[0], 3)
    found["sort_s"] = round(
        timed(lambda: (table.sortByColumn(2, table.horizontalHeader().sortIndicatorOrder()), events()))[0], 3
    )
    found["open_case_s"] = round(timed(lambda: (dock.workbench.open_case(f"scan_{cases // 2:06d}"), events()))[0], 3)
    found["memory_mb"] = round(resident() - before)
    viewer.close()
    return found


if __name__ == "__main__":
    main()
