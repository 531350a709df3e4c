"""Which points stand for all, and how a ranking is spread."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.suggestion.coverage import cluster, comparable, nearest, typical_first
from napari_ssl_seg.suggestion.pool import FEWEST, Limit, _thinned
from napari_ssl_seg.suggestion.records import Ranked, Spot
from napari_ssl_seg.suggestion.spreading import spread_out


class FakeCase(NamedTuple):
    id: str
    shape: tuple[int, int, int]


def crowds(*sizes, seed=0):
    """Crowds of points far from one another."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal((20.0 * place, 0), 1, (size, 2)) for place, size in enumerate(sizes)])


def test_the_middle_of_the_largest_crowd_comes_first():
    points = crowds(40, 80, 20)
    labelled = np.zeros(len(points), bool)
    found = typical_first(points, labelled, lambda index: True, 3, seed=0)
    assert [size for _, size in found] == [80, 40, 20]
    assert [index // 40 for index, _ in found] == [1, 0, 3]
    first = points[found[0][0]] - points[40:120].mean(axis=0)
    assert np.linalg.norm(first) < 1.0  # most of the crowd lies farther out


def test_a_crowd_with_a_label_in_it_waits():
    points = crowds(40, 80, 20)
    labelled = np.zeros(len(points), bool)
    labelled[50] = True
    found = typical_first(points, labelled, lambda index: True, 2, seed=0)
    assert {size for _, size in found} == {40, 20}


def test_what_is_not_allowed_gives_way_to_the_next_typical_one():
    points = crowds(30)
    first = typical_first(points, np.zeros(30, bool), lambda index: True, 1, seed=0)[0][0]
    other = typical_first(points, np.zeros(30, bool), lambda index: index != first, 1, seed=0)[0][0]
    assert other != first


def test_clusters_of_equal_points_do_not_fail():
    assert set(cluster(np.zeros((7, 2)), 3, 0).tolist()) == {0}
    assert (nearest(np.zeros((3, 2)), np.zeros((0, 2))) == np.inf).all()


def test_points_are_comparable_whatever_their_scale():
    points = crowds(20, 20)
    assert np.allclose(comparable(points), comparable(1000 * points + 5))
    wide = comparable(np.random.default_rng(0).normal(size=(30, 200)))
    assert wide.shape == (30, 64)


spots = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), unique=True, min_size=1, max_size=60).map(
    lambda pairs: [Spot(*pair) for pair in pairs]
)


@settings(max_examples=100, deadline=None)
@given(spots, st.integers(1, 12))
def test_a_spread_takes_the_best_and_neighbours_only_where_nothing_else_is_left(candidates, count):
    ranking = [Ranked(spot, -float(place), "") for place, spot in enumerate(candidates)]
    gaps = dict.fromkeys("abc", 3)
    found = spread_out(ranking, count, gaps)
    assert len(found) == min(count, len(ranking))
    assert len({item.spot for item in found}) == len(found)
    assert found[0] == ranking[0]

    def beside(item, others):
        return any(
            item.spot.case_id == other.spot.case_id and abs(item.spot.slice_index - other.spot.slice_index) < 3
            for other in others
            if other is not item
        )

    if any(beside(item, found) for item in found):  # then nobody was left who stood apart from those taken
        apart = [item for item in found if not beside(item, found[: found.index(item)])]
        assert all(beside(item, apart) for item in ranking if item not in found)


def test_what_lies_beside_a_labelled_slice_comes_later():
    ranking = [Ranked(Spot("a", index), 1.0 - index / 100, "") for index in range(10)]
    found = spread_out(ranking, 2, {"a": 3}, labelled=[Spot("a", 0)])
    assert [item.spot.slice_index for item in found] == [3, 6]


def test_every_case_has_its_turn():
    ranking = [Ranked(Spot("a", 5 * index), 1.0, "") for index in range(5)] + [Ranked(Spot("b", 0), 0.1, "")]
    assert {item.spot.case_id for item in spread_out(ranking, 2, {"a": 2, "b": 2})} == {"a", "b"}


@settings(max_examples=60, deadline=None)
@given(
    depths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    slices=st.integers(1, 120),
    voxels=st.integers(100, 20_000),
    whole=st.booleans(),
)
def test_a_large_study_is_thinned_to_the_limit_but_never_to_nothing(depths, slices, voxels, whole):
    cases = [FakeCase(f"c{number}", (depth, 10, 10)) for number, depth in enumerate(depths)]
    free = {case.id: list(range(case.shape[0])) for case in cases}
    found = _thinned(cases, free, Limit(slices, voxels, whole))
    assert found and all(planes for planes in found.values())
    taken = sum(map(len, found.values()))
    for case_id, planes in found.items():
        depth = len(free[case_id])
        assert len(planes) == depth if whole else len(planes) >= min(depth, FEWEST)
    if len(found) > 1:  # one case is looked at in any case; short ones give up to twice the fewest slices
        assert taken <= 2 * slices + len(found)
        assert 100 * taken <= 2 * voxels + 100 * len(found)


def test_everything_is_looked_at_where_there_is_no_limit():
    cases = [FakeCase("a", (7, 10, 10)), FakeCase("b", (3, 10, 10))]
    free = {"a": [0, 5, 6], "b": [1]}
    assert _thinned(cases, free, Limit()) == {"a": (0, 5, 6), "b": (1,)}


def test_when_the_grid_is_labelled_the_slices_between_are_next():
    cases = [FakeCase("a", (20, 10, 10))]
    assert _thinned(cases, {"a": list(range(20))}, Limit(slices=5)) == {"a": (2, 6, 10, 14, 18)}
    rest = [index for index in range(20) if index % 4 != 2]
    assert _thinned(cases, {"a": rest}, Limit(slices=5))["a"][0] == 0
