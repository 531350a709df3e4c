"""The ways by which a file comes in, each as a function of an entry and its path; run in a process of its own.

``python -m tests.bad_files.doors DOOR FOLDER`` makes the files that come through DOOR below FOLDER and writes what became
of each to FOLDER/DOOR.json: the sentence, the kind of the error, the seconds, and the memory above the base.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bad_files.corpus import OF_A_RUN, folder_name, make, of_kind
from tests.bad_files.dicom_files import dicom_bytes
from tests.bad_files.entry import labels, nifti_bytes, save
from tests.bad_files.spoiling import PLACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bad_files.entry import BadFile

PATIENCE = 60.0
"""Seconds after which a file is said to hang, and this process ends."""
ADDRESS_SPACE = 6 * 2**30
"""Bytes beyond what the process has: a bomb that goes off must not take the machine along."""

LOADED = {
    "volumes": ("napari.utils.notifications", "napari_ssl_seg.gui.reader", "napari_ssl_seg.study"),
    "study": (
        "napari_ssl_seg.commands.studies",
        "napari_ssl_seg.commands.scoring",
        "napari_ssl_seg.evaluation.evaluating",
    ),
    "runs": ("torch", "napari_ssl_seg.training.prediction", "napari_ssl_seg.commands.training"),
    "others": (
        "torch",
        "napari_ssl_seg.commands.studies",
        "tests.regions.tiny_sam",
        "napari_ssl_seg.regions.sam_checkpoint",
    ),
}
"""Modules that a door loads before anything is measured."""

Outcome = dict[str, Any]
"""``right``: whether the voxels were; ``warnings``: what was said about them."""


# -- volumes ------------------------------------------------------------------------------------------------------------
def reader(entry: BadFile, path: Path, right: np.ndarray | None) -> Outcome:
    """The reader; for a label map, as it is examined beside its image."""
    from napari_ssl_seg.study.importing import examine_label
    from napari_ssl_seg.volumes import read_header, read_volume

    volume = read_volume(path, role=entry.kind)  # type: ignore[arg-type]
    if entry.kind == "label":
        examine_label(path, read_header(path.parent / "images" / path.name).geometry, path.name)
    array = volume.geometry.to_source(volume.array)
    return {"right": _same(array, right), "warnings": " ; ".join(volume.warnings)}


def _same(array: np.ndarray, right: np.ndarray | None) -> bool:
    wanted = np.asarray(right)
    floating = array.dtype.kind == wanted.dtype.kind == "f"
    return array.size == wanted.size and np.array_equal(array.squeeze(), wanted.squeeze(), equal_nan=floating)


def window(entry: BadFile, path: Path, right: np.ndarray | None) -> Outcome:
    """The window's reader."""
    from napari_ssl_seg.gui.reader import get_reader

    read = get_reader(str(path))
    if read is None:
        return {"left_to_others": True}
    layers = read(str(path))
    return {"right": layers[0][0].size == np.asarray(right).size, "layers": [kind for _, _, kind in layers]}


def study(entry: BadFile, path: Path, right: np.ndarray | None) -> Outcome:
    """A study that refuses everything at the first problem."""
    from napari_ssl_seg.study import Study

    images, given = _of_study(entry, path)
    with Study.create(path.parent / "study", images=images, labels=given, on_problem="raise") as made:
        return {"cases": len(made.cases())}


def command_of_study(entry: BadFile, path: Path) -> list[str]:
    if entry.kind == "image":
        return ["create", str(path.parent / "by_command"), "--images", str(path)]
    for name in ("pred", "ref"):  # a label alone is listed when a study is made; by itself it is a prediction to score
        (path.parent / name).mkdir()
    os.replace(path, path.parent / "pred" / path.name)
    save(path.parent / "ref" / path.name, nifti_bytes(labels()))
    return ["evaluate", "--pred", str(path.parent / "pred"), "--ref", str(path.parent / "ref")]


def _of_study(entry: BadFile, path: Path) -> tuple[Any, Any]:
    if entry.kind == "image":
        return [path], None
    image = path.parent / "images" / path.name
    return [image], [path]


# -- runs ---------------------------------------------------------------------------------------------------------------
def run_reader(entry: BadFile, path: Path, right: np.ndarray | None) -> Outcome:
    """What loads it."""
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import drain, resume
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.training.weights import load_backbone, load_segmentation

    run = Run(path.parent)
    if entry.kind == "weights":
        load_segmentation(run)
        load_backbone(run)
    elif entry.kind == "run":
        for case in [case for used in run.record.cases.values() for case in used]:
            run.prediction_path(case)
    else:
        drain(resume(Study.open(path.parents[2]), run, iterations=2))
    return {"right": True}


def command_of_run(entry: BadFile, path: Path) -> list[str]:
    verb = ["predict", "--run"] if entry.kind == "weights" else ["resume"]
    more = [] if entry.kind == "weights" else ["--iterations", "2"]
    return [verb[0], str(path.parents[2]), *verb[1:], folder_name(entry), *more]


