"""From images and labels to a study on disk, whole or not at all."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.classes import make_classes, read_names
from napari_ssl_seg.study.database import Database, refuse_existing
from napari_ssl_seg.study.importing import LABEL_MARK, Examined, examine_cases
from napari_ssl_seg.study.layouts import find_cases
from napari_ssl_seg.study.records import Case, StudySettings
from napari_ssl_seg.study.split import check_percentages, make_groups, split_cases
from napari_ssl_seg.study.targets import read_targets
from napari_ssl_seg.volumes import list_normalisations, natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_ssl_seg.study.importing import FourD, OnProblem, Progress
    from napari_ssl_seg.study.layouts import Images, Labels
    from napari_ssl_seg.study.split import Groups
    from napari_ssl_seg.study.targets import Targets

MIN_GROUPS = 3


def create_study(
    root: Path,
    *,
    images: Images,
    labels: Labels = None,
    name: str | None = None,
    split: Iterable[float] | str = (70, 10, 20),
    seed: int = 0,
    groups: Groups = None,
    normalisation: str = "percentile",
    classes: Mapping[int | str, str] | Iterable[str] | None = None,
    targets: Targets = None,
    four_d: FourD = "channels",
    sparse_labels: bool = False,
    on_problem: OnProblem = "skip",
    progress: Progress | None = None,
) -> Path:
    """Make the study's folder and database; see `Study.create` for the arguments."""
    settings = make_settings(root, name, split, seed, normalisation, four_d, sparse_labels)
    given, unions = read_names(classes), read_targets(targets)
    if on_problem not in ("skip", "raise"):
        raise StudyError(f"on_problem is 'skip' or 'raise', not {on_problem!r}")
    refuse_existing(root)
    with new_folder(root):
        found = find_cases(images, labels)
        if on_problem == "raise" and found.problems:
            raise StudyError(f"{found.problems[0].path}: {found.problems[0].reason}")
        examined, problems = examine_cases(found.cases, four_d=four_d, on_problem=on_problem, progress=progress)
        problems = found.problems + problems
        if not examined:
            where = images if isinstance(images, (str, Path)) else found.cases[0].images[0].parent
            raise StudyError(
                f"not one of the {len(found.cases)} scans in {where} can be used (the first: {problems[0].reason});"
                " mend them or choose another folder"
            )
        cases = make_cases(examined, settings, groups)
        names = {**found.class_names, **given}
        unions = unions or found.targets
        settings = settings.model_copy(update={"targets": unions})
        values = {value for case in cases for value in case.label_values}
        values |= {value for target in unions for value in target.values}
        Database.create(root, settings, cases, make_classes(values, names), problems).close()
    return root


def make_settings(
    root: Path,
    name: str | None,
    split: Iterable[float] | str,
    seed: int,
    normalisation: str,
    four_d: str,
    sparse_labels: bool,
) -> StudySettings:
    """Checked settings; raises StudyError naming the one that is wrong."""
    if normalisation not in (known := list_normalisations()):
        raise StudyError(f"there is no normalisation {normalisation!r}; choose one of {', '.join(known)}")
    if four_d not in ("channels", "time"):
        raise StudyError(f"four_d is 'channels' or 'time', not {four_d!r}")
    return StudySettings(
        name=name or root.name,
        seed=int(seed),
        split=check_percentages(split),
        normalisation=normalisation,
        four_d=four_d,  # type: ignore[arg-type]
        sparse_labels=bool(sparse_labels),
        created=time.time(),
    )


@contextmanager
def new_folder(root: Path) -> Iterator[None]:
    """Make ``root`` at once, so that a place that cannot be written is known before hours of reading; undo it on failure."""
    made = []
    try:
        path = root
        while not path.exists():
            made.append(path)
            path = path.parent
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"{root} cannot be made ({error.strerror or error}); choose another folder for the study"
        ) from error
    try:
        yield
    except BaseException:
        for path in made:
            try:
                path.rmdir()
            except OSError:
                break  # not empty: somebody else's by now
        raise


def make_cases(examined: list[Examined], settings: StudySettings, groups: Groups = None) -> list[Case]:
    """Group, split and order what was examined."""
    examined = sorted(examined, key=lambda item: natural_key(item.found.id))
    group_of = make_groups({item.found.id: item.found.name for item in examined}, groups)
    with_label = {
        item.found.id
        for item in examined
        if any(facts.slices or not settings.sparse_labels for facts in item.label_facts)
    }
    group_of, notes = _join_copies(examined, group_of)
    splits = split_cases(group_of, labelled=with_label, split=settings.split, seed=settings.seed)
    cases = []
    for item in examined:
        case_id = item.found.id
        for frame in range(item.frames):
            facts = item.label_facts[frame] if item.label_facts else None
            cases.append(
                Case(
                    id=case_id if item.frames == 1 else f"{case_id}_t{frame:02d}",
                    image_files=tuple(map(str, item.found.images)),
                    label_file=None if item.label is None else str(item.label),
                    group=group_of[case_id],
                    split=splits[case_id],
                    shape=item.geometry.shape,
                    spacing=item.geometry.spacing,
                    channels=item.channels,
                    dtype=item.dtype,
                    fingerprint=item.fingerprint,
                    label_fingerprint=facts.fingerprint if facts else None,
                    label_values=facts.values if facts else (),
                    labelled_slices=facts.slices if facts and settings.sparse_labels else None,
                    warnings=(
                        *item.warnings,
                        *notes.get(case_id, ()),
                        *(LABEL_MARK + text for text in (facts.warnings if facts else ())),
                    ),
                    frame=frame if item.frames > 1 else None,
                    stamp=item.stamp,
                )
            )
    return cases


def _join_copies(
    examined: list[Examined], group_of: dict[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Put copies of one scan into one group, so that none is tested on what it was trained on; say so in a warning.

    Where that would leave fewer than three groups (a folder with copies of one phantom) they are only warned of.
    """
    first: dict[str, str] = {}
    copies: dict[str, str] = {}
    for item in examined:
        original = first.setdefault(item.content, item.found.id)
        if original != item.found.id:
            copies[item.found.id] = original
    if not copies:
        return group_of, {}
    leader = {group: group for group in group_of.values()}

    def root(group: str) -> str:
        while leader[group] != group:
            group = leader[group] = leader[leader[group]]
        return group

    for copy, original in copies.items():
        leader[root(group_of[copy])] = root(group_of[original])
    joined = {case: root(group) for case, group in group_of.items()}
    if len(set(joined.values())) >= MIN_GROUPS:
        text = "holds the same voxels as {}, and was put into the same group so that both are in one split"
    else:
        joined = group_of
        text = "holds the same voxels as {}, which may be in another split"
    return joined, {copy: (text.format(original),) for copy, original in copies.items()}
