from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext import block_mask, block_statistics, fit_block, masked_count


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("blocks", "ratio", "count"),
    [(16, 0.75, 12), (10, 0.25, 3), (64, 0.6, 38), (4, 0.01, 1), (4, 0.99, 3), (1, 0.75, 1), (5, 0.0, 0), (5, 1.0, 5)],
)
def test_how_many_blocks_are_masked(blocks, ratio, count):
    assert masked_count(blocks, ratio) == count


@settings(deadline=None, max_examples=60)
@given(
    dims=st.sampled_from([2, 3]),
    grid=st.tuples(*[st.integers(1, 5)] * 3),
    block=st.tuples(*[st.integers(1, 6)] * 3),
    ratio=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_every_block_is_masked_whole_or_not_at_all(dims, grid, block, ratio, seed):
    grid, block = grid[:dims], block[:dims]
    shape = [count * side for count, side in zip(grid, block, strict=True)]
    mask = block_mask(3, shape, block, ratio, seeded(seed)).numpy()
    assert mask.shape == (3, *shape)
    assert mask.dtype == bool
    split = mask.reshape(3, *(length for pair in zip(grid, block, strict=True) for length in pair))
    inside = tuple(range(2, 2 * dims + 1, 2))
    assert (split.all(axis=inside) == split.any(axis=inside)).all()
    counts = split.any(axis=inside).reshape(3, -1).sum(axis=1)
    assert (counts == masked_count(int(np.prod(grid)), ratio)).all()


def test_the_last_block_is_cut_at_the_border():
    mask = block_mask(1, (5, 7), (4, 4), 0.5, seeded(1))[0]
    assert mask.shape == (5, 7)
    assert mask[:4, :4].float().std(unbiased=False) == 0
    assert mask[4:, 4:].float().std(unbiased=False) == 0


def test_samples_differ_and_the_seed_decides():
    first, again = (block_mask(8, (64, 64), (8, 8), 0.5, seeded(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert len({tuple(mask.flatten().tolist()) for mask in first}) == 8


def test_every_block_is_masked_as_often():
    share = block_mask(4000, (4, 4), (1, 1), 0.75, seeded()).float().mean(dim=0)
    assert (share - 0.75).abs().max() < 0.03


def test_blocks_shrink_in_small_patches():
    assert fit_block((64, 64), 16) == (16, 16)
    assert fit_block((256, 256), 16) == (16, 16)
    assert fit_block((56, 40), 16) == (8, 8)
    assert fit_block((10, 32, 48), 16) == (2, 8, 8)
    assert fit_block((3, 64, 64), 12) == (1, 12, 12)


def test_block_statistics_by_hand():
    # One block of (0, 0, 2, 2): mean 1, variance 4/3 (He et al. divide by n - 1).
    image = torch.tensor([[[[0.0, 0.0], [2.0, 2.0]]]])
    mean, deviation = block_statistics(image, (2, 2))
    assert torch.allclose(
        (image - mean) / deviation, torch.tensor([[[[-0.8660254, -0.8660254], [0.8660254, 0.8660254]]]]), atol=1e-6
    )


@pytest.mark.parametrize(("shape", "block"), [((6, 7), (4, 3)), ((5, 6, 4), (2, 4, 3)), ((4, 4), (1, 1))])
def test_block_statistics_equal_a_loop_over_blocks(shape, block):
    image = np.random.default_rng(0).normal(5, 2, (2, 3, *shape)).astype(np.float32)
    mean, deviation = block_statistics(torch.from_numpy(image), block)
    starts = np.stack(np.meshgrid(*(range(0, n, b) for n, b in zip(shape, block, strict=True)), indexing="ij"), -1)
    for start in starts.reshape(-1, len(shape)):
        inside = tuple(slice(at, at + side) for at, side in zip(start, block, strict=True))
        part = image[(..., *inside)].reshape(2, 3, -1).astype(np.float64)
        expected = np.sqrt(part.var(axis=2, ddof=1) + 1e-6) if part.shape[2] > 1 else np.full((2, 3), 1e-3)
        got_mean = mean[(..., *inside)].reshape(2, 3, -1).numpy()
        got = deviation[(..., *inside)].reshape(2, 3, -1).numpy()
        np.testing.assert_allclose(got_mean, np.broadcast_to(part.mean(axis=2)[..., None], got_mean.shape), rtol=1e-5)
        np.testing.assert_allclose(got, np.broadcast_to(expected[..., None], got.shape), rtol=1e-4)
