"""Small studies for the tests of the label store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg import Study

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (6, 24, 20)


def own_label() -> np.ndarray:
    """A label that the study's own file holds: class 2 on the slices 3 and 4."""
    label = np.zeros(SHAPE, np.uint8)
    label[3:5, 4:9, 5:11] = 2
    return label


def small_study(folder: Path, **options: object) -> Study:
    """Case ``a`` without a label, case ``b`` with `own_label`."""
    rng = np.random.default_rng(0)
    images = [rng.normal(size=SHAPE).astype(np.float32) for _ in "ab"]
    items = [("a", images[0], None, (3.0, 1.0, 0.5)), ("b", images[1], own_label(), (3.0, 1.0, 0.5))]
    return Study.create_from_arrays(folder / "study", items, **options)


def box(value: int, *shape: int) -> np.ndarray:
    """Full of one value."""
    return np.full(shape, value, np.uint8)
