"""Every file of the corpus through every door: refused in one sentence, quickly and in little memory, or opened right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from napari_ssl_seg import Study
from tests.bad_files.corpus import CORPUS, folder_name, of_kind
from tests.bad_files.fuzzing import all_targets, attempt
from tests.bad_files.spoiling import PAYLOAD_MARK
from tests.bad_files.table import DOCUMENT, trust_document

if TYPE_CHECKING:
    from tests.bad_files.entry import BadFile

ROOT = Path(__file__).resolve().parents[2]
DOORS = {
    **dict.fromkeys(("image", "label"), ("volumes", "study")),
    **dict.fromkeys(("checkpoint", "weights", "run"), ("runs",)),
    **dict.fromkeys(("manifest", "targets", "masks", "archive", "sam"), ("others",)),
}
SECONDS = 2.0
MEGABYTES = 200.0
NO_PREDICTION_IS = ("label_beyond_classes.nii.gz",)
"""Refused as the label of a study, where it would be a class, but scored where it is a prediction."""
NAMELESS = ("run_leads_out.json",)
"""Refused before the file could be named: by the study, which has no such case."""


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By door and file, what became of it; all doors in processes beside each other."""
    folder = tmp_path_factory.mktemp("doors")
    doors = sorted({door for names in DOORS.values() for door in names})
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.bad_files.doors"]
    children = {
        door: subprocess.Popen(
            [*command, door, str(folder / door)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        for door in doors
    }
    for door, child in children.items():
        _, said = child.communicate(timeout=300)
        assert child.returncode == 0, f"{door}: {said[-3000:]}"
    assert not list(folder.rglob(PAYLOAD_MARK)), "code in a file was run"
    assert not list(folder.rglob("evil.txt")), "an archive climbed out"
    return {door: json.loads((folder / door / f"{door}.json").read_text()) for door in doors}


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: entry.name)
def test_what_becomes_of_it(entry: BadFile, outcomes: dict[str, dict[str, Any]]) -> None:
    for door in DOORS[entry.kind]:
        for way, outcome in outcomes[door][entry.name].items():
            assert outcome["seconds"] < SECONDS, (door, way)
            assert outcome["megabytes"] < MEGABYTES, (door, way)
            if way == "second" and door != "volumes":
                _check_command(entry, outcome)
            elif way == "second":
                _check_window(entry, outcome)
            elif entry.verdict == "refuse":
                _check_sentence(entry, outcome, door)
            else:
                assert "said" not in outcome, outcome
                assert outcome.get("right", True), "the voxels are wrong"
                if entry.verdict == "warn" and door == "volumes":
                    assert all(word in outcome["warnings"] for word in entry.words), outcome["warnings"]


def _check_sentence(entry: BadFile, outcome: dict[str, Any], door: str) -> None:
    assert "said" in outcome, f"{door}: it was opened"
    said = outcome["said"]
    assert outcome["ours"], f"{outcome['error']}: {said}"
    assert "\n" not in said and len(said) < 1000
    assert entry.name in said or folder_name(entry) in said, said
    assert all(word in said for word in entry.words), said


def _check_command(entry: BadFile, outcome: dict[str, Any]) -> None:
    """Exit status 2 and one line; a run says before that it begins."""
    if entry.name in NO_PREDICTION_IS:
        return
    assert outcome["status"] == 2 and outcome["stdout"] == "", outcome
    lines = [line for line in outcome["stderr"].splitlines() if not line.startswith("reading ")]  # after two seconds
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True], lines
    assert len(lines) == 1 or entry.kind in ("checkpoint", "run"), lines
    assert "Traceback" not in outcome["stderr"]
    if entry.name not in NAMELESS:
        assert entry.name in lines[-1] or folder_name(entry) in lines[-1], lines


