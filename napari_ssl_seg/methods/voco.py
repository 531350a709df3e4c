"""VoCo: where in the scan does a crop lie? Its likeness to the crops of a fixed grid is how much it overlaps each.

Wu et al., "VoCo: A Simple-yet-Effective Volume Contrastive Learning Framework for 3D Medical Image Analysis", CVPR 2024
(arXiv 2402.17300); a baseline of FDAS. It rests on scans that show the same part of the body in the same position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, Losses, MethodConfig, Pretext, View
from napari_ssl_seg.methods.labelling import EncoderMethod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.methods.voco_net import VoCoNet, VoCoOutput

BRIGHTENED = 0.1
"""Share of the crops whose grey values are shifted, as in the authors' code."""


class VoCoConfig(MethodConfig):
    """The grid, the crops, and how their embeddings are compared."""

    grid: int = Field(
        default=4,
        ge=2,
        le=8,
        title="Grid",
        description="Base crops along y and along x, which tile the sample. Paper: 4 by 4.",
        json_schema_extra={"basic": True},
    )
    grid_depth: int = Field(
        default=1,
        ge=1,
        le=8,
        title="Grid along z",
        description="Base crops along z, in 3D; 1: each is as deep as the sample. Paper: 1.",
    )
    crops: int = Field(
        default=2,
        ge=1,
        le=16,
        title="Random crops",
        description="Of each sample, as large as a base crop. Authors' code: 2.",
        json_schema_extra={"basic": True},
    )
    field: Literal["scan", "patch"] = Field(
        default="scan",
        title="Base crops tile",
        description=(
            "As much of the scan as so many of the network's patches hold, or one patch, which is faster. Paper: all of a scan."
        ),
        json_schema_extra={"basic": True},
    )
    zoom: float = Field(
        default=2 / 3,
        ge=0.1,
        le=1.0,
        title="Zoom",
        description="Crops are shrunk to this share of their size, but not to less than the network takes. Paper: 64 of 96.",
        json_schema_extra={"unit": "share of a side"},
    )
    features: int = Field(
        default=256,
        ge=16,
        le=8192,
        title="Features",
        description=(
            "Width of the projector's three layers and length of the embeddings. Authors' code: 2048, which wants a learning"
            " rate of 0.001 or less and takes four times as long with small networks."
        ),
        json_schema_extra={"basic": True},
    )
    momentum: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        title="Teacher's momentum",
        description="Of its weights, how much stays at each step. Authors' code: 0.9.",
    )
    regularisation: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of the base crops' difference",
        description="Of the loss that keeps base crops apart; 0: without. Paper: 1.",
    )
    shift: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        title="Brightness",
        description="One crop in ten is made brighter or darker by up to this. Authors' code: 0.1, with values in [0, 1].",
        json_schema_extra={"unit": "share of the patch's range"},
    )
    flip: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        title="Flip",
        description="Probability of mirroring a crop along each axis. Authors' code: 0.2; none here, since left is not right.",
    )


