"""Regions of a study: made once, whoever works on it, and found again by content and parameters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.errors import LeakageError, StudyError, UserError
from napari_ssl_seg.regions import RegionSettings, claims, felzenszwalb_regions, prepare, region_key
from napari_ssl_seg.regions.claims import Claims
from napari_ssl_seg.regions.prepare import case_files, prepare_regions, slice_image, slice_regions
from napari_ssl_seg.regions.store import RegionCacheWarning
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import Event, drain
from tests.regions.worker import SETTINGS, NotingSource, halves

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SHAPE = (7, 14, 12)
"""(z, y, x); slices 0 and 6 hold hardly anything."""
ROOT = Path(__file__).resolve().parents[2]


def write_scan(path: Path, seed: int, shape: tuple[int, int, int] = SHAPE) -> None:
    rng = np.random.default_rng(seed)
    array = rng.normal(100, 1, shape)
    array[1:-1] += 200 * rng.integers(0, 2, (shape[0] - 2, 1, 1)) + np.linspace(0, 150, shape[2])
    array[1:-1, 3:8, 2:7] += 300
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.int16).transpose(2, 1, 0), np.diag([1.0, 1, 3, 1])), path)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Three cases in train (another one is in test), seven slices each, two of them nearly empty."""
    for number in range(4):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number)
    return Study.create(tmp_path / "study", images=tmp_path / "scans", split=(75, 0, 25))


@pytest.fixture
def ids(study: Study) -> list[str]:
    return [case.id for case in study.cases("train")]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NotingSource:
    """Stands in for every source; notes what it is asked."""
    made = NotingSource(tmp_path / "log.txt")
    monkeypatch.setattr(prepare, "open_source", lambda settings, geometry_of=None: made)
    prepare._opened.close()
    prepare._recent.clear()
    return made


