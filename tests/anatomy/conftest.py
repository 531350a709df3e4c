"""A small study of phantoms: one body with marks, seen in fields of view of its own in each scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from napari_ssl_seg.study import Study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKS = np.array([(10, 12, 10), (26, 12, 30), (14, 30, 24), (30, 30, 12), (20, 20, 20)], float)
"""Voxels of the body, 40 x 40 x 40 at 1 mm."""


def body(seed: int = 0) -> np.ndarray:
    """An ellipsoid with blobs of different sizes and intensities, smooth and with a little noise of its own."""
    z, y, x = np.mgrid[:40, :40, :40]
    image = 0.4 * (((z - 20) / 19) ** 2 + ((y - 20) / 17) ** 2 + ((x - 20) / 15) ** 2 < 1)
    for index, (a, b, c) in enumerate(MARKS):
        width = 2.0 + index
        image = image + (0.6 - 0.25 * index) * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / (2 * width**2))
    image = ndimage.gaussian_filter(image, 0.7)
    return image + np.random.default_rng(seed).normal(scale=0.01, size=image.shape)


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """``make_study({name: (array, spacing)})``, all in the split train."""

    def make(scans: dict[str, tuple[np.ndarray, tuple[float, float, float]]]) -> Study:
        items = [(name, array, None, spacing) for name, (array, spacing) in scans.items()]
        return Study.create_from_arrays(tmp_path / "study", items, split=(100, 0, 0))

    return make


@pytest.fixture
def body_study(make_study: Callable[..., Study]) -> Study:
    """``whole``; ``shifted``, the same without its first 8, 0 and 8 voxels; ``small``, cut all round, another scan of it."""
    whole = body()
    return make_study(
        {
            "whole": (whole, (1, 1, 1)),
            "shifted": (whole[8:, :, 8:], (1, 1, 1)),
            "small": (body(1)[4:36, 4:36, 4:36], (1, 1, 1)),
        }
    )
