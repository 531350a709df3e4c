"""MOD's sample and model: exact masks, a teacher that only follows, symmetry, and what the loss looks at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.mod import hidden_count, tokens_of
from napari_ssl_seg.methods.mod_net import shuffle_voxels
from napari_ssl_seg.networks import NetworkSpec, build_network, list_networks, plan_spec, token_stride
from napari_ssl_seg.networks.tokens import token_weights
from napari_ssl_seg.pretext import generator_for, sample_batch
from napari_ssl_seg.training.optimisation import make_optimizer
from napari_ssl_seg.training.settings import PretrainSettings
from tests.methods.fakes import small_spec, small_study

SMALL_HEAD = {"hidden": 16, "bottleneck": 8, "prototypes": 12}


def made(dims: int = 2, channels: int = 1, **settings):
    """Method, model in training mode and a sample of two patches."""
    spec = small_spec(dims, channels)
    method = get_method("mod", {**SMALL_HEAD, **settings}).on_network(spec)
    study = small_study(channels=channels)
    batch = sample_batch(study, list(study.scans), spec, method.needs, 2, 0, 0)
    torch.manual_seed(0)
    return method, method.build(build_network(spec)), method.pretext(batch, generator_for(0, 0))


def swapped(pretext):
    targets = pretext.targets
    return replace(
        pretext,
        inputs=targets["masked_nu"],
        targets={
            "mu": targets["nu"],
            "nu": targets["mu"],
            "masked_nu": pretext.inputs,
            "hidden_mu": targets["hidden_nu"],
            "hidden_nu": targets["hidden_mu"],
        },
    )


# -- the sample -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("tokens", "count"), [(512, 307), (100, 60), (8, 4), (5, 3), (2, 1), (1, 1)])
def test_as_many_tokens_are_hidden_as_the_ratio_says_rounded_down(tokens, count):
    assert hidden_count(tokens, 0.6) == count
    assert hidden_count(100, 0.29) == 29


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_are_exact_whole_units_and_of_each_view_its_own(dims):
    method, _, pretext = made(dims)
    hidden_mu, hidden_nu = pretext.targets["hidden_mu"], pretext.targets["hidden_nu"]
    for mask in (hidden_mu, hidden_nu):
        tokens = tokens_of(mask, method.unit)
        assert (tokens.flatten(1).sum(dim=1) == hidden_count(tokens[0].numel(), 0.6)).all()
        spread = tokens
        for axis, side in enumerate(method.unit, start=1):
            spread = spread.repeat_interleave(side, dim=axis)
        assert torch.equal(spread, mask)
    assert not torch.equal(hidden_mu, hidden_nu)
    assert torch.equal(pretext.inputs[~hidden_mu.unsqueeze(1)], pretext.targets["mu"][~hidden_mu.unsqueeze(1)])
    assert (pretext.inputs[hidden_mu.unsqueeze(1)] == 0).all()
    assert pretext.stats["hidden_tokens"] == hidden_count(int(pretext.stats["tokens"]), 0.6)


def test_views_differ_in_intensity_and_not_in_place():
    _, _, pretext = made(blur=0.0)
    mu, nu, scan = pretext.targets["mu"], pretext.targets["nu"], pretext.views[0].data
    assert not torch.equal(mu, nu)
    for view in (mu, nu):
        for row, other in zip(view.flatten(1), scan.flatten(1), strict=True):
            assert torch.corrcoef(torch.stack((row, other)))[0, 1] == pytest.approx(1.0, abs=1e-5)
            slope = ((row - row.mean()) * (other - other.mean())).sum() / (other - other.mean()).square().sum()
            assert 0.9 * 0.9 <= slope <= 1.1 * 1.1
    still = made(blur=0.0, contrast=0.0, scale=0.0, shift=0.0)[2]
    assert torch.allclose(still.targets["mu"], still.views[0].data, atol=1e-6)
    assert torch.equal(still.targets["mu"], still.targets["nu"])


def test_hidden_voxels_may_hold_the_mean():
    _, _, pretext = made(fill="mean")
    mu, hidden = pretext.targets["mu"], pretext.targets["hidden_mu"].unsqueeze(1)
    assert torch.allclose(pretext.inputs[0][hidden[0]], mu[0].mean())


# -- which networks ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(list_networks()))
@pytest.mark.parametrize("dims", [2, 3])
def test_the_stride_of_tokens_is_known_before_the_network_is_built(name, dims):
    if all(dims not in preset["dims"] for preset in list_networks()[name].values()):
        pytest.skip(f"{name} has no {dims}D")
    spec = plan_spec(dims, 1, (36, 50, 36), (1.0, 1.0, 1.0), name=name)
    backbone = build_network(spec)
    assert token_stride(spec) == tuple(backbone.token_stride)


@pytest.mark.parametrize(("name", "dims"), [("unet", 2), ("unet", 3), ("unetr", 3), ("swin_unetr", 2)])
def test_it_trains_what_the_tokens_depend_on_and_hands_that_on(name, dims):
    spec = plan_spec(dims, 1, (36, 50, 36), (1.0, 1.0, 1.0), name=name)
    method = get_method("mod", SMALL_HEAD).on_network(spec)
    torch.manual_seed(0)
    model = method.build(build_network(spec))
    study = small_study(cases=2)
    batch = sample_batch(study, list(study.scans), spec, method.needs, 1, 0, 0)
    method.loss(model, method.pretext(batch, generator_for(0, 0))).total.backward()
    reached = {name for name, weight in model.backbone.named_parameters() if weight.grad is not None}
    assert reached == {name for name, weight in model.backbone.named_parameters() if weight.requires_grad}
    handed_on = method.transfer(model)
    assert handed_on.keys() == token_weights(model.backbone) >= reached
    assert not any("decoder" in key or "narrow" in key for key in handed_on)


def test_a_patch_of_one_token_along_an_axis_is_refused_in_one_sentence():
    spec = NetworkSpec(dims=2, patch=(16, 32), name="unetr", preset="small")
    with pytest.raises(UserError, match=r"1x2 tokens of a patch of 16x32 voxels, and MOD needs at least 2 along each"):
        get_method("mod").on_network(spec)


# -- teacher, head and predictor --------------------------------------------------------------------------------------
def test_the_teacher_starts_as_the_student_gets_no_gradient_and_is_not_optimised():
    method, model, pretext = made()
    teacher, companion = model.companion.teacher, model.companion
    own = dict(teacher.backbone.named_parameters())
    assert own and all(
        torch.equal(weight, dict(model.backbone.named_parameters())[name]) for name, weight in own.items()
    )
    assert all(torch.equal(a, b) for a, b in zip(teacher.head.parameters(), companion.head.parameters(), strict=True))
    method.loss(model, pretext).total.backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    optimised = {id(w) for group in make_optimizer(model, PretrainSettings()).param_groups for w in group["params"]}
    assert not optimised & {id(weight) for weight in teacher.parameters()}
    model.train()
    assert not any(part.training for part in teacher.modules())


@pytest.mark.parametrize(("momentum", "share"), [(1.0, 0.0), (0.0, 1.0), (0.996, 0.004)])
def test_the_teacher_follows_with_the_momentum(momentum, share):
    method, model, _ = made(momentum=momentum)
    before = [weight.clone() for weight in model.companion.teacher.backbone.parameters()]
    students = dict(model.backbone.named_parameters())
    with torch.no_grad():
        for weight in students.values():
            weight.add_(1.0)
    method.after_step(model, 0, 1000)
    for (name, weight), old in zip(model.companion.teacher.backbone.named_parameters(), before, strict=True):
        assert torch.allclose(weight, old + share * (students[name] - old), atol=1e-6)
    if momentum in (0.0, 1.0):
        assert all(
            torch.equal(weight, students[name] if share else old)
            for (name, weight), old in zip(model.companion.teacher.backbone.named_parameters(), before, strict=True)
        )


def test_schedules_follow_the_share_of_the_steps_that_is_done():
    method, model, _ = made(frozen=0.5)
    companion = model.companion
    assert (companion.momentum, companion.token_temperature) == (pytest.approx(0.996), pytest.approx(0.04))
    method.after_step(model, 4, 100)
    assert companion.token_temperature == pytest.approx(0.055)
    method.after_step(model, 49, 100)
    assert (companion.momentum, companion.token_temperature) == (pytest.approx(0.998), pytest.approx(0.07))
    method.after_step(model, 99, 100)
    assert companion.momentum == pytest.approx(1.0)


def test_prototypes_stand_still_at_first():
    method, model, pretext = made(frozen=0.5)
    method.loss(model, pretext).total.backward()
    assert model.companion.head.prototypes.grad is None
    method.after_step(model, 49, 100)
    method.loss(model, pretext).total.backward()
    assert model.companion.head.prototypes.grad.abs().max() > 0


def test_voxels_are_put_back_where_their_token_stands():
    values = torch.randn(2, 3 * 16, 5, 6)
    assert torch.equal(shuffle_voxels(values, (4, 4)), torch.nn.PixelShuffle(4)(values))
    unit, grid = (1, 2, 4), (3, 2, 2)
    volume = torch.randn(2, 3, *(side * step for side, step in zip(grid, unit, strict=True)))
    cut = volume.view(2, 3, 3, 1, 2, 2, 2, 4).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(2, 24, *grid)
    assert torch.equal(shuffle_voxels(cut, unit), volume)


# -- the loss ---------------------------------------------------------------------------------------------------------
def test_the_loss_is_the_weighted_sum_of_its_parts():
    method, model, pretext = made(alpha=1.5, beta=0.5, dense=2.0)
    with torch.no_grad():
        losses = method.loss(model, pretext)
    parts = losses.parts
    assert float(losses.total) == pytest.approx(
        float(1.5 * parts["efm"] + 0.5 * parts["cls"] + 2 * parts["dp"]), rel=1e-5
    )
    assert 0 < float(parts["teacher_entropy"]) <= 1
    latest = model.companion.get_extra_state()["latest"]
    assert sum(latest.values()) == pytest.approx(float(losses.total), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_swapping_the_views_changes_nothing(dims):
    method, model, pretext = made(dims)
    model.eval()
    with torch.no_grad():
        first, second = method.loss(model, pretext), method.loss(model, swapped(pretext))
    for name, part in first.parts.items():
        assert float(part) == pytest.approx(float(second.parts[name]), rel=1e-5)


def test_only_hidden_tokens_count_for_efm_and_dp():
    method, model, pretext = made()
    found = method.outputs(model, pretext)
    before = method.terms(model.companion, found, pretext)
    hidden = tokens_of(torch.cat((pretext.targets["hidden_mu"], pretext.targets["hidden_nu"])), method.unit)
    tokens = torch.where(hidden.unsqueeze(1), found.student, found.student + 5.0)
    scores = torch.where(hidden.flatten(1).unsqueeze(2), found.student_scores, -found.student_scores)
    after = method.terms(model.companion, replace(found, student=tokens, student_scores=scores), pretext)
    assert torch.equal(before["efm"], after["efm"]) and torch.equal(before["dp"], after["dp"])
    other = method.terms(model.companion, replace(found, student=found.student + 5.0), pretext)
    assert not torch.equal(before["dp"], other["dp"])


def test_without_a_hidden_unit_the_loss_of_tokens_and_voxels_is_zero():
    method, model, pretext = made()
    nothing = torch.zeros_like(pretext.targets["hidden_mu"])
    whole = replace(pretext, targets={**pretext.targets, "hidden_mu": nothing, "hidden_nu": nothing})
    with torch.no_grad():
        parts = method.loss(model, whole).parts
    assert float(parts["efm"]) == 0.0 and float(parts["dp"]) == 0.0


def test_masked_patches_leave_running_statistics_alone_beside_labels_only():
    spec = NetworkSpec(dims=2, preset="fdas", patch=(64, 64), options={"channels": (4, 8), "strides": ()})
    method = get_method("mod", SMALL_HEAD).on_network(spec)
    study = small_study()
    batch = sample_batch(study, list(study.scans), spec, method.needs, 2, 0, 0)
    pretext = method.pretext(batch, generator_for(0, 0))
    for joint in (True, False):
        backbone = build_network(spec).train()
        companion = method.companion(backbone, joint=joint)
        before = backbone.state_dict()["encoder.0.1.running_mean"].clone()
        masked = torch.cat((pretext.inputs, pretext.targets["masked_nu"]))
        companion(backbone, masked, torch.cat((pretext.targets["mu"], pretext.targets["nu"])))
        assert torch.equal(backbone.state_dict()["encoder.0.1.running_mean"], before) == joint
        assert backbone.encoder[0][1].momentum == 0.1


def test_standardised_tokens_tell_patches_apart_where_instance_norm_makes_their_means_alike():
    def spread(**settings):
        method, model, pretext = made(**{**settings, "prototypes": 256})
        whole = method.outputs(model, pretext).teacher_whole
        return float((whole - whole.mean(dim=0)).abs().mean())

    assert spread(standardise=True) > 2 * spread(standardise=False)


# -- what is shown ----------------------------------------------------------------------------------------------------
def test_a_trained_model_shows_tokens_gauge_and_shares():
    method, model, pretext = made()
    method.loss(model, pretext)
    views = {view.name: view for view in method.output_views(model.eval(), pretext)}
    assert list(views) == ["pasted", "error", "student", "teacher", "token_error", "gauge", "shares"]
    hidden = pretext.targets["hidden_mu"].unsqueeze(1)
    assert torch.equal(views["pasted"].data[~hidden], pretext.targets["mu"][~hidden])
    assert (views["error"].data[~hidden] == 0).all() and (views["token_error"].data[~hidden] == 0).all()
    gauge, shares = views["gauge"].data, views["shares"].data
    assert 0 <= gauge["teacher entropy"] <= gauge["entropy at most"] == pytest.approx(torch.tensor(12.0).log().item())
    assert 1 <= gauge["prototypes used"] <= gauge["prototypes usable"] == 12
    assert gauge["teacher momentum"] == pytest.approx(0.996)
    assert list(shares) == ["share of efm", "share of cls", "share of dp"]
    assert sum(shares.values()) == pytest.approx(1.0)


def test_what_is_known_of_a_run_goes_with_its_weights():
    method, model, pretext = made()
    for step in range(3):
        method.loss(model, pretext)
        method.after_step(model, step, 10)
    again = made()[1]
    again.load_state_dict(model.state_dict())
    assert again.companion.progress == model.companion.progress == 0.3
    assert torch.equal(again.companion.token_centre, model.companion.token_centre)
    assert again.companion.gauge.state() == model.companion.gauge.state()
    assert torch.equal(method.loss(again, pretext).total, method.loss(model, pretext).total)


def test_nothing_to_learn_is_refused():
    with pytest.raises(UserError, match="nothing to learn"):
        get_method("mod", {"alpha": 0, "beta": 0, "dense": 0})
