"""Numbers by hand, by MedPy 0.5.2, and by what may not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpy.metric import binary

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import METRICS, score

ALL = tuple(METRICS)


def cube(shift: int = 0, label: int = 1) -> np.ndarray:
    """A cube of 5 voxels in a volume of 12, moved along z."""
    volume = np.zeros((12, 12, 12), np.uint8)
    volume[2 + shift : 7 + shift, 3:8, 3:8] = label
    return volume


def blobs(seed: int, shape: tuple[int, ...], n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """A label map of boxes, and the same with noise: shapes that touch each other and the border."""
    rng = np.random.default_rng(seed)
    ref = np.zeros(shape, np.uint8)
    for label in range(1, n_labels + 1):
        low = [int(rng.integers(0, size)) for size in shape]
        ref[tuple(slice(start, start + int(rng.integers(1, 7))) for start in low)] = label
    pred = np.where(rng.random(shape) < 0.1, rng.integers(0, n_labels + 1, shape), ref).astype(np.uint8)
    return np.roll(pred, int(rng.integers(0, 2)), axis=-1), ref


def same(first: dict, second: dict, *, within: float = 1e-9) -> None:
    assert first.keys() == second.keys()
    for label, values in first.items():
        for name, value in values.items():
            other = second[label][name]
            if isinstance(value, str):
                assert value == other
            else:
                assert value == pytest.approx(other, rel=within, abs=within, nan_ok=True), (label, name)


class TestByHand:
    @pytest.mark.parametrize(("spacing", "assd"), [((1, 1, 1), 0.3469), ((3, 1, 1), 0.8673)])
    def test_a_cube_moved_by_one_voxel(self, spacing: tuple[int, ...], assd: float) -> None:
        found = score(cube(1), cube(), spacing, metrics=ALL)[1]
        assert found["dice"] == pytest.approx(0.8)
        assert found["iou"] == pytest.approx(100 / 150)
        assert found["assd"] == pytest.approx(assd, abs=5e-5)
        assert found["hd"] == spacing[0]
        assert found["volume_difference"] == 0
        assert found["note"] == ""

    def test_two_voxels_two_apart(self) -> None:
        pred, ref = np.zeros((1, 1, 5), int), np.zeros((1, 1, 5), int)
        pred[0, 0, 1], ref[0, 0, 3] = 7, 7
        found = score(pred, ref, (1, 1, 1.5), metrics=ALL)
        assert list(found) == [7]
        assert found[7]["dice"] == 0 and found[7]["iou"] == 0
        assert found[7]["assd"] == found[7]["hd"] == found[7]["hd95"] == 3.0
        assert found[7]["nsd"] == 0

    def test_the_surface_dice_counts_what_lies_within_the_tolerance_or_on_it(self) -> None:
        pred, ref = np.zeros((1, 1, 8), int), np.zeros((1, 1, 8), int)
        pred[0, 0, [0, 3]] = 1  # 1 and 0 voxels from the reference
        ref[0, 0, [1, 3, 6]] = 1  # 1, 0 and 3 voxels from the prediction
        values = [score(pred, ref, 0.1, metrics=["nsd"], tolerance=t)[1]["nsd"] for t in (0.05, 0.1, 0.2, 0.3)]
        assert values == pytest.approx([2 / 5, 4 / 5, 4 / 5, 1.0])

    def test_hd95_is_the_percentile_of_both_directions_together(self) -> None:
        pred, ref = np.zeros((1, 1, 30), int), np.zeros((1, 1, 30), int)
        pred[0, 0, :10], ref[0, 0, :10] = 1, 1
        ref[0, 0, 15] = 1  # distances: 10 zeros, 10 zeros and one 6
        assert score(pred, ref, 1, metrics=["hd95"])[1]["hd95"] == np.percentile([0] * 20 + [6], 95) == 0
        ref[0, 0, 16] = 1
        expected = np.percentile([0] * 20 + [6, 7], 95)
        assert score(pred, ref, 1, metrics=["hd95"])[1]["hd95"] == pytest.approx(expected)
        assert expected > 0

    def test_volume_is_signed_and_in_millilitres(self) -> None:
        pred, ref = np.zeros((10, 10, 10), int), np.zeros((10, 10, 10), int)
        pred[:4], ref[:5] = 1, 1
        found = score(pred, ref, (2, 1, 1), metrics=["volume_difference", "volume_difference_relative"])[1]
        assert found["volume_difference"] == pytest.approx(-0.2)
        assert found["volume_difference_relative"] == pytest.approx(-0.2)


class TestUndefined:
    def test_absent_in_both(self) -> None:
        found = score(cube(), cube(), 1, labels=[1, 2], metrics=ALL)[2]
        assert found["note"] == "absent in both"
        assert all(math.isnan(found[name]) for name in ALL)  # type: ignore[arg-type]

    def test_missed(self) -> None:
        found = score(cube() * 0, cube(), 1, metrics=ALL)[1]
        assert found["note"] == "missed"
        assert found["dice"] == found["iou"] == found["nsd"] == 0
        assert all(math.isnan(found[name]) for name in ("assd", "hd", "hd95"))  # type: ignore[arg-type]
        assert found["volume_difference"] == pytest.approx(-0.125) and found["volume_difference_relative"] == -1

    def test_false_alarm(self) -> None:
        found = score(cube(), cube() * 0, 1, metrics=ALL)[1]
        assert found["note"] == "false alarm"
        assert found["dice"] == found["iou"] == found["nsd"] == 0
        names = ("assd", "hd", "hd95", "volume_difference_relative")
        assert all(math.isnan(found[name]) for name in names)  # type: ignore[arg-type]

    def test_nothing_at_all(self) -> None:
        assert score(np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int), 1) == {}
        assert score(np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int), 1, labels=[3])[3]["note"] == "absent in both"


class TestMedPy:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 2**31),
        st.one_of(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 14)] * 2)),
        st.lists(st.floats(0.3, 6), min_size=3, max_size=3),
    )
    def test_random_shapes(self, seed: int, shape: tuple[int, ...], spacing: list[float]) -> None:
        pred, ref = blobs(seed, shape, 4)
        steps = spacing[: len(shape)]
        for label, found in score(pred, ref, steps, metrics=ALL).items():
            first, second = pred == label, ref == label
            assert found["dice"] == pytest.approx(binary.dc(first, second), abs=1e-12)
            assert found["iou"] == pytest.approx(binary.jc(first, second), abs=1e-12)
            if found["note"] == "":
                for name, theirs in (("assd", binary.assd), ("hd", binary.hd), ("hd95", binary.hd95)):
                    assert found[name] == pytest.approx(theirs(first, second, steps), rel=1e-6, abs=1e-12), name
            else:
                assert not (first.any() and second.any())

    def test_a_bad_prediction(self) -> None:
        pred, ref = cube(0), np.roll(cube(0), (5, -3, 4), axis=(0, 1, 2))
        assert score(pred, ref, (2.5, 0.7, 0.7))[1]["assd"] == pytest.approx(
            binary.assd(pred, ref, (2.5, 0.7, 0.7)), rel=1e-9
        )


class TestInvariance:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**31), st.permutations([0, 1, 2]), st.integers(0, 7))
    def test_turned_and_mirrored_volumes_score_the_same(self, seed: int, order: list[int], mirrored: int) -> None:
        pred, ref = blobs(seed, (7, 8, 9), 3)
        spacing = (3.0, 1.0, 0.5)
        flips = [axis for axis in range(3) if mirrored & (1 << axis)]
        turned = [np.flip(part.transpose(order), flips) for part in (pred, ref)]
        same(score(pred, ref, spacing, metrics=ALL), score(*turned, [spacing[axis] for axis in order], metrics=ALL))

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**31))
    def test_overlap_and_distance_do_not_ask_which_is_the_reference(self, seed: int) -> None:
        pred, ref = blobs(seed, (6, 7, 8), 3)
        names = ("dice", "iou", "assd", "hd", "hd95", "nsd")
        there, back = score(pred, ref, 1, metrics=names), score(ref, pred, 1, metrics=names)
        swap = {"missed": "false alarm", "false alarm": "missed"}
        same(there, {label: {**v, "note": swap.get(str(v["note"]), v["note"])} for label, v in back.items()})

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**31), st.integers(1, 3))
    def test_background_around_a_label_changes_nothing(self, seed: int, margin: int) -> None:
        pred, ref = blobs(seed, (6, 7, 8), 3)
        wide = [np.pad(part, margin) for part in (pred, ref)]
        same(score(pred, ref, (2, 1, 1), metrics=ALL), score(*wide, (2, 1, 1), metrics=ALL))

    def test_other_labels_change_nothing(self) -> None:
        pred, ref = blobs(3, (9, 9, 9), 5)
        alone = score(np.where(pred == 2, 2, 0), np.where(ref == 2, 2, 0), 1, metrics=ALL)
        same({2: score(pred, ref, 1, metrics=ALL)[2]}, alone)
        same(score(pred, ref, 1, labels=[2], metrics=ALL), alone)

    def test_strides_do_not_matter(self) -> None:
        pred, ref = blobs(4, (8, 8, 8), 3)
        same(score(pred, ref, 1), score(np.asfortranarray(pred), ref[::-1][::-1], 1))


class TestInput:
    @pytest.mark.parametrize("value", [255, 256, 65535, 3_000_000])
    def test_large_label_values(self, value: int) -> None:
        pred, ref = cube(1).astype(np.uint32) * value, cube().astype(np.uint32) * value
        assert score(pred, ref, 1)[value]["dice"] == pytest.approx(0.8)
        assert score(pred, ref, 1, labels=[1, value])[value]["dice"] == pytest.approx(0.8)

    def test_more_labels_than_a_byte_can_count(self) -> None:
        ref = np.arange(700).reshape(7, 10, 10)
        found = score(ref, ref.astype(np.uint64), 1)
        assert len(found) == 699
        assert all(values["dice"] == 1 and values["assd"] == 0 for values in found.values())

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32, np.float64])
    def test_whole_numbers_of_any_type(self, dtype: type) -> None:
        assert score(cube(1).astype(dtype), cube(), 1)[1]["dice"] == pytest.approx(0.8)

    @pytest.mark.parametrize("odd", [np.nan, np.inf, 0.5])
    def test_what_is_no_label_is_refused_with_its_place(self, odd: float) -> None:
        pred = cube().astype(float)
        pred[1, 2, 3] = odd
        with pytest.raises(UserError, match=r"the prediction holds (nan|inf|0\.5) at voxel \(1, 2, 3\)"):
            score(pred, cube(), 1)
        with pytest.raises(UserError, match="the reference holds"):
            score(cube(), pred, 1)

    def test_negative_and_complex_values_are_refused(self) -> None:
        with pytest.raises(UserError, match="negative label -1"):
            score(-cube().astype(int), cube(), 1)
        with pytest.raises(UserError, match="complex64"):
            score(cube().astype(np.complex64), cube(), 1)

    def test_other_shapes_are_refused_with_both(self) -> None:
        with pytest.raises(UserError, match=r"\(12, 12, 12\).*\(12, 12, 11\)"):
            score(cube(), cube()[..., :-1], 1)
        with pytest.raises(UserError, match="2 or 3 axes"):
            score(cube()[None], cube()[None], 1)

    @pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, -1, 1), (1, math.nan, 1), 0])
    def test_spacing_must_fit(self, spacing: object) -> None:
        with pytest.raises(UserError, match="3 positive numbers in mm"):
            score(cube(), cube(), spacing)  # type: ignore[arg-type]

    def test_unknown_names_are_refused(self) -> None:
        with pytest.raises(UserError, match="no metric 'hd90'; choose among dice"):
            score(cube(), cube(), 1, metrics=["dice", "hd90"])
        with pytest.raises(UserError, match="0 is the background"):
            score(cube(), cube(), 1, labels=[0, 1])
