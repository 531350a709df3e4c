"""A study of small scans in which a disc grows from slice to slice, some slices labelled; and two fine-tuned runs on it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain, finetune

QUICK = {"batch_size": 4, "threads": 1, "preview_seconds": 0, "checkpoint_seconds": 3600}


def make_study(folder, *, scans: int = 6, depth: int = 8) -> Study:
    """Four scans to train on, one to validate, one to test; of the first train scan slices 2 and 5 count, of the validation all."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((24, 24)) - 12
    items = []
    for number in range(scans):
        label = np.zeros((depth, 24, 24), np.uint8)
        for index in range(1, depth):
            inside = rows**2 + columns**2
            label[index][inside < (1.4 * index) ** 2] = 1
            label[index][inside < (0.7 * index) ** 2] = 2
        image = (60 * label + rng.normal(0, 6, label.shape)).astype(np.float32)
        items.append((f"scan_{number}", image, label, (2.0, 1.0, 1.0)))
    made = Study.create_from_arrays(folder, items, split=(67, 17, 16), classes={1: "ring", 2: "core"})
    for number, case in enumerate(made.cases(split="train")):
        made.set_labelled_slices(case.id, [2, 5] if number == 0 else [])
    return made


@pytest.fixture(scope="session")
def kept_study(tmp_path_factory) -> Study:
    """With two runs; tests that change it take `study`."""
    made = make_study(tmp_path_factory.mktemp("suggestion") / "study")
    for seed in (0, 1):
        drain(finetune(made, iterations=30, dims=2, seed=seed, device="cpu", train=QUICK))
    return made


@pytest.fixture
def study(tmp_path) -> Study:
    """The same without runs."""
    return make_study(tmp_path / "study")
