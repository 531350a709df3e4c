"""Full disks, folders that may only be read, and folders that go away: said at once, kept, and saved when it is possible."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.annotation import Effort, LabelsUnwritable, SliceState, Writer, open_labels
from napari_ssl_seg.annotation.unsaved import keep_unsaved
from tests.annotation.store_making import box, own_label, small_study

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = """
import resource, sys, numpy as np
from napari_ssl_seg import Study
from napari_ssl_seg.annotation import Writer, open_labels
store = open_labels(Study.open(sys.argv[1]))
rng = np.random.default_rng(0)
def noise(z):
    return rng.integers(0, 200, (1, 24, 20)).astype("u1")
expected = store.labels("a")
def put(writer, z):
    expected[z] = noise(z)
    writer.put("a", (z, 0, 0), expected[z:z + 1].copy())
writer = Writer(store, retry_seconds=0.05)
said = []
writer.problem.connect(lambda text: said.append(text))
put(writer, 0)
assert writer.flush(10)
size = (store.folder / "labels.db").stat().st_size
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))      # the file cannot grow any more
for number in range(60):
    put(writer, number % 6)
assert not writer.flush(1.0), "it was saved all the same"
assert len(said) == 1 and "labels.db" in said[0] and writer.pending > 0, said
before = store.labels("a")
assert (before[0] != 0).any()                                # what was saved earlier is there
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert writer.flush(10), writer.last_problem
assert (store.labels("a") == expected).all()
assert writer.close()
print("ok")
"""

READ_ONLY = """
import os, sys, numpy as np
from pathlib import Path
from napari_ssl_seg import Study
from napari_ssl_seg.annotation import Writer, open_labels
with open_labels(Study.open(sys.argv[1])) as store:   # imports what only root can see
    store.put("a", (5, 0, 0), np.full((1, 1, 1), 1, "u1"))
    store.labels("a")
os.setuid(65534)
store = open_labels(Study.open(sys.argv[1]))
assert not store.writable, "writable"
print(store.why_read_only)
assert store.labels("a")[0, 0, 0] == 7
"""

TURNS_READ_ONLY = """
import os, sys, numpy as np
from pathlib import Path
from napari_ssl_seg import Study
from napari_ssl_seg.annotation import Writer, open_labels
with open_labels(Study.open(sys.argv[1])) as store:   # imports what only root can see
    store.put("a", (5, 0, 0), np.full((1, 1, 1), 1, "u1"))
    store.labels("a")
