from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import (
    KeyQueue,
    batch_loss,
    follow,
    negative_cosine,
    nt_xent,
    queue_loss,
)


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
