"""Cutout: boxes of a patch that give way to noise, or to another patch.

As in the pretraining of Swin UNETR (Tang et al., CVPR 2022, arXiv 2111.14791) and its authors' code: boxes of a twentieth
to a quarter of each side, until they hold a share of the voxels that is drawn for each sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SMALLEST, LARGEST = 0.05, 0.25
"""Of a box, as shares of each side of the patch."""
MOST_BOXES = {2: 32, 3: 128}
"""So many hold more than a third of a patch, were none on another."""
NOISE_WIDTH = 8.0
"""Standard deviations of the noise that the patch's range is wide, as that of the authors' noise, which fills the range."""


def cutout_mask(batch: int, shape: Sequence[int], most: float, generator: torch.Generator) -> Tensor:
    """Draw for each sample a share from 0 to ``most``, and boxes until their voxels come to it.

    Boxes are cut at the border and may lie on each other; voxels under two are counted twice, so that the share that is
    hidden is the drawn one or less, but for a part of the last box.

    Returns
    -------
    Tensor
        Bool (batch, *shape), True where cut out, on the generator's device. Nothing is, for a ``most`` of 0.
    """
    device, boxes = generator.device, MOST_BOXES[len(shape)]
    goal = most * torch.rand(batch, 1, generator=generator, device=device)
    size, place = torch.rand(2, batch, boxes, len(shape), generator=generator, device=device)
    volume = torch.ones(batch, boxes, device=device)
    within = []
    for axis, length in enumerate(shape):
        least, largest = max(1, int(SMALLEST * length)), max(1, int(LARGEST * length))
        side = (least + (size[..., axis] * (largest - least + 1)).floor()).clamp(max=largest)
        start = (place[..., axis] * (length - least + 1)).floor().clamp(max=length - least)
        stop = (start + side).clamp(max=length)
        volume = volume * (stop - start) / length
        places = torch.arange(length, device=device)
        within.append(((places >= start[..., None]) & (places < stop[..., None])).float())
    before = volume.cumsum(dim=1) - volume
    within[0] = within[0] * (before < goal).float().unsqueeze(2)
    # How many boxes lie on each voxel: a product of matrices, however many they are.
    rest = within[-1] if len(shape) == 2 else (within[1].unsqueeze(3) * within[2].unsqueeze(2)).flatten(2)
    return (within[0].transpose(1, 2) @ rest).view(batch, *shape) > 0.5


def filled(image: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Noise within the patch's range, normal about its middle, in place of the voxels of ``mask``.

    Parameters
    ----------
    image
        (B, C, *spatial).
    mask
        Bool (B, *spatial).
    """
    along = (-1, *(1,) * (image.ndim - 1))
    low, high = image.flatten(1).amin(dim=1).view(along), image.flatten(1).amax(dim=1).view(along)
    noise = torch.randn(image.shape, generator=generator, device=generator.device).to(image)
    unit = (0.5 + noise / NOISE_WIDTH).clamp(0.0, 1.0)
    return torch.where(mask.unsqueeze(1), low + unit * (high - low), image)
