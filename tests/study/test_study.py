from __future__ import annotations

import os
import pickle
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg import Study
from napari_ssl_seg.errors import LeakageError, RunError, StudyError, UserError
from napari_ssl_seg.study.database import Database
from napari_ssl_seg.study.records import Case, StudySettings

from .conftest import image_array, label_array, write_nifti

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path, scans):
    images, labels = scans(10)
    return Study.create(tmp_path / "study", images=images, labels=labels)


# -- the gate ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("read", [Study.image, Study.patches_source, Study.label])
@pytest.mark.parametrize(
    ("purpose", "allowed"),
    [
        ("train", {"train"}),
        ("choose", {"train", "validation"}),
        ("predict", {"train", "validation", "test"}),
        ("evaluate", {"train", "validation", "test"}),
        ("show", {"train", "validation", "test"}),
    ],
)
def test_what_may_be_used_for_what(study, read, purpose, allowed):
    for split in ("train", "validation", "test"):
        case = study.cases(split)[0].id
        if split in allowed:
            assert read(study, case, purpose=purpose) is not None
        else:
            with pytest.raises(LeakageError, match=f"{case} is in the split {split}"):
                read(study, case, purpose=purpose)


def test_a_scan_in_memory_is_guarded_too(study):
    case = study.cases("test")[0].id
    study.patches_source(case, purpose="show")
    study.label(case, purpose="show")
    for read in (study.patches_source, study.label):
        with pytest.raises(LeakageError):
            read(case, purpose="train")


def test_unknown_purpose_and_case_and_split(study):
    with pytest.raises(StudyError, match="'fun' is no purpose"):
        study.image("case_0", purpose="fun")
    with pytest.raises(StudyError, match="no case 'case_77'"):
        study.image("case_77", purpose="show")
    with pytest.raises(StudyError, match="no split"):
        study.cases("tset")


# -- voxels -----------------------------------------------------------------------------------------------------------
def test_scan_is_normalised_float32_and_kept(study):
    case = study.cases("train")[0].id
    scan = study.patches_source(case, purpose="train")
    assert scan.array.dtype == np.float32 and scan.array.shape == (1, 4, 5, 6)
    raw = study.image(case, purpose="train").array
    low, high = np.percentile(raw, [1, 99])
    expected = np.clip((raw - low) / (high - low) * 2 - 1, -1, 1)
    np.testing.assert_allclose(scan.array[0], expected, atol=1e-5)
    assert scan.geometry.shape == (4, 5, 6) and scan.case_id == case and scan.note is None
    assert study.patches_source(case, purpose="train") is scan
    assert not scan.array.flags.writeable
    study.close()
    assert study.patches_source(case, purpose="train") is not scan


def test_normalisation_by_name(tmp_path, scans):
    images, _ = scans(2)
    study = Study.create(tmp_path / "study", images=images, normalisation="zscore")
    array = study.patches_source("case_0", purpose="show").array
    assert abs(array.mean()) < 1e-5 and abs(array.std() - 1) < 1e-4


def test_label_to_train_on_is_shared_and_to_show_is_ones_own(study):
    case = study.cases("train")[0].id
    shared = study.label(case, purpose="train")
    assert shared is study.label(case, purpose="train") and not shared.array.flags.writeable
    own = study.label(case, purpose="show")
    own.array[...] = 9
    assert shared.array.max() == 2
    assert study.image(case, purpose="train").array.flags.writeable


def test_memory_is_bounded(tmp_path, scans):
    images, _ = scans(6)
    Study.create(tmp_path / "study", images=images)
    size = 4 * 5 * 6 * 4
    study = Study(tmp_path / "study", cache_bytes=3 * size + 1)
    first = [study.patches_source(f"case_{number}", purpose="show") for number in range(4)]
    again = [study.patches_source(f"case_{number}", purpose="show") for number in (3, 2, 1, 0)]
    assert [a is b for a, b in zip(again, first[::-1], strict=True)] == [True, True, True, False]


