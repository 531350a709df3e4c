"""The worked numbers of FDAS's losses, and what has to hold of them."""

from __future__ import annotations

import math

import pytest
import torch

from napari_ssl_seg.methods.fdas_losses import (
    contrast_losses,
    dice_of_present,
    distillation_losses,
    mean_over,
    region_dice,
    restoration_errors,
    similarities,
)

FUSED = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ORIGINAL = torch.tensor([[1.0, 0.0], [0.6, 0.8]])


def test_restoration_looks_at_the_whole_image():
    restored, image = torch.tensor([[[[0.5, 0.0, -1.0, 1.0]]]]), torch.tensor([[[[0.0, 0.0, -1.0, 0.5]]]])
    assert restoration_errors(restored, image).tolist() == [0.125]
    pair = restoration_errors(torch.cat((restored, image)), torch.cat((image, image)))
    assert pair.tolist() == [0.125, 0.0]


def said(*channels: list[float]) -> torch.Tensor:
    return torch.tensor([channels])


def everywhere(labels: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


def test_distillation_by_hand():
    probabilities = said([0.8, 0.6, 0.1, 0.5], [0.2, 0.4, 0.9, 0.5])
    labels = torch.tensor([[1, 1, 2, 0]])
    dice = region_dice(probabilities, labels, everywhere(labels))
    assert dice[0].tolist() == pytest.approx([0.7, 0.6], abs=1e-6)
    assert distillation_losses(dice).tolist() == pytest.approx([0.35], abs=1e-6)
    masked = torch.tensor([[1, 1, 0, 0]])
    dice = region_dice(probabilities, masked, everywhere(masked))
    assert dice[0].tolist() == pytest.approx([0.7, 0.0], abs=1e-6)
    assert distillation_losses(dice).tolist() == pytest.approx([0.65], abs=1e-6)
    assert dice_of_present(dice, masked).tolist() == pytest.approx([0.7], abs=1e-6)


def test_empty_channels_are_a_floor_that_no_prediction_goes_below():
    labels = torch.tensor([[1, 1, 0, 0]])
    perfect = said([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0])  # what is left goes into the empty channel, at no cost
    dice = region_dice(perfect, labels, everywhere(labels))
    assert distillation_losses(dice).tolist() == pytest.approx([0.5], abs=1e-6)
    assert dice_of_present(dice, labels).tolist() == pytest.approx([1.0], abs=1e-6)


def test_distillation_agrees_with_the_printed_equation():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(3, 5, 6, 7, generator=generator).softmax(dim=1)
    labels = torch.randint(0, 6, (3, 6, 7), generator=generator)
    masks = torch.stack([labels == k for k in range(1, 6)], dim=1).float()
    overlap = (probabilities * masks).sum(dim=(2, 3))
    expected = 1 - (2 * overlap / ((probabilities + masks).sum(dim=(2, 3)) + 1e-7)).mean(dim=1)
    found = distillation_losses(region_dice(probabilities, labels, everywhere(labels)))
    assert torch.allclose(found, expected, atol=1e-6)


def test_what_is_said_outside_the_scan_does_not_count():
    labels = torch.tensor([[1, 2, 0]])
    inside = torch.tensor([[True, True, False]])
    one, other = said([1.0, 0.0, 0.9], [0.0, 1.0, 0.1]), said([1.0, 0.0, 0.2], [0.0, 1.0, 0.8])
    assert torch.equal(region_dice(one, labels, inside), region_dice(other, labels, inside))
    assert region_dice(one, labels, inside)[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_contrast_by_hand_and_in_its_direction():
    similarity = similarities(FUSED, ORIGINAL)
    assert torch.allclose(similarity, torch.tensor([[1.0, 0.6], [0.0, 0.8]]))
    losses = contrast_losses(similarity, 0.1)
    assert losses.tolist() == pytest.approx([0.018150, 0.000335], abs=1e-6)
    assert float(losses.mean()) == pytest.approx(0.009243, abs=1e-6)
    assert float(contrast_losses(similarity.T, 0.1).mean()) == pytest.approx(0.063487, abs=1e-6)


def test_contrast_does_not_depend_on_the_length_of_features():
    scaled = similarities(FUSED * torch.tensor([[3.0], [0.01]]), ORIGINAL * torch.tensor([[7.0], [100.0]]))
    assert torch.allclose(scaled, similarities(FUSED, ORIGINAL), atol=1e-6)


@pytest.mark.parametrize("batch", [2, 4, 16])
def test_equal_similarities_cost_the_logarithm_of_the_batch(batch):
    losses = contrast_losses(torch.full((batch, batch), 0.3), 0.1)
    assert losses.tolist() == pytest.approx([math.log(batch)] * batch, abs=1e-5)


def test_contrast_of_one_is_zero_and_has_a_gradient():
    features = torch.rand(1, 4, requires_grad=True)
    loss = contrast_losses(similarities(features, torch.rand(1, 4)), 0.1).mean()
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert features.grad is not None
    assert not features.grad.any()


def test_place_by_place_is_the_mean_of_each_places_contrast():
    generator = torch.Generator().manual_seed(1)
    fused, original = (torch.randn(3, 5, 2, 4, generator=generator) for _ in range(2))
    losses = contrast_losses(similarities(fused, original), 0.2)
    by_place = [
        contrast_losses(similarities(fused[:, :, y, x], original[:, :, y, x]), 0.2) for y in range(2) for x in range(4)
    ]
    assert torch.allclose(losses, torch.stack(by_place).mean(dim=0), atol=1e-6)


def test_features_of_zero_are_no_nan():
    similarity = similarities(torch.zeros(2, 3), torch.rand(2, 3))
    assert contrast_losses(similarity, 0.1).tolist() == pytest.approx([math.log(2)] * 2)


def test_unused_samples_leave_no_trace():
    values = torch.tensor([1.0, float("inf"), 3.0], requires_grad=True)
    mean = mean_over(values, torch.tensor([True, False, True]))
    assert float(mean.detach()) == 2.0
    mean.backward()
    assert values.grad.tolist() == [0.5, 0.0, 0.5]
    assert float(mean_over(torch.tensor([5.0]), torch.tensor([False]))) == 0.0
