from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext.region_sampling import (
    point_means,
    region_sizes,
    sample_points,
    shared_regions,
    whole_means,
)


def share(first: torch.Tensor, second: torch.Tensor, most: int = 100, seed: int = 0):
    return shared_regions(first, second, most=most, generator=torch.Generator().manual_seed(seed))


def test_worked_example():
    labels = torch.tensor([[[1, 1, 2], [2, 2, 2]]])
    features = torch.tensor([[[[1.0, 3.0, 0.0], [2.0, 4.0, 6.0]]]])
    draws = torch.tensor([[[0.1, 0.9], [0.0, 0.99]]])
    points = sample_points(labels, torch.tensor([[1, 2]]), draws)
    assert points.tolist() == [[[0, 1], [2, 5]]]
    assert point_means(features, points).tolist() == [[[2.0], [3.0]]]
    assert whole_means(features, labels, torch.tensor([[1, 2]])).tolist() == [[[2.0], [3.0]]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), regions=st.integers(1, 12), points=st.integers(0, 5))
def test_every_point_lies_in_its_region(seed, regions, points):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, regions + 1, (3, 7, 5), generator=generator)
    shared = share(labels, labels)
    draws = torch.rand(*shared.ids.shape, points, generator=generator)
    drawn = sample_points(labels, shared.ids, draws)
    assert drawn.shape == draws.shape
    for image, ids, found in zip(labels, shared.ids.tolist(), drawn, strict=True):
        present = sorted(set(image.flatten().tolist()) - {0, -1})
        assert [number for number in ids if number] == present
        for number, places in zip(ids, found, strict=True):
            if number == 0:
                assert (places == -1).all()
            else:
                assert (image.flatten()[places] == number).all()


def test_a_region_of_one_pixel_gives_it_for_every_draw():
    labels = torch.tensor([[[1, 1, 1], [1, 7, 0]]])
    draws = torch.tensor([0.0, 0.5, 1.0 - 2**-24]).expand(1, 1, 3)
    assert sample_points(labels, torch.tensor([[7]]), draws).tolist() == [[[4, 4, 4]]]
    assert sample_points(labels, torch.tensor([[1]]), draws).tolist() == [[[0, 2, 3]]]
    assert sample_points(labels, torch.tensor([[3]]), draws).tolist() == [[[-1, -1, -1]]]


def test_draws_are_uniform_over_the_region():
    labels = torch.zeros(1, 4, 10, dtype=torch.int64)
    labels[0, 1, 2:9] = 1
    draws = torch.rand(1, 1, 70_000, generator=torch.Generator().manual_seed(0))
    counts = sample_points(labels, torch.tensor([[1]]), draws).flatten().bincount(minlength=40)
    assert counts[12:19].sum() == 70_000
    assert torch.allclose(counts[12:19].double(), torch.full((7,), 10_000.0).double(), atol=400)


def test_only_what_both_views_show_is_shared():
    first = torch.tensor([[[1, 2, 3, 0]], [[5, 5, -1, -1]]])
    second = torch.tensor([[[3, 3, 1, 4]], [[0, 0, 0, -1]]])
    shared = share(first, second)
    assert shared.ids.tolist() == [[1, 3], [0, 0]]
    assert shared.counts.tolist() == [2, 0]
    assert shared.lost.tolist() == [1, 1]
    assert shared.surplus.tolist() == [0, 0]


def test_too_many_regions_are_cut_to_a_random_subset():
    labels = torch.stack((torch.arange(1, 31), torch.arange(1, 31).clamp(max=4)))[:, None]
    subsets = [share(labels, labels, most=10, seed=seed) for seed in range(40)]
    for shared in subsets:
        assert shared.counts.tolist() == [10, 4]
        assert shared.surplus.tolist() == [20, 0]
        assert shared.ids[0].tolist() == sorted(set(shared.ids[0].tolist()))
        assert shared.ids[1].tolist() == [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]
    assert torch.equal(subsets[0].ids, share(labels, labels, most=10, seed=0).ids)
    seen = torch.cat([shared.ids[0] for shared in subsets]).bincount(minlength=31)[1:]
    assert seen.min() > 0


def test_no_region_at_all():
    nothing = torch.zeros(2, 4, 4, dtype=torch.int64)
    shared = share(nothing, nothing)
    assert shared.ids.shape == (2, 0)
    points = sample_points(nothing, shared.ids, torch.rand(2, 0, 5))
    assert points.shape == (2, 0, 5)
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    for means in (point_means(features, points), whole_means(features, nothing, shared.ids)):
        assert means.shape == (2, 0, 3)
        means.sum().backward()


def test_many_points_tend_to_the_mean_of_the_region():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 6, (2, 16, 16), generator=generator)
    features = torch.randn(2, 3, 16, 16, generator=generator)
    shared = share(labels, labels)
    points = sample_points(labels, shared.ids, torch.rand(2, 5, 20_000, generator=generator))
    whole = whole_means(features, labels, shared.ids)
    assert torch.allclose(point_means(features, points), whole, atol=0.05)
    for row, number in enumerate(shared.ids[1]):
        assert torch.allclose(whole[1, row], features[1][:, labels[1] == number].mean(dim=1), atol=1e-5)


def test_labels_beyond_16_bits():
    labels = torch.tensor([[[40_000, 40_000, 1, 0]]])
    shared = share(labels, labels)
    assert shared.ids.tolist() == [[1, 40_000]]
    assert sample_points(labels, shared.ids, torch.tensor([[[0.5], [0.9]]])).tolist() == [[[2], [1]]]


def test_sizes_leave_out_what_is_no_region():
    assert region_sizes(torch.tensor([[[-1, 0, 2, 2]]]), 3).tolist() == [[0, 2, 0]]
    with pytest.raises(RuntimeError):
        region_sizes(torch.tensor([[[4]]]), 3)
