"""The compiled loops against k-d trees and MedPy, above all where predictions are bad; and how they are compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpy.metric import binary

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import (
    METRICS,
    is_warm,
    rescore_slice,
    score,
    score_slices,
    surface_distance_map,
    warm_up,
)
from napari_ssl_seg.evaluation import engine as engine_module
from tests.evaluation.test_metrics import blobs, same

ALL = tuple(METRICS)


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine_module._STATE, "broken", True)


def by_trees(*what: object, **how: object) -> dict:
    """`score` without numba."""
    broken = engine_module._STATE["broken"]
    engine_module._STATE["broken"] = True
    try:
        return score(*what, **how)  # type: ignore[arg-type]
    finally:
        engine_module._STATE["broken"] = broken


def scattered(seed: int, shape: tuple[int, ...], n_labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two maps that share labels and hardly any place: boxes here and there, and a few single voxels."""
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(2):
        labels = np.zeros(shape, np.uint8)
        for label in range(1, n_labels + 1):
            for _ in range(int(rng.integers(1, 3))):
                low = [int(rng.integers(0, size)) for size in shape]
                labels[tuple(slice(at, at + int(rng.integers(1, 12))) for at in low)] = label
        specks = rng.random(shape) < 0.002
        labels[specks] = rng.integers(1, n_labels + 1, specks.sum())
        maps.append(labels)
    return maps[0], maps[1]


class TestBadPredictions:
    """The walk finds nothing, so that the search by axis is what answers."""

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 2**31),
        st.sampled_from([(1, 70, 60), (20, 44, 50), (60, 9, 30), (90, 80), (1, 300)]),
        st.lists(st.floats(0.2, 8), min_size=3, max_size=3),
        st.sampled_from([4, 40, 1000]),
    )
    def test_they_score_as_trees_say(self, seed: int, shape: tuple[int, ...], spacing: list[float], near: int) -> None:
        pred, ref = scattered(seed, shape)
        usual = engine_module.NEAR
        engine_module.NEAR = near
        try:
            found = score(pred, ref, spacing[: len(shape)], metrics=ALL)
        finally:
            engine_module.NEAR = usual
        same(found, by_trees(pred, ref, spacing[: len(shape)], metrics=ALL))

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.4, 3.0, 1.0)])
    def test_they_score_as_medpy_says(self, spacing: tuple[float, ...]) -> None:
        rng = np.random.default_rng(1)
        ref = np.zeros((30, 60, 64), np.uint8)
        for label in range(1, 7):
            low = rng.integers(0, (18, 40, 44))
            ref[tuple(slice(at, at + int(rng.integers(6, 20))) for at in low)] = label
        table = np.array([0, 3, 4, 5, 6, 1, 2], np.uint8)
        for pred in (table[ref], np.roll(ref, (13, -21, 30), (0, 1, 2)), rng.integers(0, 7, ref.shape)):
            for label, values in score(pred, ref, spacing, metrics=("assd", "hd", "hd95")).items():
                for name in ("assd", "hd", "hd95"):
                    theirs = getattr(binary, name)(pred == label, ref == label, spacing)
                    assert values[name] == pytest.approx(theirs, rel=1e-6), (label, name)

    def test_two_corners_of_a_volume_are_its_diagonal_apart(self) -> None:
        pred, ref = np.zeros((50, 60, 70), np.uint16), np.zeros((50, 60, 70), np.uint16)
        pred[0, 0, 0] = ref[-1, -1, -1] = 300
        found = score(pred, ref, (2, 1, 0.5), metrics=("assd", "hd"))[300]
        assert found["assd"] == found["hd"] == pytest.approx(np.sqrt(98**2 + 59**2 + 34.5**2))

    def test_slices_that_share_nothing(self) -> None:
        pred, ref = scattered(5, (6, 80, 80))
        table = score_slices(pred, ref, (3, 1, 0.5), metrics=ALL)
        for index in range(6):
            alone = by_trees(pred[index], ref[index], (1, 0.5), labels=table.labels, metrics=ALL)
            for label in table.labels:
                for name in set(ALL) - {"volume_difference"}:
                    assert table.at(index, label)[name] == pytest.approx(alone[label][name], nan_ok=True)


