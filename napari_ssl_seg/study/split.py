"""Cases into train, validation and test: by group, seeded, and the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.records import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Percentages = tuple[float, float, float]
Groups = Mapping[str, str] | str | Callable[[str], str] | None

# Which split goes without where there are fewer groups than splits: validation first, train never.
_PRIORITY: tuple[Split, ...] = ("train", "test", "validation")


def check_percentages(split: Iterable[float] | str) -> Percentages:
    """Three percentages that add up to 100; raises StudyError when they do not. ``"70,10,20"`` is understood."""
    parts = split.split(",") if isinstance(split, str) else list(split)
    try:
        train, validation, test = (float(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise StudyError(f"the split {split!r} is not three numbers; write for example 70,10,20") from error
    if not (min(train, validation, test) >= 0 and abs(train + validation + test - 100) <= 0.01):
        raise StudyError(
            f"the split {train:g},{validation:g},{test:g} must be three percentages (train, validation, test) that add up to 100"
        )
    return train, validation, test


def make_groups(names: Mapping[str, str], groups: Groups = None) -> dict[str, str]:
    """The group of every case.

    Parameters
    ----------
    names : mapping of case id -> file name (with its subfolder)
    groups :
        None: each case is its own group. A mapping: case id -> group. Text: a regular expression that is searched for in
        the file name; its groups (or the whole match) name the group, for example ``r"(patient\\d+)"``. A function of the
        file name.

    Raises
    ------
    StudyError
        When the rule says nothing about a case: a guess would tear a patient apart.
    """
    if groups is None:
        return {case: case for case in names}
    if isinstance(groups, Mapping):
        missing = [case for case in names if case not in groups]
        if missing:
            raise StudyError(f"groups names no group for {len(missing)} cases, for example {missing[0]!r}; add them")
        return {case: str(groups[case]) for case in names}
    rule = _pattern_rule(groups) if isinstance(groups, str) else groups
    found = {case: rule(name) for case, name in names.items()}
    missing = [names[case] for case, group in found.items() if not group]
    if missing:
        raise StudyError(
            f"the rule for groups fits {len(names) - len(missing)} of {len(names)} file names, not for example"
            f" {missing[0]!r}; widen it so that every scan has its patient"
        )
    return {case: str(group) for case, group in found.items()}


def _pattern_rule(pattern: str) -> Callable[[str], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise StudyError(f"the rule for groups {pattern!r} is not a regular expression ({error})") from error

    def rule(name: str) -> str:
        match = compiled.search(name)
        if match is None:
            return ""
        return "_".join(part for part in match.groups() if part) or match.group(0)

    return rule


def seeded_order(names: Iterable[str], seed: int) -> list[str]:
    """A permutation that depends on the seed and on each name alone.

    The order of two names does not change when others are added, nor with the version of a random generator.
    """
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}\0{name}".encode()).digest(), name))


def split_cases(
    groups: Mapping[str, str], *, labelled: Collection[str] = (), split: Percentages = (70, 10, 20), seed: int = 0
) -> dict[str, Split]:
    """Give every case its split.

    The percentages are of the cases whose group has a label, where any has: validation and test are of no use without
    labels, and taking them from all cases could leave none to fine-tune on. Groups without any label all go to train
    (to the largest split where train is 0 per cent). Where no case has a label the percentages are of all cases.

    Train is given at least one group, then test, then validation, where their percentages are above 0 and there are
    enough groups.

    Parameters
    ----------
    groups : mapping of case id -> group; a group is never torn apart
    labelled : ids of the cases that have a label
    split : per cent for train, validation, test
    seed : with the groups' names, all that the draw depends on

    Returns
    -------
    mapping of case id -> split, in the order of ``groups``
    """
    wanted = dict(zip(SPLITS, split, strict=True))
    members: dict[str, int] = {}
    for group in groups.values():
        members[group] = members.get(group, 0) + 1
    with_label = {groups[case] for case in labelled}
    drawn = with_label or set(members)
    result = _draw({group: members[group] for group in drawn}, wanted, seed)
    rest: Split = "train" if wanted["train"] > 0 else max(SPLITS, key=wanted.__getitem__)
    return {case: result.get(group, rest) for case, group in groups.items()}


def _draw(sizes: Mapping[str, int], wanted: Mapping[Split, float], seed: int) -> dict[str, Split]:
    total = sum(sizes.values())
    missing = {name: total * wanted[name] / 100 for name in SPLITS if wanted[name] > 0}
    order = seeded_order(sizes, seed)
    taken: dict[Split, list[str]] = {name: [] for name in missing}
    for group in order:
        name = max(missing, key=lambda name: (round(missing[name], 6), -_PRIORITY.index(name)))
        taken[name].append(group)
        missing[name] -= sizes[group]
    served = [name for name in _PRIORITY if name in taken][: len(order)]
    for name in served:
        if not taken[name]:
            giver = max(taken, key=lambda name: len(taken[name]) - (name in served))
            gift = min(reversed(taken[giver]), key=sizes.__getitem__)
            taken[giver].remove(gift)
            taken[name].append(gift)
    return {group: name for name, groups in taken.items() for group in groups}
