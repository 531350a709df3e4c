from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.methods.lrc_clusters import cluster_pixels, k_means
from napari_ssl_seg.methods.lrc_loss import local_contrast, retrieval, similarity


def loss(queries: torch.Tensor, keys: torch.Tensor, valid: torch.Tensor | None = None, **options) -> float:
    """Of one image, its (K, D) means."""
    all_valid = torch.ones(len(queries), dtype=torch.bool) if valid is None else valid
    return float(local_contrast(queries[None], keys[None], all_valid[None], **{"temperature": 1.0} | options))


def reference(queries, keys, *, temperature: float, include_self: bool, normalise: bool) -> float:
    """The printed formula, one term after the other; the sum over regions."""
    q, p = ([vector / vector.norm() if normalise else vector for vector in means] for means in (queries, keys))
    total = 0.0
    for k1 in range(len(q)):
        below = 0.0
        for k2 in range(len(q)):
            if include_self or k1 != k2:
                below += math.exp(float(q[k1] @ q[k2]) / temperature)
            below += math.exp(float(q[k1] @ p[k2]) / temperature)
        total -= math.log(math.exp(float(q[k1] @ p[k1]) / temperature) / below)
    return total


def test_worked_numbers():
    two = torch.eye(2)
    assert loss(two, two, reduction="sum") == pytest.approx(1.1028894, abs=1e-6)
    assert loss(two, two) == pytest.approx(0.5514447, abs=1e-6)
    assert loss(two, two, reduction="sum", temperature=0.5) == pytest.approx(0.4790895, abs=1e-6)
    assert loss(two, two, reduction="sum", include_self=True) == pytest.approx(2.0128177, abs=1e-6)
    # 1.3862953 in exact arithmetic
    assert loss(two, two, reduction="sum", include_self=True, temperature=0.07) == pytest.approx(1.3862953, abs=2e-6)
    assert loss(two, two.flip(0), reduction="sum") == pytest.approx(3.1028895, abs=1e-6)
    collapsed = torch.ones(3, 4)
    assert loss(collapsed, collapsed) == pytest.approx(math.log(5), abs=1e-6)
    assert loss(collapsed, collapsed, include_self=True) == pytest.approx(math.log(6), abs=1e-6)


def test_one_region_contributes_nothing():
    one = torch.randn(1, 4, requires_grad=True)
    value = local_contrast(one[None], one[None], torch.ones(1, 1, dtype=torch.bool), temperature=0.1)
    assert value.item() == 0.0
    value.backward()
    assert one.grad is not None and not one.grad.any()
    assert loss(torch.ones(1, 4), torch.ones(1, 4), include_self=True) == pytest.approx(math.log(2), abs=1e-6)


def test_images_without_two_regions_do_not_count():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 4, 3, 8)[0], torch.randn(4, 3, 8)
    valid = torch.tensor([[True] * 3, [True, False, False], [False] * 3, [True, True, False]])
    both = float(local_contrast(queries, keys, valid, temperature=0.5))
    full = float(local_contrast(queries[:1], keys[:1], valid[:1], temperature=0.5))
    pair = float(local_contrast(queries[3:, :2], keys[3:, :2], valid[3:, :2], temperature=0.5))
    assert both == pytest.approx((full + pair) / 2, rel=1e-5)


@pytest.mark.parametrize("width", [0, 3])
def test_no_region_at_all_gives_zero_and_gradients_of_zero(width):
    queries = torch.randn(2, width, 4, requires_grad=True)
    value = local_contrast(queries, queries * 2, torch.zeros(2, width, dtype=torch.bool), temperature=0.1)
    assert value.item() == 0.0
    value.backward()
    assert queries.grad is not None and not queries.grad.any()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    regions=st.integers(2, 6),
    include_self=st.booleans(),
    normalise=st.booleans(),
    temperature=st.sampled_from([0.5, 1.0]),
)
def test_against_the_printed_formula(seed, regions, include_self, normalise, temperature):
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, regions, 5, generator=generator, dtype=torch.float64)
    options = {"temperature": temperature, "include_self": include_self, "normalise": normalise}
    expected = reference(queries, keys, **options)
    assert loss(queries, keys, reduction="sum", **options) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert loss(queries, keys, **options) == pytest.approx(expected / regions, rel=1e-5, abs=1e-6)
    order = torch.randperm(regions, generator=generator)
    assert loss(queries[order], keys[order], **options) == pytest.approx(expected / regions, rel=1e-5, abs=1e-6)
    if normalise:
        assert loss(3 * queries, 7 * keys, **options) == pytest.approx(expected / regions, rel=1e-5, abs=1e-6)
    # Slots that hold no region change nothing, whatever they hold.
    more = torch.cat((torch.full((2, 5), 1e3, dtype=torch.float64), queries))
    others = torch.cat((torch.full((2, 5), -1e3, dtype=torch.float64), keys))
    valid = torch.arange(regions + 2) >= 2
    assert loss(more, others, valid, **options) == pytest.approx(expected / regions, rel=1e-5, abs=1e-6)


def test_half_precision_does_not_reach_the_similarities():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 6, 16)
    expected = loss(queries, keys, temperature=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(queries, keys, temperature=0.05) == pytest.approx(expected, abs=1e-6)
        assert similarity(queries, keys).dtype == torch.float32


def test_retrieval_counts_what_is_found_again():
    queries = torch.eye(3)
    keys = queries[[0, 2, 1]]
    alike = similarity(queries, keys)[None]
    assert alike[0].tolist() == keys.T.tolist()
    assert float(retrieval(alike, torch.tensor([[True, True, True]]))) == pytest.approx(1 / 3)
    assert float(retrieval(alike, torch.tensor([[True, True, False]]))) == pytest.approx(0.5)
    assert float(retrieval(alike[:, :0, :0], torch.zeros(1, 0, dtype=torch.bool))) == 0.0


def test_clusters_are_the_groups_of_vectors_by_size():
    torch.manual_seed(0)
    truth = torch.zeros(20, 30, dtype=torch.int64)
    truth[:, 10:] = 1
    truth[12:, 20:] = 2
    centres = torch.tensor([[0.0, 0, 9], [9, 0, 0], [0, 9, 0]])
    features = centres[truth].permute(2, 0, 1) + 0.1 * torch.randn(3, 20, 30)
    inside = torch.ones(20, 30, dtype=torch.bool)
    inside[0] = False
    found = cluster_pixels(features, inside, 3)
    expected = torch.tensor([2, 1, 3])[truth].masked_fill(~inside, 0)
    assert torch.equal(found, expected)
    assert torch.equal(found, cluster_pixels(features, inside, 3))


def test_more_clusters_than_vectors_differ():
    features = torch.zeros(2, 4, 4)
    features[0, :2] = 1.0
    everywhere = torch.ones(4, 4, dtype=torch.bool)
    assert set(cluster_pixels(features, everywhere, 9).flatten().tolist()) == {1, 2}
    assert not cluster_pixels(features, ~everywhere, 3).any()
    assert not cluster_pixels(features, everywhere, 0).any()
    assert len(k_means(torch.ones(50, 3), 4)) == 1
