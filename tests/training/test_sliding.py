"""Whole scans from windows: the same as MONAI's, and the same as one pass where one window is enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.training.sliding import segment, window_size


class Local(nn.Module):
    """Logits that depend on the voxel alone, so that windows must not change them."""

    n_classes = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, :1]
        return torch.cat([-value, value.square() - 0.5, value], dim=1) * 3


def expected(array: np.ndarray) -> np.ndarray:
    value = array[0]
    return np.stack([-value, value**2 - 0.5, value]).argmax(0)


@pytest.mark.parametrize("shape", [(5, 16, 16), (9, 40, 23), (3, 7, 9), (40, 60, 17)])
@pytest.mark.parametrize("patch", [(16, 16), (8, 16, 16)])
def test_every_voxel_is_segmented_whatever_the_size(shape, patch):
    array = np.random.default_rng(0).normal(0, 1, (1, *shape)).astype(np.float32)
    spec = NetworkSpec(dims=len(patch), patch=patch)
    numbers = segment(Local(), array, spec)
    assert numbers.shape == shape and numbers.dtype == np.uint8
    assert np.array_equal(numbers, expected(array))
    scores = segment(Local(), array, spec, probabilities=True)
    assert scores.shape == (3, *shape) and np.allclose(scores.sum(0), 1, atol=1e-5)
    assert np.array_equal(scores.argmax(0), numbers)


def test_windows_are_blended_as_monai_does():
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network = nn.Conv3d(1, 3, 5, padding=2).eval()
    array = np.random.default_rng(0).normal(0, 1, (1, 20, 24, 28)).astype(np.float32)
    scores = segment(network, array, NetworkSpec(dims=3, patch=(8, 16, 16)), overlap=0.25, probabilities=True)
    with torch.inference_mode():
        reference = sliding_window_inference(
            torch.from_numpy(array)[None], (8, 16, 16), 1, network, overlap=0.25, mode="gaussian"
        )
    assert np.allclose(scores, reference[0].softmax(0).numpy(), atol=1e-5)


def test_windows_grow_over_small_scans_only():
    assert window_size((35, 49, 80), (32, 48, 32), (8, 8, 8)) == (40, 56, 32)
    assert window_size((20, 48, 33), (32, 48, 32), (8, 8, 8)) == (32, 48, 40)
    assert window_size((35, 49, 80), (32, 48, 32), None) == (32, 48, 32)
