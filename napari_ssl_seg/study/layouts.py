"""Find images and labels: in folders, in lists, and where a dataset.json names them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study import manifest as manifests
from napari_ssl_seg.study.manifest import Manifest, has_manifest, read_manifest
from napari_ssl_seg.study.pairing import (
    NO_IMAGE,
    FoundCase,
    NamedFile,
    assign_ids,
    channel_base,
    group_channels,
    is_label_of,
    pair_labels,
)
from napari_ssl_seg.volumes import find_volumes, volume_stem

if TYPE_CHECKING:
    from napari_ssl_seg.study.records import Problem, Target

PathLike = str | os.PathLike[str]
Images = PathLike | Iterable[PathLike | Iterable[PathLike]]
Labels = PathLike | Iterable[PathLike] | Mapping[str, PathLike | None] | None

_LAYOUTS = ((("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")), (("images",), ("labels",)))


@dataclass
class Found:
    """What a folder, a list or a manifest offers."""

    cases: list[FoundCase]
    problems: list[Problem] = field(default_factory=list)
    class_names: dict[int, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()


def find_cases(images: Images, labels: Labels = None, *, channels: int | None = None) -> Found:
    """The cases that ``images`` and ``labels`` offer, by names alone; no volume is opened.

    Parameters
    ----------
    images :
        A folder (searched with its subfolders; one with a ``dataset.json`` of the Medical Segmentation Decathlon or of
        nnU-Net, or with ``imagesTr``/``labelsTr`` or ``images``/``labels``, brings its labels along), a file, or a list of
        files and folders, in which a list of files is the channels of one case.
    labels :
        A folder, a list of files, or a mapping of case id -> file; None where there are none, or the folder says which.
    channels :
        How many a case has, where that is known: then ``X_0000`` to ``X_0003`` are one case even if there is no other.

    Raises
    ------
    StudyError
        When a folder is missing or holds no scans, or not one label has the name of an image.
    """
    if not isinstance(labels, (str, os.PathLike, Mapping, NoneType)):
        labels = list(labels)  # it is gone through more than once
    if not isinstance(images, (str, os.PathLike)):
        files = _listed(images)
        found = _pair(_cases(files, labels, Manifest(channels=channels)), labels, _taken(files), Manifest())
        # Some scans were picked out of many: that the folder also has the labels of the others is no problem.
        return replace(found, problems=[problem for problem in found.problems if problem.reason != NO_IMAGE])
    root = Path(images).absolute()
    if root.name == manifests.NAME:
        root = root.parent
    if not root.exists():
        raise StudyError(f"{root} does not exist; choose a folder with scans, or scans")
    manifest = Manifest(channels=channels)
    if has_manifest(root):
        manifest = read_manifest(root)
        if isinstance(labels, (str, os.PathLike)) and Path(labels).absolute() == root:
            labels = None  # the manifest knows better than the names
    elif has_manifest(root.parent) and root.name in ("imagesTr", "imagesTs"):
        described = read_manifest(root.parent)
        manifest = replace(described, cases=None, problems=())
    if manifest.cases is not None:
        return _named_by_manifest(manifest, labels)
    layout = _known_layout(root)
    chosen: Labels
    if layout is not None and (labels is None or manifest.path is not None):
        chosen = layout[1] if labels is None else labels
        return _pair(_cases(layout[0], chosen, manifest), chosen, _taken(layout[0]), manifest)
    files, chosen = _same_folder(root, labels)
    return _pair(_cases(files, chosen, manifest), chosen, _taken(files), manifest)


# -- images -----------------------------------------------------------------------------------------------------------
Offered = Sequence[NamedFile | tuple[NamedFile, ...]]


def _named(path: Path, root: Path) -> NamedFile:
    folder = "" if path == root else path.parent.relative_to(root).as_posix().removeprefix(".")
    return NamedFile(path, volume_stem(path), folder)


def _folder_files(root: Path, what: str = "scans") -> list[NamedFile]:
    if not root.is_dir():
        return [_named(root, root.parent)]
    files = [_named(path, root) for path in find_volumes(root)]
    if not files:
        raise StudyError(f"{root} holds no {what} (.nii, .nii.gz, .nrrd, .mha, .mhd or DICOM); choose another folder")
    return files


def _listed(items: Iterable[PathLike | Iterable[PathLike]]) -> Offered:
    paths: list[Path | tuple[Path, ...]] = []
    empty: list[Path] = []
    for item in items:
        if isinstance(item, (str, os.PathLike)):
            path = Path(item).absolute()
            found = find_volumes(path) if path.is_dir() else [path]
            paths.extend(found)
            empty.extend([] if found else [path])
        else:
            paths.append(tuple(Path(part).absolute() for part in item))
    flat = [part for path in paths for part in (path if isinstance(path, tuple) else (path,))]
    if not flat and empty:
        raise StudyError(f"{empty[0]} is a folder that holds no scans; choose a folder with scans, or scans")
    if not flat:
        raise StudyError("no scans were given; choose a folder with scans, or scans")
    root = _common_folder(flat)
    return [
        tuple(_named(part, root) for part in path) if isinstance(path, tuple) else _named(path, root)
        for path in paths
        if path != ()
    ]


def _common_folder(paths: Iterable[Path]) -> Path:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError as error:  # two drives of Windows
        raise StudyError("the scans lie on different drives; bring them below one folder") from error


def _same_folder(root: Path, labels: Labels) -> tuple[list[NamedFile], Labels]:
    """Images below ``root``, without the labels among them where both were put there."""
    files = _folder_files(root)
    if not isinstance(labels, (str, os.PathLike)) or not Path(labels).is_dir():
        return files, labels
    label_root = Path(labels).absolute()
    if label_root == root:
        stems: dict[str, list[str]] = {}
        for file in files:
            stems.setdefault(file.folder, []).append(file.stem)
        marked = {file.path for file in files if is_label_of(file.stem, stems[file.folder])}
        return [file for file in files if file.path not in marked], sorted(marked)
    if label_root.is_relative_to(root):
        return [file for file in files if not file.path.is_relative_to(label_root)], labels
    return files, labels


def _known_layout(root: Path) -> tuple[list[NamedFile], list[Path]] | None:
    for image_names, label_names in _LAYOUTS:
        if (root / image_names[0]).is_dir() and (root / label_names[0]).is_dir():
            images = [
                _named(path, root / name)
                for name in image_names
                if (root / name).is_dir()
                for path in find_volumes(root / name)
            ]
            labels = [path for name in label_names if (root / name).is_dir() for path in find_volumes(root / name)]
            if images:
                return images, labels
    return None


def _taken(files: Offered) -> set[Path]:
    return {part.path for file in files for part in (file if isinstance(file, tuple) else (file,))}


# -- labels -----------------------------------------------------------------------------------------------------------
def _label_files(labels: Labels, taken: set[Path]) -> list[NamedFile]:
    if labels is None or isinstance(labels, Mapping):
        return []
    if isinstance(labels, (str, os.PathLike)):
        root = Path(labels).absolute()
        if not root.exists():
            raise StudyError(f"{root} does not exist; choose the folder with the labels")
        return [file for file in _folder_files(root, "labels") if file.path not in taken]
    paths = [Path(path).absolute() for path in labels]
    if not paths:
        return []
    root = _common_folder(paths)
    return [_named(path, root) for path in paths if path not in taken]


def _cases(files: Offered, labels: Labels, manifest: Manifest) -> list[FoundCase]:
    """Cases without labels; the labels' names help to tell channels from scans."""
    single = [file for file in files if isinstance(file, NamedFile)]
    grouped = [
        FoundCase(
            channel_base(channels[0].stem, len(channels)), tuple(part.path for part in channels), channels[0].folder
        )
        for channels in files
        if isinstance(channels, tuple)
    ]
    stems = (
        list(labels) if isinstance(labels, Mapping) else [label.stem for label in _label_files(labels, _taken(files))]
    )
    return [*group_channels(single, stems, manifest.channels), *grouped]