def test_files_changed_or_gone_since(study):
    case = study.cases("train")[0]
    study.label(case.id, purpose="train")
    write_nifti(case.label, label_array(values=(1, 1)))
    os.utime(case.label, ns=(1, 1))
    assert set(np.unique(study.label(case.id, purpose="train").array)) == {0, 1}
    write_nifti(case.label, label_array((6, 5, 5)))
    with pytest.raises(StudyError, match=r"has changed since.*\(5, 5, 6\)"):
        study.label(case.id, purpose="train")
    case.images[0].unlink()
    with pytest.raises(UserError, match=f"{case.images[0].name} cannot be found"):
        study.patches_source(case.id, purpose="train")


def test_many_threads(study):
    ids = [case.id for case in study.cases()]
    expected = {case: study.patches_source(case, purpose="show").array.copy() for case in ids}
    study.close()

    def work(number: int) -> bool:
        case = ids[number % len(ids)]
        if number % 20 == 0:
            study.set_class(1 + number % 3, name=f"name {number}")
        return bool(np.array_equal(study.patches_source(case, purpose="show").array, expected[case]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_two_studies_on_one_folder_see_each_other(study):
    other = Study.open(study.folder)
    study.set_class(1, name="left ventricle", color="#FF0000")
    assert (other.classes[0].name, other.classes[0].color) == ("left ventricle", "#ff0000")


def test_carried_into_another_process(study):
    copy = pickle.loads(pickle.dumps(study))
    assert copy.cases() == study.cases()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_connections_are_not_carried_over_a_fork(study):
    study.cases()
    child = os.fork()
    if child == 0:
        os._exit(
            0 if len(study.cases()) == 10 and all(owner == os.getpid() for owner, _ in study._database._idle) else 1
        )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(study.cases()) == 10


# -- classes, labels and slices ---------------------------------------------------------------------------------------
def test_rename_and_recolour(study):
    assert study.set_class(2, name=" myocardium ").name == "myocardium"
    study.set_class(2, color="#ABCDEF")
    assert [(item.value, item.name, item.color) for item in study.classes] == [
        (1, "class 1", "#e69f00"),
        (2, "myocardium", "#abcdef"),
    ]
    study.set_class(9, name="new")
    assert study.classes[-1].color == "#009e73"


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (0, {}),
        (65536, {}),
        (1.5, {}),
        (1, {"name": " "}),
        (1, {"name": "class 2"}),
        (1, {"color": "red"}),
        (1, {"color": "#12345"}),
    ],
)
def test_classes_that_cannot_be(study, value, options):
    with pytest.raises(StudyError):
        study.set_class(value, **options)
    assert [item.name for item in study.classes] == ["class 1", "class 2"]


def test_add_a_label(tmp_path, scans):
    images, _ = scans(4)
    study = Study.create(tmp_path / "study", images=images, split=(100, 0, 0))
    assert study.classes == [] and study.label("case_1", purpose="train") is None
    before = study.fingerprint()
    path = write_nifti(tmp_path / "new.nii.gz", label_array(values=(3, 200)).astype(np.uint16) * 150)
    case = study.add_label("case_1", path)
    assert case == study.case("case_1") and case.label == path and case.label_values == (450, 30000)
    assert study.label("case_1", purpose="train").array.max() == 30000
    assert [item.value for item in study.classes] == [450, 30000]
    assert study.fingerprint() != before and study.fingerprint(["case_0"]) == study.fingerprint(("case_0",))
    assert study.train_labelled_order(0) == ["case_1"]


def test_add_a_label_that_does_not_fit(tmp_path, study):
    before = study.cases()
    for number, array in enumerate((label_array((6, 5, 5)), label_array() - 1.0)):
        path = write_nifti(tmp_path / f"bad{number}.nii.gz", array)
        with pytest.raises(StudyError, match=f"bad{number}"):
            study.add_label("case_0", path)
    with pytest.raises(StudyError, match="does not exist"):
        study.add_label("case_0", tmp_path / "nowhere.nii.gz")
    assert study.cases() == before


