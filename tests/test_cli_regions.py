"""The verb ``regions``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.cli import main
from napari_ssl_seg.study import Study
from tests.regions.test_prepare import write_scan

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_ssl_seg.training.events import Event

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SSL_SEG_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for number in range(4):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number)
    Study.create(tmp_path / "study", images=tmp_path / "scans", split=(50, 0, 50)).close()
    return tmp_path / "study"


def call(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[dict[str, Any], str]:
    assert main(["regions", *map(str, arguments), "--json"]) == status
    captured = capsys.readouterr()
    return (json.loads(captured.out) if captured.out else {}), captured.err


def test_a_study_is_prepared_and_counted(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer, _ = call(capsys, study)
    assert answer["source"] == "felzenszwalb"
    assert "no SAM weights" in answer["title"]
    assert (answer["cases"], answer["slices"], answer["done"], answer["empty_slices"]) == (2, 14, 14, 4)
    assert answer["regions_per_slice"] >= 1
    assert sum(answer["k_histogram"].values()) == 10
    mean = np.mean([int(k) for k, count in answer["k_histogram"].items() for _ in range(count)])
    assert answer["K"] == np.ceil(mean)
    again, _ = call(capsys, study, "--source", "felzenszwalb")
    assert {**again, "seconds": 0} == {**answer, "seconds": 0}


def test_all_splits_are_prepared_but_k_is_of_train(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, _ = call(capsys, study)
    every, _ = call(capsys, study, "--split", "all")
    assert (every["cases"], every["slices"]) == (4, 28)
    assert (every["K"], every["k_histogram"]) == (train["K"], train["k_histogram"])


def test_settings_change_the_key(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = call(capsys, study)
    two, _ = call(capsys, study, "--set", "scale=10", "min_size=5", "--alpha", "0.8")
    other, _ = call(capsys, study, "--source", "slic")
    assert len({one["key"], two["key"], other["key"]}) == 3
    assert other["source"] == "slic"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "scale=-1"], "scale"),
        (["--set", "scala=1"], "scala"),
        (["--alpha", "0"], "alpha"),
        (["--source", "sam"], "weights"),
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--source", "masks"], "masks"),
        (["--fetch", "vit_x"], "vit_x"),
    ],
)
def test_mistakes_are_said_in_one_line(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    answer, err = call(capsys, study, *arguments, status=2)
    assert said in answer["error"]
    assert err.startswith("error: ") and err.count("\n") == 1


def test_weights_are_not_fetched_before_one_agrees(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ssl_seg.regions import sam_weights

    def fetched(model_type: str) -> Generator[Event, None, Path]:
        yield from ()
        return Path("there") / model_type

    monkeypatch.setattr(sam_weights, "fetch_weights", lambda model_type: pytest.fail("without being asked"))
    answer, err = call(capsys, study, "--fetch", "vit_b", status=2)
    assert "--yes" in answer["error"]
    info = sam_weights.get_weights("vit_b")
    assert all(text in err for text in (info.url, info.licence, info.sha256, "375 MB"))
    monkeypatch.setattr(sam_weights, "fetch_weights", fetched)
    answer, err = call(capsys, study, "--fetch", "vit_b", "--yes")
    assert answer["file"] == str(Path("there") / "vit_b")
    assert answer["bytes"] == info.bytes
    assert info.url in err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process alone there")
def test_ctrl_c_stops_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        write_scan(tmp_path / "scans" / f"scan_{number}.nii.gz", number, (150, 90, 80))
    folder = tmp_path / "study"
    Study.create(folder, images=tmp_path / "scans", split=(100, 0, 0)).close()
    command = [sys.executable, "-m", "napari_ssl_seg", "regions", str(folder), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(folder.rglob("*.slice")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    # Where the interrupt met an import, Python ends by the signal itself after `main` has returned: 130 to every shell.
    assert process.returncode in (130, -signal.SIGINT)
    assert out == ""
    assert "goes on" in err and "Traceback" not in err
    assert not list(folder.rglob("*.claim*"))
    assert list(folder.rglob("*.slice")) or list(folder.rglob("*.regions"))
