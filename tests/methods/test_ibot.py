from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.dense_net import flat
from napari_ssl_seg.methods.ibot import spread_tokens
from napari_ssl_seg.methods.mod_losses import distillation
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec
from tests.methods.test_siamese import batch, of

if TYPE_CHECKING:
    from napari_ssl_seg.methods.ibot_net import IBOTNet

SMALL = {"hidden": 16, "projection": 8, "prototypes": 12, "frozen": 0.0}


def method(dims: int = 2, **settings):
    return get_method("ibot", SMALL | settings).on_network(small_spec(dims))


def model_of(made, dims: int = 2) -> IBOTNet:
    torch.manual_seed(0)
    net = made.build(build_network(small_spec(dims)))
    with torch.no_grad():
        for weight in net.key_encoder.parameters():
            weight.mul_(1.1)
    return net


def pretext_of(made, patches=None, seed: int = 0):
    return made.pretext(batch() if patches is None else patches, generator_for(seed, 0))


# -- the sample -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", [2, 3])
def test_hidden_tokens_hold_the_mean_and_others_the_view(dims):
    made = method(dims, mask_chance=1.0)
    pretext = pretext_of(made, batch(dims))
    for view, masked, hidden in (
        (pretext.targets["first"], pretext.inputs, pretext.targets["hidden_first"]),
        (pretext.targets["second"], pretext.targets["masked_second"], pretext.targets["hidden_second"]),
    ):
        shape = tuple(view.shape[2:])
        assert tuple(hidden.shape[1:]) == made.grid(shape)
        voxels = spread_tokens(hidden, made.unit(dims), shape).unsqueeze(1)
        mean = view.flatten(2).mean(dim=2).view(-1, 1, *(1,) * dims).expand_as(view)
        assert torch.equal(masked[~voxels], view[~voxels])
        assert torch.allclose(masked[voxels], mean[voxels])
        assert 0 < int(hidden[0].sum()) < hidden[0].numel()


def test_so_many_are_hidden():
    made = get_method("ibot", SMALL)
    hidden = made._hidden(4000, (4, 5), generator_for(0, 0)).flatten(1).sum(dim=1)
    some = hidden[hidden > 0]
    assert len(some) / 4000 == pytest.approx(0.5, abs=0.03)
    assert (int(some.min()), int(some.max())) == (2, 10)
    assert float(some.float().mean()) == pytest.approx(6.0, abs=0.15)
    single = get_method("ibot", SMALL | {"mask_ratio": 0.95, "mask_range": 0.9, "mask_chance": 1.0})
    counts = single._hidden(500, (1, 2), generator_for(0, 0)).flatten(1).sum(dim=1)
    assert set(counts.tolist()) == {1}


def test_tokens_spread_over_their_voxels():
    values = torch.tensor([[[True, False], [False, True]]])
    spread = spread_tokens(values, (2, 3), (5, 7))
    assert spread.shape == (1, 5, 7)
    assert spread[0, :2, :3].all() and spread[0, 2:4, 3:6].all()
    assert int(spread.sum()) == 12


# -- the losses -------------------------------------------------------------------------------------------------------
def test_both_losses_against_their_definition():
    made = method(mask_chance=1.0)
    net, pretext = model_of(made), pretext_of(made)
    targets = pretext.targets
    losses = made.loss(net, pretext)

    def shares(teacher, student, centre):
        return distillation(teacher, student, centre=centre, teacher_temperature=0.04, student_temperature=0.1)

    encode, follow = net.encoder.backbone.encode, net.key_encoder.backbone.encode
    across = [
        shares(net.key_encoder(targets[whole]), net.encoder(masked), net.centre).mean()
        for masked, whole in ((pretext.inputs, "second"), (targets["masked_second"], "first"))
    ]
    tokens = []
    for masked, name in ((pretext.inputs, "first"), (targets["masked_second"], "second")):
        student = net.token_head(flat(encode(masked)[-1]))
        teacher = net.key_token_head(flat(follow(targets[name])[-1]))
        errors, hidden = shares(teacher, student, net.token_centre), targets[f"hidden_{name}"].flatten(1)
        tokens += [row[chosen].mean() for row, chosen in zip(errors, hidden, strict=True)]
    assert torch.allclose(losses.parts["cls"], sum(across) / 2, atol=1e-5)
    assert torch.allclose(losses.parts["tokens"], torch.stack(tokens).mean(), atol=1e-5)
    assert torch.allclose(losses.total, losses.parts["cls"] + losses.parts["tokens"])


