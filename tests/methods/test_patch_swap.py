from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.pretext import generator_for


def scans(*shape: int) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((0, 0, 0),) * shape[0])


@pytest.mark.parametrize(
    ("shape", "side"), [((3, 2, 128, 120), 15), ((2, 1, 56, 40), None), ((2, 1, 32, 48, 32), None)]
)
def test_patches_change_places(shape, side):
    batch = scans(*shape)
    pretext = get_method("patch_swap").pretext(batch, generator_for(0, 0))
    assert pretext.targets["image"] is batch.image
    assert torch.equal(pretext.inputs.flatten(2).sort(dim=2).values, batch.image.flatten(2).sort(dim=2).values)
    numbers = next(view.data for view in pretext.views if view.name == "pairs")
    moved = (pretext.inputs != batch.image).any(dim=1)
    assert torch.equal(moved, numbers > 0)
    if side:
        assert pretext.stats["patch_y"] == pretext.stats["patch_x"] == side
    # Ten pairs in a slice, and eight times as many in a volume whose patches are an eighth as deep.
    assert pretext.stats["pairs"] == (10 if len(shape) == 4 else 80)
    if len(shape) == 5:
        voxels_of_one = pretext.stats["patch_y"] * pretext.stats["patch_x"]
        in_a_slice = (numbers > 0).sum(dim=(2, 3)) / voxels_of_one
        assert float(in_a_slice.mean()) == pytest.approx(2 * 10)
    for pair in (1, 10):
        first = (numbers[0] == pair).nonzero()
        assert len(first) == 2 * torch.tensor([pretext.stats[f"patch_{a}"] for a in "zyx"[5 - len(shape) :]]).prod()


def test_no_pairs_leave_the_scan():
    batch = scans(2, 1, 32, 32)
    pretext = get_method("patch_swap", {"pairs": 0}).pretext(batch, generator_for(0, 0))
    assert torch.equal(pretext.inputs, batch.image)
    assert pretext.stats["share_moved"] == pretext.stats["pairs"] == 0


def test_more_pairs_than_there_is_room_for_swap_all_that_fits():
    pretext = get_method("patch_swap", {"pairs": 200}).pretext(scans(1, 1, 32, 32), generator_for(0, 0))
    assert pretext.stats["pairs"] == 24  # 7 x 7 patches of 4 x 4, one of which has no partner
