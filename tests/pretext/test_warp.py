from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.pretext.warp import displaced_grid, elastic_field, warp_image, warp_labels


def field_of(shape: tuple[int, int], dy: float = 0.0, dx: float = 0.0) -> torch.Tensor:
    return torch.stack((torch.full(shape, dy), torch.full(shape, dx)))[None]


def drawn(seed: int, shape=(64, 48), *, batch: int = 2, largest: float = 3.0, sigma: float = 4.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return elastic_field(batch, shape, largest=largest, sigma=sigma, generator=generator)


def test_displacements_pull():
    row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    assert warp_image(row, field_of((1, 4), dx=1)).flatten().tolist() == pytest.approx([2, 3, 4, 4])
    assert warp_labels(row[:, 0].long(), field_of((1, 4), dx=1)).flatten().tolist() == [2, 3, 4, 4]
    column = row.transpose(2, 3)
    assert warp_image(column, field_of((4, 1), dy=-1)).flatten().tolist() == pytest.approx([1, 1, 2, 3])
    assert warp_image(row, field_of((1, 4), dx=0.25)).flatten().tolist() == pytest.approx([1.25, 2.25, 3.25, 4])


def test_no_displacement_changes_nothing():
    image, labels = torch.randn(2, 3, 9, 7), torch.randint(-1, 5, (2, 9, 7))
    still = torch.zeros(2, 2, 9, 7)
    assert torch.allclose(warp_image(image, still), image, atol=1e-5)
    assert torch.equal(warp_labels(labels, still), labels)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    largest=st.floats(0, 20),
    sigma=st.sampled_from([0.0, 0.3, 2.0, 30.0]),
)
def test_a_warp_of_any_size_makes_no_new_value(seed, height, width, largest, sigma):
    field = drawn(seed, (height, width), largest=largest, sigma=sigma)
    assert field.shape == (2, 2, height, width)
    length = field.square().sum(dim=1).sqrt().amax(dim=(1, 2))
    assert torch.allclose(length, torch.full((2,), largest), rtol=1e-4, atol=1e-6)
    labels = torch.randint(-1, 6, (2, height, width), generator=torch.Generator().manual_seed(seed))
    warped = warp_labels(labels, field)
    assert all(
        set(after.flatten().tolist()) <= set(before.flatten().tolist())
        for before, after in zip(labels, warped, strict=True)
    )
    image = warp_image(labels.unsqueeze(1).float(), field)
    assert image.min() >= labels.min() - 1e-4
    assert image.max() <= labels.max() + 1e-4


def test_image_and_regions_move_together():
    labels = (torch.arange(64)[:, None] // 16 * 3 + torch.arange(48) // 16 + 1).expand(2, 64, 48)
    field = drawn(1)
    warped = warp_labels(labels, field)
    for region in range(1, 13):
        covered = warp_image((labels == region).float().unsqueeze(1), field)[:, 0]
        inside, outside = covered > 0.75, covered < 0.25
        assert (warped[inside] == region).all()
        assert (warped[outside] != region).all()
        assert ((covered > 0.5) != (warped == region)).float().mean() < 0.01
    colours = torch.rand(13)
    nearest = colours[warp_labels(labels, field)]
    assert torch.equal(nearest, colours[warped])


def test_the_field_comes_from_the_generator_alone():
    torch.manual_seed(0)
    first = drawn(3)
    torch.manual_seed(1)
    assert torch.equal(first, drawn(3))
    assert not torch.equal(first, drawn(4))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("shape", [(56, 40), (128, 128)])
def test_the_defaults_fold_nothing(shape):
    """The Jacobian of (y, x) -> (y + dy, x + dx) stays positive."""
    side = min(shape)
    for seed in range(5):
        field = drawn(seed, shape, largest=12 / 256 * side, sigma=16 / 256 * side)
        along_y, along_x = field.diff(dim=2)[..., :-1], field.diff(dim=3)[:, :, :-1]
        jacobian = (1 + along_y[:, 0]) * (1 + along_x[:, 1]) - along_y[:, 1] * along_x[:, 0]
        assert jacobian.min() > 0


def test_the_field_is_as_strong_at_the_border_and_as_smooth_as_asked_for():
    fields = drawn(0, (64, 64), batch=64, largest=1.0, sigma=8.0)
    strength = fields.square().mean(dim=(0, 1))
    assert strength[:4].mean() == pytest.approx(float(strength[30:34].mean()), rel=0.25)
    # Of white noise smoothed with a Gaussian, values d apart correlate by exp(-d^2 / 4 sigma^2).
    for distance in (4, 8, 16):
        together = (fields[..., distance:] * fields[..., :-distance]).mean() / fields.square().mean()
        assert float(together) == pytest.approx(float(torch.exp(torch.tensor(-(distance**2) / 256.0))), abs=0.06)


def test_a_warped_grid_is_a_picture():
    grid = displaced_grid(torch.zeros(1, 2, 16, 16))
    assert grid.shape == (1, 1, 16, 16)
    assert grid[0, 0, 1].tolist() == pytest.approx([1.0] * 16, abs=1e-5)
    assert 0 <= grid.min() <= grid.max() <= 1
