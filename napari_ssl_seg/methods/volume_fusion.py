"""Volume Fusion: tell by how much another scan shows through, voxel by voxel.

Wang et al., "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale Unannotated
Dataset", arXiv 2306.16925. Random boxes of a donor scan are blended into a background scan with one of K weights; the
network segments the K + 1 weights. So the whole segmentation network is pretrained, decoder included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Pretext, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.pretext.fusion import Boxes

SMALLEST_BOX = 2
"""Voxels; keeps boxes visible in small patches."""
PAPER_DEPTH = 64
"""Slices of the paper's patches, through one of which a 2D sample is a cut."""


class VolumeFusionConfig(MethodConfig):
    """Box sides are shares of the patch, so that they suit patches of any size."""

    levels: int = Field(
        default=4,
        ge=1,
        le=16,
        title="Fusion levels K",
        description="Blending weights beside 0: 1/K, 2/K ... 1; the network tells K + 1 classes apart. Paper: 4.",
        json_schema_extra={"basic": True},
    )
    min_boxes: int = Field(
        default=10,
        ge=0,
        le=200,
        title="Fewest boxes",
        description="Fewest boxes in a volume; a 2D patch is a slice through one and meets about a third. Paper: 10.",
    )
    max_boxes: int = Field(
        default=40,
        ge=1,
        le=200,
        title="Most boxes",
        description="Most boxes in a volume; later ones cover earlier ones. Paper: 40.",
        json_schema_extra={"basic": True},
    )
    min_depth: float = Field(
        default=0.125,
        ge=0.0,
        le=1.0,
        title="Smallest box depth",
        description="Share of the patch's depth (in 2D, of 64 imagined slices). Paper: 8 of 64 voxels, 0.125.",
        json_schema_extra={"unit": "share of the patch"},
    )
    max_depth: float = Field(
        default=0.625,
        ge=0.0,
        le=1.0,
        title="Largest box depth",
        description="Share of the patch's depth (in 2D, of 64 imagined slices). Paper: 40 of 64 voxels, 0.625.",
        json_schema_extra={"unit": "share of the patch"},
    )
    min_side: float = Field(
        default=0.0625,
        ge=0.0,
        le=1.0,
        title="Smallest box side",
        description="Share of the patch's height and width. Paper: 8 of 128 voxels, 0.0625.",
        json_schema_extra={"unit": "share of the patch"},
    )
    max_side: float = Field(
        default=0.625,
        ge=0.0,
        le=1.0,
        title="Largest box side",
        description="Share of the patch's height and width. Paper: 80 of 128 voxels, 0.625.",
        json_schema_extra={"unit": "share of the patch", "basic": True},
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> VolumeFusionConfig:
        for low, high in (("min_boxes", "max_boxes"), ("min_depth", "max_depth"), ("min_side", "max_side")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is larger than {high} {getattr(self, high)}")
        return self


class VolumeFusion(Method):
    """Blends boxes of a second scan into the first; the network tells by how much, voxel by voxel."""

    name = "volume_fusion"
    title = "Volume Fusion"
    paper = "Wang et al., MIS-FM, arXiv 2306.16925 (2023)"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = VolumeFusionConfig
    needs = Needs(partner=True)

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Algorithm 1: fused patches and the class of each voxel.

        Targets: ``levels``, int64 (B, *spatial), 0 where the background scan is untouched, K where the donor covers it.
        """
        from napari_ssl_seg.pretext.fusion import fuse, paint_levels

        if batch.partner is None:
            raise ValueError("Volume Fusion needs a batch with partners; sample it with the method's `needs`")
        shape = tuple(batch.image.shape[2:])
        boxes = self.draw_boxes(batch.image.shape[0], shape, generator)
        painted = paint_levels(boxes, shape)
        shares = painted.flatten().bincount(minlength=self.config.levels + 1).double() / painted.numel()
        levels = painted.to(batch.image.device).long()
        alpha = (levels.to(batch.image.dtype) / self.config.levels).unsqueeze(1)
        fused = fuse(batch.partner, batch.image, alpha)
        return Pretext(
            inputs=fused,
            targets={"levels": levels},
            views=(
                View("background", "Background scan", "image", batch.image),
                View("donor", "Donor scan", "image", batch.partner),
                View("alpha", "Share of the donor (alpha)", "image", alpha, (0.0, 1.0)),
                View("boxes", "Boxes, in their order", "boxes", boxes.corners),
                View("fused", "Fused scan (network input)", "image", fused),
                View("target", "Target classes", "labels", levels),
            ),
            stats={
                "boxes": float(boxes.counts.double().mean()),
                "share_foreground": float(1.0 - shares[0]),
                **{f"share_class_{level}": float(share) for level, share in enumerate(shares)},
            },
        )

    def draw_boxes(self, batch: int, shape: tuple[int, ...], generator: torch.Generator) -> Boxes:
        """Boxes for patches of that shape.

        A 2D sample is a slice through a volume of the paper's boxes. As many boxes drawn in the slice itself would cover
        nine tenths of it, where the paper's leave half of a patch untouched.
        """
        import torch

        from napari_ssl_seg.pretext.fusion import sample_boxes

        volume = shape if len(shape) == 3 else (PAPER_DEPTH, *shape)
        smallest, largest = self.box_range(volume)
        boxes = sample_boxes(
            batch,
            volume,
            levels=self.config.levels,
            count=(self.config.min_boxes, self.config.max_boxes),
            smallest=smallest,
            largest=largest,
            generator=generator,
        )
        if len(shape) == 3:
            return boxes
        rows = torch.randint(PAPER_DEPTH, (batch,), generator=generator, device=generator.device)
        return boxes.at_slices(rows)

    def box_range(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Smallest and largest sides (z, y, x) of a box in such a patch, in voxels, each at least `SMALLEST_BOX`."""
        config = self.config
        low = (config.min_depth, config.min_side, config.min_side)
        high = (config.max_depth, config.max_side, config.max_side)

        def voxels(share: float, length: int) -> int:
            return min(length, max(SMALLEST_BOX, int(share * length + 0.5)))

        return (
            tuple(voxels(share, length) for share, length in zip(low, shape, strict=True)),
            tuple(voxels(share, length) for share, length in zip(high, shape, strict=True)),
        )

    def build(self, network: nn.Module) -> nn.Module:
        """The backbone with a head of K + 1 classes."""
        from napari_ssl_seg.networks.heads import SegmentationNet

        return SegmentationNet(network, self.config.levels + 1)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Eq. 2, half Dice and half cross-entropy; on every scale of a network that is supervised on several."""
        from napari_ssl_seg.methods.losses import deep_supervision

        logits = model.forward_deep(pretext.inputs)  # type: ignore[operator]
        return deep_supervision(fusion_loss, logits, pretext.targets["levels"])

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Predicted class, where it is wrong, and the Dice of each class."""
        import torch

        with torch.no_grad():
            predicted = model(pretext.inputs).argmax(dim=1)
        target = pretext.targets["levels"]
        table = {}
        for level in range(self.config.levels + 1):
            said, true = predicted == level, target == level
            size = int(said.sum() + true.sum())
            table[f"class {level}"] = 2 * int((said & true).sum()) / size if size else float("nan")
        return (
            View("predicted", "Predicted classes", "labels", predicted),
            View("wrong", "Wrong voxels", "mask", predicted != target),
            View("dice", "Dice of each class", "table", table),
        )


def fusion_loss(logits: Tensor, levels: Tensor) -> Losses:
    """``(L_dice + L_ce) / 2``.

    Eq. 3 as printed averages a ratio over voxels and leaves 1 - 1/C for a perfect prediction; the authors' code (PyMIC)
    takes each class's Dice over all voxels of the batch, background included, and so do we.

    Parameters
    ----------
    logits
        (B, K + 1, *spatial).
    levels
        int64, (B, *spatial).
    """
    from torch.nn import functional as F

    from napari_ssl_seg.methods.losses import batch_dice

    logits = logits.float()
    dice = 1.0 - batch_dice(logits.softmax(dim=1), levels).mean()
    entropy = F.cross_entropy(logits, levels)
    return Losses(total=(dice + entropy) / 2, parts={"dice": dice, "ce": entropy})