def _pair(cases: Sequence[FoundCase], labels: Labels, taken: set[Path], manifest: Manifest) -> Found:
    problems = list(manifest.problems)
    cases = assign_ids(cases)
    if isinstance(labels, Mapping):
        unknown = set(labels) - {case.id for case in cases}
        if unknown:
            raise StudyError(
                f"labels names a case {min(unknown)!r} that is not among the images; their ids are like {cases[0].id!r}"
            )
        files = {case: Path(path).absolute() for case, path in labels.items() if path is not None}
        return Found([replace(case, label=files.get(case.id)) for case in cases], problems, *_described(manifest))
    label_files = _label_files(labels, taken)
    cases, unpaired = pair_labels(cases, label_files)
    if label_files and not any(case.label for case in cases):
        raise StudyError(
            f"none of the {len(label_files)} labels has the name of an image ({label_files[0].path.name} among the labels,"
            f" {cases[0].images[0].name} among the images); give them like names, or choose another folder"
        )
    return Found(cases, problems + unpaired, *_described(manifest))


def _described(manifest: Manifest) -> tuple[dict[int, str], tuple[Target, ...]]:
    return manifest.class_names, manifest.targets


def _named_by_manifest(manifest: Manifest, labels: Labels) -> Found:
    assert manifest.cases is not None
    if not manifest.cases:
        reason = f" ({manifest.problems[0].reason})" if manifest.problems else ""
        raise StudyError(f"{manifest.path} names no image that can be used{reason}; choose images and labels yourself")
    if labels is None:
        return Found(assign_ids(manifest.cases), list(manifest.problems), *_described(manifest))
    bare = [replace(case, label=None) for case in manifest.cases]
    return _pair(bare, labels, {path for case in bare for path in case.images}, manifest)
