from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from napari_ssl_seg.methods import get_method
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec
from tests.methods.test_contrast import X, Y
from tests.methods.test_siamese import batch, views

if TYPE_CHECKING:
    from napari_ssl_seg.methods.distillation_net import DistillationNet

SMALL = {"hidden": 16, "projection": 8, "prototypes": 12}


def method(**settings):
    return get_method("dino", SMALL | settings)


def model_of(made, dims: int = 2) -> DistillationNet:
    torch.manual_seed(0)
    return made.build(build_network(small_spec(dims)))


def test_the_loss_of_two_views():
    """X and Y are scores of three prototypes; the value and the centre are lightly's."""
    net = model_of(method(prototypes=3, first_temperature=0.04))
    loss = net.design.weight * (net.compare(X, Y) + net.compare(Y, X))
    assert float(loss) == pytest.approx(0.9488769, abs=1e-6)
    net._fresh = torch.cat((X, Y))
    net.after_step(0, 10)
    assert net.centre.tolist() == pytest.approx([0.1333333, 0.2166667, 0.3666667], abs=1e-6)


def test_even_shares_cost_the_logarithm_of_the_prototypes():
    net = model_of(method(prototypes=3))
    assert float(net.compare(torch.zeros(2, 3), torch.zeros(2, 3))) == pytest.approx(math.log(3), abs=1e-6)
    assert float(net.told(torch.zeros(2, 3))["teacher_entropy"]) == pytest.approx(1.0, abs=1e-6)


def test_both_ways_are_compared_with_the_teacher():
    net = model_of(method(frozen=0.0))
    first, second = views()
    with torch.no_grad():
        for weight in net.key_encoder.parameters():
            weight.mul_(1.1)
    there = net.compare(net.encoder(first), net.key_encoder(second))
    back = net.compare(net.encoder(second), net.key_encoder(first))
    parts = net(first, second)
    assert torch.allclose(parts["loss"], (there + back) / 2)
    assert 0.0 < float(parts["teacher_entropy"]) <= 1.0
    mean = torch.cat((net.key_encoder(second), net.key_encoder(first))).mean(dim=0)
    net.after_step(0, 10)
    assert torch.allclose(net.centre, 0.1 * mean, atol=1e-6)


def test_schedules():
    net = model_of(method(frozen=0.2, temperature_warmup=0.5))
    found = []
    for step in range(10):
        net.zero_grad()
        net(*views())["loss"].backward()
        found.append((net.teacher_temperature, net.encoder.head.prototypes.grad is not None))
        net.after_step(step, 10)
    temperatures, moved = zip(*found, strict=True)
    assert temperatures[:6] == pytest.approx((0.04, 0.046, 0.052, 0.058, 0.064, 0.07))
    assert temperatures[-1] == 0.07
    assert moved == (False, False, *[True] * 8)


def test_vectors_are_standardised_as_the_teacher_s():
    made = method(frozen=0.0, centre_momentum=0.75)
    net = model_of(made)
    first, second = views()
    pooled = torch.cat([net.key_encoder.pool([net.key_encoder.backbone.encode(view)[-1]]) for view in (second, first)])
    net(first, second)
    net.after_step(0, 10)
    for head in (net.encoder.head, net.key_encoder.head):
        assert torch.allclose(head.mean, pooled.mean(dim=0), atol=1e-5)
        assert torch.allclose(head.deviation, pooled.std(dim=0, correction=0).clamp(min=1e-4), atol=1e-5)
    head = net.key_encoder.head
    mean = head.mean.clone()
    head(torch.zeros(2, len(mean)))
    head.settle(net.encoder.head, 0.25)
    assert torch.allclose(net.encoder.head.mean, 0.75 * mean, atol=1e-6)
    plain = model_of(method(standardise=False))
    plain(first, second)
    plain.after_step(0, 10)
    assert not plain.encoder.head.mean.any() and (plain.encoder.head.deviation == 1).all()


def test_it_goes_on_where_it_stopped():
    net, other = model_of(method(frozen=0.5)), model_of(method(frozen=0.5))
    for step in range(6):
        net(*views())
        net.after_step(step, 10)
    other.load_state_dict(net.state_dict())
    assert other.progress == 0.6
    assert other.teacher_temperature == net.teacher_temperature
    assert not other.encoder.head.held
    assert torch.equal(other.centre, net.centre)
    assert torch.equal(other.encoder.head.deviation, net.encoder.head.deviation)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_of_one_has_something_to_learn(dims):
    made = method()
    net = model_of(made, dims)
    losses = made.loss(net, made.pretext(batch(dims, 1), generator_for(0, 0)))
    losses.total.backward()
    assert losses.total.item() > 0.0
    assert made.remarks(net) == ()


def test_defaults_are_the_papers():
    config = get_method("dino").config
    assert (config.hidden, config.projection, config.momentum, config.centre_momentum) == (2048, 256, 0.996, 0.9)
    assert (config.student_temperature, config.first_temperature, config.last_temperature) == (0.1, 0.04, 0.07)
