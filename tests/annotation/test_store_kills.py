"""kill -9 while labels are painted by script, a few times; `benchmarks/label_store_kills.py` does it a hundred times."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "label_store_kills.py"


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
def test_a_kill_loses_at_most_the_last_second(real_data: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("label_store_kills", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["label_store_kills"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    study = script.make_study(real_data, tmp_path, scans=3)
    outcomes = script.run(study, 5, seed=1, longest=0.8)
    assert [(one.lost, one.unreadable, one.wrong) for one in outcomes] == [(0, "", [])] * 5
    assert sum(one.accepted for one in outcomes) > 5
