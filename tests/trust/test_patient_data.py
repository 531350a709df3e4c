"""Names and identifiers in headers end up nowhere: in no byte that is written, and in nothing that is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trust.planted import WORDS, found_in, write_planted

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--iterations", "1", "--batch-size", "2", "--device", "cpu", "--dims", "2"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of what was written, and what was printed."""
    folder = tmp_path_factory.mktemp("patients")
    write_planted(folder / "scans")
    assert {word for word, _ in found_in(folder / "scans")} == set(WORDS)
    out = folder / "out"
    out.mkdir()
    study, scans = str(out / "study"), folder / "scans"
    verbs = [
        ["create", study, "--images", str(scans / "images"), "--labels", str(scans / "labels"), "--split", "50,25,25"],
        ["info", study],
        ["inspect", study, "--method", "volume_fusion", "--case", "series", "--out", str(out / "views")],
        ["regions", study, "--source", "slic"],
        ["pretrain", study, "--method", "volume_fusion", *TINY],
        ["finetune", study, "--init", "RUN", *TINY],
        ["predict", study, "--run", "RUN", "--split", "all", "--probabilities", "--device", "cpu"],
        ["predict", study, "--run", "RUN", "--images", str(scans / "images" / "series"), str(scans / "images" / "text.nrrd"), "--out", str(out / "elsewhere"), "--device", "cpu"],
        ["evaluate", study, "--run", "RUN", "--csv", str(out / "scores.csv")],
        ["embed", study, "--run", "RUN", "--out", str(out / "embedding"), "--device", "cpu"],
        ["suggest", study, "--run", "RUN", "--device", "cpu", "--variation", "none"],
        ["compare", study, "--methods", "scratch,simmim", "--cases", "2", "--repeats", "1", "--pretrain-iterations", "1", "--finetune-iterations", "1", "--dims", "2", "--device", "cpu", "--out", str(out / "compared")],
        ["runs", study],
        ["create", str(out / "odd"), "--images", str(scans / "images" / "odd.nrrd")],
        ["create", str(out / "cut"), "--images", str(scans / "images" / "cut")],
    ]  # fmt: skip
    code = "import sys; from tests.trust.test_patient_data import call_all; call_all(sys.argv[1])"
    (folder / "verbs.json").write_text(json.dumps(verbs))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(folder / "verbs.json")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout + done.stderr


def call_all(path: str) -> None:
    """Run the verbs in this process; ``RUN`` stands for the latest run; all but the last two have to work."""
    from napari_ssl_seg.cli import main
    from napari_ssl_seg.study import Study

    verbs = json.loads(Path(path).read_text())
    for number, words in enumerate(verbs):
        if "RUN" in words:
            words = [Study.open(words[1]).runs()[-1].id if word == "RUN" else word for word in words]
        status = main(words)
        assert status == (2 if number >= len(verbs) - 2 else 0), words


def test_no_planted_word_is_written(written: tuple[Path, str]) -> None:
    out, _ = written
    assert found_in(out) == set()
    assert len(list(out.rglob("*.nii.gz"))) > 10 and (out / "compared" / "report.html").exists()


def test_no_planted_word_is_printed(written: tuple[Path, str]) -> None:
    _, said = written
    assert "error: " in said and "broken.nii.gz" in said
    assert [word for word in WORDS if word in said] == []
