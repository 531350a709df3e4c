"""The table of slices is what `score` says of each slice alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import METRICS, SliceTable, rescore_slices, score, score_slices
from tests.evaluation.test_metrics import blobs

ALL = tuple(name for name in METRICS if name != "volume_difference")
"""A slice's volume is that of a slab, and has no like in 2D."""


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0, 1, 2, -1]))
def test_each_slice_is_an_image_of_its_own(seed: int, axis: int) -> None:
    pred, ref = blobs(seed, (5, 6, 7), 3)
    spacing = (3.0, 1.0, 0.5)
    table = score_slices(pred, ref, spacing, axis=axis, labels=[1, 2, 3], metrics=ALL)
    in_plane = [step for other, step in enumerate(spacing) if other != axis % 3]
    assert table.n_slices == pred.shape[axis]
    for index in range(table.n_slices):
        alone = score(pred.take(index, axis), ref.take(index, axis), in_plane, labels=[1, 2, 3], metrics=ALL)
        for label in (1, 2, 3):
            found = table.at(index, label)
            assert found["note"] == alone[label]["note"]
            for name in ALL:
                assert found[name] == pytest.approx(alone[label][name], rel=1e-12, nan_ok=True)


def by_hand() -> SliceTable:
    """Slices: right; half of label 1; label 2 missed; empty."""
    ref, pred = np.zeros((4, 2, 4), int), np.zeros((4, 2, 4), int)
    ref[:3, 0], ref[:3, 1] = 1, 2
    pred[:] = ref
    pred[1, 0, :2] = 0
    pred[2, 1] = 0
    return score_slices(pred, ref, 1)


def test_means_leave_out_what_is_not_defined() -> None:
    table = by_hand()
    assert table.mean_over_labels("dice") == pytest.approx([1, (4 / 6 + 1) / 2, 0.5, np.nan], nan_ok=True)
    assert table.mean_over_labels("assd")[[0, 2]].tolist() == [0, 0]  # of label 1: label 2 is missed, and noted
    assert table.notes[2].tolist() == ["", "missed"]
    assert table.notes[3].tolist() == ["absent in both"] * 2
    assert table.column("dice", 2).tolist()[:3] == [1, 1, 0]


def test_worst_slices_come_first_whichever_way_the_metric_points() -> None:
    table = by_hand()
    assert table.worst() == [2, 1, 0]
    assert table.worst(1) == [2]
    assert table.worst(2, "assd") == [1, 0]
    assert table.worst(3, "dice", label=1) == [1, 0, 2]


def test_a_table_survives_json() -> None:
    table = by_hand()
    again = SliceTable.from_dict(json.loads(json.dumps(table.to_dict(), allow_nan=False)))
    assert (again.labels, again.metrics, again.axis) == (table.labels, table.metrics, table.axis)
    assert again.notes.tolist() == table.notes.tolist()
    for name in table.metrics:
        np.testing.assert_array_equal(again.values[name], table.values[name])
    empty = score_slices(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), 1)
    assert SliceTable.from_dict(empty.to_dict()).worst() == []
    with pytest.raises(UserError, match="no table of slices"):
        SliceTable.from_dict({"labels": [1]})


def test_slices_of_what_has_none_are_refused() -> None:
    with pytest.raises(UserError, match="volumes of 3 axes"):
        score_slices(np.zeros((3, 3), int), np.zeros((3, 3), int), 1)
    with pytest.raises(UserError, match="axis 3"):
        score_slices(np.zeros((3, 3, 3), int), np.zeros((3, 3, 3), int), 1, axis=3)
    with pytest.raises(UserError, match=r"\(3, 3, 3\)"):
        score_slices(np.zeros((3, 3, 3), int), np.zeros((3, 3, 2), int), 1)
    with pytest.raises(KeyError):
        by_hand().at(0, 9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_several_predictions_rescored_at_once_are_each_as_by_itself(axis: int, kind: type) -> None:
    rng = np.random.default_rng(axis)
    ref = rng.integers(0, 3, (5, 7, 6)).astype(kind)
    preds = [np.where(rng.random(ref.shape) < 0.3, 0, ref).astype(kind) for _ in range(3)]
    tables = [score_slices(pred, ref, (3, 1, 0.5), axis, labels=(1, 2)) for pred in preds]
    one = (slice(None),) * axis + (2,)
    ref[one] = 1
    preds[1][one] = 7  # a label that the others, and their tables, do not have
    fresh = rescore_slices(tables, preds, ref, (3, 1, 0.5), 2)
    assert [table.labels for table in fresh] == [(1, 2), (1, 2, 7), (1, 2)]
    for pred, table in zip(preds, fresh, strict=True):
        whole = score_slices(pred, ref, (3, 1, 0.5), axis, labels=table.labels)
        for name in table.metrics:
            np.testing.assert_allclose(table.values[name], whole.values[name], rtol=1e-12)
        np.testing.assert_array_equal(table.notes, whole.notes)
