"""Find images and labels: in folders, in lists, and where a dataset.json names them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError, UserError
from napari_ssl_seg.files import inside, read_json
from napari_ssl_seg.study.pairing import (
    Found,
    FoundCase,
    NamedFile,
    assign_ids,
    group_channels,
    is_label_of,
    pair_labels,
)
from napari_ssl_seg.study.records import Problem
from napari_ssl_seg.volumes import find_volumes, is_volume_file, volume_stem

if TYPE_CHECKING:
    from collections.abc import Sequence

PathLike = str | os.PathLike[str]
Images = PathLike | Iterable[PathLike | Iterable[PathLike]]
Labels = PathLike | Iterable[PathLike] | Mapping[str, PathLike] | None

MANIFEST = "dataset.json"
_LAYOUTS = ((("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")), (("images",), ("labels",)))


def find_cases(images: Images, labels: Labels = None) -> Found:
    """The cases that ``images`` and ``labels`` offer, by names alone; no volume is opened.

    Parameters
    ----------
    images :
        A folder (searched with its subfolders; one with a ``dataset.json`` of the Medical Segmentation Decathlon or of
        nnU-Net, or with ``imagesTr``/``labelsTr`` or ``images``/``labels``, brings its labels along), a file, or a list of
        files and folders, in which a list of files is the channels of one case.
    labels :
        A folder, a list of files, or a mapping of case id -> file; None where there are none, or the folder says which.

    Raises
    ------
    StudyError
        When a folder is missing or holds no scans, or not one label has the name of an image.
    """
    manifest: dict[str, Any] = {}
    if isinstance(images, (str, os.PathLike)):
        root = Path(images).absolute()
        if root.name == MANIFEST:
            root = root.parent
        if not root.exists():
            raise StudyError(f"{root} does not exist; choose a folder with scans, or scans")
        if (root / MANIFEST).is_file():
            return _finish(_from_manifest(root, _read_manifest(root), labels))
        if (root.parent / MANIFEST).is_file() and root.name in ("imagesTr", "imagesTs"):
            manifest = _read_manifest(root.parent)
        layout = _known_layout(root) if labels is None else None
        if layout is not None:
            return _finish(_from_files(*layout, {}))
        files, label_files = _same_folder(root, labels)
    else:
        files, label_files = _listed(images), None
    if label_files is None:
        label_files = _label_files(labels, files)
    return _finish(_from_files(files, label_files, manifest))


def _finish(found: Found) -> Found:
    return replace(found, cases=assign_ids(found.cases))


# -- folders and lists ------------------------------------------------------------------------------------------------
def _named(paths: Iterable[Path], root: Path) -> list[NamedFile]:
    def folder(path: Path) -> str:
        return "" if path == root else path.parent.relative_to(root).as_posix().removeprefix(".")

    return [NamedFile(path, volume_stem(path), folder(path)) for path in paths]


def _folder_files(root: Path, what: str = "scans") -> list[NamedFile]:
    if not root.is_dir():
        return _named([root], root.parent)
    files = _named(find_volumes(root), root)
    if not files:
        raise StudyError(f"{root} holds no {what} (.nii, .nii.gz, .nrrd, .mha, .mhd or DICOM); choose another folder")
    return files


def _listed(items: Iterable[PathLike | Iterable[PathLike]]) -> list[NamedFile | tuple[NamedFile, ...]]:
    paths: list[Path | tuple[Path, ...]] = []
    for item in items:
        if not isinstance(item, (str, os.PathLike)):
            paths.append(tuple(Path(part).absolute() for part in item))
            continue
        path = Path(item).absolute()
        paths.extend(find_volumes(path) if path.is_dir() else [path])
    flat = [part for path in paths for part in (path if isinstance(path, tuple) else (path,))]
    if not flat:
        raise StudyError("no scans were given; choose a folder with scans, or scans")
    root = Path(os.path.commonpath([path.parent for path in flat]))
    return [tuple(_named(path, root)) if isinstance(path, tuple) else _named([path], root)[0] for path in paths]


def _same_folder(root: Path, labels: Labels) -> tuple[list[NamedFile], list[NamedFile] | None]:
    """Images below ``root``, without the labels among them where both were put there."""
    files = _folder_files(root)
    if not isinstance(labels, (str, os.PathLike)) or not Path(labels).is_dir():
        return files, None
    label_root = Path(labels).absolute()
    if label_root == root:
        stems: dict[str, list[str]] = {}
        for file in files:
            stems.setdefault(file.folder, []).append(file.stem)
        marked = [file for file in files if is_label_of(file.stem, stems[file.folder])]
        return [file for file in files if file not in marked], marked
    if label_root.is_relative_to(root):
        return [file for file in files if not file.path.is_relative_to(label_root)], None
    return files, None


def _known_layout(root: Path) -> tuple[list[NamedFile], list[NamedFile]] | None:
    for image_names, label_names in _LAYOUTS:
        if (root / image_names[0]).is_dir() and (root / label_names[0]).is_dir():
            images, labels = (
                [
                    file
                    for name in names
                    if (root / name).is_dir()
                    for file in _named(find_volumes(root / name), root / name)
                ]
                for names in (image_names, label_names)
            )
            return images, labels
    return None


def _label_files(
    labels: Labels, images: Sequence[NamedFile | tuple[NamedFile, ...]]
) -> list[NamedFile] | dict[str, Path]:
    if labels is None:
        return []
    if isinstance(labels, Mapping):
        return {str(case): Path(path).absolute() for case, path in labels.items()}
    if isinstance(labels, (str, os.PathLike)):
        root = Path(labels).absolute()
        if not root.exists():
            raise StudyError(f"{root} does not exist; choose the folder with the labels")
        taken = {file.path for item in images for file in (item if isinstance(item, tuple) else (item,))}
        return [file for file in _folder_files(root, "labels") if file.path not in taken]
    paths = [Path(path).absolute() for path in labels]
    return _named(paths, Path(os.path.commonpath([path.parent for path in paths]))) if paths else []


def _from_files(
    images: Sequence[NamedFile | tuple[NamedFile, ...]],
    labels: Sequence[NamedFile] | dict[str, Path],
    manifest: Mapping[str, Any],
) -> Found:
    single = [file for file in images if isinstance(file, NamedFile)]
    grouped = [
        FoundCase(files[0].stem, tuple(file.path for file in files), files[0].folder)
        for files in images
        if isinstance(files, tuple) and files
    ]
    by_id = isinstance(labels, dict)
    stems = list(labels) if isinstance(labels, dict) else [label.stem for label in labels]
    cases = [*group_channels(single, stems, _channels(manifest)), *grouped]
    names = _class_names(manifest)
    if by_id:
        cases = assign_ids(cases)
        unknown = [case for case in labels if case not in {item.id for item in cases}]
        if unknown:
            raise StudyError(
                f"labels names a case {unknown[0]!r} that is not among the images, for example {cases[0].id!r}"
            )
        return Found([replace(case, label=labels.get(case.id)) for case in cases], [], names)
    cases, problems = pair_labels(cases, labels)
    if labels and not any(case.label for case in cases):
        raise StudyError(
            f"none of the {len(labels)} labels has the name of an image ({labels[0].path.name} among the labels,"
            f" {cases[0].images[0].name} among the images); give them like names, or choose another folder"
        )
    return Found(cases, problems, names)


# -- dataset.json -----------------------------------------------------------------------------------------------------
def _read_manifest(root: Path) -> dict[str, Any]:
    try:
        manifest = read_json(root / MANIFEST)
    except UserError as error:
        raise StudyError(str(error)) from error
    if not isinstance(manifest, dict):
        raise StudyError(
            f"{root / MANIFEST} is not a description of a data set; remove it, or choose images and labels yourself"
        )
    return manifest


def _from_manifest(root: Path, manifest: Mapping[str, Any], labels: Labels) -> Found:
    """The Decathlon names every file; nnU-Net's second version names none and has its folders."""
    if not isinstance(manifest.get("training"), list):
        layout = _known_layout(root)
        if layout is None and labels is None:
            raise StudyError(
                f"{root / MANIFEST} names no training images and {root} has no imagesTr and labelsTr; choose images and labels"
            )
        files = layout[0] if layout else _same_folder(root, labels)[0]
        own = labels is not None and not _is_same(labels, root)
        chosen = _label_files(labels, files) if own or layout is None else layout[1]
        return _from_files(files, chosen, manifest)
    found = Found(class_names=_class_names(manifest))
    tests = manifest.get("test")
    for entry in [*manifest["training"], *(tests if isinstance(tests, list) else [])]:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        try:
            files = _channel_files(inside(root, str(image)))
            label_file = inside(root, str(label)) if label else None
        except (UserError, ValueError) as error:
            found.problems.append(Problem(root / MANIFEST, str(error)))
            continue
        stem = volume_stem(inside(root, str(image)))
        found.cases.append(FoundCase(stem, files, "", label_file))
    if not found.cases:
        raise StudyError(f"{root / MANIFEST} names no image that can be used; choose images and labels yourself")
    if labels is not None and not _is_same(labels, root):
        items = [tuple(_named(case.images, root)) for case in found.cases]
        chosen = _label_files(labels, items)
        again = _from_files(items, chosen, manifest)
        again.problems[:0] = found.problems
        return again
    return found