def test_sparse_labels(tmp_path):
    write_nifti(tmp_path / "i" / "a.nii.gz", image_array(0))
    write_nifti(tmp_path / "l" / "a.nii.gz", label_array(values=(0, 2)))
    write_nifti(tmp_path / "i" / "b.nii.gz", image_array(1))
    write_nifti(tmp_path / "l" / "b.nii.gz", label_array(values=()))
    study = Study.create(tmp_path / "study", images=tmp_path / "i", labels=tmp_path / "l", sparse_labels=True)
    assert study.case("a").labelled_slices == (2,)
    assert study.case("b").labelled_slices == () and not study.case("b").labelled
    assert [case.id for case in study.cases(labelled=True)] == ["a"]
    dense = Study.create(tmp_path / "dense", images=tmp_path / "i", labels=tmp_path / "l")
    assert dense.case("a").labelled_slices is None and len(dense.cases(labelled=True)) == 2


def test_set_labelled_slices(tmp_path, study):
    assert study.set_labelled_slices("case_0", [3, 1, 1]).labelled_slices == (1, 3)
    assert study.case("case_0").labelled_slices == (1, 3)
    assert study.set_labelled_slices("case_0", []).labelled is False
    assert "case_0" not in [case.id for case in study.cases(labelled=True)]
    assert study.set_labelled_slices("case_0", None).labelled
    for wrong in ([4], [-1]):
        with pytest.raises(StudyError, match="slices 0 to 3"):
            study.set_labelled_slices("case_0", wrong)
    write_nifti(tmp_path / "i" / "a.nii.gz", image_array(0))
    with pytest.raises(StudyError, match="no label"):
        Study.create(tmp_path / "other", images=tmp_path / "i").set_labelled_slices("a", [0])


# -- orders, fingerprints, runs ---------------------------------------------------------------------------------------
def test_budgets_are_nested_and_seeded(study):
    order = study.train_labelled_order(0)
    assert sorted(order) == sorted(case.id for case in study.cases("train", labelled=True)) and len(order) == 7
    assert study.train_labelled_order(0) == order != study.train_labelled_order(1)


def test_fingerprint_is_of_contents_in_any_order(tmp_path, study, scans):
    ids = [case.id for case in study.cases()]
    assert study.fingerprint(ids) == study.fingerprint(reversed(ids)) == study.fingerprint()
    assert study.fingerprint(ids[1:]) != study.fingerprint()
    assert len(study.fingerprint([])) == 64
    with pytest.raises(StudyError, match="no case"):
        study.fingerprint(["case_77"])
    moved, labels = scans(10, folder="elsewhere")
    assert Study.create(tmp_path / "moved", images=moved, labels=labels).fingerprint() == study.fingerprint()
    write_nifti(moved / "case_4.nii.gz", image_array(99))
    assert Study.create(tmp_path / "changed", images=moved, labels=labels).fingerprint() != study.fingerprint()


def test_runs(study):
    from napari_ssl_seg.training.runs import Run, RunRecord

    assert study.runs() == []
    run = Run.create(study.runs_folder, RunRecord(kind="finetune", network={}, settings={}))
    assert study.runs() == [run] and study.run(run.id[:10]) == run
    with pytest.raises(RunError):
        study.run("nothing")


# -- what is on disk --------------------------------------------------------------------------------------------------
def test_no_study(tmp_path):
    with pytest.raises(StudyError, match=r"holds no study"):
        Study.open(tmp_path)
    with pytest.raises(StudyError, match=r"holds no study"):
        Study.open(tmp_path / "nowhere")


