"""Two windows on one study, and windows that are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from napari_ssl_seg import Study
from napari_ssl_seg.annotation import LabelsUnwritable, SliceState, Writer, open_labels
from tests.annotation.store_making import box, small_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WINDOW = """
import sys, time, numpy as np
from napari_ssl_seg import Study
from napari_ssl_seg.annotation import open_labels
store = open_labels(Study.open(sys.argv[1]))
for number in range(3):
    store.put("a", (number, 0, 0), np.full((1, 4, 4), number + 1, "u1"))
print(store.writable, flush=True)
sys.stdin.read()
"""


@contextmanager
def other_window(study: Study) -> Iterator[subprocess.Popen]:
    """A process that has the label store open, and painted on ``a``."""
    child = subprocess.Popen(
        [sys.executable, "-c", WINDOW, str(study.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "True\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_the_second_window_reads_says_why_and_takes_over_when_the_first_is_killed(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with other_window(study) as first:
        store = open_labels(study)
        assert not store.writable and store.restored is None
        assert store.why_read_only is not None and f"process {first.pid} on this machine since" in store.why_read_only
        assert store.labels("a")[:, 0, 0].tolist() == [1, 2, 3, 0, 0, 0]
        for change in (
            lambda: store.put("a", (0, 0, 0), box(9, 1, 1, 1)),
            lambda: store.set_state("a", 0, SliceState(3)),
        ):
            with pytest.raises(LabelsUnwritable, match=f"process {first.pid}"):
                change()
        assert not store.take_over()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert store.take_over() and store.writable and store.why_read_only is None
    assert store.restored is not None and store.restored.startswith("restored 3 changes of case a, the last made at ")
    store.put("a", (5, 0, 0), box(9, 1, 1, 1))
    assert store.labels("a")[:, 0, 0].tolist() == [1, 2, 3, 0, 0, 9]
    store.close()
    with open_labels(study) as again:
        assert again.writable and again.restored is None  # closed properly


def test_a_window_of_the_same_process_counts_as_another(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    first = open_labels(study)
    second = open_labels(Study.open(study.folder))
    assert first.writable and not second.writable
    first.put("a", (0, 0, 0), box(1, 1, 2, 2))
    assert second.labels("a")[0, 0, 0] == 1  # what the other has saved is seen
    first.close()
    assert second.take_over() and second.put("a", (1, 0, 0), box(1, 1, 2, 2)) == 2
    second.close()


def test_one_that_was_taken_for_dead_does_not_write_into_the_others_work(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    asleep = open_labels(study)
    writer = Writer(asleep, retry_seconds=0.02)
    writer.put("a", (0, 0, 0), box(1, 1, 2, 2))
    assert writer.flush(5.0)
    for claim in (study.folder / "labels").glob("writer.claim*"):
        claim.unlink()  # as if it had lain on another machine and given no sign of life
    other = open_labels(study)
    assert other.writable and other.restored is not None
    with pytest.raises(LabelsUnwritable, match="another window took over"):
        asleep.put("a", (1, 0, 0), box(2, 1, 2, 2))
    assert not asleep.writable
    said: list[str] = []
    writer.problem.connect(lambda text: said.append(text))
    writer.put("a", (1, 0, 0), box(2, 1, 2, 2))
    assert not writer.flush(0.3) and len(said) == 1 and writer.pending == 1
    other.close()
    assert writer.flush(5.0)  # kept until the other was gone
    assert asleep.labels("a")[:2, 0, 0].tolist() == [1, 2]
    writer.close()
    asleep.close()


def test_a_reader_beside_a_writer_sees_whole_changes_only(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with open_labels(study) as store:
        writer = Writer(store)
        reader = open_labels(study, write=False)
        for number in range(1, 60):
            writer.put("a", (0, 0, 0), box(number, 6, 5, 5), tool=str(number))
            seen = set(reader.labels("a")[:, :5, :5].ravel().tolist())
            assert len(seen) == 1 and seen <= set(range(number + 1))
        assert writer.close()


FIRST_OPENING = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from napari_ssl_seg import Study
from napari_ssl_seg.annotation import open_labels
import numpy as np, psutil
root, study = Path(sys.argv[1]), Path(sys.argv[2])
shutil.copytree(study, root / "warm")
open_labels(Study.open(root / "warm")).close()          # imports everything
rng = random.Random(0)
made = 0
for number in range(25):
    folder = root / str(number)
    shutil.copytree(study, folder)
    pid = os.fork()
    if not pid:
        open_labels(Study.open(folder)).put("a", (0, 0, 0), np.ones((1, 2, 2), "u1"))
        signal.pause()
    time.sleep(rng.uniform(0, 0.1))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with open_labels(Study.open(folder), write=False) as reader:
        seen = int(reader.labels("a")[0, 0, 0])
    with open_labels(Study.open(folder)) as store:
        assert store.writable, store.why_read_only
        assert (store.restored is not None) == bool(seen), (store.restored, seen)
        made += seen
        store.put("a", (1, 0, 0), np.ones((1, 2, 2), "u1"))
        assert store.labels("a")[1, 0, 0] == 1
print("ok", made)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
def test_a_kill_while_the_store_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.close()
    root = tmp_path / "copies"
    root.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FIRST_OPENING, str(root), str(study.folder)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("ok"), done.stderr