class TestEdges:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**31), st.permutations([0, 1, 2]), st.sampled_from([None, 0, 1, 2]))
    def test_any_order_in_memory_and_any_axis(self, seed: int, order: list[int], axis: int | None) -> None:
        pred, ref = blobs(seed, (6, 7, 9), 3)
        laid = [np.ascontiguousarray(part.transpose(order)).transpose(np.argsort(order)) for part in (pred, ref)]
        if axis is None:
            same(score(*laid, (3, 1, 0.5), metrics=ALL), by_trees(pred, ref, (3, 1, 0.5), metrics=ALL))
        else:
            found, plain = score_slices(*laid, (3, 1, 0.5), axis), score_slices(pred, ref, (3, 1, 0.5), axis)
            np.testing.assert_allclose(found.values["assd"], plain.values["assd"], rtol=1e-12)

    def test_a_hundred_labels_up_to_the_largest_of_16_bits(self) -> None:
        rng = np.random.default_rng(0)
        values = np.append(rng.choice(np.arange(1, 65535), 99, replace=False), 65535)
        small = np.zeros((12, 40, 40), np.int64)
        for place in range(100):
            y, x = divmod(place, 10)
            small[2:10, 4 * y : 4 * y + 3, 4 * x : 4 * x + 3] = place + 1
        ref = np.concatenate([[0], values])[small].astype(np.uint16)
        pred = np.roll(ref, 1, axis=2)
        found = score(pred, ref, (2, 1, 1), metrics=ALL)
        assert sorted(found) == sorted(values.tolist())
        label = int(values[50])
        assert found[label]["assd"] == pytest.approx(binary.assd(pred == label, ref == label, (2, 1, 1)))
        same(found, by_trees(pred, ref, (2, 1, 1), metrics=ALL))

    def test_labels_that_one_side_lacks_stand_beside_the_others(self) -> None:
        pred, ref = np.zeros((4, 6, 6), int), np.zeros((4, 6, 6), int)
        pred[1:3, 1:3, 1:3], ref[1:3, 1:3, 1:3] = 1, 1
        pred[0, 5, 5], ref[3, 0, 0] = 2, 3
        found = score(pred, ref, 1, labels=[3, 9, 1, 2], metrics=ALL)
        assert {label: values["note"] for label, values in found.items()} == {
            3: "missed", 9: "absent in both", 1: "", 2: "false alarm"
        }  # fmt: skip
        assert found[1]["assd"] == 0 and np.isnan(found[2]["hd95"]) and found[3]["nsd"] == 0

    @pytest.mark.parametrize("shape", [(1, 20, 20), (20, 1, 20), (20, 20, 1)])
    def test_a_volume_of_one_slice(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(3)
        pred, ref = (rng.random(shape) < 0.4 for _ in range(2))
        found = score(pred, ref, (4, 1, 2), metrics=("assd", "hd"))[1]
        assert found["assd"] == pytest.approx(binary.assd(pred, ref, (4, 1, 2)), rel=1e-6)
        assert found["hd"] == pytest.approx(binary.hd(pred, ref, (4, 1, 2)), rel=1e-6)

    def test_an_object_at_the_border_has_its_surface_there(self) -> None:
        pred, ref = np.zeros((10, 10, 10), int), np.zeros((10, 10, 10), int)
        pred[:4, :, :6], ref[:5, :, :5] = 1, 1
        spacing = (2, 1, 3)
        assert score(pred, ref, spacing)[1]["assd"] == pytest.approx(binary.assd(pred, ref, spacing), rel=1e-9)
        assert score(pred[0], ref[0], (1, 3))[1]["assd"] == pytest.approx(binary.assd(pred[0], ref[0], (1, 3)))

    def test_nothing_at_all_by_slice(self) -> None:
        empty = score_slices(np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.uint8), 1, labels=[1], metrics=ALL)
        assert (empty.notes == "absent in both").all()
        assert all(np.isnan(empty.values[name]).all() for name in ALL)