def _text(path: Path) -> None:
    path.write_text("not a database" * 1000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = bytes(len(data) - 100)
    path.write_bytes(data)


def _other(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cases (id TEXT)")
    connection.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _wrong_settings(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE settings SET record = '{}'")
    connection.close()


@pytest.mark.parametrize("damage", [_text, _empty, _cut, _overwritten, _other, _newer, _wrong_settings])
def test_a_database_that_is_damaged_or_anothers(study, damage):
    study.close()
    damage(study.folder / "study.db")
    with pytest.raises(StudyError, match=r"study\.db") as caught:
        Study.open(study.folder).cases()
    assert "\n" not in str(caught.value)


def test_random_damage_is_one_sentence_or_none(study):
    study.close()
    path = study.folder / "study.db"
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 40):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            opened = Study.open(study.folder)
            opened.cases(), opened.classes, opened.problems, opened.counts()
            opened.close()
        except StudyError:
            pass


def test_a_busy_database_is_waited_for(study):
    other = sqlite3.connect(study.folder / "study.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.4, other.execute, ["COMMIT"])
    timer.start()
    started = time.monotonic()
    study.set_class(1, name="patient")
    assert time.monotonic() - started > 0.2
    timer.join()
    other.close()


def test_a_write_ahead_log_made_by_another_program(study):
    study.close()
    with sqlite3.connect(study.folder / "study.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    opened = Study.open(study.folder)
    opened.set_class(1, name="kept")
    assert Study.open(study.folder).classes[0].name == "kept" and len(opened.cases()) == 10


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind an administrator")
def test_a_folder_that_cannot_be_written(study):
    study.close()
    (study.folder / "study.db").chmod(0o400)
    study.folder.chmod(0o500)
    try:
        assert len(Study.open(study.folder).cases()) == 10
    finally:
        study.folder.chmod(0o700)


def test_a_large_study_opens_at_once(tmp_path):
    cases = [
        Case(f"case_{n:06d}", (f"/data/case_{n:06d}.nii.gz",), None, f"p{n // 3}", ("train", "validation", "test")[n % 3],
             (40, 256, 256), (3.0, 1.0, 1.0), 1, "int16", f"{n:064x}", None, (), None, ())
        for n in range(100_000)
    ]  # fmt: skip
    Database.create(tmp_path, StudySettings(name="large"), cases, [], []).close()
    started = time.process_time()
    study = Study.open(tmp_path)
    counts = study.counts()
    opened = time.process_time() - started
    assert counts == {"train": 33334, "validation": 33333, "test": 33333}
    assert opened < 0.5
    assert study.case("case_099999").group == "p33333"
    assert study.cases("test")[-1] == cases[99_998]


# -- files that change ------------------------------------------------------------------------------------------------
def rewrite(path: Path, array: np.ndarray) -> None:
    """As another program does, a while later."""
    later = path.stat().st_mtime_ns + 10**9
    write_nifti(path, array)
    os.utime(path, ns=(later, later))


def test_a_label_mended_in_another_program(study):
    case = study.cases("train")[0]
    before = study.fingerprint(), study.fingerprint([case.id])
    assert study.refresh() == []
    rewrite(case.label, label_array(values=(1, 5)))
    study.set_labelled_slices(case.id, [0, 1])
    (changed,) = study.refresh()
    assert changed == study.case(case.id) and changed.label_values == (1, 5) and changed.labelled_slices == (0, 1)
    assert [item.value for item in study.classes] == [1, 2, 5]
    assert study.fingerprint() != before[0] and study.fingerprint([case.id]) != before[1]
    assert study.refresh() == []
    rewrite(case.label, label_array())
    assert study.fingerprint() == before[0]


def test_slices_follow_a_sparse_label(tmp_path, scans):
    images, labels = scans(2)
    study = Study.create(tmp_path / "study", images=images, labels=labels, sparse_labels=True)
    assert study.case("case_0").labelled_slices == (1, 2)
    rewrite(labels / "case_0.nii.gz", label_array(values=(1, 0, 2)))
    assert [case.labelled_slices for case in study.refresh(["case_0", "case_1"])] == [(1, 3)]


def test_a_file_that_was_only_touched_or_is_gone_is_no_change(study):
    case = study.cases()[0]
    os.utime(case.label, ns=(5, 5))
    assert study.refresh([case.id]) == [] and study.case(case.id).stamp != case.stamp
    case.label.unlink()
    assert study.refresh() == [] and len(study.fingerprint()) == 64


def test_a_label_that_became_useless(study):
    case = study.cases()[0]
    rewrite(case.label, label_array((6, 5, 5)))
    with pytest.raises(StudyError, match="does not share the grid"):
        study.refresh()
    rewrite(case.images[0], image_array(5))
    rewrite(case.label, label_array())
    assert study.refresh()[0].fingerprint != case.fingerprint
