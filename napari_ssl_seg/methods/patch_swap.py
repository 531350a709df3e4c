"""Context restoration: patches of a scan change places, the network puts everything back.

Chen et al., "Self-supervised learning for medical image analysis using image context restoration", Medical Image
Analysis 58, 2019; a baseline of LRC and of Volume Fusion ("patch swapping").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, MethodConfig, Pretext, View
from napari_ssl_seg.methods.restoration import Restoration

if TYPE_CHECKING:
    import torch

PATCHES_PER_AXIS = 8
"""A swapped patch takes at most this part of a side, so that small scans keep enough that stays in place."""


class PatchSwapConfig(MethodConfig):
    """Defaults of the 2D original, scaled to the patch at hand."""

    pairs: int = Field(
        default=10,
        ge=0,
        le=200,
        title="Swapped pairs",
        description="In a slice; a volume has as many more as it takes for each slice to meet about so many. Original: 10.",
        json_schema_extra={"basic": True},
    )
    patch_size: int = Field(
        default=15,
        ge=1,
        le=64,
        title="Patch size",
        description="Side of a swapped patch, at most an eighth of the sample's side. Original: about 15.",
        json_schema_extra={"unit": "voxels", "basic": True},
    )
    loss: Literal["mse", "l1"] = Field(default="mse", title="Loss", description="On all voxels. Original: mse.")


class PatchSwap(Restoration):
    """Swaps pairs of patches of a scan; the network puts them back."""

    name = "patch_swap"
    title = "Patch swapping"
    paper = "Chen et al., context restoration, Medical Image Analysis 2019"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = PatchSwapConfig

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Swap disjoint pairs of equal patches, all channels alike.

        Targets: ``image`` (B, C, *spatial), the scan as it was.
        """
        from napari_ssl_seg.pretext.shuffling import sample_swaps, take_voxels

        image, shape = batch.image, tuple(batch.image.shape[2:])
        side = tuple(max(1, min(self.config.patch_size, length // PATCHES_PER_AXIS)) for length in shape)
        # A patch lies in side[0] of shape[0] slices.
        pairs = self.config.pairs if len(shape) == 2 else round(self.config.pairs * shape[0] / side[0])
        order, numbers = sample_swaps(image.shape[0], shape, side, pairs, generator)
        swapped = take_voxels(image, order)
        share = float((numbers > 0).double().mean())
        pair = numbers.to(image.device)
        return Pretext(
            inputs=swapped,
            targets={"image": image},
            views=(
                View("scan", "Scan (target)", "image", image),
                View("pairs", "Pairs that change places", "labels", pair),
                View("swapped", "Swapped scan (network input)", "image", swapped),
            ),
            stats={
                "share_moved": share,
                "pairs": float(numbers.max()),
                **{f"patch_{axis}": float(length) for axis, length in zip("zyx"[-len(side) :], side, strict=True)},
            },
        )
