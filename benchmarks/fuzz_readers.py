"""Files altered at random for some minutes: how many were opened and refused, and what else happened (nothing should).

python benchmarks/fuzz_readers.py --minutes 10

Each batch is a process of its own, with a limit on its memory; one that hangs is ended, and the seed that it hung on kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from common import keep

ROOT = Path(__file__).resolve().parents[1]
BATCH_SECONDS = 200.0
HANG_SECONDS = 30.0
"""Of the processor, or ten times as long on the clock, in one trial: then it hangs."""
ADDRESS_SPACE = 12 * 2**30


def batch(first: int, seconds: float, folder: Path) -> None:
    """Try seeds from ``first`` on, and say what came of each file; the seed on trial is in a file."""
    from tests.bad_files.fuzzing import Defect, all_targets, attempt

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    targets = all_targets(folder)
    counts: dict[str, Counter[str]] = {Path(target.name).name: Counter() for target in targets}
    defects: list[str] = []
    longest, seed, started = 0.0, first, time.monotonic()
    while time.monotonic() - started < seconds:
        for target in targets:
            name = Path(target.name).name
            (folder / "trial").write_text(f"{name}, seed {seed}")
            begun = time.monotonic()
            try:
                outcome = attempt(target, folder, seed)
            except Defect as defect:
                outcome = "defect"
                defects.append(str(defect))
            counts[name][outcome] += 1
            longest = max(longest, time.monotonic() - begun)
        seed += 1
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"counts": counts, "defects": defects, "next": seed, "longest": longest, "megabytes": highest}))


def watch(child: subprocess.Popen[str], trial: Path) -> bool:
    """Wait for a batch; end it, and say so, when it stays in one trial."""
    process = psutil.Process(child.pid)
    last, since, used = "", time.monotonic(), 0.0
    while child.poll() is None:
        time.sleep(1)
        try:
            now, spent = trial.read_text() if trial.exists() else "", sum(process.cpu_times()[:2])
        except (psutil.Error, OSError):
            continue
        if now != last:
            last, since, used = now, time.monotonic(), spent
        elif now and (spent - used > HANG_SECONDS or time.monotonic() - since > 10 * HANG_SECONDS):
            child.kill()
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", nargs=3)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.batch:
        batch(int(options.batch[0]), float(options.batch[1]), Path(options.batch[2]))
        return
    totals: dict[str, Counter[str]] = {}
    defects: list[str] = []
    longest = megabytes = 0.0
    seed, started = options.seed, time.monotonic()
    while (left := options.minutes * 60 - (time.monotonic() - started)) > 0:
        with tempfile.TemporaryDirectory() as folder:
            seconds = min(BATCH_SECONDS, max(left, 1.0))
            command = [sys.executable, __file__, "--batch", str(seed), str(seconds), folder]
            child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            trial = Path(folder, "trial")
            hung = watch(child, trial)
            out, err = child.communicate()
            try:
                found: dict[str, Any] = json.loads(out.splitlines()[-1])
            except (ValueError, IndexError):
                where = trial.read_text() if trial.exists() else "before the first trial"
                how = "hung" if hung else f"ended with {child.returncode}"
                defects.append(f"{where}: the process {how}: {err[-300:]}")
                seed += 100_000
                continue
        for name, counts in found["counts"].items():
            totals.setdefault(name, Counter()).update(counts)
        defects += found["defects"]
        longest, megabytes = max(longest, found["longest"]), max(megabytes, found["megabytes"])
        seed = found["next"]
    result = {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "first_seed": options.seed,
        "files": sum(sum(counts.values()) for counts in totals.values()),
        "by_file": {name: dict(counts) for name, counts in totals.items()},
        "defects": len(defects),
        "examples": defects[:20],
        "longest_seconds": round(longest, 2),
        "highest_megabytes": round(megabytes),
    }
    keep("fuzz_readers", result)


if __name__ == "__main__":
    main()
