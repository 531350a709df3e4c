"""Masked image modelling for any network: hide blocks of a scan, restore them.

Xie et al., "SimMIM: a Simple Framework for Masked Image Modeling", CVPR 2022 (arXiv 2111.09886), in the form in which
the papers of this project use it as a baseline on a U-Net: blocks are hidden in the image, the whole network restores
them, and the loss looks at the hidden voxels only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, MethodConfig, Pretext, View
from napari_ssl_seg.methods.restoration import Restoration

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SimMIMConfig(MethodConfig):
    """Defaults of the U-Net baselines: three quarters masked, blocks of 16."""

    mask_ratio: float = Field(
        default=0.75,
        ge=0.05,
        le=0.95,
        title="Share masked",
        description="Share of the blocks that are hidden, exact. U-Net baselines and MAE: 0.75; SimMIM: 0.6.",
        json_schema_extra={"basic": True},
    )
    block_size: int = Field(
        default=16,
        ge=2,
        le=64,
        title="Block size",
        description=(
            "Side of a hidden block; halved along an axis until four fit, so 8 in small patches."
            " U-Net baselines: 16; SimMIM: 32 of 192. In patches of 56x40, 4 with a share of 0.6 did better (benchmarks)."
        ),
        json_schema_extra={"unit": "voxels", "basic": True},
    )
    fill: Literal["mean", "zero", "noise"] = Field(
        default="mean",
        title="Fill with",
        description=(
            "What hidden voxels hold: the mean of the visible ones, 0, or normal noise with their mean and deviation."
            " SimMIM: a learnt token; U-Net baselines: 0."
        ),
    )
    loss: Literal["l1", "mse"] = Field(
        default="l1", title="Loss", description="On hidden voxels only. SimMIM: l1; MAE and U-Net baselines: mse."
    )
    normalise_target: bool = Field(
        default=False,
        title="Normalise target",
        description="Restore each block with its mean removed and its deviation set to 1. MAE: yes; SimMIM: no.",
    )


class SimMIM(Restoration):
    """Hides blocks of a scan; the network restores them from what is left."""

    name = "simmim"
    title = "SimMIM"
    paper = "Xie et al., SimMIM, CVPR 2022, arXiv 2111.09886"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = SimMIMConfig

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Hide blocks.

        Targets: ``mask``, bool (B, *spatial), True where hidden, and ``image`` (B, C, *spatial), what is to be restored;
        with `normalise_target` also ``mean`` and ``deviation`` of each block, to undo it.
        """
        import torch

        from napari_ssl_seg.pretext.masks import block_mask, block_statistics, fit_block

        image, shape = batch.image, tuple(batch.image.shape[2:])
        block = fit_block(shape, self.config.block_size)
        drawn = block_mask(image.shape[0], shape, block, self.config.mask_ratio, generator)
        share = float(drawn.double().mean())
        mask = drawn.to(image.device)
        inputs = torch.where(mask.unsqueeze(1), self._filling(image, mask, generator), image)
        targets = {"mask": mask, "image": image}
        if self.config.normalise_target:
            mean, deviation = block_statistics(image, block)
            targets = {"mask": mask, "image": (image - mean) / deviation, "mean": mean, "deviation": deviation}
        target_title = "Target, each block normalised" if self.config.normalise_target else "Target"
        return Pretext(
            inputs=inputs,
            targets=targets,
            views=(
                View("scan", "Scan", "image", image),
                View("mask", "Hidden blocks", "mask", mask),
                View("masked", "Masked scan (network input)", "image", inputs),
                View(
                    "target",
                    target_title,
                    "image",
                    targets["image"],
                    (-3.0, 3.0) if self.config.normalise_target else None,
                ),
            ),
            stats={
                "share_masked": share,
                **{f"block_{axis}": float(side) for axis, side in zip("zyx"[-len(block) :], block, strict=True)},
            },
        )

    def _filling(self, image: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        import torch

        if self.config.fill == "zero":
            return torch.zeros_like(image)
        spatial = tuple(range(2, image.ndim))
        visible = (~mask).unsqueeze(1).to(image.dtype)
        count = visible.sum(dim=spatial, keepdim=True).clamp(min=1)
        mean = (image * visible).sum(dim=spatial, keepdim=True) / count
        if self.config.fill == "mean":
            return mean.expand_as(image)
        deviation = (((image - mean) * visible).square().sum(dim=spatial, keepdim=True) / count).sqrt()
        noise = torch.randn(image.shape, generator=generator, device=generator.device, dtype=image.dtype)
        return mean + deviation * noise.to(image.device)
