"""The label store: what is put is there, with its history, its states and what it cost."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_ssl_seg.annotation import (
    Effort,
    SliceState,
    boxes,
    database,
    effort_by_tool,
    open_labels,
    packing,
    sum_effort,
)
from napari_ssl_seg.errors import StudyError
from tests.annotation.store_making import SHAPE, box, own_label, small_study

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg import Study


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at here does not depend on when it comes to the disk."""
    monkeypatch.setattr(database, "SYNCHRONOUS", "OFF")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return small_study(tmp_path)


def test_what_is_put_is_there_after_opening_again(study: Study) -> None:
    with open_labels(study) as store:
        assert not store.labels("a").any() and store.labels("a").shape == SHAPE
        assert store.put("a", (2, 3, 4), box(7, 1, 5, 6), tool="region") == 1
    with open_labels(study) as store:
        expected = np.zeros(SHAPE, np.uint8)
        expected[2, 3:8, 4:10] = 7
        assert np.array_equal(store.labels("a"), expected)
        (entry,) = store.history("a")
    assert (entry.number, entry.tool, entry.kind, entry.changed) == (1, "region", "change", 30)
    assert (entry.start, entry.shape, entry.source) == ((2, 3, 4), (1, 5, 6), None)


def test_an_entry_holds_what_changed_and_nothing_else(study: Study) -> None:
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(1, 2, 10, 10))
        assert store.put("a", (0, 0, 0), box(1, 2, 10, 10)) is None  # as it was
        whole = store.labels("a")
        whole[1, 4, 5:7] = 3
        assert store.put("a", (0, 0, 0), whole) == 2
        entry = store.history("a")[-1]
    assert (entry.start, entry.shape, entry.changed) == ((1, 4, 5), (1, 1, 2), 2)


def test_the_studys_own_label_is_the_first_entry_and_the_file_is_never_written(study: Study) -> None:
    file = study.case("b").label
    assert file is not None
    before = file.read_bytes()
    with open_labels(study) as store:
        assert np.array_equal(store.labels("b"), own_label())
        assert store.history("b") == ()  # looking stores nothing
        assert store.put("b", (0, 0, 0), box(1, 1, 2, 2)) == 2
        first, second = store.history("b")
        assert (first.kind, first.source, first.changed) == ("import", file.name, int((own_label() > 0).sum()))
        assert second.kind == "change"
        assert np.array_equal(store.at("b", 1), own_label())
    assert file.read_bytes() == before


def test_imported_labels_keep_the_history_before_them(study: Study) -> None:
    other = np.zeros(SHAPE, np.uint16)
    other[5] = 300
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(4, 1, 3, 3))
        drawn = store.labels("a")
        assert store.import_labels("a", other, "elsewhere.nii.gz", labelled_slices=[5]) == 2
        assert store.labels("a").dtype == np.uint16 and np.array_equal(store.labels("a"), other)
        assert np.array_equal(store.at("a", 1), drawn) and not store.at("a", 0).any()
        assert [entry.kind for entry in store.history("a")] == ["change", "import"]
        assert store.states("a").tolist() == [0, 0, 0, 0, 0, SliceState.LABELLED]
        with pytest.raises(StudyError, match="shape"):
            store.import_labels("a", other[:2], "elsewhere.nii.gz")


def test_restoring_adds_an_entry_and_removes_none(study: Study) -> None:
    with open_labels(study) as store:
        for value in (1, 2, 3):
            store.put("a", (value, 0, 0), box(value, 1, 4, 4))
        assert store.restore("a", 1) == 4
        assert np.array_equal(store.labels("a"), store.at("a", 1))
        assert store.at("a", 3)[3, 0, 0] == 3
        assert [entry.kind for entry in store.history("a")] == ["change"] * 3 + ["restore"]
        with pytest.raises(StudyError, match="entries 1 to 4, not 9"):
            store.restore("a", 9)


change = st.tuples(
    st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.integers(1, 2), st.integers(1, 5), st.integers(0, 400)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(change, max_size=14))
def test_every_state_of_the_past_is_what_it_was(changes: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch, small_study(tmp_path_factory.mktemp("past")) as study:
        patch.setattr(boxes, "KEYFRAMES", 3)
        now = np.zeros(SHAPE, np.uint16)
        past = [now.copy()]
        with open_labels(study) as store:
            for z, y, x, depth, side, value in changes:
                where = (slice(z, z + depth), slice(y, y + side), slice(x, x + 3))
                values = np.full((depth, side, 3), value)
                values[:, ::2] = 0
                changed = bool((now[where] != values).any())
                now[where] = values
                number = store.put("a", (z, y, x), values)
                assert number == (len(past) if changed else None)
                if changed:
                    past.append(now.copy())
            assert np.array_equal(store.labels("a"), now)
            assert store.labels("a").dtype == (np.uint16 if any(item.max() > 255 for item in (now,)) else np.uint8)
            for number, array in enumerate(past):
                assert np.array_equal(store.at("a", number), array)


def test_states_are_counted_over_the_study(study: Study) -> None:
    with open_labels(study) as store:
        assert store.counts()[SliceState.LABELLED] == 6  # all of b: its file counts as a whole
        store.set_state("a", [0, 1], SliceState.CHECKED)
        store.set_state("a", 1, SliceState.FLAGGED)
        assert store.states("a").tolist() == [3, 4, 0, 0, 0, 0]
        assert {state.name: n for state, n in store.counts().items() if n} == {
            "UNLABELLED": 4,
            "LABELLED": 6,
            "CHECKED": 1,
            "FLAGGED": 1,
        }
        store.set_state("b", [2], SliceState.UNLABELLED)
        assert store.states("b").tolist() == [2, 2, 0, 2, 2, 2]
        with pytest.raises(StudyError, match="slices 0 to 5, not 6 to 6"):
            store.set_state("a", [6], SliceState.CHECKED)


def test_effort_is_kept_with_the_change_and_can_be_deleted(study: Study) -> None:
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(1, 1, 2, 2), effort=Effort("a", 0, "paint", 2.5, 3, 4, time=10.0))
        store.add_effort(Effort("a", 1, "a telltale tool", 1.0, time=11.0))
        found = store.effort()
        assert found[0] == Effort("a", 0, "paint", 2.5, 3, 4, time=10.0)
        assert list(effort_by_tool(found)) == ["paint", "a telltale tool"]
        assert (sum_effort(found).slices, sum_effort(found).seconds) == (2, 3.5)
        store.delete_effort()
        assert store.effort() == [] and len(store.history("a")) == 1
    assert b"a telltale tool" not in (study.folder / "labels" / "labels.db").read_bytes()


