"""A folder of a thousand scans of which twenty are bad, and files that were damaged on their way."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_ssl_seg import Study
from tests.bad_files.corpus import CORPUS
from tests.bad_files.entry import AFFINE, nifti_bytes, save

ROOT = Path(__file__).resolve().parents[2]
SCANS, BAD = 1000, 20
CPU_SECONDS = 20.0


def test_a_thousand_scans_with_twenty_bad_ones(tmp_path: Path) -> None:
    """The 980 are in, the 20 are listed with their reasons; bombs and pipes among them."""
    bad = [entry for entry in CORPUS if entry.kind == "image" and entry.verdict == "refuse"]
    bad = [entry for entry in bad if entry.name.endswith((".nii.gz", ".nrrd")) and "folder" not in entry.name]
    chosen = bad[:: len(bad) // BAD][:BAD]
    assert len(chosen) == BAD and len({entry.why for entry in chosen}) == BAD
    images = tmp_path / "images"
    images.mkdir()
    places = set(np.random.default_rng(0).choice(SCANS, BAD, replace=False).tolist())
    listed, rest = {}, iter(chosen)
    for number in range(SCANS):
        if number in places:
            entry = next(rest)
            path = images / f"scan_{number:04d}{''.join(Path(entry.name).suffixes)}"
            entry.make(path)
            listed[path] = entry.words
        else:
            array = np.full((5, 6, 7), number, np.int16)
            save(images / f"scan_{number:04d}.nii.gz", nifti_bytes(array, AFFINE))
    before, started = _cpu(), time.monotonic()
    with Study.create(tmp_path / "study", images=images) as study:
        spent, waited = _cpu() - before, time.monotonic() - started
        problems = {problem.path: problem.reason for problem in study.problems}
        cases = {case.id for case in study.cases()}
    assert set(problems) == set(listed)
    for path, words in listed.items():
        assert all(word in problems[path] for word in words) and path.name in problems[path], problems[path]
    assert cases == {f"scan_{number:04d}" for number in range(SCANS) if number not in places}
    assert spent < CPU_SECONDS, f"{spent:.1f} s of the processor, {waited:.1f} s in all"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@pytest.mark.real_data
def test_no_damaged_file_is_opened_with_wrong_voxels(real_data: Path, tmp_path: Path) -> None:
    """The beginning of `benchmarks/damage_sweep.py`, which does 800."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from damage_sweep import sweep
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    files = [*sorted(real_data.rglob("hippocampus*.nii.gz"))[:40:4], real_data / "torso" / "example_seg.nii.gz"]
    counts = sweep(files, 80, 1, ["napari_ssl_seg"], tmp_path)["napari_ssl_seg"]
    assert counts["cut refused"] == 40
    assert counts["cut wrong"] == counts["flip wrong"] == 0 and counts["flip refused"] >= 35
