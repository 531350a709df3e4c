"""Views for the training of the embedding, and its loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.anatomy.loss import draw_anchors, info_nce, places
from napari_ssl_seg.anatomy.views import EmbeddingView, sample, two_embedding_views, view_shape


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def straight(shape: tuple[int, int, int], source: tuple[int, int, int] | None = None) -> EmbeddingView:
    """A view that is its source."""
    source = source or shape
    centre = (torch.tensor(source) - 1) / 2
    return EmbeddingView(torch.zeros(shape), torch.eye(3), centre, source)


@given(st.integers(0, 1000))
def test_places_go_to_the_source_and_back(seed: int) -> None:
    for view in two_embedding_views(torch.rand(20, 30, 25), (16, 16, 24), generator(seed)):
        points = 30 * torch.rand(7, 3, generator=generator(seed)) - 5
        assert view.from_source(view.to_source(points)).numpy() == pytest.approx(points.numpy(), abs=1e-3)


def test_what_a_view_shows_is_what_lies_there() -> None:
    source = torch.arange(40.0).view(-1, 1, 1).expand(40, 40, 40) / 40
    first, _ = two_embedding_views(source.clone(), (16, 16, 16), generator(3))
    cells = places(first, 2)
    read = sample(first.image[None], cells)[0]
    truth = first.to_source(cells)[:, 0] / 40
    shown = first.shows(cells)
    # Gamma, gain and shift keep the order.
    assert shown.sum() > 100
    assert torch.corrcoef(torch.stack((read[shown], truth[shown])))[0, 1] > 0.95


def test_anchors_are_the_same_place_in_both_views() -> None:
    first, second = two_embedding_views(torch.rand(30, 30, 30), (16, 24, 16), generator(1))
    here, there = draw_anchors(first, second, generator(2), 2)
    assert 0 < len(here) <= 64
    assert first.to_source(here).numpy() == pytest.approx(second.to_source(there).numpy(), abs=1e-3)
    assert bool(first.shows(here).all()) and bool(second.shows(there).all())


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((36, 50, 35), (24, 32, 24)), ((1, 200, 200), (16, 56, 64)), ((3, 3, 3), (16, 16, 16))],
)
def test_sides_of_views(shape: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    assert view_shape(shape) == wanted


def test_info_nce_by_hand() -> None:
    # Eight cells in a row with vectors at right angles: the positive is 1, all else 0. Of the seven other cells the next one
    # (2 voxels off, nearer than 2 cells) does not count, nor does the cell itself: 6 are left, and 4 places of another scan.
    view = straight((16, 2, 2))
    level = torch.eye(8).view(8, 8, 1, 1)
    at = places(view, 2)[:1]
    found = info_nce(level, level, (at, at), (view, view), torch.zeros(4, 8), 2)
    assert float(found) == pytest.approx(math.log(1 + 10 * math.exp(-10)), rel=1e-3)
    # Where all places are alike nothing can be told: log of 1 + 6 + 4 candidates.
    alike = torch.ones(1, 8, 1, 1)
    assert float(info_nce(alike, alike, (at, at), (view, view), torch.ones(4, 1), 2)) == pytest.approx(math.log(11))


def test_cells_that_show_nothing_of_the_scan_are_no_negatives() -> None:
    view = straight((16, 2, 2), source=(8, 2, 2))  # four of the eight cells stand out of the scan
    at = places(view, 2)[2:3]  # the first that lies in it
    alike = torch.ones(1, 8, 1, 1)
    found = info_nce(alike, alike, (at, at), (view, view), torch.ones(4, 1), 2)
    assert float(found) == pytest.approx(math.log(1 + 2 + 4))


def test_views_that_share_nothing_cost_nothing() -> None:
    view = straight((16, 2, 2))
    none = torch.zeros(0, 3)
    level = torch.ones(1, 8, 1, 1, requires_grad=True)
    loss = info_nce(level, level, (none, none), (view, view), torch.ones(4, 1), 2)
    assert loss.detach().item() == 0.0
    loss.backward()  # nothing to learn, and nothing breaks
    assert level.grad is not None and not level.grad.any()
