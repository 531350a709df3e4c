"""The phantoms: repeatable, anatomically in order, and different from subject to subject."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.sample import CLASSES, make_abdomen, make_cardiac, make_phantom


@pytest.fixture(scope="module")
def hearts():
    return [make_cardiac(seed) for seed in range(1, 4)]


@pytest.fixture(scope="module")
def bellies():
    coarse = {"shape": (20, 60, 72), "spacing": (8.0, 5.4, 5.4)}  # the same anatomy, quicker
    return [make_abdomen(seed, **coarse) for seed in range(1, 3)]


def centre(label, value):
    return np.array(ndimage.center_of_mass(label == value))


def test_the_same_seed_gives_the_same_arrays(hearts):
    image, label, spacing = make_cardiac(2)
    assert np.array_equal(image, hearts[1][0])
    assert np.array_equal(label, hearts[1][1])
    assert spacing == hearts[1][2]


@pytest.mark.parametrize("make", [make_cardiac, make_abdomen])
def test_shape_and_spacing_can_be_chosen_and_stay_repeatable(make):
    first, again = (make(5, shape=(6, 40, 44), spacing=(10, 4, 4)) for _ in range(2))
    assert first[0].shape == first[1].shape == (6, 40, 44)
    assert first[2] == (10, 4, 4)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_types_classes_and_spacing_of_hearts(hearts):
    for image, label, spacing in hearts:
        assert image.dtype == np.int16
        assert image.min() >= 0
        assert label.dtype == np.uint8
        assert set(np.unique(label)) == {0} | {c.value for c in CLASSES["cardiac"]}
        assert 8 <= spacing[0] <= 10
        assert 1.25 <= spacing[1] <= 1.9


def test_subjects_differ(hearts):
    sizes = [(label == 1).sum() * np.prod(spacing) for _, label, spacing in hearts]
    assert max(sizes) > 1.15 * min(sizes)
    assert len({spacing for _, _, spacing in hearts}) == len(hearts)


def test_the_myocardium_rings_the_left_ventricle_and_the_right_one_lies_beside(hearts):
    for _, label, _ in hearts:
        middle = int(np.argmax((label == 1).sum((1, 2))))
        lv = label[middle] == 1
        around = ndimage.binary_dilation(lv) & ~lv
        assert (label[middle][around] == 2).mean() > 0.9
        assert centre(label, 3)[2] < centre(label, 1)[2]  # towards the patient's right
        assert ndimage.label(lv)[1] == 1


def test_the_heart_tapers_to_its_apex_and_ends_at_the_valves(hearts):
    for _, label, _ in hearts:
        areas = np.isin(label, (1, 2)).sum((1, 2))
        widest = int(np.argmax(areas))
        assert areas[0] < 0.7 * areas[widest]
        assert areas[-1] < 0.7 * areas[widest]


def test_blood_is_brighter_than_myocardium_but_other_blood_is_as_bright(hearts):
    for image, label, _ in hearts:
        assert np.median(image[label == 1]) > np.median(image[label == 2])
        level = np.median(image[label == 1])
        alike = (label == 0) & (np.abs(image - level) < 0.25 * level)
        assert alike.sum() > 0.25 * (label == 1).sum()


def test_types_and_classes_of_abdomens(bellies):
    for image, label, spacing in bellies:
        assert image.dtype == np.int16
        assert set(np.unique(label)) == {0, 1, 2, 3, 4, 5}
        assert image.min() == pytest.approx(-1024, abs=30)
        assert image.max() > 300
        assert spacing == (8.0, 5.4, 5.4)


def test_organs_lie_where_they_belong(bellies):
    for _, label, _ in bellies:
        liver, spleen, left, right, aorta = (centre(label, value) for value in range(1, 6))
        assert liver[2] < aorta[2] < spleen[2]
        assert right[2] < aorta[2] < left[2]
        assert left[1] > liver[1]  # kidneys lie behind the liver
        assert spleen[0] > right[0]  # and below the spleen


def test_soft_organs_have_the_hounsfield_units_of_soft_organs(bellies):
    for image, label, _ in bellies:
        for value in (1, 2, 3, 4):
            assert -10 < np.median(image[label == value]) < 230


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="cardiac, abdomen"):
        make_phantom("knee", 0)
