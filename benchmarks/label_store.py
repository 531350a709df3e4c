"""What keeping every stroke costs: the window's thread, the time to the disk, and a case with a long history.

    python benchmarks/label_store.py [--strokes 10000] [--rounds 300]

A case of 512x512x200 voxels with 13 structures. Measured:

- the caller: copying the box and handing it to the writer's thread, while that thread writes; median, 99th percentile, max.
  As time passes, in which other processes of the machine have their share, and as the thread's own time on the processor;
- from there to the disk;
- beside it what painting straight into a file costs the caller: ``nibabel.save`` of the label map, as viewers without a
  store do, compressed and not; and `LabelStore.put` without the thread;
- reading the labels, a put and a past state with a history of ``--strokes`` entries, beside those with none.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from common import keep

from napari_ssl_seg import Study
from napari_ssl_seg.annotation import Effort, SliceState, Writer, open_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.annotation import LabelStore

SHAPE = (200, 512, 512)
BOXES = {
    "brush, 21x21 on a slice": (1, 21, 21),
    "brush, 101x101 on a slice": (1, 101, 101),
    "a whole slice, 512x512": (1, 512, 512),
    "a region through 20 slices, 100x100": (20, 100, 100),
    "everything, 512x512x200": SHAPE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        label = structures()
        study = make_study(Path(folder))
        results: dict[str, Any] = {"shape": SHAPE, "structures": int(label.max())}
        with open_labels(study) as store:
            results["first import, s"] = timed(lambda: store.import_labels("scan", label, "structures"))
            results["short history"] = history_costs(store)
            results["caller"] = {title: caller(store, box, options.rounds) for title, box in BOXES.items()}
            results["without the thread"] = {
                title: milliseconds(direct(store, box, 5 if box == SHAPE else 30)) for title, box in BOXES.items()
            }
            results["painting straight into a file"] = into_a_file(Path(folder), label)
            paint(store, options.strokes)
            results["long history"] = history_costs(store)
            results["bytes of the store"] = (study.folder / "labels" / "labels.db").stat().st_size
        results["opening the store, ms"] = 1000 * timed(lambda: open_labels(study).close())
    keep("label_store", results)


def structures() -> np.ndarray:
    """13 balls in 512x512x200, as an abdomen has organs."""
    rng = np.random.default_rng(0)
    label = np.zeros(SHAPE, np.uint8)
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    for value in range(1, 14):
        centre, radius = rng.uniform((40, 100, 100), (160, 400, 400)), rng.uniform(15, 45)
        part = tuple(slice(max(int(c - 50), 0), int(c + 50)) for c in centre)
        inside = ((z - centre[0]) * 2) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        label[part][inside[part]] = value
    return label


def make_study(folder: Path) -> Study:
    image = folder / "images" / "scan.nii.gz"
    image.parent.mkdir()
    nib.Nifti1Image(np.zeros(SHAPE[::-1], np.uint8), np.diag([0.8, 0.8, 1.5, 1.0])).to_filename(image)
    return Study.create(folder / "study", images=image.parent)


def caller(store: LabelStore, size: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """What the window's thread pays for a stroke, and how long the stroke takes to the disk."""
    rounds = 10 if size == SHAPE else rounds
    layer = store.labels("scan")
    writer = Writer(store)
    saved = threading.Event()
    writer.saved.connect(saved.set)
    rng = np.random.default_rng(1)
    costs, own, to_disk = [], [], []
    for number in range(rounds):
        start = tuple(int(rng.integers(0, most - n + 1)) for n, most in zip(size, SHAPE, strict=True))
        box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        layer[box] = number % 14  # this is the viewer's own work
        saved.clear()
        begin, begin_own = time.perf_counter(), time.thread_time()
        writer.put("scan", start, layer[box].copy(), effort=Effort("scan", start[0], "paint", 0.1, 1, 1))
        costs.append(time.perf_counter() - begin)
        own.append(time.thread_time() - begin_own)
        if number % 3 == 0:
            saved.wait(30)
            to_disk.append(time.perf_counter() - begin)
        else:
            time.sleep(0.01)  # the next comes while the writer is busy
    writer.close(60)
    return {
        "rounds": rounds,
        "caller": milliseconds(costs),
        "caller, time on the processor": milliseconds(own),
        "to the disk": milliseconds(to_disk),
    }


def direct(store: LabelStore, size: tuple[int, ...], rounds: int) -> list[float]:
    rng = np.random.default_rng(2)
    times = []
    for number in range(rounds):
        start = tuple(int(rng.integers(0, most - n + 1)) for n, most in zip(size, SHAPE, strict=True))
        values = np.full(size, number % 14, np.uint8)
        times.append(timed(lambda start=start, values=values: store.put("scan", start, values)))
    return times


def into_a_file(folder: Path, label: np.ndarray) -> dict[str, Any]:
    image = nib.Nifti1Image(label.T, np.diag([0.8, 0.8, 1.5, 1.0]))
    return {
        f"nibabel.save of {suffix}": milliseconds(
            [timed(lambda s=suffix: nib.save(image, folder / f"out{s}")) for _ in range(3)]
        )
        for suffix in (".nii.gz", ".nii")
    }


def paint(store: LabelStore, strokes: int) -> None:
    """A long history: brush strokes all over, with a state now and then."""
    rng = np.random.default_rng(3)
    writer = Writer(store)
    for number in range(strokes):
        start = int(rng.integers(0, 200)), int(rng.integers(0, 490)), int(rng.integers(0, 490))
        writer.put("scan", start, np.full((1, 21, 21), 1 + number % 13, np.uint8))
        if number % 50 == 0:
            writer.set_state("scan", start[0], SliceState.LABELLED)
    writer.close(None)


def history_costs(store: LabelStore) -> dict[str, Any]:
    count = len(store.history("scan"))
    return {
        "entries": count,
        "labels, ms": round(1000 * statistics.median(timed(lambda: store.labels("scan")) for _ in range(5)), 1),
        "put of 21x21, ms": milliseconds(direct(store, (1, 21, 21), 30)),
        "a past state, ms": round(1000 * timed(lambda: store.at("scan", max(count // 2 - 5, 1))), 1),
        "history, ms": round(1000 * timed(lambda: store.history("scan")), 1),
    }


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def milliseconds(times: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * value for value in times)
    return {
        "median ms": round(statistics.median(ordered), 3),
        "99 % ms": round(ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)], 3),
        "max ms": round(ordered[-1], 3),
    }


if __name__ == "__main__":
    main()
