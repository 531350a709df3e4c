"""Pictures of regions, points, matrices and curves; those of images, masks and boxes are in test_inspection."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssl_seg.methods import View
from napari_ssl_seg.methods.pictures import DARK, LIGHT, PALETTE, picture


def pixels(view: View, **options) -> np.ndarray:
    return np.asarray(picture(view, row=options.pop("row", 0), dims=options.pop("dims", 2), **options))


def test_many_regions_have_colours_of_their_own():
    labels = torch.arange(-1, 28).reshape(1, 1, 29)
    shown = pixels(View("a", "A", "labels", labels))
    side = shown.shape[0]
    colours = [tuple(shown[0, place * side].tolist()) for place in range(29)]
    assert colours[0] == colours[1] == (0, 0, 0)
    assert colours[2:9] == [tuple(colour) for colour in PALETTE[1:].tolist()]
    assert len(set(colours[2:])) == 27


def test_a_matrix_is_drawn_cell_by_cell():
    shown = pixels(View("s", "S", "matrix", torch.tensor([[1.0, 0.0], [0.5, float("nan")]]), (0.0, 1.0)))
    assert shown.shape == (256, 256, 3)
    assert shown[2, 2].tolist() == LIGHT.tolist()
    assert shown[2, 130].tolist() == shown[130, 130].tolist() == DARK.tolist()
    assert shown[130, 2].tolist() == ((DARK + LIGHT) / 2 + 0.5).astype(int).tolist()


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (300, 2)])
def test_matrices_of_any_size_and_of_equal_values_are_drawn(shape):
    shown = pixels(View("s", "S", "matrix", np.zeros(shape)))
    assert shown.shape[0] % shape[0] == 0
    assert shown.shape[1] % shape[1] == 0
    assert max(shown.shape) >= 256


def test_points_lie_in_the_middle_of_their_voxels():
    backdrop = View("a", "A", "image", torch.zeros(1, 1, 64, 64), (0.0, 1.0))
    points = View("p", "P", "points", torch.tensor([[[10.0, 20.0], [float("nan"), 3.0], [40.0, 50.0]]]))
    shown = pixels(points, backdrop=backdrop)
    assert shown.shape == (256, 256, 3)
    assert shown[42, 82].tolist() == PALETTE[1].tolist()
    assert shown[162, 202].tolist() == PALETTE[3].tolist()
    assert not shown[:30].any()


def test_points_of_a_volume_show_on_their_own_slice():
    backdrop = View("a", "A", "image", torch.zeros(1, 1, 4, 64, 64), (0.0, 1.0))
    points = View("p", "P", "points", torch.tensor([[[2.2, 10.0, 20.0]]]))
    assert pixels(points, dims=3, row=2, backdrop=backdrop).any()
    assert not pixels(points, dims=3, row=1, backdrop=backdrop).any()


def test_points_without_a_backdrop_have_room():
    shown = pixels(View("p", "P", "points", torch.tensor([[[300.0, 10.0]]])))
    assert shown.shape[0] > 300
    assert shown.any()


def has(shown: np.ndarray, colour: np.ndarray) -> bool:
    return bool((shown == colour).all(axis=2).any())


def test_a_break_parts_the_lines_of_a_curve():
    lines = np.array([(0.0, 0.0), (1.0, 1.0), (np.nan, np.nan), (0.0, 0.5), (1.0, 0.5)])
    shown = pixels(View("c", "C", "curve", lines))
    assert has(shown, PALETTE[5])
    assert has(shown, PALETTE[6])
    alone = pixels(View("c", "C", "curve", lines[:2]))
    assert has(alone, PALETTE[5])
    assert not has(alone, PALETTE[6])


@pytest.mark.parametrize("lines", [np.zeros((0, 2)), np.array([[1.0, 2.0]]), np.full((3, 2), np.nan)])
def test_a_curve_of_nothing_is_an_empty_frame(lines):
    assert not has(pixels(View("c", "C", "curve", lines)), PALETTE[5])
