"""Losses over several scales, by hand."""

from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.methods.base import Losses
from napari_ssl_seg.methods.losses import deep_supervision, deep_weights
from napari_ssl_seg.methods.volume_fusion import fusion_loss
from napari_ssl_seg.training.segmentation_loss import dice_ce


def test_weights_of_four_scales_are_those_of_pymic():
    assert deep_weights(4) == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])
    assert deep_weights(1) == [1.0]


def mean_score(scores: torch.Tensor, target: torch.Tensor) -> Losses:
    assert scores.shape[2:] == target.shape[1:]
    return Losses(scores.mean(), {"mean": scores.mean(), "largest": scores.max()})


def test_scales_add_up_with_their_weights():
    scores = [torch.full((1, 2, 8 >> level, 8 >> level), float(value)) for level, value in enumerate((1, 2, 3, 4))]
    found = deep_supervision(mean_score, scores, torch.zeros(1, 8, 8, dtype=torch.long))
    assert float(found.total) == pytest.approx((8 * 1 + 4 * 2 + 2 * 3 + 1 * 4) / 15)
    assert float(found.parts["largest"]) == pytest.approx(float(found.total))


def test_one_scale_is_the_loss_itself():
    scores, target = torch.randn(1, 3, 4, 4, 4), torch.randint(0, 3, (1, 4, 4, 4))
    assert torch.equal(deep_supervision(dice_ce, [scores], target).total, dice_ce(scores, target).total)


@pytest.mark.parametrize("loss", [dice_ce, fusion_loss])
def test_coarse_scores_are_enlarged_linearly(loss):
    torch.manual_seed(0)
    fine, coarse = torch.randn(2, 3, 4, 8, 8), torch.randn(2, 3, 4, 4, 4)
    target = torch.randint(0, 3, (2, 4, 8, 8))
    larger = torch.nn.functional.interpolate(coarse, size=(4, 8, 8), mode="trilinear", align_corners=False)
    expected = 2 / 3 * loss(fine, target).total + 1 / 3 * loss(larger, target).total
    assert float(deep_supervision(loss, [fine, coarse], target).total) == pytest.approx(float(expected), rel=1e-6)


def test_parts_that_add_up_still_do():
    target = torch.randint(0, 3, (1, 8, 8))
    found = deep_supervision(dice_ce, [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)], target)
    assert float(found.total) == pytest.approx(float(sum(found.parts.values())), rel=1e-6)


def test_gradients_reach_every_scale():
    scores = [torch.randn(1, 3, 8 >> level, 8 >> level, requires_grad=True) for level in range(3)]
    deep_supervision(dice_ce, scores, torch.randint(0, 3, (1, 8, 8))).total.backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in scores)
