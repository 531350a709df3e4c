"""Kill -9 at random instants while labels are painted on real scans: what is lost, and whether every store still opens.

    python benchmarks/label_store_kills.py DATA [--kills 100] [--seed 0]

DATA is the folder with the real scans (``torso``, ``hippocampus``). A process of its own opens one study's label store and
paints by script, 40 strokes a second (brush, large box, erasing, undo, states of slices), through the writer's thread as the
window does; another thread publishes label files meanwhile. Every stroke is reported through a pipe as soon as the writer
has accepted it, with its time. The process is killed at a random instant, a fifth of the times while it is still opening.

Each stroke carries its number in the effort log, in the same transaction, so it is known exactly which ones came to the
disk. After each kill the store is opened again, and must

- be whole: SQLite's integrity check, every case's labels, the history and its last states;
- hold an unbroken beginning of the strokes, and of those accepted more than a second before the kill all: ``lost``;
- hold exactly the voxels that these strokes give, on top of what all processes before had painted;
- say what was restored; and publish label files that hold the same voxels.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_ssl_seg import Study
from napari_ssl_seg.annotation import Effort, LabelStore, SliceState, Writer, open_labels, publish

STROKES_A_SECOND = 40.0
ALLOWED = 1.0
CLASSES = 5


# -- the process that paints and is killed ------------------------------------------------------------------------------
def paint(folder: str, seed: int, report: int) -> None:
    """Paint until killed; a line to the file descriptor ``report`` for each stroke that was accepted."""

    def say(**record: Any) -> None:
        os.write(report, json.dumps({**record, "at": time.monotonic()}).encode() + b"\n")

    say(kind="opening")
    study = Study.open(folder)
    store = open_labels(study)
    say(kind="open", writable=store.writable, why=store.why_read_only)
    held = {case.id: store.labels(case.id) for case in study.cases()}
    writer = Writer(store)
    threading.Thread(target=_publish_often, args=(study,), daemon=True).start()
    rng = random.Random(seed)
    number = 0
    undo: list[tuple[str, tuple[int, int, int], np.ndarray]] = []
    while True:
        number += 1
        if undo and rng.random() < 0.1:
            case_id, start, values = undo.pop()
        else:
            case_id = rng.choice(sorted(held))
            start, values = stroke(rng, held[case_id].shape)
        box = tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))
        before = held[case_id][box].copy()
        held[case_id][box] = values
        undo = [*undo[-20:], (case_id, start, before)]
        effort = Effort(case_id, start[0], "paint", seconds=0.01, clicks=number)
        begin = time.perf_counter()
        writer.put(case_id, start, held[case_id][box].copy(), tool="paint", effort=effort)
        cost = time.perf_counter() - begin
        if number % 7 == 0:
            writer.set_state(case_id, start[0], SliceState.LABELLED)
        say(
            kind="stroke",
            number=number,
            case=case_id,
            start=start,
            shape=values.shape,
            cost=cost,
            hex=values.tobytes().hex(),
        )
        time.sleep(rng.expovariate(STROKES_A_SECOND))


def stroke(rng: random.Random, shape: tuple[int, ...]) -> tuple[tuple[int, int, int], np.ndarray]:
    """A box and its values: mostly a brush on one slice, at times a large box through several."""
    size = (1, rng.randint(2, 12), rng.randint(2, 12)) if rng.random() < 0.9 else (rng.randint(2, 12), 20, 20)
    size = tuple(min(n, most) for n, most in zip(size, shape, strict=True))
    start = tuple(rng.randint(0, most - n) for n, most in zip(size, shape, strict=True))
    values = np.full(size, rng.randint(0, CLASSES), np.uint8)
    values[:, ::3, ::2] = rng.randint(0, CLASSES)
    return start, values  # type: ignore[return-value]


def _publish_often(study: Study) -> None:
    while True:
        time.sleep(0.4)
        publish(study)


# -- the process that kills and looks -----------------------------------------------------------------------------------
@dataclass
class Outcome:
    """What one kill left."""

    phase: str
    accepted: int = 0
    durable: int = 0
    lost: int = 0
    """Strokes accepted more than `ALLOWED` seconds before the kill that are not there."""
    oldest_lost_ms: float = 0.0
    """Age, at the kill, of the oldest stroke that is not there."""
    unreadable: str = ""
    wrong: list[str] = field(default_factory=list)
    restored: str | None = None
    most_cost_ms: float = 0.0


def kill_once(study: Study, expected: dict[str, np.ndarray], seed: int, *, opening: bool, seconds: float) -> Outcome:
    """Let a process paint, kill it after ``seconds`` (of opening, or of painting) and compare; ``expected`` goes on."""
    reading, writing = os.pipe()
    command = [sys.executable, __file__, "--paint", str(study.folder), str(seed), str(writing)]
    child = subprocess.Popen(command, pass_fds=(writing,), env={**os.environ, "OMP_NUM_THREADS": "1"})
    os.close(writing)
    records: list[dict[str, Any]] = []
    begun = threading.Event()

    def listen() -> None:
        with os.fdopen(reading, "rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):  # the last one may be cut by the kill
                    records.append(json.loads(line))
                    if records[-1]["kind"] == ("opening" if opening else "stroke"):
                        begun.set()

    listener = threading.Thread(target=listen)
    listener.start()
    if not begun.wait(120):
        child.kill()
        raise RuntimeError("the painting process did not begin")
    time.sleep(seconds)
    killed = time.monotonic()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    listener.join()
    return _compare(study, expected, [record for record in records if record["kind"] == "stroke"], killed, opening)


def _compare(
    study: Study, expected: dict[str, np.ndarray], strokes: list[dict[str, Any]], killed: float, opening: bool
) -> Outcome:
    outcome = Outcome("opening" if opening else "painting", accepted=len(strokes))
    outcome.most_cost_ms = 1000 * max((record["cost"] for record in strokes), default=0.0)
    try:
        store = open_labels(study)
    except Exception as error:
        outcome.unreadable = str(error)
        return outcome
    try:
        if not store.writable:
            outcome.wrong.append(f"read-only: {store.why_read_only}")
            return outcome
        outcome.restored = store.restored
        numbers = sorted({effort.clicks for effort in store.effort()})
        outcome.durable = len(numbers)
        if numbers != list(range(1, len(numbers) + 1)):
            outcome.wrong.append("the strokes on the disk have gaps")
        missing = [record for record in strokes if record["number"] > len(numbers)]
        outcome.lost = sum(killed - record["at"] > ALLOWED for record in missing)
        outcome.oldest_lost_ms = 1000 * max((killed - record["at"] for record in missing), default=0.0)
        known = {record["number"]: record for record in strokes}
        for number in numbers:
            if number in known:  # one may be on the disk before its report is
                _repeat(expected, known[number])
        unreported = [number for number in numbers if number not in known]
        if len(unreported) > 1:
            outcome.wrong.append(f"{len(unreported)} strokes on the disk were never reported")
        outcome.wrong += _faults(store, expected, unreported=bool(unreported))
        if numbers and not outcome.restored:
            outcome.wrong.append("it was not said what was restored")
        store.delete_effort()
    except Exception as error:
        outcome.unreadable = f"{type(error).__name__}: {error}"
    finally:
        store.close()
    return outcome


def _repeat(expected: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    values = np.frombuffer(bytes.fromhex(record["hex"]), np.uint8).reshape(record["shape"])
    box = tuple(slice(a, a + n) for a, n in zip(record["start"], values.shape, strict=True))
    expected[record["case"]][box] = values


def _faults(store: LabelStore, expected: dict[str, np.ndarray], *, unreported: bool) -> list[str]:
    """What differs from what was painted; ``expected`` takes over one stroke that nobody heard of."""
    found = []
    connection = sqlite3.connect(store.folder / "labels.db")
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    if verdict != "ok":
        found.append(f"integrity check: {verdict}")
    publish(store.study)
    other = 0
    for case_id, array in expected.items():
        now = store.labels(case_id)
        if not np.array_equal(now, array):
            other += 1
            if other > 1 or not unreported:
                found.append(f"{case_id} differs in {np.count_nonzero(now != array)} voxels")
            expected[case_id] = now
        last = len(store.history(case_id))
        if last and not np.array_equal(store.at(case_id, last), now):
            found.append(f"the history of {case_id} does not lead to what is there")
        label = store.study.label(case_id, purpose="show")
        if last and (label is None or not np.array_equal(label.array, now)):
            found.append(f"the published label of {case_id} is another")
    return found


def make_study(data: Path, folder: Path, scans: int = 5) -> Study:
    """Some hippocampus scans, two of them with labels, and a CT."""
    sources = folder / "images"
    sources.mkdir(parents=True)
    images = sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[:scans]
    for path in [*images, data / "torso" / "example_ct.nii.gz"]:
        with suppress(FileNotFoundError):
            (sources / path.name).symlink_to(path.resolve(strict=True))
    labels = {path.name.removesuffix(".nii.gz"): data / "hippocampus" / "labels" / path.name for path in images[:2]}
    return Study.create(folder / "study", images=sources, labels=labels)


def run(study: Study, kills: int, seed: int, *, longest: float = 2.5) -> list[Outcome]:
    """Kill ``kills`` times, one process after the other, on the same store."""
    rng = random.Random(seed)
    with open_labels(study, write=False) as store:
        expected = {case.id: store.labels(case.id) for case in study.cases()}
    outcomes = []
    for number in range(kills):
        opening = number % 5 == 4
        seconds = rng.uniform(0.0, 0.5) if opening else rng.uniform(0.0, longest)
        outcomes.append(kill_once(study, expected, seed * 1000 + number, opening=opening, seconds=seconds))
        print(number + 1, outcomes[-1], file=sys.stderr, flush=True)
    return outcomes


def main() -> None:
    if sys.argv[1] == "--paint":
        paint(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    from common import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(options.data, Path(folder))
        outcomes = run(study, options.kills, options.seed)
        with open_labels(study) as store:
            entries = sum(len(store.history(case_id)) for case_id in store.stored_cases())
        size = (study.folder / "labels" / "labels.db").stat().st_size
        scans = {case.id: list(case.shape) for case in study.cases()}
    ages = [one.oldest_lost_ms for one in outcomes]
    keep(
        "label_store_kills",
        {
            "kills": len(outcomes),
            "while painting": sum(one.phase == "painting" for one in outcomes),
            "while opening": sum(one.phase == "opening" for one in outcomes),
            "unreadable stores": sum(bool(one.unreadable) for one in outcomes),
            "strokes accepted": sum(one.accepted for one in outcomes),
            "strokes lost beyond a second": sum(one.lost for one in outcomes),
            "strokes lost within the last second": sum(max(one.accepted - one.durable, 0) for one in outcomes),
            "oldest lost stroke, ms before the kill": {
                "median": round(float(np.median(ages)), 1),
                "max": round(max(ages), 1),
            },
            "kills with wrong voxels, history or label files": sum(bool(one.wrong) for one in outcomes),
            "what was wrong": [text for one in outcomes for text in (*one.wrong, one.unreadable) if text],
            "kills after which it was said what was restored": sum(one.restored is not None for one in outcomes),
            "highest cost of a stroke to the caller, ms": round(max(one.most_cost_ms for one in outcomes), 2),
            "entries in the histories": entries,
            "bytes of the store": size,
            "scans": scans,
        },
    )


if __name__ == "__main__":
    main()
