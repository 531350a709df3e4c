"""One rule for every tool: protected classes and other labels stay, whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.annotation import Region, apply_region, changed_voxels

CLASSES = st.integers(0, 4)


def region(mask, start=(0, 0)):
    mask = np.asarray(mask, bool)
    return Region(mask, start, 0, int(mask.sum()))


def put(labels, start, values):
    after = labels.copy()
    box = tuple(slice(at, at + side) for at, side in zip(start, values.shape, strict=True))
    after[box] = values
    return after


LABELS = np.array([[0, 0, 2, 2], [0, 1, 2, 3], [0, 1, 0, 3]], np.uint8)
WHOLE = region(np.ones((3, 4)))


def test_a_click_fills_what_is_in_no_class():
    start, values = apply_region(LABELS, WHOLE, 1)
    np.testing.assert_array_equal(put(LABELS, start, values), [[1, 1, 2, 2], [1, 1, 2, 3], [1, 1, 1, 3]])
    assert values.dtype == np.uint8 and LABELS[0, 0] == 0


def test_other_labels_are_overwritten_when_asked_but_for_protected_ones():
    after = put(LABELS, *apply_region(LABELS, WHOLE, 1, overwrite=True, protected={3}))
    np.testing.assert_array_equal(after, [[1, 1, 1, 1], [1, 1, 1, 3], [1, 1, 1, 3]])


def test_a_protected_class_does_not_grow():
    _, values = apply_region(LABELS, WHOLE, 1, overwrite=True, protected={1})
    assert values.shape == (0, 0)


def test_taking_away_takes_the_class_only():
    np.testing.assert_array_equal(
        put(LABELS, *apply_region(LABELS, WHOLE, 2, erase=True)), np.where(LABELS == 2, 0, LABELS)
    )
    np.testing.assert_array_equal(
        put(LABELS, *apply_region(LABELS, WHOLE, 2, erase=True, overwrite=True, protected=[3])),
        np.where(LABELS == 3, 3, 0),
    )
    assert apply_region(LABELS, WHOLE, 2, erase=True, protected=[2])[1].size == 0


def test_the_box_is_as_small_as_what_changes():
    start, values = apply_region(LABELS, region([[1, 1, 1], [1, 1, 1]], (1, 1)), 1)
    assert start == (2, 2) and values.tolist() == [[1]]


def test_a_region_may_stick_out_of_the_slice():
    after = put(LABELS, *apply_region(LABELS, region(np.ones((3, 3)), (-2, -1)), 4))
    np.testing.assert_array_equal(after != LABELS, [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert apply_region(LABELS, region(np.ones((2, 2)), (7, 9)), 4)[1].size == 0


def test_what_cannot_be():
    with pytest.raises(ValueError, match="does not fit into labels of type uint8"):
        apply_region(LABELS, WHOLE, 300)
    with pytest.raises(ValueError, match=r"slice \(y, x\)"):
        apply_region(LABELS[None], WHOLE, 1)


@settings(max_examples=150, deadline=None)
@given(
    labels=hnp.arrays(np.uint8, (6, 7), elements=CLASSES),
    mask=hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))),
    start=st.tuples(st.integers(-4, 7), st.integers(-4, 8)),
    value=st.integers(1, 4),
    protected=st.frozensets(CLASSES),
    erase=st.booleans(),
    overwrite=st.booleans(),
)
def test_nothing_changes_that_must_not(labels, mask, start, value, protected, erase, overwrite):
    before = labels.copy()
    box_start, values = apply_region(
        labels, region(mask, start), value, protected=protected, erase=erase, overwrite=overwrite
    )
    np.testing.assert_array_equal(labels, before)
    after = put(labels, box_start, values)
    changed = after != before
    inside = np.zeros_like(changed)
    for y, x in np.argwhere(mask) + start:
        if 0 <= y < 6 and 0 <= x < 7:
            inside[y, x] = True
    assert not changed[~inside].any()
    for number in protected - {0}:
        np.testing.assert_array_equal(after == number, before == number)
    if not overwrite:
        others = (before != 0) & (before != value)
        assert not changed[others].any()
    assert set(np.unique(after[changed])) <= ({0} if erase else {value})
    # and all that may change does
    if value not in protected and 0 not in protected:
        free = inside & ~np.isin(before, list(protected))
        wanted = (before == value) if erase else (before == 0)
        wanted = (before != 0 if erase else before != value) if overwrite else wanted
        np.testing.assert_array_equal(changed, free & wanted)
    indices, new = changed_voxels(before, [(box_start, values)])
    assert len(new) == changed.sum()
    again = before.copy()
    again[indices] = new
    np.testing.assert_array_equal(again, after)
    if changed.any():  # tight: each side of the box changes something
        rows, columns = np.nonzero(changed)
        assert (rows.min(), columns.min()) == box_start
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == values.shape


def test_voxels_of_several_boxes():
    labels = np.zeros((2, 2, 2), np.uint8)
    boxes = [((0, 0, 0), np.array([[[1, 0]]], np.uint8)), ((1, 1, 0), np.array([[[0, 2]]], np.uint8))]
    indices, values = changed_voxels(labels, boxes)
    assert [index.tolist() for index in indices] == [[0, 1], [0, 1], [0, 1]] and values.tolist() == [1, 2]
    indices, values = changed_voxels(labels, [])
    assert len(indices) == 3 and all(len(index) == 0 for index in indices) and len(values) == 0
