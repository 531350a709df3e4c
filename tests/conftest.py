"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The tests run small tensors on a shared machine: one thread each is fastest, and makes sums repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real scans, which are not part of the repository."""
    if not (REAL_DATA / "hippocampus" / "images").is_dir():
        pytest.skip("the real scans are not on this machine (a folder shared/data beside the checkout)")
    return REAL_DATA
