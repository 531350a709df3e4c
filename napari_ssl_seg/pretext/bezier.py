"""Random monotone intensity curves: cubic Bezier curves from one corner of the unit square to the opposite one.

Zhou et al., "Models Genesis", Medical Image Analysis 2021 (arXiv 2004.07882), non-linear intensity transformation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

KNOTS = 1024
"""Intervals of a curve's table; between its knots it is a straight line."""
_TRACED = 2 * KNOTS + 1


def sample_curves(batch: int, falling: float, generator: torch.Generator) -> Tensor:
    """Draw control points, on the generator's device.

    The ends are (0, 0) and (1, 1); the two between them are uniform in the unit square, with which both coordinates rise
    along the curve whatever they are. A share ``falling`` of the curves is run through backwards in y alone, from (0, 1)
    to (1, 0), as in the authors' code.

    Returns
    -------
    Tensor
        float64, (batch, 4, 2): x and y of each point.
    """
    device = generator.device
    points = torch.zeros(batch, 4, 2, dtype=torch.float64, device=device)
    points[:, 1:3] = torch.rand(batch, 2, 2, generator=generator, device=device, dtype=torch.float64)
    points[:, 3] = 1.0
    turned = torch.rand(batch, generator=generator, device=device) < falling
    points[..., 1] = torch.where(turned[:, None], points[..., 1].flip(1), points[..., 1])
    return points


def curve_tables(points: Tensor) -> Tensor:
    """y at `KNOTS` + 1 evenly spaced x from 0 to 1, both ends exact.

    Parameters
    ----------
    points
        As `sample_curves` draws them, (B, 4, 2); x must not fall.

    Returns
    -------
    Tensor
        float64, (B, `KNOTS` + 1).
    """
    t = torch.linspace(0.0, 1.0, _TRACED, dtype=torch.float64, device=points.device)
    weights = torch.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    # Rounding makes flat stretches fall by some 1e-17, over which a search by bisection would stumble.
    x = (points[..., 0] @ weights).cummax(dim=1).values
    y = points[..., 1] @ weights
    grid = torch.linspace(0.0, 1.0, KNOTS + 1, dtype=torch.float64, device=points.device)
    after = torch.searchsorted(x, grid.expand(len(x), -1).contiguous(), right=True).clamp(1, _TRACED - 1)
    left, right = x.gather(1, after - 1), x.gather(1, after)
    share = ((grid - left) / (right - left).clamp(min=1e-12)).clamp(0.0, 1.0)
    return torch.lerp(y.gather(1, after - 1), y.gather(1, after), share)


def apply_curves(image: Tensor, tables: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each sample's intensities through its curve, ``low`` to ``high`` being 0 to 1 of the unit square.

    Parameters
    ----------
    image
        (B, C, *spatial).
    tables
        (B, `KNOTS` + 1), from `curve_tables`.
    low, high
        (B,); values beyond them are taken for them.
    """
    along = (image.shape[0], *(1,) * (image.ndim - 1))
    low, high = low.view(along), high.view(along)
    place = ((image - low) / (high - low).clamp(min=torch.finfo(image.dtype).tiny)).clamp(0.0, 1.0) * KNOTS
    knot = place.floor().clamp(max=KNOTS - 1)
    flat = tables.to(image.dtype)
    index = knot.long().flatten(1)
    y = torch.lerp(flat.gather(1, index), flat.gather(1, index + 1), (place - knot).flatten(1)).view_as(image)
    return torch.lerp(low.expand_as(image), high.expand_as(image), y)
