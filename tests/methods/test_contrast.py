from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import (
    KeyQueue,
    MomentumContrast,
    PooledEncoder,
    batch_loss,
    follow,
    negative_cosine,
    nt_xent,
    queue_loss,
)
from napari_ssl_seg.networks import build_network
from tests.methods.fakes import small_spec


def moco(queue: int = 8, **changes) -> MomentumContrast:
    torch.manual_seed(0)
    options = {"features": 16, "layers": 1, "queue": queue, "momentum": 0.9, "temperature": 0.07} | changes
    return MomentumContrast(build_network(small_spec(2)).drop_decoder(), **options)


def test_worked_numbers():
    one = torch.tensor([[1.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0]] * 3)
    assert float(queue_loss(one, one, queue, 0.2)) == pytest.approx(0.0200123, abs=1e-6)
    same = torch.tensor([[1.0, 0.0]] * 5)
    assert float(queue_loss(same, same, same[:4], 0.07)) == pytest.approx(math.log(5), abs=1e-5)
    assert float(batch_loss(same, same, 0.07)) == pytest.approx(math.log(5), abs=1e-5)
    identity = torch.eye(2)
    assert float(batch_loss(identity, identity, 1.0)) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert float(batch_loss(one, one, 0.07)) == 0.0


X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [-1.0, 0.0, 2.0]])
Y = torch.tensor([[1.0, 2.0, 2.0], [3.0, 5.0, 7.0], [0.0, -1.0, 2.0]])
"""Values of these were taken from lightly 1.6.0."""


def test_nt_xent():
    assert float(nt_xent(X, Y, 0.1)) == pytest.approx(0.8010001, abs=1e-6)
    identity = torch.eye(2)
    assert float(nt_xent(identity, identity, 0.5)) == pytest.approx(0.2395448, abs=1e-6)
    alike = torch.ones(2, 4)
    assert float(nt_xent(alike, alike, 0.5)) == pytest.approx(math.log(3), abs=1e-6)
    assert float(nt_xent(X, Y, 0.1)) == pytest.approx(float(nt_xent(Y, 3 * X, 0.1)), abs=1e-6)
    assert float(nt_xent(X[:1], Y[:1], 0.1)) == 0.0


def test_nt_xent_against_a_slow_reference():
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 6)
    views, total = F.normalize(torch.cat((first, second)), dim=1), 0.0
    for i, view in enumerate(views):
        others = [math.exp(float(view @ other) / 0.3) for j, other in enumerate(views) if j != i]
        total -= math.log(math.exp(float(view @ views[(i + 4) % 8]) / 0.3) / sum(others))
    assert float(nt_xent(first, second, 0.3)) == pytest.approx(total / 8, rel=1e-5)


def test_negative_cosine():
    assert float(negative_cosine(X, Y)) == pytest.approx(-0.9227176, abs=1e-6)
    byol = 2 + 2 * negative_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert float(byol) == pytest.approx(0.5857864, abs=1e-6)


def test_both_losses_against_a_slow_reference():
    torch.manual_seed(0)
    queries, keys, queue = (F.normalize(torch.randn(count, 4), dim=1) for count in (3, 3, 5))
    by_queue, by_batch = [], []
    for query, key in zip(queries, keys, strict=True):
        positive = math.exp(float(query @ key) / 0.2)
        by_queue.append(-math.log(positive / (positive + sum(math.exp(float(query @ other) / 0.2) for other in queue))))
        by_batch.append(-math.log(positive / sum(math.exp(float(query @ other) / 0.2) for other in keys)))
    assert float(queue_loss(queries, keys, queue, 0.2)) == pytest.approx(sum(by_queue) / 3, rel=1e-5)
    assert float(batch_loss(queries, keys, 0.2)) == pytest.approx(sum(by_batch) / 3, rel=1e-5)


