from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.contrast import queue_loss
from napari_ssl_seg.methods.dense_net import flat, most_similar, place_centres, places_loss
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec
from tests.methods.test_siamese import batch, of, views

if TYPE_CHECKING:
    from napari_ssl_seg.methods.dense_net import DenseContrastNet


def method(**settings):
    return get_method("densecl", {"queue": 8, "projection": 16} | settings)


def model_of(made, dims: int = 2) -> DenseContrastNet:
    torch.manual_seed(0)
    return made.build(build_network(small_spec(dims)))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_matches_by_hand():
    first = torch.tensor([[[1.0, 0.0], [0.0, 5.0]]])
    second = torch.tensor([[[0.1, 1.0], [9.0, 9.0], [0.3, 0.0]]])
    assert most_similar(first, second).tolist() == [[2, 0]]


def test_the_loss_of_places_by_hand():
    one = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    queue = torch.tensor([[0.0, 1.0]] * 3)
    matches = torch.zeros(1, 2, dtype=torch.int64)
    assert float(places_loss(2 * one, 3 * one, matches, queue, 0.2)) == pytest.approx(0.0200123, abs=1e-6)
    same = torch.tensor([[1.0, 0.0]] * 3)
    assert float(places_loss(one, one, matches, same, 0.2)) == pytest.approx(math.log(4), abs=1e-6)


def test_against_a_slow_reference():
    queries, keys, queue = drawn(2, 5, 4), drawn(2, 6, 4, seed=1), F.normalize(drawn(7, 4, seed=2), dim=1)
    features, others = drawn(2, 5, 3, seed=3), drawn(2, 6, 3, seed=4)
    matches, total = most_similar(features, others), 0.0
    for image in range(2):
        for place in range(5):
            alike = [float(F.cosine_similarity(features[image, place], other, dim=0)) for other in others[image]]
            best = max(range(6), key=alike.__getitem__)
            assert int(matches[image, place]) == best
            query, key = F.normalize(queries[image, place], dim=0), F.normalize(keys[image, best], dim=0)
            positive = math.exp(float(query @ key) / 0.2)
            total -= math.log(positive / (positive + sum(math.exp(float(query @ other) / 0.2) for other in queue)))
    assert float(places_loss(queries, keys, matches, queue, 0.2)) == pytest.approx(total / 10, rel=1e-5)


def test_the_order_of_the_key_s_places_does_not_matter():
    queries, keys, queue = drawn(2, 5, 4), drawn(2, 6, 4, seed=1), F.normalize(drawn(7, 4, seed=2), dim=1)
    features, others = drawn(2, 5, 3, seed=3), drawn(2, 6, 3, seed=4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    plain, mixed = (
        places_loss(queries, keys[:, o], most_similar(features, others[:, o]), queue, 0.2)
        for o in (torch.arange(6), order)
    )
    assert torch.allclose(plain, mixed)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_total_is_a_share_of_each(share):
    net = model_of(method(dense=share))
    first, second = views()
    seen, other = net.encoder.backbone.encode(first)[-1], net.key_encoder.backbone.encode(second)[-1]
    whole = queue_loss(
        F.normalize(net.encoder(first), dim=1), F.normalize(net.key_encoder(second), dim=1), net.queue.keys, 0.2
    )
    matches = most_similar(flat(seen), flat(other))
    dense = places_loss(net.dense_head(flat(seen)), net.key_dense_head(flat(other)), matches, net.dense_queue.keys, 0.2)
    parts = net(first, second)
    assert torch.allclose(parts["loss"], (1 - share) * whole + share * dense, atol=1e-6)
    assert torch.allclose(parts["global"], whole) and torch.allclose(parts["dense"], dense)


def test_both_queues_and_heads_follow():
    net = model_of(method(momentum=0.5))
    first, second = views(2)
    before = net.key_dense_head[0].weight.clone()
    net(first, second)["loss"].backward()
    assert all(weight.grad is None for weight in net.key_dense_head.parameters())
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)
    with torch.no_grad():
        places = net.key_dense_head(flat(net.key_encoder.backbone.encode(second)[-1])).mean(dim=1)
        net.dense_head[0].weight.add_(1.0)
    net.after_step(0, 10)
    assert torch.allclose(net.dense_queue.keys[:2], F.normalize(places, dim=1), atol=1e-6)
    assert int(net.queue.place) == int(net.dense_queue.place) == 2
    assert torch.allclose(net.key_dense_head[0].weight, before + 0.5, atol=1e-6)


def test_centres_of_places():
    assert place_centres((2, 2), (4, 8)).tolist() == [[0.5, 1.5], [0.5, 5.5], [2.5, 1.5], [2.5, 5.5]]


@pytest.mark.parametrize("dims", [2, 3])
def test_matches_are_shown_in_the_same_order(dims):
    made = method()
    net, pretext = model_of(made, dims).eval(), made.pretext(batch(dims), generator_for(0, 0))
    shown = {view.name: view for view in made.output_views(net, pretext)}
    assert shown["places"].data.shape == shown["matches"].data.shape
    assert shown["matches"].over == "second"
    same = {
        view.name: view for view in made.output_views(net, type(pretext)(pretext.inputs, {"second": pretext.inputs}))
    }
    assert torch.equal(same["places"].data, same["matches"].data)


def test_a_batch_of_one_and_a_constant_patch():
    made = method()
    net = model_of(made)
    for patches in (batch(2, 1), of(torch.zeros(2, 1, 32, 32)), of(torch.randn(2, 1, 17, 33))):
        losses = made.loss(net, made.pretext(patches, generator_for(0, 0)))
        losses.total.backward()
        made.after_step(net, 0, 2)
        assert torch.isfinite(losses.total.detach())


def test_there_is_always_a_queue():
    from tests.methods.fakes import small_study

    with pytest.raises(StopIteration) as end:
        next(get_method("densecl").on_network(small_spec(3)).prepare(small_study(1), ["case0"]))
    assert end.value.value.method.config.queue == 1


# -- MoCo v3 ----------------------------------------------------------------------------------------------------------
def test_moco_v3_is_symmetric_in_its_views():
    torch.manual_seed(0)
    made = get_method("moco_v3", {"hidden": 16, "projection": 8, "head_norm": "layer"})
    net = made.build(build_network(small_spec(2)))
    with torch.no_grad():
        for weight in net.key_encoder.parameters():
            weight.mul_(1.1)
    first, second = views()
    assert torch.allclose(net(first, second)["loss"], net(second, first)["loss"])
    total = 0.0
    for query, key in ((first, second), (second, first)):
        queries = F.normalize(net.predictor(net.encoder(query)), dim=1)
        keys = F.normalize(net.key_encoder(key), dim=1)
        total += float(F.cross_entropy(queries @ keys.T / 0.2, torch.arange(3)).detach())
    assert float(net(first, second)["loss"].detach()) == pytest.approx(2 * 0.2 * total, rel=1e-5)


def test_moco_v3_says_that_a_batch_of_one_teaches_nothing():
    made = get_method("moco_v3", {"hidden": 16})
    net = made.build(build_network(small_spec(2)))
    assert made.loss(net, made.pretext(batch(2, 1), generator_for(0, 0))).total.item() == 0.0
    assert "larger batch" in made.remarks(net)[0]
