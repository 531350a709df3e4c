"""Masked autoencoder: a vision transformer sees a quarter of a scan's patches, a light decoder restores the others.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022 (arXiv 2111.06377); a baseline of FDAS, LRC and
Alice. The transformer is that of a `unetr`, which a fine-tuning then starts from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Pretext, View

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PATCH = 16
"""Voxels a side of a token of UNETR."""
VARIANCE_FLOOR = 1e-6


class MAEConfig(MethodConfig):
    """The paper's, with a decoder as light as small sets want it."""

    mask_ratio: float = Field(
        default=0.75,
        ge=0.05,
        le=0.95,
        title="Share hidden",
        description="Share of the patches of 16 voxels a side that the transformer does not get. Paper: 0.75.",
        json_schema_extra={"basic": True},
    )
    normalise_target: bool = Field(
        default=True,
        title="Normalise target",
        description="Restore each patch with its mean removed and its deviation set to 1. Paper: yes.",
    )
    decoder_width: int = Field(
        default=192,
        ge=48,
        le=768,
        multiple_of=48,
        title="Decoder width",
        description="Channels of the decoder, a multiple of 48. Paper: 512.",
    )
    decoder_layers: int = Field(
        default=2, ge=1, le=12, title="Decoder layers", description="Transformer layers of the decoder. Paper: 8."
    )


class MAE(Method):
    """Hides most patches of a scan from a vision transformer; a light decoder restores them from the few it saw."""

    name = "mae"
    title = "MAE"
    paper = "He et al., Masked Autoencoders, CVPR 2022, arXiv 2111.06377"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = MAEConfig
    networks = ("unetr",)

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Choose the visible patches.

        In the inputs hidden patches hold the scan's lowest value; the model takes the visible ones out of them. Targets: ``visible``, int64 (B, n),
        numbers of those patches, first axes slowest; ``mask``, bool (B, *spatial), True where hidden; ``image``
        (B, C, *spatial), what is to be restored; with `normalise_target` also ``mean`` and ``deviation`` of each patch.
        """
        import torch

        from napari_ssl_seg.pretext.masks import block_statistics, choose_blocks, spread

        image, shape = batch.image, tuple(batch.image.shape[2:])
        if any(length % PATCH for length in shape):
            raise UserError(
                f"mae cuts scans into patches of {PATCH} voxels, and {shape} is no multiple; use network unetr"
            )
        hidden = choose_blocks(image.shape[0], [length // PATCH for length in shape], self.config.mask_ratio, generator)
        flat = hidden.flatten(1)
        seen = int((~flat[0]).sum())
        visible = flat.to(torch.uint8).argsort(dim=1, stable=True)[:, :seen].to(image.device)
        block = (PATCH,) * len(shape)
        mask = spread(hidden, block, shape).to(image.device)
        targets = {"visible": visible, "mask": mask, "image": image}
        if self.config.normalise_target:
            mean, deviation = block_statistics(image, block)
            targets |= {"image": (image - mean) / deviation, "mean": mean, "deviation": deviation}
        shown = torch.where(mask.unsqueeze(1), image.flatten(1).amin(dim=1).view(-1, *(1,) * (image.ndim - 1)), image)
        normal = self.config.normalise_target
        return Pretext(
            inputs=shown,
            targets=targets,
            views=(
                View("scan", "Scan", "image", image),
                View("mask", "Hidden patches", "mask", mask),
                View("visible", "Visible patches (network input)", "image", shown),
                View(
                    "target",
                    "Target, each patch normalised" if normal else "Target",
                    "image",
                    targets["image"],
                    (-3.0, 3.0) if normal else None,
                ),
            ),
            stats={
                "share_hidden": float(flat.double().mean()),
                "patches": float(flat.shape[1]),
                "visible_patches": float(seen),
            },
        )

    def build(self, network: nn.Module) -> nn.Module:
        """The transformer of a `unetr` and a decoder; its convolutions are left for the fine-tuning, at random.

        Raises
        ------
        UserError
            For any other network.
        """
        from napari_ssl_seg.methods.mae_net import MAENet
        from napari_ssl_seg.networks.unetr import UNETRBackbone

        if not isinstance(network, UNETRBackbone):
            raise UserError("mae pretrains a vision transformer, which this network has none of; use network unetr")
        return MAENet(network, PATCH, self.config.decoder_width, self.config.decoder_layers)

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Mean squared error over the hidden patches."""
        from napari_ssl_seg.methods.losses import masked_error

        restored = self._restored(model, pretext)
        error = masked_error(restored, pretext.targets["image"], pretext.targets["mask"], "mse")
        return Losses(total=error, parts={"restoration": error})

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """The restored scan, the same with the visible patches put back, and the absolute error, in the scan's own units."""
        import torch

        from napari_ssl_seg.methods.restoration import restored_views

        with torch.no_grad():
            return restored_views(self._restored(model, pretext), pretext)

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """The transformer, under the names that it has in a `unetr`."""
        vit = model.get_submodule("vit")
        return {f"net.vit.{name}": tensor.detach().clone() for name, tensor in vit.state_dict().items()}

    def _restored(self, model: nn.Module, pretext: Pretext) -> Tensor:
        from napari_ssl_seg.methods.mae_net import fold_patches

        patches = model(pretext.inputs, pretext.targets["visible"]).float()
        return fold_patches(patches, tuple(pretext.inputs.shape[2:]), PATCH)