class VoCo(EncoderMethod):
    """Says how much a crop overlaps each crop of a grid, by their likeness. Trains the encoder, the decoder stays random."""

    name = "voco"
    title = "VoCo"
    paper = "Wu et al., VoCo, CVPR 2024, arXiv 2402.17300"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = VoCoConfig
    every_level = True
    # Slices of 9 hippocampus scans, 60 steps of 8: the overlap's loss comes to 0.22 at this rate, 0.28 at 0.005 and 0.26 at
    # 0.0003; it begins at 0.29. Authors' code: 0.0001, with a projector eight times as wide and 250,000 steps.
    training: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}

    def cells(self, dims: int) -> tuple[int, ...]:
        """Base crops along each axis."""
        return (self.config.grid_depth, self.config.grid, self.config.grid)[-dims:]

    def spans(self, dims: int) -> tuple[float, ...]:
        """As many patches as there are base crops, where the scans are as large; paper: all of a scan."""
        return (1.0,) * dims if self.config.field == "patch" else tuple(map(float, self.cells(dims)))

    def fitted_to(self, trained: Method) -> Method:
        """With embeddings as long as the other's."""
        return self.with_settings_of(trained, ("features",))

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Cut out the base crops and random ones.

        Inputs are the random crops of all samples one after the other, (B * n, C, *size). Targets: ``bases``,
        (B * k, C, *size), likewise; ``shares`` (B, n, k), how much of each random crop lies in each base crop; ``boxes``
        (B, n, 2 * dims) and ``base_boxes`` (B, k, 2 * dims), where all of them are.
        """
        import torch

        from napari_ssl_seg.pretext.base_crops import CropGrid
        from napari_ssl_seg.pretext.cutting import boxes_of, cut_patches, size_for

        image, shape = batch.image, tuple(batch.image.shape[2:])
        count, dims = len(image), len(shape)
        grid = CropGrid.fit(shape, self.cells(dims))
        starts = grid.draw(count, self.config.crops, generator).to(image.device)
        bases = grid.bases(image.device).expand(count, -1, -1)
        network_patch = shape if self.spec is None else self.spec.patch
        size = size_for(self.spec, [self.config.zoom * side for side in grid.side], network_patch)
        cut = cut_patches(image, torch.cat((starts, bases), dim=1), grid.side, size)
        cut = self._changed(cut, image, generator)
        crops, base_crops = cut.split((self.config.crops, grid.count), dim=1)
        shares, boxes, base_boxes = grid.overlaps(starts), boxes_of(starts, grid.side), boxes_of(bases, grid.side)
        return Pretext(
            inputs=crops.flatten(0, 1),
            targets={"bases": base_crops.flatten(0, 1), "shares": shares, "boxes": boxes, "base_boxes": base_boxes},
            views=(
                View("scan", "Scan", "image", image),
                View("base_crops", "Base crops", "boxes", base_boxes),
                View("crops", "Random crops", "boxes", boxes),
                View(
                    "shares",
                    "Overlap of the first random crop with each base crop",
                    "matrix",
                    self._laid_out(shares[0, 0], dims),
                    (0.0, 1.0),
                ),
            ),
            stats={
                "base_crops": float(grid.count),
                "bases_met": float((shares > 0).sum(dim=2).double().mean()),
                **{f"crop_{axis}": float(side) for axis, side in zip("zyx"[-dims:], grid.side, strict=True)},
                **{f"input_{axis}": float(side) for axis, side in zip("zyx"[-dims:], cut.shape[3:], strict=True)},
            },
        )

    def _changed(self, cut: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
        """Some of the crops (B, N, C, *size) brighter, darker or mirrored; each by itself."""
        import torch

        config, dims = self.config, cut.ndim - 3
        drawn = torch.rand(2 + dims, *cut.shape[:2], generator=generator, device=generator.device).to(image.device)
        alone = (*cut.shape[:2], *(1,) * (1 + dims))
        span = image.flatten(1).amax(dim=1) - image.flatten(1).amin(dim=1)
        moved = (2.0 * drawn[1] - 1.0) * config.shift * (drawn[0] < BRIGHTENED) * span.unsqueeze(1)
        cut = cut + moved.view(alone)
        if config.flip:
            for axis in range(dims):
                mirrored = (drawn[2 + axis] < config.flip).view(alone)
                cut = torch.where(mirrored, cut.flip(3 + axis), cut)
        return cut

    # -- the model ------------------------------------------------------------------------------------------------
    def build(self, network: nn.Module) -> nn.Module:
        """Encoder and projector, and their teacher."""
        from napari_ssl_seg.methods.voco_net import VoCoNet

        return VoCoNet(network, self.config.features)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """The overlap where there is one, unlikeness elsewhere and among the base crops; ``spread`` and ``rank`` of the
        random crops' embeddings show a collapse."""
        from napari_ssl_seg.methods.voco_losses import elsewhere_loss, overlap_loss, regularisation

        net: VoCoNet = model  # type: ignore[assignment]
        found, shares = self.outputs(net, pretext), pretext.targets["shares"]
        parts = {
            "overlap": overlap_loss(shares, found.alike),
            "elsewhere": elsewhere_loss(shares, found.alike),
            "bases": regularisation(found.bases),
        }
        total = parts["overlap"] + parts["elsewhere"] + self.config.regularisation * parts["bases"]
        return Losses(total=total, parts=parts | net.gauge.observe(found.crops.flatten(0, 1)))

    def outputs(self, model: nn.Module, pretext: Pretext) -> VoCoOutput:
        """What the model makes of the crops."""
        count = len(pretext.targets["shares"])
        crops, bases = (images.unflatten(0, (count, -1)) for images in (pretext.inputs, pretext.targets["bases"]))
        return model(crops, bases)

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """The teacher follows."""
        net: VoCoNet = model  # type: ignore[assignment]
        net.after_step(self.config.momentum)

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """Whether the embeddings have collapsed."""
        net: VoCoNet = model  # type: ignore[assignment]
        return net.gauge.remarks()

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """The likeness to each base crop, where that puts the random crops, how far off, and the likeness among base crops."""
        import torch

        from napari_ssl_seg.methods.voco_losses import likeness

        boxes = pretext.targets["boxes"]
        dims = boxes.shape[2] // 2
        with torch.no_grad():
            found = self.outputs(model, pretext)
        base_boxes = pretext.targets["base_boxes"]
        weights = found.alike / found.alike.sum(dim=2, keepdim=True).clamp(min=1e-6)
        placed = weights @ base_boxes  # no box where a crop is like none
        away = (placed - boxes)[0, :, :dims].square().sum(dim=1).sqrt()
        return (
            View(
                "alike",
                "Likeness of the first random crop to each base crop",
                "matrix",
                self._laid_out(found.alike[0, 0], dims),
                (0.0, 1.0),
            ),
            View("placed", "Where the network puts the random crops", "boxes", placed),
            View(
                "away", "Voxels off", "table", {f"crop {n}": float(off) for n, off in enumerate(away.tolist(), start=1)}
            ),
            View(
                "bases_alike",
                "Likeness of the base crops to each other",
                "matrix",
                likeness(found.bases[:1], found.bases[:1])[0],
                (0.0, 1.0),
            ),
        )

    def _laid_out(self, values: Tensor, dims: int) -> Tensor:
        """One number for each base crop, as they lie in a slice; those of deeper slices below."""
        return values.view(-1, self.cells(dims)[-1])
