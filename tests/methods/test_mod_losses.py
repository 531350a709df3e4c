"""Worked numbers of MOD's arithmetic, and a collapse that is noticed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss, FocalLoss

from napari_ssl_seg.methods.losses import masked_error
from napari_ssl_seg.methods.mod_gauge import WINDOW, CollapseGauge
from napari_ssl_seg.methods.mod_losses import (
    dice_loss,
    distillation,
    distribution_stats,
    ema_momentum,
    focal,
    follow,
    mean_of_hidden,
    warmed,
)
from napari_ssl_seg.training.segmentation_loss import IGNORE, focal_dice


def cross_entropy(teacher, student, *, sharp=1.0, soft=1.0):
    return distillation(
        torch.tensor(teacher),
        torch.tensor(student),
        centre=torch.zeros(len(teacher)),
        teacher_temperature=sharp,
        student_temperature=soft,
    )


def test_cross_entropy_of_the_worked_example():
    assert float(cross_entropy([2.0, 0, 0], [1.0, 1, 0])) == pytest.approx(0.968502, abs=1e-6)
    assert float(cross_entropy([2.0, 0, 0], [1.0, 1, 0], sharp=0.04, soft=0.1)) == pytest.approx(0.693170, abs=1e-6)


@pytest.mark.parametrize("prototypes", [2, 3, 1024])
def test_an_undecided_student_costs_the_logarithm_of_the_prototypes(prototypes):
    teacher = torch.linspace(0, 3, prototypes).tolist()
    assert float(cross_entropy(teacher, [0.5] * prototypes)) == pytest.approx(math.log(prototypes), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 1.0))
def test_cross_entropy_is_at_least_the_teachers_entropy_and_centring_is_shifting(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    teacher, student, centre = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    options = {"teacher_temperature": temperature, "student_temperature": 0.1}
    values = distillation(teacher, student, centre=centre[0], **options)
    wanted = torch.softmax((teacher - centre[0]).float() / temperature, dim=1).double()
    entropy = -(wanted * wanted.clamp(min=1e-300).log()).sum(dim=1)
    assert (values >= entropy - 1e-5).all()
    shifted = distillation(teacher + 3.0, student, centre=centre[0] + 3.0, **options)
    assert torch.allclose(values, shifted, rtol=1e-3, atol=1e-3)


def test_restoration_of_the_worked_example_and_of_nothing():
    restored, mu = torch.tensor([[[1.5, 1, 0, 0]]]), torch.tensor([[[1.0, 2, 3, 4]]])
    mask = torch.tensor([[True, True, False, False]])
    assert float(masked_error(restored, mu, mask, "l1")) == 0.75
    assert float(masked_error(restored, mu, torch.zeros_like(mask), "l1")) == 0.0


def test_tokens_are_averaged_in_each_image_first():
    values = torch.tensor([[1.0, 2.0, float("nan")], [5.0, 7.0, 9.0]])
    hidden = torch.tensor([[True, False, False], [True, True, True]])
    assert float(mean_of_hidden(values, hidden)) == (1.0 + 7.0) / 2
    assert float(mean_of_hidden(values, torch.zeros_like(hidden))) == 0.0


@pytest.mark.parametrize(("momentum", "after"), [(0.996, 1.004), (1.0, 1.0), (0.0, 2.0)])
def test_following_of_the_worked_example(momentum, after):
    teacher, student = [torch.ones(3)], [torch.full((3,), 2.0)]
    follow(teacher, student, momentum)
    assert torch.allclose(teacher[0], torch.full((3,), after), atol=1e-6)
    assert torch.equal(student[0], torch.full((3,), 2.0))


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.996), (0.5, 0.998), (1.0, 1.0)])
def test_momentum_of_the_worked_example(progress, momentum):
    assert ema_momentum(0.996, progress) == pytest.approx(momentum, abs=1e-12)


def test_temperature_rises_in_a_straight_line():
    assert [warmed(0.04, 0.07, 0.5, progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx(
        [0.04, 0.055, 0.07, 0.07]
    )
    assert warmed(0.04, 0.07, 0.0, 0.0) == 0.07


def test_entropy_divergence_and_use_of_distributions():
    one = distribution_stats(torch.tensor([[1.0, 0, 0, 0]] * 3))
    assert [float(one[name]) for name in ("entropy", "kl", "used")] == pytest.approx([0, 0, 1], abs=1e-6)
    even = distribution_stats(torch.full((3, 4), 0.25))
    assert [float(even[name]) for name in ("entropy", "kl")] == pytest.approx([math.log(4), 0], abs=1e-6)
    apart = distribution_stats(torch.eye(4))
    assert [float(apart[name]) for name in ("entropy", "kl", "used")] == pytest.approx([0, math.log(4), 4], abs=1e-6)


# -- the paper's supervised loss ----------------------------------------------------------------------------------------
P, G = torch.tensor([0.9, 0.2, 0.6, 0.4]), torch.tensor([1.0, 0, 1, 0])


def test_focal_and_dice_of_the_worked_example():
    assert float(focal(torch.where(G > 0, P, 1 - P).log()).mean()) == pytest.approx(0.043361, abs=1e-6)
    assert float(dice_loss(P, G, dim=0)) == pytest.approx(0.268293, abs=1e-6)
    assert float(dice_loss(torch.zeros(4), torch.zeros(4), dim=0)) == 0.0


def test_overlapping_targets_have_the_losses_of_monai():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 6, 5, requires_grad=True), torch.randint(0, 4, (2, 6, 5))
    membership = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool()  # whole, core, enhancing
    truth = membership[target].movedim(-1, 1).float()
    losses = focal_dice(logits, target, membership)
    assert torch.allclose(losses.parts["focal"], FocalLoss(gamma=2)(logits, truth), atol=1e-6)
    dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=0, smooth_dr=0)(logits, truth)
    assert torch.allclose(losses.parts["dice"], dice, atol=1e-6)
    assert torch.allclose(losses.total, losses.parts["focal"] + losses.parts["dice"])
    losses.total.backward()
    assert torch.isfinite(logits.grad).all()


def test_classes_that_exclude_each_other_have_a_softmax_and_unlabelled_voxels_do_not_count():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 6, 5), torch.randint(0, 3, (2, 6, 5))
    losses = focal_dice(logits, target)
    # MONAI has the mean over voxels and classes, of which the wrong ones are 0.
    one_hot = torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert torch.allclose(losses.parts["focal"], 3 * FocalLoss(gamma=2, use_softmax=True)(logits, one_hot), atol=1e-6)
    dice = DiceLoss(include_background=False, softmax=True, batch=True, smooth_nr=0, smooth_dr=0)(logits, one_hot)
    assert torch.allclose(losses.parts["dice"], dice, atol=1e-6)
    half = target.clone()
    half[:, 3:] = IGNORE
    cut = focal_dice(logits[:, :, :3], target[:, :3])
    assert torch.allclose(focal_dice(logits, half).total, cut.total, atol=1e-6)
    assert float(focal_dice(logits, torch.full_like(target, IGNORE)).parts["focal"]) == 0.0


# -- the gauge ----------------------------------------------------------------------------------------------------------
def judged(entropy, kl, ce, windows, gauge=None):
    """What the gauge says in so many windows of the same numbers (as shares of ln K, K = 16), with the step."""
    gauge = gauge or CollapseGauge(16)
    scale = math.log(16)
    said = []
    for step in range(windows * WINDOW):
        remark = gauge.add(*(torch.tensor(value * scale) for value in (entropy, kl, ce)))
        said += [(step + 1, remark)] if remark else []
    return said


@pytest.mark.parametrize(("entropy", "words"), [(0.001, "on one prototype"), (0.999, "all 16 prototypes alike")])
def test_a_collapse_is_said_once_at_the_hundredth_step(entropy, words):
    ((step, remark),) = judged(entropy, 0.001, 0.9, windows=6)
    assert step == 2 * WINDOW
    assert words in remark and "\n" not in remark


@pytest.mark.parametrize(("entropy", "kl"), [(0.5, 0.3), (0.01, 0.9), (0.9, 0.05)])
def test_tokens_that_differ_are_no_collapse(entropy, kl):
    assert not judged(entropy, kl, 0.9, windows=4)


def test_a_loss_that_still_falls_is_no_collapse():
    gauge = CollapseGauge(16)
    for share in (0.99, 0.97, 0.95, 0.93):
        assert not judged(0.999, 0.001, share, windows=1, gauge=gauge)


def test_a_gauge_goes_on_where_it_was_saved():
    first, second = CollapseGauge(16), CollapseGauge(16)
    for step in range(2 * WINDOW - 1):
        assert first.add(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0)) is None
        if step == WINDOW + 7:
            second.load_state(first.state())
        elif step > WINDOW + 7:
            second.add(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0))
    assert second.state() == first.state()
    assert second.add(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0)) is not None