@pytest.fixture
def every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is said after each slice, however quick."""
    monkeypatch.setattr("napari_ssl_seg.regions.filling.YIELD_SECONDS", 0.0)


def full(case_ids: list[str]) -> list[tuple[str, int]]:
    return sorted((case_id, z) for case_id in case_ids for z in range(1, SHAPE[0] - 1))


def collect(events: Generator[Event, None, Any]) -> tuple[list[Event], Any]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


# -- what a source sees, and what it makes ----------------------------------------------------------------------------
def test_a_slice_is_the_studys_normalisation_from_0_to_1(study: Study, ids: list[str]) -> None:
    image = slice_image(study, ids[0], 3, purpose="train")
    assert image.dtype == np.float32 and image.shape == SHAPE[1:]
    np.testing.assert_allclose(image, (study.patches_source(ids[0], purpose="train").array[0, 3] + 1) / 2, atol=1e-6)
    assert image.min() >= 0 and image.max() <= 1


def test_a_z_score_is_clipped_at_its_percentiles(tmp_path: Path) -> None:
    for number in range(3):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number)
    study = Study.create(tmp_path / "study", images=tmp_path / "scans", normalisation="zscore")
    case = study.cases("train")[0].id
    array = study.patches_source(case, purpose="train").array[0]
    low, high = np.percentile(array, [1, 99])
    expected = ((array[2] - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(slice_image(study, case, 2, purpose="train"), expected, atol=1e-5)


def test_no_such_slice_or_channel(study: Study, ids: list[str]) -> None:
    with pytest.raises(StudyError, match="slices 0 to 6, not 7"):
        slice_image(study, ids[0], 7)
    with pytest.raises(StudyError, match="1 channel,"):
        drain(prepare_regions(study, RegionSettings(source="felzenszwalb", channel=1), ids))


def test_the_real_source_gives_the_same_slices_at_once_and_prepared(study: Study, ids: list[str]) -> None:
    at_once = slice_regions(study, SETTINGS, ids[1], 3)
    regions = drain(prepare_regions(study, SETTINGS, ids))
    expected = felzenszwalb_regions(slice_image(study, ids[1], 3), scale=100, sigma=0.5)
    np.testing.assert_array_equal(at_once, expected)
    np.testing.assert_array_equal(regions.slice(ids[1], 3), expected)
    np.testing.assert_array_equal(regions.stack(ids[1]).cut(3, 4)[0], expected)
    np.testing.assert_array_equal(regions.areas(ids[1], 3), np.bincount(expected.ravel())[1:])
    assert regions.title == "Felzenszwalb superpixels (no SAM weights)"
    assert regions.key == region_key(regions.settings)
    assert regions.slice("another", 0) is None
    assert regions.areas("another", 0) is None


def test_nearly_empty_slices_have_no_region_and_cost_nothing(
    study: Study, ids: list[str], source: NotingSource
) -> None:
    events, regions = collect(prepare_regions(study, SETTINGS, ids))
    assert sorted(source.noted()) == full(ids)
    np.testing.assert_array_equal(regions.slice(ids[0], 0), np.zeros(SHAPE[1:]))
    assert len(regions.areas(ids[0], 6)) == 0
    np.testing.assert_array_equal(regions.slice(ids[0], 2), halves(slice_image(study, ids[0], 2)))
    last = events[-1]
    assert last.kind == "progress"
    assert last.data["done"] == last.data["total"] == 21
    assert last.data["seconds_left"] == 0
    assert {path.suffix for path in (study.cache_folder / "regions" / regions.key).iterdir()} == {".regions"}


def test_one_slice_is_made_once(study: Study, ids: list[str], source: NotingSource) -> None:
    first = slice_regions(study, SETTINGS, ids[0], 2)
    first[:] = -5
    np.testing.assert_array_equal(
        slice_regions(study, SETTINGS, ids[0], 2), halves(slice_image(study, ids[0], 2, purpose="show"))
    )
    assert source.noted() == [(ids[0], 2)]


def test_a_slow_slice_is_kept_on_disk(
    study: Study, ids: list[str], source: NotingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "KEPT_SECONDS", 0.0)
    slice_regions(study, SETTINGS, ids[0], 2)
    drain(prepare_regions(study, SETTINGS, ids))
    assert sorted(source.noted()) == full(ids)


def test_other_splits_are_refused(study: Study, source: NotingSource) -> None:
    test_case = study.cases("test")[0].id
    with pytest.raises(LeakageError, match="split test"):
        drain(prepare_regions(study, SETTINGS, [test_case]))
    assert source.noted() == []
    assert drain(prepare_regions(study, SETTINGS, [test_case], purpose="predict")).case_ids == (test_case,)


# -- going on ---------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("every_event")
def test_closing_stops_within_a_slice_and_the_next_call_makes_only_what_is_missing(
    study: Study, ids: list[str], source: NotingSource
) -> None:
    for _ in range(3):
        events = prepare_regions(study, SETTINGS, ids)
        before = len(source.noted())
        while len(source.noted()) < before + 2:
            next(events)
        events.close()
        assert len(source.noted()) == before + 2
        assert not list(study.cache_folder.rglob("*.claim*"))
    assert len(source.noted()) == 6
    events_seen, regions = collect(prepare_regions(study, SETTINGS, ids))
    assert events_seen[1].data["done"] >= 6
    assert sorted(source.noted()) == full(ids)
    drain(prepare_regions(study, SETTINGS, ids))
    assert len(source.noted()) == 15
    np.testing.assert_array_equal(regions.stack(ids[2]).cut(3, 4)[0], halves(slice_image(study, ids[2], 3)))


def test_a_source_that_fails_gives_its_slices_back(
    study: Study, ids: list[str], source: NotingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment: Callable[..., Any] = source.segment

    def fail(slices: Any, *, places: Any) -> Any:
        if places[0][1] == 3:
            raise RuntimeError("out of memory")
        return segment(slices, places=places)

    monkeypatch.setattr(source, "segment", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        drain(prepare_regions(study, SETTINGS, ids))
    monkeypatch.setattr(source, "segment", segment)
    drain(prepare_regions(study, SETTINGS, ids))
    assert sorted(source.noted()) == full(ids)


def test_several_slices_at_once(study: Study, ids: list[str], source: NotingSource) -> None:
    asked: list[int] = []

    def segment_each(slices: Any, *, places: Any) -> Any:
        asked.append(len(slices))
        for image, place in zip(slices, places, strict=True):
            yield source.segment([image], places=[place])[0]

    source.slices_at_once, source.segment_each = 4, segment_each  # type: ignore[attr-defined]
    regions = drain(prepare_regions(study, SETTINGS, ids))
    assert max(asked) > 1
    assert sorted(source.noted()) == full(ids)
    np.testing.assert_array_equal(regions.slice(ids[0], 5), halves(slice_image(study, ids[0], 5)))


# -- keys -------------------------------------------------------------------------------------------------------------
def test_other_parameters_are_kept_apart(study: Study, ids: list[str], source: NotingSource) -> None:
    one = drain(prepare_regions(study, SETTINGS, ids))
    two = drain(prepare_regions(study, SETTINGS.model_copy(update={"scale": 50.0}), ids))
    unused = drain(prepare_regions(study, SETTINGS.model_copy(update={"points_per_side": 5}), ids))
    assert one.key != two.key
    assert one.key == unused.key
    assert len(source.noted()) == 2 * 15


def test_another_content_is_made_anew_and_a_copy_is_not(
    study: Study, ids: list[str], source: NotingSource, tmp_path: Path
) -> None:
    before = drain(prepare_regions(study, SETTINGS, ids))
    write_scan(tmp_path / "scans" / f"{ids[0]}.nii.gz", 77)
    after = drain(prepare_regions(study, SETTINGS, ids))
    assert len(source.noted()) == 15 + 5
    assert after.maps.files[ids[0]].name != before.maps.files[ids[0]].name
    assert after.maps.files[ids[1]].name == before.maps.files[ids[1]].name
    np.testing.assert_array_equal(after.slice(ids[0], 3), halves(slice_image(study, ids[0], 3)))
    os.utime(tmp_path / "scans" / f"{ids[0]}.nii.gz")
    drain(prepare_regions(study, SETTINGS, ids))
    assert len(source.noted()) == 20


def test_copies_of_a_scan_share_their_regions(tmp_path: Path, source: NotingSource) -> None:
    write_scan(tmp_path / "scans" / "a.nii.gz", 1)
    shutil.copy(tmp_path / "scans" / "a.nii.gz", tmp_path / "scans" / "b.nii.gz")
    study = Study.create(tmp_path / "study", images=tmp_path / "scans", split=(100, 0, 0))
    regions = drain(prepare_regions(study, SETTINGS, ["a", "b"]))
    assert len(source.noted()) == 5
    np.testing.assert_array_equal(regions.slice("a", 3), regions.slice("b", 3))


# -- damage -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", ["header", "map", "cut", "empty", "text"])
def test_a_damaged_file_is_made_anew_with_a_warning(
    study: Study, ids: list[str], source: NotingSource, damage: str
) -> None:
    before = drain(prepare_regions(study, SETTINGS, ids))
    path = before.maps.files[ids[0]].pack
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[60] ^= 8
    elif damage == "map":
        data[-4] ^= 8
    path.write_bytes({"cut": bytes(data[:-10]), "empty": b"", "text": b"not regions at all"}.get(damage, bytes(data)))
    events, after = collect(prepare_regions(study, SETTINGS, ids))
    warnings = [event.data["message"] for event in events if event.kind == "warning"]
    assert len(warnings) == 1 and ids[0] in warnings[0] and "damaged" in warnings[0]
    assert len(source.noted()) == 15 + (0 if damage == "map" else 5)  # the last slice is a nearly empty one
    for z in range(SHAPE[0]):
        np.testing.assert_array_equal(after.slice(ids[0], z), before.stack(ids[0]).cut(z, z + 1)[0])


def test_damage_found_while_reading_is_mended(study: Study, ids: list[str], source: NotingSource) -> None:
    regions = drain(prepare_regions(study, SETTINGS, ids))
    regions.maps.files[ids[1]].pack.write_bytes(b"SSLREG1\n")
    with pytest.warns(RegionCacheWarning, match=ids[1]):
        found = regions.stack(ids[1]).cut(0, SHAPE[0])
    np.testing.assert_array_equal(found[4], halves(slice_image(study, ids[1], 4)))
    drain(prepare_regions(study, SETTINGS, ids))
    assert len(source.noted()) == 15 + 5


@pytest.mark.usefixtures("every_event")
def test_the_cache_may_be_deleted_in_the_middle(study: Study, ids: list[str], source: NotingSource) -> None:
    events = prepare_regions(study, SETTINGS, ids)
    while len(source.noted()) < 8:
        next(events)
    shutil.rmtree(study.cache_folder)
    regions = drain(events)
    for case_id in ids:
        assert regions.maps.files[case_id].shape == SHAPE
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **kwargs: None)
            np.testing.assert_array_equal(regions.stack(case_id).cut(2, 3)[0], halves(slice_image(study, case_id, 2)))


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(
    study: Study, ids: list[str], source: NotingSource
) -> None:
    shutil.rmtree(study.cache_folder, ignore_errors=True)
    study.cache_folder.write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written|could not be written"):
        drain(prepare_regions(study, SETTINGS, ids))
    assert slice_regions(study, SETTINGS, ids[0], 3).max() == 2  # looking is still possible


# -- several processes ------------------------------------------------------------------------------------------------
def start(study: Study, log: Path, *seconds: float) -> list[subprocess.Popen[bytes]]:
    """Processes that begin together and take so long for each slice."""
    command = [sys.executable, "-m", "tests.regions.worker", str(study.folder), str(log)]
    workers = [subprocess.Popen([*command, str(each)], cwd=ROOT) for each in seconds]
    wait_for(lambda: all(Path(f"{log}.ready.{worker.pid}").exists() for worker in workers))
    Path(f"{log}.go").touch()
    return workers


def wait_for(ready: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def test_two_processes_share_the_work_and_make_no_slice_twice(
    study: Study, ids: list[str], source: NotingSource
) -> None:
    workers = start(study, source.log, 0.1, 0.1)
    assert [worker.wait(90) for worker in workers] == [0, 0]
    assert sorted(source.noted()) == full(ids)
    assert len(source.workers()) == 2
    regions = drain(prepare_regions(study, SETTINGS, ids))
    assert len(source.noted()) == 15
    np.testing.assert_array_equal(regions.slice(ids[0], 4), halves(slice_image(study, ids[0], 4)))
    assert not list(study.cache_folder.rglob("*.parts"))


def test_what_a_killed_process_had_in_work_is_taken_over_at_once(
    study: Study, ids: list[str], source: NotingSource
) -> None:
    (first,) = start(study, source.log, 3600)
    wait_for(lambda: len(source.noted()) == 1)
    (second,) = start(study, source.log, 0.02)
    wait_for(lambda: len(source.noted()) == 15)
    assert second.poll() is None  # it waits for the slice that the first has in work
    first.send_signal(signal.SIGKILL)
    assert second.wait(30) == 0
    first.wait()
    assert len(source.noted()) == 16  # that slice was begun twice, and finished once
    assert sorted(set(source.noted())) == full(ids)


# -- claims -----------------------------------------------------------------------------------------------------------
def test_a_claim_is_held_by_one_until_it_is_given_back(tmp_path: Path) -> None:
    with Claims() as one, Claims() as two:
        assert one.take(tmp_path, "00001")
        names = [path.name for path in tmp_path.iterdir()]
        assert not two.take(tmp_path, "00001", names)
        assert not two.take(tmp_path, "00001")  # also where the folder was looked at too early
        assert two.take(tmp_path, "00002", names)
        one.release(tmp_path, "00001")
        assert two.take(tmp_path, "00001", names)
    assert list(tmp_path.iterdir()) == []


def test_of_many_threads_one_gets_the_claim_of_a_dead_process(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for trial in range(20):
        folder = tmp_path / str(trial)
        folder.mkdir()
        record = f'{{"machine": "{claims._machine()}", "pid": {dead.pid}, "started": 1.0, "token": "x"}}'
        (folder / "00001.claim0").write_text(record)
        workers = [Claims() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda worker, at=folder: worker.take(at, "00001", ["00001.claim0"]), workers))
        assert sum(won) == 1
        workers[won.index(True)].release(folder, "00001", done=True)
        assert list(folder.iterdir()) == []


def test_a_claim_of_another_machine_dies_when_it_is_no_longer_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "EXPIRES", 0.3)
    path = tmp_path / "00001.claim0"
    path.write_text('{"machine": "elsewhere", "pid": 1, "token": "x"}')
    with Claims() as mine:
        for beat in range(4):
            assert not mine.take(tmp_path, "00001", [path.name])
            os.utime(path, (beat, beat))  # its clock is fifty years late, which does not matter
            time.sleep(0.12)
        assert not mine.take(tmp_path, "00001", [path.name])
        time.sleep(0.4)
        assert mine.take(tmp_path, "00001", [path.name])


def test_a_claim_that_is_held_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.05)
    with Claims() as mine:
        mine.take(tmp_path, "00001")
        (path,) = tmp_path.iterdir()
        os.utime(path, (1, 1))
        wait_for(lambda: path.stat().st_mtime > 1, 10)


def test_the_slice_of_a_dead_machine_is_made_in_the_end(
    study: Study, ids: list[str], source: NotingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "EXPIRES", 0.5)
    file = case_files(study, SETTINGS, ids)[ids[0]]
    file.parts.mkdir(parents=True)
    (file.parts / "00002.claim0").write_text('{"machine": "elsewhere", "pid": 1, "token": "x"}')
    events, regions = collect(prepare_regions(study, SETTINGS, ids))
    assert any(event.data["waiting"] for event in events)
    assert sorted(source.noted()) == full(ids)
    np.testing.assert_array_equal(regions.slice(ids[0], 2), halves(slice_image(study, ids[0], 2)))