labels = Path(sys.argv[1]) / "labels"
os.setuid(65534)
store = open_labels(Study.open(sys.argv[1]))
assert store.writable, store.why_read_only
writer = Writer(store, retry_seconds=0.05)
said = []
writer.problem.connect(lambda text: said.append(text))
os.chmod(labels, 0o555); os.chmod(labels / "labels.db", 0o444)
writer.put("a", (1, 0, 0), np.full((1, 2, 2), 3, "u1"))
assert not writer.flush(0.5) and len(said) == 1, said
print(said[0])
os.chmod(labels, 0o755); os.chmod(labels / "labels.db", 0o644)
assert writer.flush(10), writer.last_problem
assert store.labels("a")[1, 0, 0] == 3 and writer.close()
"""


def child(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_said_once_and_everything_is_saved_when_there_is_room(tmp_path: Path) -> None:
    assert child(FULL, str(small_study(tmp_path).folder)) == "ok\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_that_may_only_be_read_is_shown_and_says_so(open_folder: Path) -> None:
    study = small_study(open_folder)
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(7, 1, 2, 2))
    study.close()
    said = child(READ_ONLY, str(study.folder))
    assert "labels" in said and "written" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_that_turns_read_only_is_said_and_waited_for(open_folder: Path) -> None:
    study = small_study(open_folder)
    open_labels(study).close()
    for path in [study.folder, *study.folder.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert "labels.db" in child(TURNS_READ_ONLY, str(study.folder))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can enter; pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_removed_drive_is_said_and_work_goes_on_when_it_is_back(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    store = open_labels(study)
    writer = Writer(store, retry_seconds=0.05)
    said: list[str] = []
    writer.problem.connect(lambda text: said.append(text))
    recovered = threading.Event()
    writer.recovered.connect(recovered.set)
    writer.put("a", (0, 0, 0), box(1, 1, 2, 2))
    assert writer.flush(5.0)
    away = study.folder.rename(tmp_path / "unplugged")
    writer.put("a", (1, 0, 0), box(2, 1, 2, 2))
    assert not writer.flush(0.5) and writer.pending == 1
    assert said and "gone" in said[0]
    assert not study.folder.exists()  # nothing was made in its place
    with pytest.raises(LabelsUnwritable):
        store.labels("a")  # not zeros
    away.rename(study.folder)
    assert recovered.wait(5.0) and writer.flush(5.0)
    assert store.labels("a")[:3, 0, 0].tolist() == [1, 2, 0] and len(store.history("a")) == 2
    assert writer.close()
    store.close()


def test_a_store_that_somebody_removed_is_made_anew_of_what_the_window_holds(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    store = open_labels(study)
    writer = Writer(store, retry_seconds=0.05)
    writer.put("a", (0, 0, 0), box(1, 1, 2, 2))
    writer.set_state("a", 0, SliceState.CHECKED)
    writer.put("b", (0, 0, 0), box(4, 1, 2, 2))
    assert writer.flush(5.0)
    said: list[str] = []
    writer.problem.connect(lambda text: said.append(text))
    for path in (study.folder / "labels").iterdir():
        path.unlink()
    (study.folder / "labels").rmdir()
    writer.put("a", (1, 0, 0), box(2, 1, 2, 2))
    assert writer.flush(10.0) and len(said) == 1 and "gone" in said[0]
    assert writer.close()
    store.close()
    expected = own_label()
    expected[0, :2, :2] = 4
    with open_labels(study) as again:
        assert again.labels("a")[:3, 0, 0].tolist() == [1, 2, 0]
        assert np.array_equal(again.labels("b"), expected)
        assert again.states("a").tolist() == [3, 0, 0, 0, 0, 0] and set(again.states("b")) == {2}
        assert [entry.kind for entry in again.history("a")] == ["restore", "change"]


def test_what_could_not_be_saved_before_the_window_was_closed_is_saved_at_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SSL_SEG_STATE", str(tmp_path / "state"))
    study = small_study(tmp_path)
    store = open_labels(study)
    writer = Writer(store, retry_seconds=0.05)
    away = study.folder.rename(tmp_path / "unplugged")
    writer.put("a", (1, 0, 0), box(2, 1, 2, 2), effort=Effort("a", 1, "paint", 1.5, 2, 3, time=9.0))
    writer.set_state("a", 1, SliceState.LABELLED)
    writer.add_effort(Effort("a", 2, "look", 1.0, time=10.0))
    assert not writer.close(0.3) and writer.kept_in is not None and writer.kept_in.is_relative_to(tmp_path / "state")
    store.close()
    away.rename(study.folder)
    reader = open_labels(study, write=False)
    assert not reader.labels("a").any() and writer.kept_in.exists()  # only who may write takes it in
    with open_labels(study) as again:
        assert again.restored is not None and "saved 3 changes that could not be written" in again.restored
        assert again.labels("a")[1, :3, 0].tolist() == [2, 2, 0] and again.states("a")[1] == SliceState.LABELLED
        assert [effort.tool for effort in again.effort()] == ["paint", "look"]
    assert not writer.kept_in.exists()
    with open_labels(study) as third:
        assert third.restored is None


def test_a_file_of_unsaved_changes_that_cannot_be_read_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SSL_SEG_STATE", str(tmp_path / "state"))
    study = small_study(tmp_path)
    path = keep_unsaved(study, [Effort("a", 1, "paint")])
    path.write_text(path.read_text()[:-40])
    with open_labels(study) as store:
        assert store.writable and store.restored is not None and str(path) in store.restored
    assert path.exists()