def test_views_may_change_places():
    made = method(mask_chance=1.0)
    net, pretext = model_of(made), pretext_of(made)
    targets = pretext.targets
    swapped = replace(
        pretext,
        inputs=targets["masked_second"],
        targets={
            "first": targets["second"],
            "second": targets["first"],
            "masked_second": pretext.inputs,
            "hidden_first": targets["hidden_second"],
            "hidden_second": targets["hidden_first"],
        },
    )
    assert torch.allclose(made.loss(net, pretext).total, made.loss(net, swapped).total, atol=1e-5)


def test_nothing_hidden_costs_nothing():
    made = method(mask_chance=0.0)
    losses = made.loss(model_of(made), pretext_of(made))
    losses.total.backward()
    assert losses.parts["tokens"].item() == 0.0
    assert losses.parts["cls"].item() > 0.0


def test_the_teacher_follows_with_both_heads_and_centres():
    made = method(momentum=0.5, mask_chance=1.0)
    net, pretext = model_of(made), pretext_of(made)
    before, leader = net.key_token_head.prototypes.clone(), net.token_head.prototypes.detach().clone()
    made.loss(net, pretext).total.backward()
    assert not any(weight.requires_grad for weight in net.key_token_head.parameters())
    whole = torch.cat((pretext.targets["first"], pretext.targets["second"]))
    with torch.no_grad():
        mean = net.key_token_head(flat(net.key_encoder.backbone.encode(whole)[-1])).flatten(0, 1).mean(dim=0)
        net.token_head.prototypes.add_(1.0)
    made.after_step(net, 0, 10)
    assert torch.allclose(net.token_centre, 0.1 * mean, atol=1e-6)
    assert torch.allclose(net.key_token_head.prototypes, 0.5 * (before + leader + 1.0), atol=1e-6)
    assert net.centre.abs().max() > 0


def test_prototypes_stand_still_at_first():
    made = method(frozen=0.5)
    net = model_of(made)
    for step in range(4):
        net.zero_grad()
        made.loss(net, pretext_of(made)).total.backward()
        still = step < 2
        assert (net.token_head.prototypes.grad is None) == (net.encoder.head.prototypes.grad is None) == still
        made.after_step(net, step, 4)


# -- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(40, 24), (17, 33)])
def test_sizes_that_the_stride_does_not_divide(shape):
    made = method(mask_chance=1.0)
    net, pretext = model_of(made), pretext_of(made, of(torch.randn(2, 1, *shape)))
    assert torch.isfinite(made.loss(net, pretext).total.detach())
    shown = {view.name: view for view in made.output_views(net.eval(), pretext)}
    assert all(view.data.shape[2:] == shape for view in shown.values() if view.kind == "image")


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_of_one_and_a_constant_patch(dims):
    made = method(dims)
    net = model_of(made, dims)
    for patches in (batch(dims, 1), of(torch.full_like(batch(dims, 2).image, -1.0))):
        losses = made.loss(net, pretext_of(made, patches))
        losses.total.backward()
        made.after_step(net, 0, 2)
        assert math.isfinite(losses.total.item())


def test_a_patch_of_too_few_tokens_is_refused():
    spec = NetworkSpec(name="unetr", dims=2, patch=(16, 32))
    with pytest.raises(UserError, match="1x2 tokens"):
        get_method("ibot").on_network(spec)


def test_defaults_are_the_papers():
    config = get_method("ibot").config
    assert (config.mask_ratio, config.mask_range, config.mask_chance) == (0.3, 0.2, 0.5)
    assert (config.hidden, config.projection, config.momentum) == (2048, 256, 0.996)