def other_reader(entry: BadFile, path: Path, right: np.ndarray | None) -> Outcome:
    """What reads manifests, targets, masks, archives and Segment Anything's weights."""
    from napari_ssl_seg.commands.studies import parse_targets
    from napari_ssl_seg.regions.foreign import read_records
    from napari_ssl_seg.regions.sam_checkpoint import load_sam
    from napari_ssl_seg.sample._unpack import unpack
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import drain

    if entry.kind == "manifest":
        with Study.create(path.parent / "study", images=path.parent, on_problem="raise") as made:
            return {"right": next(case.images[0].name for case in made.cases()) == "good.nii.gz"}
    if entry.kind == "targets":
        return {
            "right": [(item.name, item.values) for item in parse_targets([str(path)])]
            == [("no", (12,)), ("core", (1,))]
        }
    if entry.kind == "masks":
        return {"right": read_records(path).shape[0] == 0}
    if entry.kind == "sam":
        return {"right": load_sam(path) is not None}
    into = path.parent / "into"
    into.mkdir()
    drain(unpack(path, into, folder="Task99_Tiny", limit=1_000_000, what="unpacking"))
    return {"right": True}


def command_of_other(entry: BadFile, path: Path) -> list[str]:
    by_command = str(path.parent / "by_command")
    if entry.kind == "manifest":
        return ["create", by_command, "--images", str(path.parent)]
    if entry.kind == "targets":
        save(path.parent / "good.nii.gz", nifti_bytes())
        return ["create", by_command, "--images", str(path.parent / "good.nii.gz"), "--targets", str(path)]
    return []


# -- measured -----------------------------------------------------------------------------------------------------------
def measured(action: Callable[[], Outcome], base: int) -> Outcome:
    """What became of it, with time and memory; nothing that is raised gets through."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    started = time.process_time()  # what it costs on any machine, however busy this one is; sleepers meet the watchdog
    try:
        outcome = action()
    except BaseException as error:
        from napari_ssl_seg.errors import UserError

        outcome = {"said": str(error), "ours": isinstance(error, UserError), "error": type(error).__name__}
    outcome["seconds"] = time.process_time() - started
    outcome["megabytes"] = (_highest() - base) / 1024
    faulthandler.cancel_dump_traceback_later()
    return outcome


def by_command(arguments: list[str]) -> Outcome:
    """A command line of these words: its exit status and what it printed."""
    from napari_ssl_seg.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit_memory() -> None:
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        if os.path.exists("/proc")
        else 0
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))


def _base_run(folder: Path) -> Path:
    """A run of one step, in a study of small scans."""
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import drain, finetune
    from tests.training.conftest import write_scans

    write_scans(folder / "scans", 6)
    made = Study.create(folder / "study", images=folder / "scans" / "images", labels=folder / "scans" / "labels")
    options = {"preview_seconds": 0, "threads": 1, "checkpoint_seconds": 3600}
    run = drain(finetune(made, iterations=1, batch_size=2, device="cpu", train=options))
    made.close()
    return run.folder


def main(door: str, folder: Path) -> None:
    """See the module."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    PLACE[:] = [folder]
    root, run = folder / "files", None
    first: Callable[[BadFile, Path, np.ndarray | None], Outcome] = reader
    kinds: tuple[Any, ...] = ("image", "label")
    command: Callable[[BadFile, Path], list[str]] | None = None
    if door == "volumes":
        second = window
    elif door == "study":
        first, command = study, command_of_study
    elif door == "runs":
        first, command, kinds, run = run_reader, command_of_run, OF_A_RUN, _base_run(folder)
        root = run.parent
    else:
        first, command, kinds = other_reader, command_of_other, ("manifest", "targets", "masks", "archive", "sam")
    entries = of_kind(*kinds)
    paths = {}
    rights: dict[str, np.ndarray | None] = {}
    for entry in entries:
        target = root / folder_name(entry)
        if entry.kind in OF_A_RUN:
            paths[entry.name] = make(entry, root, run)
            continue
        target.mkdir(parents=True)
        paths[entry.name] = target / entry.name
        rights[entry.name] = entry.make(target / entry.name)
    gc.collect()
    _warm_up(door, folder)
    _limit_memory()
    base = _highest()
    outcomes: dict[str, dict[str, Outcome]] = {}
    for entry in entries:
        path, right = paths[entry.name], rights.get(entry.name)
        found = outcomes[entry.name] = {"first": measured(lambda: first(entry, path, right), base)}  # noqa: B023
        if command is None:
            found["second"] = measured(lambda: second(entry, path, right), base)  # noqa: B023
        elif entry.verdict == "refuse" and (words := command(entry, path)):
            found["second"] = measured(lambda: by_command(words), base)
    (folder / f"{door}.json").write_text(json.dumps(outcomes, indent=1))


def _warm_up(door: str, folder: Path) -> None:
    """Load the libraries, so that the base has them."""
    from napari_ssl_seg.volumes import read_volume

    for name in LOADED[door]:
        import_module(name)
    for name, content in (("warm.nii.gz", nifti_bytes()), ("warm.dcm", dicom_bytes())):
        save(folder / name, content)
        read_volume(folder / name)
    if (
        door == "study"
    ):  # scoring is compiled on first use, which on a fresh machine takes longer than the watchdog waits
        from napari_ssl_seg.evaluation.engine import warm_up

        warm_up()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