def test_the_queue_forgets_the_oldest():
    queue = KeyQueue(6, 1)
    for first in (0, 2, 4, 6):
        queue.push(torch.tensor([[first], [first + 1]], dtype=torch.float32))
    assert queue.keys.flatten().tolist() == [6, 7, 2, 3, 4, 5]
    assert int(queue.place) == 2


def test_batches_that_do_not_divide_the_queue():
    queue = KeyQueue(5, 1)
    queue.push(torch.arange(3.0)[:, None])
    queue.push(torch.arange(3.0, 6.0)[:, None])
    assert queue.keys.flatten().tolist() == [5, 1, 2, 3, 4]
    queue.push(torch.arange(10.0, 22.0)[:, None])
    assert sorted(queue.keys.flatten().tolist()) == [17, 18, 19, 20, 21]
    queue.push(torch.tensor([[99.0]]))
    assert sorted(queue.keys.flatten().tolist()) == [18, 19, 20, 21, 99]


def test_following_keeps_a_share_of_itself():
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = {name: weight.detach().clone() for name, weight in first.named_parameters()}
    follow(first, second, 0.75)
    for name, weight in first.named_parameters():
        assert torch.allclose(weight, 0.75 * before[name] + 0.25 * dict(second.named_parameters())[name], atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2])
def test_vectors_have_unit_length(layers):
    torch.manual_seed(0)
    encoder = PooledEncoder(build_network(small_spec(2)).drop_decoder(), 16, layers)
    vectors = encoder(torch.randn(3, 1, 32, 32))
    assert vectors.shape == (3, 16)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    assert sum(isinstance(part, torch.nn.Linear) for part in encoder.head) == layers


def test_instance_norm_gets_a_mean_for_each_quarter():
    for norm, width in (("instance", 4 * 128), ("batch", 128)):
        backbone = build_network(small_spec(2).model_copy(update={"options": {"norm": norm}}))
        encoder = PooledEncoder(backbone, 16, 1).eval()
        assert encoder.head[0].in_features == width
    x = torch.randn(1, 1, 32, 32)
    means = encoder.backbone.encode(x)[-1].mean(dim=(2, 3))
    assert torch.allclose(encoder(x), F.normalize(encoder.head(means), dim=1), atol=1e-6)


def test_keys_are_made_without_gradients_and_enter_the_queue_after_the_step():
    net = moco()
    assert net.key_encoder is not None and net.queue is not None
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), net.key_encoder.parameters(), strict=True))
    first, second, before = torch.randn(2, 1, 32, 32), torch.randn(2, 1, 32, 32), net.queue.keys.clone()
    net(first, second).backward()
    assert not any(weight.requires_grad or weight.grad is not None for weight in net.key_encoder.parameters())
    assert all(weight.grad is not None for weight in net.encoder.parameters())
    assert torch.equal(net.queue.keys, before)
    with torch.no_grad():
        keys = net.key_encoder(second)
        for weight in net.encoder.parameters():
            weight.add_(1.0)
    net.after_step()
    assert torch.equal(net.queue.keys[:2], keys)
    assert torch.equal(net.queue.keys[2:], before[2:])
    net.after_step()
    assert int(net.queue.place) == 2


def test_without_a_queue_both_views_train_one_encoder():
    net = moco(queue=0)
    assert net.key_encoder is None and net.queue is None
    first, second = torch.randn(3, 1, 32, 32), torch.randn(3, 1, 32, 32)
    loss = net(first, second)
    assert torch.allclose(loss, batch_loss(net.encoder(first), net.encoder(second), 0.07))
    net.after_step()
    alone = net(first[:1], second[:1])
    alone.backward()
    assert alone.item() == 0.0


def test_the_queue_travels_with_the_weights():
    net, other = moco(), moco()
    net(torch.randn(2, 1, 32, 32), torch.randn(2, 1, 32, 32))
    net.after_step()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.queue.keys, net.queue.keys)
    assert int(other.queue.place) == 2
