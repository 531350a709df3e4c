"""No scan of the test split is opened by anything that may not know it: counted at the level of files.

Nor does any of it listen on a port, connect to one or look up a name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_ssl_seg.methods import list_methods

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("leakage")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.trust.opened_files", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    network = json.loads((folder / "network.json").read_text())
    assert network == {"calls": [], "connections": []}, "the network was used"
    return json.loads((folder / "opened.json").read_text())


def test_no_test_scan_is_opened(stages: dict[str, dict[str, list[str]]]) -> None:
    """Pretraining by every method, fine-tuning and its choice of a checkpoint, normalisation, regions, K, matching."""
    others = {name: found for name, found in stages.items() if not name.startswith("prediction")}
    assert {name: found["test"] for name, found in others.items() if found["test"]} == {}
    assert {f"pretrain {method.name}" for method in list_methods()} <= set(others)


def test_validation_scans_are_opened_to_choose_and_for_nothing_else(stages: dict[str, dict[str, list[str]]]) -> None:
    for name, found in stages.items():
        chooses = name.startswith(("finetune", "resume", "prediction"))
        assert bool(found["validation"]) == chooses, name


def test_the_hook_sees_what_is_opened(stages: dict[str, dict[str, list[str]]]) -> None:
    assert len(stages["prediction of the test scans"]["test"]) == 2
    assert all(found["train"] for name, found in stages.items() if not name.startswith("median"))