@pytest.mark.parametrize(
    ("start", "values", "words"),
    [
        ((5, 0, 0), box(1, 2, 2, 2), "does not lie in the scan"),
        ((-1, 0, 0), box(1, 1, 2, 2), "does not lie in the scan"),
        ((0, 0, 0), np.zeros((1, 2, 2)), "whole numbers"),
        ((0, 0, 0), np.full((1, 2, 2), -3), "from 0 to 65535"),
        ((0, 0, 0), np.full((1, 2, 2), 70000), "from 0 to 65535"),
        ((0, 0), box(1, 2, 2), "the axes z, y and x"),
    ],
)
def test_what_is_no_box_of_labels_is_refused(study: Study, start: tuple, values: np.ndarray, words: str) -> None:
    with open_labels(study) as store:
        with pytest.raises(StudyError, match=words):
            store.put("a", start, values)
        assert store.history("a") == ()
        with pytest.raises(StudyError, match="no case"):
            store.put("c", (0, 0, 0), box(1, 1, 1, 1))


def test_a_store_that_was_never_made_is_an_empty_one(study: Study) -> None:
    store = open_labels(study, write=False)
    assert not store.writable and store.why_read_only
    assert np.array_equal(store.labels("b"), own_label()) and store.history("b") == () and store.effort() == []
    assert not (study.folder / "labels").exists()
    with pytest.raises(StudyError, match="opened for reading"):
        store.put("a", (0, 0, 0), box(1, 1, 1, 1))


def test_nothing_of_the_images_is_in_the_store(study: Study) -> None:
    with open_labels(study) as store:
        store.put("b", (0, 0, 0), box(1, 1, 1, 1))
    content = (study.folder / "labels" / "labels.db").read_bytes()
    assert str(study.folder).encode() not in content and b"imported" not in content


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]))
def test_packing_gives_back_what_it_got(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3 if seed % 2 else np.iinfo(dtype).max, rng.integers(1, 7, 3)).astype(dtype)
    assert np.array_equal(packing.unpack(packing.pack(values), values.shape), values)


def test_a_flipped_bit_is_noticed(study: Study) -> None:
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(1, 1, 9, 9))
        connection = sqlite3.connect(study.folder / "labels" / "labels.db")
        (voxels,) = connection.execute("SELECT voxels FROM slices").fetchone()
        connection.execute("UPDATE slices SET voxels = ?", (voxels[:-3] + bytes([voxels[-3] ^ 4]) + voxels[-2:],))
        connection.commit()
        connection.close()
        with pytest.raises(StudyError, match="damaged"):
            store.labels("a")


@pytest.mark.parametrize("content", [b"not a database, but a text of some length" * 40, None, 3000])
def test_a_damaged_or_foreign_store_is_one_sentence_and_stays_as_it_is(
    study: Study, content: bytes | int | None
) -> None:
    path = study.folder / "labels" / "labels.db"
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(1, 1, 9, 9))
    if content is None:
        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE photographs (name)")
        connection.commit()
        connection.close()
    elif isinstance(content, int):
        path.write_bytes(path.read_bytes()[:content])
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StudyError) as caught:
        open_labels(study).labels("a")
    assert "labels.db" in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.claim*"))


def test_a_store_of_a_later_version_is_left_alone(study: Study) -> None:
    open_labels(study).close()
    connection = sqlite3.connect(study.folder / "labels" / "labels.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StudyError, match="format 99"):
        open_labels(study)


def test_labels_of_a_scan_of_another_shape_are_left_alone(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_labels(study) as store:
        store.put("a", (0, 0, 0), box(1, 1, 2, 2))
    case = study.case("a")
    monkeypatch.setattr(study, "case", lambda case_id: case._replace(shape=(7, 24, 20)))
    with open_labels(study) as store:
        for look in (lambda: store.labels("a"), lambda: store.put("a", (0, 0, 0), box(2, 1, 2, 2))):
            with pytest.raises(StudyError, match=r"drawn on a scan of \(6, 24, 20\)"):
                look()