def _check_window(entry: BadFile, outcome: dict[str, Any]) -> None:
    """What is no label map may be an image there; what cannot be read is refused in the same words."""
    if entry.kind == "label" or outcome.get("left_to_others"):
        assert outcome.get("ours", True), outcome
    elif entry.verdict == "refuse":
        _check_sentence(entry, outcome, "window")
    else:
        assert outcome.get("right"), outcome


def test_there_are_enough() -> None:
    assert len(CORPUS) >= 80 and len({entry.name for entry in CORPUS}) == len(CORPUS)
    assert {entry.kind for entry in CORPUS} == set(DOORS)


def test_the_same_files_are_made_at_every_run(tmp_path: Path) -> None:
    for entry in of_kind("image", "targets", "masks"):
        made = []
        for attempt_number in ("one", "two"):
            folder = tmp_path / attempt_number / folder_name(entry)
            folder.mkdir(parents=True)
            entry.make(folder / entry.name)
            path = folder / entry.name
            made.append(path.read_bytes() if path.is_file() else b"")
        assert made[0] == made[1], entry.name


def test_together_they_cost_a_study_nothing_but_themselves(tmp_path: Path) -> None:
    """All images at once: those that must be refused are listed with their reason, the others are in."""
    entries = [entry for entry in of_kind("image") if entry.name != "folder.nii.gz"]
    paths = {}
    for entry in entries:
        folder = tmp_path / "files" / folder_name(entry)
        folder.mkdir(parents=True)
        entry.make(folder / entry.name)
        paths[entry.name] = folder / entry.name
    with Study.create(tmp_path / "study", images=list(paths.values())) as study:
        listed = {problem.path.name: problem.reason for problem in study.problems}
        cases = {case.images[0].name for case in study.cases()}
    assert set(listed) == {entry.name for entry in entries if entry.verdict == "refuse"}
    assert cases == {entry.name for entry in entries if entry.verdict != "refuse"}
    for entry in entries:
        if entry.verdict == "refuse":
            assert all(word in listed[entry.name] for word in entry.words), listed[entry.name]


def test_a_viewer_survives_them(tmp_path: Path, make_napari_viewer: Any) -> None:
    """Each is refused in the viewer, which opens a good file afterwards."""
    from napari_ssl_seg.errors import VolumeError
    from tests.bad_files.entry import nifti_bytes, save

    viewer = make_napari_viewer(show=False)
    names = (
        "cut_in_half.nii.gz",
        "claims_281_terabytes.nii.gz",
        "colours.nii.gz",
        "picture.nii.gz",
        "sform_nan.nii.gz",
    )
    for entry in [entry for entry in CORPUS if entry.name in names]:
        entry.make(tmp_path / entry.name)
        with pytest.raises(VolumeError, match=entry.name):
            viewer.open(tmp_path / entry.name, plugin="napari-ssl-seg")
        assert len(viewer.layers) == 0
    save(tmp_path / "good.nii.gz", nifti_bytes())
    viewer.open(tmp_path / "good.nii.gz", plugin="napari-ssl-seg")
    assert [layer.name for layer in viewer.layers] == ["good"]
    assert psutil.Process().net_connections(kind="inet") == [], "the window listens on a port"


def test_a_process_of_its_own_says_one_line(tmp_path: Path) -> None:
    entry = next(entry for entry in CORPUS if entry.name == "cut_in_half.nii.gz")
    entry.make(tmp_path / entry.name)
    command = [
        sys.executable,
        "-m",
        "napari_ssl_seg",
        "create",
        str(tmp_path / "s"),
        "--images",
        str(tmp_path / entry.name),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "cut short" in done.stderr


def test_files_altered_at_random(tmp_path: Path) -> None:
    """The first seeds of `benchmarks/fuzz_readers.py`, which goes on for minutes."""
    outcomes = [attempt(target, tmp_path, seed) for target in all_targets(tmp_path) for seed in range(25)]
    assert {"opened", "refused"} == set(outcomes)


def test_the_document_lists_them() -> None:
    assert DOCUMENT.read_text() == trust_document(), "run: python -m tests.bad_files.table"
