"""Masking by region: which regions of each patch are hidden, and what takes their place.

FDAS (MICCAI 2025), Eq. 2 to 4. Regions come as label maps: 1..K = channel k of the paper's m', 0 = in no channel,
-1 = outside the scan. Nothing here loops over patches or channels, so that it costs little on either device.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def channel_areas(regions: Tensor, channels: int) -> Tensor:
    """Voxels of each channel in each patch.

    Parameters
    ----------
    regions
        int64, (B, *spatial). What is not in 1..``channels`` belongs to none.

    Returns
    -------
    Tensor
        int64, (B, ``channels``).
    """
    flat = regions.flatten(1)
    slots = torch.where(flat > channels, 0, flat).clamp(min=0)
    counts = flat.new_zeros(flat.shape[0], channels + 1)  # not bincount, for which a GPU has to be waited for
    return counts.scatter_add(1, slots, torch.ones_like(slots))[:, 1:]


def masked_channels(present: int, ratio: float) -> int:
    """How many of ``present`` channels are hidden: ``ratio`` rounded half up, but one stays, and one goes unless the ratio is 0.

    With fewer than two channels none is hidden: such a patch would be hidden whole.
    """
    if present < 2 or ratio <= 0.0:
        return 0
    exact = Fraction(ratio).limit_denominator(1_000_000)  # the decimal that was meant: 0.29 * 50 rounds to 15
    return min(max(math.floor(exact * present + Fraction(1, 2)), 1), present - 1)


def choose_channels(areas: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw for each patch which of its channels are hidden (Eq. 2), on the device of ``areas``.

    As many numbers are drawn whatever the patches hold, so one patch's draw does not depend on another's regions.

    Parameters
    ----------
    areas
        (B, K), as `channel_areas` gives them; only channels that are not empty can be hidden.
    ratio
        Share of these that is, in [0, 1]; `masked_channels` says how many that are.

    Returns
    -------
    Tensor
        Boolean, (B, K), True where hidden.
    """
    batch, channels = areas.shape
    draws = torch.rand(batch, channels, generator=generator, device=generator.device).to(areas.device)
    present = areas > 0
    wanted = torch.tensor([masked_channels(count, ratio) for count in range(channels + 1)], device=areas.device)
    rank = draws.masked_fill(~present, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    return rank < wanted[present.sum(dim=1)][:, None]


def kept_voxels(regions: Tensor, hidden: Tensor, maskable: Tensor) -> Tensor:
    """Where a patch keeps its own values: the sum over k of m'_s.

    Voxels of no channel are replaced (Eq. 3 as printed); those outside the scan are kept. A patch that is not
    ``maskable`` is kept whole.

    Parameters
    ----------
    regions
        int64, (B, *spatial).
    hidden
        Boolean, (B, K), as `choose_channels` gives them.
    maskable
        Boolean, (B,).

    Returns
    -------
    Tensor
        Boolean, (B, *spatial).
    """
    batch, channels = hidden.shape
    table = torch.cat((hidden.new_ones(batch, 1), hidden.new_zeros(batch, 1), ~hidden), dim=1)  # -1, 0, 1..K
    table = table | ~maskable[:, None]
    index = torch.where(regions > channels, 0, regions).clamp(min=-1) + 1
    return table.gather(1, index.flatten(1)).view_as(regions)


def draw_donors(batch: int, generator: torch.Generator) -> Tensor | None:
    """For each patch another one of the batch, each equally likely: (B,) int64, on the generator's device.

    None where there is no other.
    """
    if batch < 2:
        return None
    offsets = torch.randint(1, batch, (batch,), generator=generator, device=generator.device)
    return (torch.arange(batch, device=generator.device) + offsets) % batch


def replace_hidden(image: Tensor, kept: Tensor, donor: Tensor | None) -> Tensor:
    """Eq. 4: ``image`` where ``kept``, ``donor`` elsewhere; without a donor Eq. 3: 0 elsewhere.

    The choice goes by the mask and never by the value: an intensity of 0 that is kept stays 0.

    Parameters
    ----------
    image, donor
        (B, C, *spatial).
    kept
        Boolean, (B, *spatial), shared by all channels.
    """
    return torch.where(kept.unsqueeze(1), image, torch.zeros_like(image) if donor is None else donor)
