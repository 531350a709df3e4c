from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.split import check_percentages, make_groups, seeded_order, split_cases

NAMES = [f"case_{number}" for number in range(60)]
percentages = st.tuples(st.integers(0, 100), st.integers(0, 100)).filter(lambda p: sum(p) <= 100)


def alone(n: int) -> dict[str, str]:
    return {name: name for name in NAMES[:n]}


@pytest.mark.parametrize(
    ("n", "split", "expected"),
    [
        (10, (70, 10, 20), (7, 1, 2)),
        (20, (50, 25, 25), (10, 5, 5)),
        (3, (70, 10, 20), (1, 1, 1)),
        (2, (70, 10, 20), (1, 0, 1)),
        (1, (70, 10, 20), (1, 0, 0)),
        (4, (98, 1, 1), (2, 1, 1)),
        (5, (0, 0, 100), (0, 0, 5)),
        (5, (100, 0, 0), (5, 0, 0)),
        (1, (0, 50, 50), (0, 0, 1)),
    ],
)
def test_counts_by_hand(n, split, expected):
    counts = Counter(split_cases(alone(n), split=split).values())
    assert (counts["train"], counts["validation"], counts["test"]) == expected


def test_seed_decides_and_order_of_cases_does_not():
    groups = alone(30)
    first = split_cases(groups, seed=1)
    assert split_cases(dict(reversed(groups.items())), seed=1) == first
    assert split_cases(groups, seed=2) != first


def test_split_is_the_same_on_every_machine():
    """Frozen: a change here would move scans between the splits of studies that are made again."""
    result = split_cases({name: name for name in "abcdefghij"}, seed=0)
    elsewhere = {name: split for name, split in result.items() if split != "train"}
    assert elsewhere == {"b": "test", "i": "test", "j": "validation"}


def test_validation_and_test_come_from_labelled_cases():
    groups = alone(60)
    labelled = NAMES[20:30]
    result = split_cases(groups, labelled=labelled, split=(60, 20, 20))
    assert Counter(result[name] for name in labelled) == {"train": 6, "validation": 2, "test": 2}
    assert {result[name] for name in NAMES if name not in labelled} == {"train"}


def test_unlabelled_cases_of_a_labelled_patient_go_where_the_patient_goes():
    groups = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c", "c2": "c", "d1": "d"}
    result = split_cases(groups, labelled=["a1", "b2", "c1"], split=(34, 33, 33))
    assert result["a1"] == result["a2"] and result["b1"] == result["b2"] and result["c1"] == result["c2"]
    assert {result["a1"], result["b1"], result["c1"]} == {"train", "validation", "test"}
    assert result["d1"] == "train"


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=60),
    st.sets(st.integers(0, 59)),
    percentages,
    st.integers(0, 10),
)
def test_groups_stay_whole_and_wanted_splits_are_served(group_numbers, labelled, first_two, seed):
    split = (*first_two, 100 - sum(first_two))
    groups = {NAMES[place]: f"g{number}" for place, number in enumerate(group_numbers)}
    ids = [NAMES[place] for place in labelled if place < len(groups)]
    result = split_cases(groups, labelled=ids, split=split, seed=seed)
    assert list(result) == list(groups)
    for group in set(groups.values()):
        assert len({result[case] for case in groups if groups[case] == group}) == 1
    drawn = {groups[case] for case in ids} or set(groups.values())
    wanted = [
        name
        for name, share in zip(("train", "test", "validation"), (split[0], split[2], split[1]), strict=True)
        if share
    ]
    used = {result[case] for case in groups if groups[case] in drawn}
    assert used <= set(wanted)
    assert set(wanted[: len(drawn)]) <= used


def test_groups_by_pattern_mapping_function():
    names = {"a": "site/patient01_t1.nii.gz", "b": "site/patient01_t2.nii.gz", "c": "site/patient02.nii.gz"}
    assert make_groups(names, r"(patient\d+)") == {"a": "patient01", "b": "patient01", "c": "patient02"}
    assert make_groups(names, r"patient\d+") == make_groups(names, r"(patient\d+)")
    assert make_groups(names, {"a": 1, "b": 1, "c": 2}) == {"a": "1", "b": "1", "c": "2"}
    assert make_groups(names, lambda name: name.split("/")[0]) == dict.fromkeys(names, "site")
    assert make_groups(names) == {"a": "a", "b": "b", "c": "c"}


@pytest.mark.parametrize("rule", [r"(patient01)", r"(", {"a": "x"}])
def test_a_rule_that_leaves_cases_out_is_refused(rule):
    with pytest.raises(StudyError):
        make_groups({"a": "patient01.nii", "b": "other.nii"}, rule)


@pytest.mark.parametrize("split", [(70, 10), (70, 10, 10), (120, -10, -10), "a,b,c", (float("nan"), 50, 50), ""])
def test_percentages_that_make_no_sense(split):
    with pytest.raises(StudyError):
        check_percentages(split)


def test_percentages_from_text():
    assert check_percentages("70,10,20") == (70.0, 10.0, 20.0)


@given(st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES), st.integers(0, 5))
def test_seeded_order_keeps_when_names_are_added(names, extra, seed):
    assert [name for name in seeded_order({*names, extra}, seed) if name in names] == seeded_order(names, seed)
