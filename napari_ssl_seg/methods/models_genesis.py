"""Models Genesis: spoil a scan in up to four ways at once, restore it.

Zhou et al., "Models Genesis", Medical Image Analysis 67, 2021 (arXiv 2004.07882); a baseline of Alice, LRC and Volume
Fusion. Probabilities, order and sizes are those of the authors' code. There local shuffling lays ten thousand shuffled
windows over each other, which repeats some intensities and loses others; here the windows tile the scan, none overlaps
another, and about as many voxels lie in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, MethodConfig, Pretext, View
from napari_ssl_seg.methods.restoration import Restoration

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST_FLIPS = 3
SMALLEST_WINDOW = 2
"""Voxels; windows of one voxel would shuffle nothing."""
SHOWN_KNOTS = 64
"""Intervals in which a curve is shown."""


class ModelsGenesisConfig(MethodConfig):
    """Probabilities with which each corruption befalls a sample."""

    flip: float = Field(
        default=0.4,
        ge=0.0,
        le=1.0,
        title="Flip",
        description="Probability of each of up to three mirrorings along a random axis, of input and target alike.",
    )
    shuffle: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Local shuffling",
        description="Probability that voxels change places inside small windows.",
        json_schema_extra={"basic": True},
    )
    window: float = Field(
        default=0.1,
        ge=0.0,
        le=0.5,
        title="Largest window",
        description="Longest side of a window of shuffling; at least 2 voxels.",
        json_schema_extra={"unit": "share of the patch"},
    )
    windows_share: float = Field(
        default=0.85,
        ge=0.0,
        le=1.0,
        title="Shuffled windows",
        description="Share of the windows whose voxels change places; the original covers about as much.",
    )
    nonlinear: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        title="Non-linear intensity",
        description="Probability that intensities go through a random monotone curve.",
        json_schema_extra={"basic": True},
    )
    falling: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Falling curves",
        description="Share of the curves that turn dark into bright.",
    )
    paint: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        title="Painting",
        description="Probability that a part gives way to noise.",
        json_schema_extra={"basic": True},
    )
    outside: float = Field(
        default=0.8,
        ge=0.0,
        le=1.0,
        title="Out-painting",
        description="Share of the paintings that keep some boxes and paint all around; the others paint over some boxes.",
        json_schema_extra={"basic": True},
    )
    loss: Literal["mse", "l1"] = Field(default="mse", title="Loss", description="On all voxels. Paper: mse.")


class ModelsGenesis(Restoration):
    """Shuffles, recolours and paints over a scan; the network restores all of it."""

    name = "models_genesis"
    title = "Models Genesis"
    paper = "Zhou et al., Models Genesis, Medical Image Analysis 2021, arXiv 2004.07882"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = ModelsGenesisConfig

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Flip, then shuffle, recolour and paint over what the network gets.

        Targets: ``image`` (B, C, *spatial), the flipped scan.
        """
        scan = batch.image
        image, mirrored = self._flipped(scan, generator)
        shuffled, moved = self._shuffled(image, generator)
        # Scans are normalised to -1 to 1; where they are not, curves and noise span what the patch does.
        low, high = scan.flatten(1).amin(dim=1).clamp(max=-1.0), scan.flatten(1).amax(dim=1).clamp(min=1.0)
        recoloured, bent, curve = self._recoloured(shuffled, low, high, generator)
        painted, hidden, outside = self._painted(recoloured, low, high, generator)
        return Pretext(
            inputs=painted,
            targets={"image": image},
            views=(
                View("scan", "Scan", "image", scan),
                View("target", "Target, flipped", "image", image),
                View("shuffled", "Locally shuffled", "image", shuffled),
                View("curve", "Intensity curve", "curve", curve),
                View("recoloured", "Intensities through the curve", "image", recoloured),
                View("hidden", "Painted over", "mask", hidden),
                View("painted", "Spoilt scan (network input)", "image", painted),
            ),
            stats={
                "flipped": float(mirrored.double().mean()),
                "share_moved": float(moved),
                "recoloured": float(bent.double().mean()),
                "out_painted": float(outside.double().mean()),
                "share_hidden": float(hidden.double().mean()),
            },
        )

    def _flipped(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mirrored along each axis that an odd number of flips fell on."""
        import torch

        batch, device = image.shape[0], generator.device
        draw = torch.rand(batch, MOST_FLIPS, generator=generator, device=device) < self.config.flip
        axes = torch.randint(image.ndim - 2, (batch, MOST_FLIPS), generator=generator, device=device)
        odd = torch.zeros(batch, image.ndim - 2, dtype=torch.long, device=device)
        odd.scatter_add_(1, axes, draw.long().cumprod(dim=1))  # the first that does not happen is the last
        odd = odd % 2
        along = (batch, *(1,) * (image.ndim - 1))
        for axis in range(image.ndim - 2):
            if odd[:, axis].any():
                image = torch.where(odd[:, axis].bool().view(along).to(image.device), image.flip(axis + 2), image)
        return image, odd.any(dim=1)

    def _shuffled(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
        """Voxels inside windows in another order, for those samples that it befalls; and the share that lies in a window
        of those."""
        import torch

        from napari_ssl_seg.pretext.shuffling import sample_cuts, shuffle_within, take_voxels

        shape = image.shape[2:]
        rows = torch.rand(image.shape[0], generator=generator, device=generator.device) < self.config.shuffle
        if not rows.any():
            return image, 0.0
        largest = [max(SMALLEST_WINDOW, int(self.config.window * length)) for length in shape]
        windows = sample_cuts(int(rows.sum()), shape, largest, generator).to(image.device)
        order = shuffle_within(windows, self.config.windows_share, generator)
        chosen = rows.nonzero().squeeze(1).to(image.device)
        shuffled = image.clone()
        shuffled[chosen] = take_voxels(image[chosen], order)
        stayed = order == torch.arange(order.shape[1], device=order.device)
        return shuffled, (1.0 - float(stayed.double().mean())) * len(chosen) / len(rows)

    def _recoloured(
        self, image: Tensor, low: Tensor, high: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Intensities through each sample's curve; which samples have one; and the curves, a straight line for none."""
        import torch

        from napari_ssl_seg.pretext.bezier import apply_curves, curve_tables, sample_curves

        batch = image.shape[0]
        bent = torch.rand(batch, generator=generator, device=generator.device) < self.config.nonlinear
        tables = curve_tables(sample_curves(batch, self.config.falling, generator))
        straight = torch.linspace(0.0, 1.0, tables.shape[1], dtype=tables.dtype, device=tables.device)
        tables = torch.where(bent[:, None], tables, straight)
        recoloured = apply_curves(image, tables.to(image.device), low, high)
        recoloured = torch.where(bent.to(image.device).view(batch, *(1,) * (image.ndim - 1)), recoloured, image)
        return recoloured, bent, _drawn_curves(tables, low, high)

    def _painted(
        self, image: Tensor, low: Tensor, high: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """With noise where it is painted over; where that is; and for which samples it is around boxes."""
        import torch

        from napari_ssl_seg.pretext.painting import hidden_voxels, sample_painting

        batch, shape = image.shape[0], image.shape[2:]
        draw = torch.rand(batch, 2, generator=generator, device=generator.device)
        painted = draw[:, 0] < self.config.paint
        outside = painted & (draw[:, 1] < self.config.outside)
        boxes = sample_painting(batch, shape, outside, generator)
        noise = torch.rand(image.shape, generator=generator, device=generator.device, dtype=image.dtype)
        along = (batch, *(1,) * (image.ndim - 1))
        start, stop, present = (part.to(image.device) for part in boxes)
        present = present & painted.to(image.device)[:, None]
        hidden = hidden_voxels(start, stop, present, outside.to(image.device), shape)
        noise = torch.lerp(low.view(along).expand_as(image), high.view(along).expand_as(image), noise.to(image.device))
        return torch.where(hidden.unsqueeze(1), noise, image), hidden, outside


def _drawn_curves(tables: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """All curves one after the other in the scans' own units, a row that is not a number between two; (points, 2)."""
    import torch

    step = (tables.shape[1] - 1) // SHOWN_KNOTS
    y = tables[:, ::step].to(low)
    x = torch.linspace(0.0, 1.0, y.shape[1], dtype=low.dtype, device=low.device).expand_as(y)
    points = torch.stack([low[:, None] + (high - low)[:, None] * unit for unit in (x, y)], dim=2)
    gaps = torch.full((len(points), 1, 2), torch.nan, dtype=points.dtype, device=points.device)
    return torch.cat((points, gaps), dim=1).flatten(0, 1)[:-1]