class TestWithoutNumba:
    def test_it_is_said_once_and_scores_are_the_same(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        pred, ref = blobs(1, (6, 7, 8), 3)
        usual = score(pred, ref, 1, metrics=ALL)
        monkeypatch.setitem(engine_module._STATE, "broken", False)
        monkeypatch.setitem(sys.modules, "napari_ssl_seg.evaluation.kernels", None)
        import napari_ssl_seg.evaluation as package

        monkeypatch.delattr(package, "kernels", raising=False)
        same(score(pred, ref, 1, metrics=ALL), usual)
        score(pred, ref, 1)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "numba does not run here" in caplog.text
        assert not warm_up()

    def test_a_full_disk_costs_speed_and_no_score(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from napari_ssl_seg.evaluation import kernels

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setitem(engine_module._STATE, "broken", False)
        monkeypatch.setattr(kernels, "survey", full)
        pred, ref = blobs(1, (6, 7, 8), 3)
        found = score(pred, ref, 1)
        monkeypatch.undo()
        same(found, score(pred, ref, 1))

    @pytest.mark.usefixtures("without_numba")
    @pytest.mark.parametrize("axis", [None, 0, 2])
    def test_the_distance_map_is_the_same(self, axis: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
        pred, ref = blobs(7, (6, 7, 8), 2)
        slow = surface_distance_map(pred, ref, (3, 1, 0.5), 1, axis=axis)
        monkeypatch.setitem(engine_module._STATE, "broken", False)
        np.testing.assert_allclose(surface_distance_map(pred, ref, (3, 1, 0.5), 1, axis=axis), slow, rtol=1e-6)


class TestCompiling:
    def test_warming_up_is_remembered(self) -> None:
        assert warm_up()
        assert is_warm()

    def test_what_is_compiled_is_kept_in_the_users_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import numba

        from napari_ssl_seg.evaluation.compiling import compiled

        monkeypatch.setenv("NAPARI_SSL_SEG_CACHE", str(tmp_path))
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        before = numba.config.CACHE_DIR
        assert compiled(_plus_one)(2) == 3
        assert numba.config.CACHE_DIR == before
        assert list((tmp_path / "compiled").rglob("*.nbi"))
        beside = Path(__file__).parent / "__pycache__"
        assert not list(beside.glob("*_plus_one*.nbi"))

    def test_folders_that_cannot_be_written_to_cost_only_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from numba.core import caching

        from napari_ssl_seg.evaluation.compiling import compiled

        monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", _refuse)
        monkeypatch.setenv("NAPARI_SSL_SEG_CACHE", str(tmp_path / "nowhere"))
        assert compiled(_plus_one)(4) == 5

    def test_numba_loads_with_the_first_score_and_not_before(self) -> None:
        code = (
            "import sys, napari_ssl_seg.evaluation as e; e.score, e.score_slices, e.rescore_slice, e.warm_up;"
            "print('numba' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_one_kind_of_array_is_compiled_for(self) -> None:
        from napari_ssl_seg.evaluation import kernels

        pred, ref = blobs(6, (6, 7, 8), 3)
        usual = score(pred, ref, 1)
        before = len(kernels.measure.signatures)
        frozen = np.frombuffer(pred.tobytes(), np.uint8).reshape(pred.shape)
        assert not frozen.flags.writeable
        for kind in (frozen, pred.astype(">i4"), np.asfortranarray(pred), pred[::-1][::-1], pred.astype(np.float32)):
            same(score(kind, ref, 1), usual)
            score_slices(kind, ref, (1, 1, 1), axis=1)
        assert len(kernels.measure.signatures) == before


class TestOneSlice:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**31), st.sampled_from([0, 1, 2]))
    def test_it_is_the_row_of_the_whole_table(self, seed: int, axis: int) -> None:
        pred, ref = blobs(seed, (5, 6, 7), 3)
        table = score_slices(pred, ref, (3, 1, 0.5), axis, metrics=ALL)
        edited = pred.copy()
        index = seed % pred.shape[axis]
        edited.swapaxes(0, axis)[index, 1:4, 1:4] = 5  # a label that was nowhere
        fresh = rescore_slice(table, edited, ref, (3, 1, 0.5), index)
        whole = score_slices(edited, ref, (3, 1, 0.5), axis, metrics=ALL)
        assert set(fresh.labels) >= set(whole.labels) and 5 in fresh.labels
        for label in whole.labels:
            for name in ALL:
                np.testing.assert_allclose(fresh.column(name, label), whole.column(name, label), rtol=1e-12)
            place = fresh.labels.index(label)
            assert fresh.notes[:, place].tolist() == whole.notes[:, whole.labels.index(label)].tolist()

    def test_only_the_table_s_labels_where_asked(self) -> None:
        pred, ref = blobs(2, (5, 6, 7), 3)
        table = score_slices(pred, ref, 1, labels=[2, 1])
        edited = pred.copy()
        edited[3] = 9
        assert rescore_slice(table, edited, ref, 1, 3, new_labels=False).labels == (2, 1)
        assert rescore_slice(table, edited, ref, 1, 3).labels[:2] == (2, 1)
        assert table.notes[3].tolist() == score_slices(pred, ref, 1, labels=[2, 1]).notes[3].tolist()

    def test_of_unions(self) -> None:
        pred, ref = blobs(2, (5, 6, 7), 4)
        unions = {1: (1, 2), 2: (2, 3, 4)}
        table = score_slices(pred, ref, 1, unions=unions)
        edited = pred.copy()
        edited[3, :2] = 2
        fresh = rescore_slice(table, edited, ref, 1, 3, unions=unions)
        np.testing.assert_array_equal(fresh.values["assd"], score_slices(edited, ref, 1, unions=unions).values["assd"])

    def test_a_slice_that_is_not_there(self) -> None:
        pred, ref = blobs(2, (5, 6, 7), 3)
        with pytest.raises(UserError, match="no slice 5; the table has slices 0 to 4"):
            rescore_slice(score_slices(pred, ref, 1), pred, ref, 1, 5)


class TestDistanceMap:
    def test_signs_by_hand(self) -> None:
        ref, pred = np.zeros((1, 9, 20), int), np.zeros((1, 9, 20), int)
        ref[0, 2:7, 5:12] = 3
        pred[0, 2:7, 7:15] = 3  # two pixels short on the left, three too far on the right
        found = surface_distance_map(pred, ref, (5, 1, 0.5), 3, axis=0)[0]
        assert found.dtype == np.float32
        assert found[4, 5] == -1.0 and found[4, 11] == pytest.approx(1.5)
        assert found[2, 8] == 0
        assert np.isnan(found[4, 8]) and np.isnan(found[0, 0])
        flat = surface_distance_map(pred[0], ref[0], (1, 0.5), 3)
        np.testing.assert_array_equal(found, flat)

    def test_its_magnitudes_are_what_assd_is_made_of(self) -> None:
        pred, ref = blobs(11, (8, 9, 10), 2)
        there = surface_distance_map(pred, ref, (2, 1, 1), 1)
        back = surface_distance_map(ref, pred, (2, 1, 1), 1)
        pooled = np.abs(np.concatenate([there[np.isfinite(there)], back[np.isfinite(back)]]))
        assert pooled.mean() == pytest.approx(score(pred, ref, (2, 1, 1))[1]["assd"], rel=1e-6)

    def test_a_missed_label_has_no_distances(self) -> None:
        pred, ref = np.zeros((3, 4, 5), int), np.ones((3, 4, 5), int)
        assert np.isnan(surface_distance_map(pred, ref, 1, 1)).all()


def _plus_one(value: int) -> int:
    return value + 1


def _refuse(_: object) -> None:
    raise OSError(30, "Read-only file system")
