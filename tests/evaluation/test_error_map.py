from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import ERROR_CLASSES, error_map


def test_every_kind_of_error_by_hand() -> None:
    pred = np.array([[0, 1, 0, 1, 2]])
    ref = np.array([[0, 1, 1, 0, 1]])
    found = error_map(pred, ref)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 1, 2, 3]]
    assert ERROR_CLASSES == {1: "missed", 2: "extra", 3: "other class"}


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(2, 2\).*\(2, 3\)"):
        error_map(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(UserError, match="whole numbers"):
        error_map(np.full((2, 2), 0.5), np.zeros((2, 2)))
