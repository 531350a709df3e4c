"""Filling between labelled slices: shapes with known answers, and real labels of which every fourth slice is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.annotation import fill_between
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.volumes import read_volume


def disc(centre, radius, size=(40, 60), spacing=(1.0, 1.0)):
    y, x = np.ogrid[: size[0], : size[1]]
    return ((y - centre[0]) * spacing[0]) ** 2 + ((x - centre[1]) * spacing[1]) ** 2 <= radius**2


def stack(count, **known):
    """Labels (count, 40, 60) with slices ``at_N``."""
    labels = np.zeros((count, 40, 60), np.uint8)
    for name, plane in known.items():
        labels[int(name.removeprefix("at_"))] = plane
    return labels


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_a_cone_narrows_evenly():
    labels = stack(9, at_0=disc((20, 30), 16), at_8=disc((20, 30), 4))
    proposal = fill_between(labels, [0, 8])
    assert proposal.slices == tuple(range(1, 8)) and proposal.labels.dtype == np.uint8
    for z in proposal.slices:
        assert dice(proposal.labels[z] > 0, disc((20, 30), 16 - 1.5 * z)) > 0.95
    assert not proposal.labels[[0, 8]].any()


def test_a_disc_that_shifts_by_more_than_its_width_does_not_vanish():
    labels = stack(5, at_0=disc((14, 18), 7), at_4=disc((26, 42), 7))
    proposal = fill_between(labels, [0, 4])
    for z in (1, 2, 3):
        assert dice(proposal.labels[z] > 0, disc((14 + 3 * z, 18 + 6 * z), 7)) > 0.95


def test_two_objects_of_a_class_go_their_own_ways():
    first = disc((20, 10), 5) | disc((20, 50), 5)
    last = disc((20, 18), 5) | disc((20, 42), 5)
    proposal = fill_between(stack(5, at_0=first, at_4=last), [0, 4])
    middle = disc((20, 14), 5) | disc((20, 46), 5)
    assert dice(proposal.labels[2] > 0, middle) > 0.95


def test_one_object_divides():
    last = disc((20, 14), 6) | disc((20, 46), 6)
    first = np.zeros((40, 60), bool)
    first[14:27, 8:53] = True
    proposal = fill_between(stack(5, at_0=first, at_4=last), [0, 4])
    kept = proposal.labels[2] > 0
    assert kept[20, 14] and kept[20, 46]
    assert np.count_nonzero(first) > np.count_nonzero(kept) > np.count_nonzero(last)


def test_a_class_in_one_slice_alone_shrinks_to_a_point_half_way():
    labels = stack(9, at_0=disc((20, 20), 8), at_8=np.where(disc((20, 45), 8), 2, 0))
    proposal = fill_between(labels, [0, 8])
    first, second = ([np.count_nonzero(proposal.labels[z] == value) for z in range(9)] for value in (1, 2))
    assert first[1] > first[2] > first[3] > 0 and first[4:] == [0] * 5
    assert second[7] > second[6] > second[5] > 0 and second[:5] == [0] * 5
    assert first[1:4] == second[5:8][::-1]


def test_between_two_classes_that_touch_there_is_no_gap():
    first, last = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    first[10:30, 10:30], first[10:30, 30:50] = 1, 2
    last[10:30, 10:20], last[10:30, 20:50] = 1, 2
    proposal = fill_between(stack(5, at_0=first, at_4=last), [0, 4])
    made = proposal.labels[2]
    assert made[12:28, 11:49].all() and np.count_nonzero(made) == pytest.approx(
        20 * 40, rel=0.03
    )  # corners are rounded
    np.testing.assert_array_equal(made[12:28, 11:24], 1)  # the border between them goes half the way, too
    np.testing.assert_array_equal(made[12:28, 26:49], 2)


def test_a_class_takes_the_place_of_another_half_way():
    labels = stack(5, at_0=disc((20, 30), 10), at_4=np.where(disc((20, 30), 10), 2, 0))
    made = fill_between(labels, [0, 4]).labels
    assert made[1][20, 30] == 1 and made[3][20, 30] == 2
    for z in (1, 2, 3):
        assert made[z][disc((20, 30), 6)].all() and not made[z][~disc((20, 30), 10)].any()


def test_distances_are_in_mm():
    """A flat ellipse in pixels that is a disc in mm stays one."""
    spacing = (4.0, 2.0, 0.5)
    labels = stack(5, at_0=disc((20, 30), 14, spacing=spacing[1:]), at_4=disc((20, 30), 6, spacing=spacing[1:]))
    wanted = disc((20, 30), 10, spacing=spacing[1:])
    assert wanted.any(axis=1).sum() == 11 and wanted.any(axis=0).sum() == 41
    right = dice(fill_between(labels, [0, 4], spacing=spacing).labels[2] > 0, wanted)
    wrong = dice(fill_between(labels, [0, 4], spacing=(4.0, 1.0, 1.0)).labels[2] > 0, wanted)
    assert right > 0.95 and right > wrong + 0.02


def test_only_slices_between_known_ones_and_only_these_classes():
    labels = stack(12, at_2=disc((20, 20), 8), at_4=disc((20, 20), 8), at_5=disc((20, 20), 8), at_8=disc((20, 20), 8))
    labels[8, 35:, 50:] = 2
    labels[5, 35:, 50:] = 2
    labels[10] = 1  # not known to be labelled as a whole
    proposal = fill_between(labels, [8, 2, 4, 5], values=[2], case_id="scan")
    assert proposal.slices == (3, 6, 7) and proposal.case_id == "scan"
    assert proposal.values() == (2,)
    np.testing.assert_array_equal(proposal.labels[6], np.where(labels[5] == 2, 2, 0))
    assert not np.delete(proposal.labels, [6, 7], axis=0).any()


def test_empty_slices_give_an_empty_proposal():
    assert fill_between(stack(4), [0, 3]).values() == ()


@pytest.mark.parametrize("known", [[], [3], [3, 4], [3, 3]])
def test_nothing_between(known):
    with pytest.raises(UserError, match="label two slices with others between"):
        fill_between(stack(6), known)


def test_no_such_slice():
    with pytest.raises(UserError, match="slices 0 to 5, not 2 to 9"):
        fill_between(stack(6), [2, 9])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_same_slices_in_between_and_mirrored_the_same_mirrored(data):
    planes = st.lists(
        st.tuples(st.integers(4, 35), st.integers(4, 55), st.integers(1, 9), st.integers(1, 3)), max_size=3
    )

    def draw(shapes):
        plane = np.zeros((40, 60), np.uint8)
        for y, x, radius, value in shapes:
            plane[disc((y, x), radius)] = value
        return plane

    first, last = draw(data.draw(planes)), draw(data.draw(planes))
    same = fill_between(stack(4, at_0=first, at_3=first), [0, 3]).labels
    np.testing.assert_array_equal(same[1], first)
    made = fill_between(stack(5, at_0=first, at_4=last), [0, 4]).labels
    assert set(np.unique(made)) <= set(np.unique(first)) | set(np.unique(last)) | {0}
    back = fill_between(stack(5, at_0=last, at_4=first), [0, 4]).labels[::-1]
    assert np.mean(made != back) < 0.01  # equal but for ties between classes


def test_every_fourth_slice_of_real_labels(real_data):
    ours, copied = [], []
    for path in sorted((real_data / "hippocampus" / "labels").glob("*.nii.gz"))[::10]:
        volume = read_volume(path, role="label")
        labels = volume.array.astype(np.uint8)
        there = np.flatnonzero(labels.any(axis=(1, 2)))
        known = sorted({*range(there[0], there[-1] + 1, 4), int(there[-1])})
        proposal = fill_between(labels, known, spacing=volume.spacing)
        between = list(proposal.slices)
        nearest = labels[[min(known, key=lambda other, z=z: abs(other - z)) for z in between]]
        for value in (1, 2):
            truth = labels[between] == value
            ours.append(dice(proposal.labels[between] == value, truth))
            copied.append(dice(nearest == value, truth))
    assert np.mean(ours) > 0.86 and np.mean(ours) > np.mean(copied) + 0.07


def test_an_object_that_the_slice_cuts_off_goes_on_at_its_edge():
    first, last = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    first[:, :20], last[:, :40] = True, True
    proposal = fill_between(stack(5, at_0=first, at_4=last), [0, 4])
    expected = np.zeros((40, 60), bool)
    expected[:, :30] = True
    np.testing.assert_array_equal(proposal.labels[2] > 0, expected)
    full = np.ones((40, 60), bool)
    assert fill_between(stack(3, at_0=full, at_2=full), [0, 2]).labels[1].all()
