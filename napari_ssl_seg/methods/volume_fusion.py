"""Volume Fusion: tell by how much another scan shows through, voxel by voxel.

Wang et al., "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale Unannotated
Dataset", arXiv 2306.16925. Random boxes of a donor scan are blended into a background scan with one of K weights; the
network segments the K + 1 weights. So the whole segmentation network is pretrained, decoder included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Prepared, Pretext, View
from napari_ssl_seg.methods.volume_fusion_config import VolumeFusionConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.pretext.fusion import Boxes
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SMALLEST_BOX = 2
"""Voxels; keeps boxes visible in small patches."""
PAPER_DEPTH = 64
"""Slices of the paper's patches, through one of which a 2D sample is a cut."""


class VolumeFusion(Method):
    """Blends boxes of a second scan into the first; the network tells by how much, voxel by voxel."""

    name = "volume_fusion"
    title = "Volume Fusion"
    paper = "Wang et al., MIS-FM, arXiv 2306.16925 (2023)"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = VolumeFusionConfig
    needs = Needs(partner=True)
    validated = True

    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Nothing, but a word where there is no other scan to fuse with."""
        alone = "there is one scan only, so it is fused with other places of itself; add scans for a harder task"
        return Prepared(self, warnings=(alone,) if len(case_ids) == 1 else ())
        yield

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Algorithm 1: fused patches and the class of each voxel.

        Targets: ``levels``, int64 (B, *spatial), 0 where the background scan is untouched, K where the donor covers it.
        """
        from napari_ssl_seg.pretext.fusion import fuse

        if batch.partner is None:
            raise ValueError("Volume Fusion needs a batch with partners; sample it with the method's `needs`")
        painted, boxes = self.draw_levels(batch.image.shape[0], tuple(batch.image.shape[2:]), generator)
        shares = (painted.flatten().bincount(minlength=self.config.levels + 1).double() / painted.numel()).tolist()
        levels = painted.to(batch.image.device).long()
        alpha = (levels.to(batch.image.dtype) / self.config.levels).unsqueeze(1)
        fused = fuse(batch.partner, batch.image, alpha)
        views = [
            View("background", "Background scan", "image", batch.image),
            View("donor", "Donor scan", "image", batch.partner),
            View("alpha", "Share of the donor (alpha)", "image", alpha, (0.0, 1.0)),
            View("fused", "Fused scan (network input)", "image", fused),
            View("target", "Target classes", "labels", levels),
            View("shares", "Share of each class", "table", {f"class {n}": share for n, share in enumerate(shares)}),
        ]
        stats = {f"share_class_{level}": share for level, share in enumerate(shares)}
        if boxes is not None:
            views.insert(3, View("boxes", "Boxes over alpha, in their order", "boxes", boxes.corners, over="alpha"))
            stats = {"boxes": float(boxes.counts.double().mean()), **stats}
        return Pretext(
            inputs=fused,
            targets={"levels": levels},
            views=tuple(views),
            stats={"share_foreground": 1.0 - shares[0], **stats},
        )

    def draw_levels(
        self, batch: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, Boxes | None]:
        """Levels 0 to K of patches of that shape, uint8 (batch, *shape), and the boxes that they were painted with."""
        from napari_ssl_seg.pretext.fusion import paint_levels, sample_grid

        config = self.config
        if config.generator == "boxes":
            boxes = self.draw_boxes(batch, shape, generator)
            return paint_levels(boxes, shape), boxes
        smallest = [max(1, min(config.min_block, length // 4)) for length in shape]
        largest = [
            max(least, min(config.max_block, length // 2)) for least, length in zip(smallest, shape, strict=True)
        ]
        grid = sample_grid(
            batch,
            shape,
            levels=config.levels,
            foreground=config.grid_foreground,
            smallest=smallest,
            largest=largest,
            generator=generator,
        )
        return grid, None

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
        """Predicted class, where it is wrong, what was taken for what, and the Dice of each class."""
        import torch

        with torch.no_grad():
            predicted = model(pretext.inputs).argmax(dim=1)
        target = pretext.targets["levels"]
        counts = confusion(target, predicted, self.config.levels + 1)
        return (
            View("predicted", "Predicted classes", "labels", predicted),
            View("wrong", "Wrong voxels", "mask", predicted != target),
            View(
                "confusion",
                "Confusion (rows: true classes)",
                "matrix",
                counts.double() / counts.sum(dim=1, keepdim=True),
                (0.0, 1.0),
            ),
            View("dice", "Dice of each class", "table", _dice_table(counts)),
        )

    def validate(self, model: nn.Module, pretexts: Iterable[Pretext]) -> dict[str, float]:
        """Dice of each class over all voxels of the samples."""
        import torch

        classes = self.config.levels + 1
        counts = torch.zeros(classes, classes, dtype=torch.long)
        for pretext in pretexts:
            with torch.no_grad():
                predicted = model(pretext.inputs).argmax(dim=1)
            counts += confusion(pretext.targets["levels"], predicted, classes).cpu()
        return _dice_table(counts)


def confusion(true: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """How many voxels of each true class (row) were predicted as each class (column); int64 (classes, classes)."""
    pairs = true.flatten() * classes + predicted.flatten()
    return pairs.bincount(minlength=classes * classes).view(classes, classes)


def _dice_table(counts: Tensor) -> dict[str, float]:
    """Dice by class of a confusion matrix; NaN for a class that is neither there nor predicted."""
    both, sizes = counts.diagonal().tolist(), (counts.sum(dim=0) + counts.sum(dim=1)).tolist()
    return {
        f"class {level}": 2 * hit / size if size else float("nan")
        for level, (hit, size) in enumerate(zip(both, sizes, strict=True))
    }


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