def _is_same(labels: Labels, root: Path) -> bool:
    return isinstance(labels, (str, os.PathLike)) and Path(labels).absolute() == root


def _channel_files(path: Path) -> tuple[Path, ...]:
    """The file, or where nnU-Net gave it channel suffixes its channels."""
    if path.exists() or not is_volume_file(path):
        return (path,)
    stem = volume_stem(path)
    files = []
    while (channel := path.with_name(f"{stem}_{len(files):04d}{path.name[len(stem) :]}")).exists():
        files.append(channel)
    return tuple(files) or (path,)


def _class_names(manifest: Mapping[str, Any]) -> dict[int, str]:
    """From ``{"1": "liver"}`` (Decathlon) or ``{"liver": 1}`` (nnU-Net); regions of several values are left out."""
    names: dict[int, str] = {}
    labels = manifest.get("labels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, number = (key, value) if isinstance(value, int) else (value, key)
        try:
            number = int(number)
        except (TypeError, ValueError):
            continue
        if 1 <= number <= 65535 and isinstance(name, str) and name.strip() and name.strip() not in names.values():
            names[number] = name.strip()
    return names


def _channels(manifest: Mapping[str, Any]) -> int | None:
    named = manifest.get("channel_names", manifest.get("modality"))
    return len(named) if isinstance(named, dict) and named else None
