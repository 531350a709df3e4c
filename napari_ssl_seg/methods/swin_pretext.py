"""The pretext that Swin UNETR is pretrained with: restore what was cut out, name the turn, know the other view.

Tang et al., "Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image Analysis", CVPR 2022 (arXiv
2111.14791); a baseline of Alice. Two copies of a patch are turned and cut out by themselves; the loss is the sum of an
inpainting, a rotation and a contrast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Pretext, View
from napari_ssl_seg.methods.labelling import EncoderMethod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.swin_pretext_net import SwinPretextNet, SwinPretextOutput


class SwinPretextConfig(MethodConfig):
    """Cutout, heads, and the weights of the three parts."""

    cutout: float = Field(
        default=0.3,
        ge=0.0,
        le=0.9,
        title="Most cut out",
        description="Share of a view's voxels that give way to noise; each view's is drawn from 0 to this. Paper: 30 %.",
        json_schema_extra={"basic": True, "unit": "share of the patch"},
    )
    foreign: bool = Field(
        default=False,
        title="Cut out for another scan, too",
        description="A further cutout shows another patch of the batch. Paper: not said; authors' code: yes.",
    )
    restore: Literal["encoder", "network"] = Field(
        default="encoder",
        title="Restore with",
        description=(
            "encoder: one transposed convolution on its coarsest map, and the decoder stays random; network: its own"
            " decoder, which is then pretrained, too. Paper: encoder."
        ),
        json_schema_extra={"basic": True},
    )
    features: int = Field(
        default=512, ge=16, le=4096, title="Features", description="Length of the contrasted embeddings. Paper: 512."
    )
    temperature: float = Field(
        default=0.5, gt=0.0, le=10.0, title="Temperature", description="Of the contrast. Authors' code: 0.5."
    )
    inpainting: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of the inpainting",
        description="Mean absolute error over the whole view. Paper: 1.",
        json_schema_extra={"basic": True},
    )
    rotation: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of the rotation",
        description="Cross-entropy of the four turns, about the z axis. Paper: 1.",
        json_schema_extra={"basic": True},
    )
    contrast: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of the contrast",
        description="NT-Xent of both views against those of the other patches; a batch of one has none. Paper: 1.",
        json_schema_extra={"basic": True},
    )


class SwinPretext(EncoderMethod):
    """Restores two cut and turned views of a patch, names their turns, contrasts patches. The decoder stays random, as a rule."""

    name = "swin_unetr_pretext"
    title = "Swin UNETR pretext"
    paper = "Tang et al., self-supervised Swin UNETR, CVPR 2022, arXiv 2111.14791"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = SwinPretextConfig
    networks = ("swin_unetr", "unet", "unetr", "dynunet", "pctnet")
    needs = Needs(companions=3)
    # At 0.005 the embeddings of Swin UNETR's encoder stay alike (24 steps of 8 slices: a contrast of log 15 throughout); at
    # the authors' rate they part (2.04).
    training: ClassVar[Mapping[str, Any]] = {"learning_rate": 4e-4}
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "inpainting": {"rotation": 0.0, "contrast": 0.0},
        "rotation": {"inpainting": 0.0, "contrast": 0.0},
        "contrast": {"inpainting": 0.0, "rotation": 0.0},
    }

    def fitted_to(self, trained: Method) -> Method:
        """With the heads of the other's model."""
        return self.with_settings_of(trained, ("features", "restore"))

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Turn two copies of each patch, each by itself, and cut boxes out of them.

        Inputs are the first views. Targets: ``second`` views; ``image`` and ``second_image``, what they restore, turned and
        whole, (B, C, *spatial) all; ``turns`` and ``second_turns``, int64 (B,); ``mask`` and ``second_mask``, bool
        (B, *spatial), what was cut out.
        """
        import torch

        from napari_ssl_seg.pretext.cutout import cutout_mask, filled
        from napari_ssl_seg.pretext.turning import draw_turns, turned, uncover

        image, shape, config = batch.image, tuple(batch.image.shape[2:]), self.config
        turns = draw_turns(2 * len(image), generator)
        shown, part = uncover(image, batch.origins)
        part = torch.cat((part, part))
        whole = turned(torch.cat((shown, shown)), turns)
        mask = cutout_mask(len(whole), shape, config.cutout, generator).to(image.device) & part
        cut = filled(whole, mask, generator)
        if config.foreign and len(image) > 1:
            more = cutout_mask(len(whole), shape, config.cutout, generator).to(image.device) & part
            step = int(torch.randint(1, len(image), (), generator=generator, device=generator.device))
            others = torch.cat([view.roll(step, dims=0) for view in whole.chunk(2)])
            cut, mask = torch.where(more.unsqueeze(1), others, cut), mask | more
        (first, second), (one, other), (hole, second_hole) = whole.chunk(2), cut.chunk(2), mask.chunk(2)
        turn, second_turn = turns.to(image.device).chunk(2)
        return Pretext(
            inputs=one,
            targets={
                "second": other,
                "image": first,
                "second_image": second,
                "turns": turn,
                "second_turns": second_turn,
                "mask": hole,
                "second_mask": second_hole,
            },
            views=(
                View("scan", "Scan", "image", image),
                View("first", "First view, turned (to be restored)", "image", first),
                View("mask", "Cut out of the first view", "mask", hole),
                View("first_cut", "First view, cut out (network input)", "image", one),
                View("second", "Second view, turned (to be restored)", "image", second),
                View("second_mask", "Cut out of the second view", "mask", second_hole),
                View("second_cut", "Second view, cut out (network input)", "image", other),
                View(
                    "turns",
                    "Turns to be named, in degrees",
                    "table",
                    {"first view": 90.0 * float(turn[0]), "second view": 90.0 * float(second_turn[0])},
                ),
            ),
            stats={
                "share_cut_out": float(mask.sum() / part.sum()),
                "share_shown": float(part.double().mean()),
                "negatives": float(2 * len(image) - 2),
            },
        )

    # -- the model ------------------------------------------------------------------------------------------------
    def build(self, network: nn.Module) -> nn.Module:
        """The encoder with three heads."""
        from napari_ssl_seg.methods.swin_pretext_net import SwinPretextNet

        return SwinPretextNet(network, self.config.features, whole=self.config.restore == "network")  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """The three parts, before they are weighted; ``spread`` and ``rank`` of the embeddings show a collapse."""
        import torch
        from torch.nn import functional as F

        from napari_ssl_seg.methods.contrast import nt_xent

        net: SwinPretextNet = model  # type: ignore[assignment]
        found, targets, config = self.outputs(net, pretext), pretext.targets, self.config
        restored, whole = torch.cat(found.restored).float(), torch.cat((targets["image"], targets["second_image"]))
        scores, turns = torch.cat(found.turns).float(), torch.cat((targets["turns"], targets["second_turns"]))
        parts = {
            "inpainting": F.l1_loss(restored, whole),
            "rotation": F.cross_entropy(scores, turns),
            "contrast": nt_xent(*found.embeddings, config.temperature),
        }
        total = sum(getattr(config, name) * part for name, part in parts.items())
        accuracy = (scores.detach().argmax(dim=1) == turns).float().mean()
        return Losses(total=total, parts={**parts, "accuracy": accuracy, **net.gauge.observe(found.embeddings[0])})

    def outputs(self, model: nn.Module, pretext: Pretext) -> SwinPretextOutput:
        """What the model makes of both views."""
        return model(pretext.inputs, pretext.targets["second"])

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """Whether the embeddings have collapsed."""
        net: SwinPretextNet = model  # type: ignore[assignment]
        return net.gauge.remarks()

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """The encoder; the whole network where its own decoder restored."""
        return Method.transfer(self, model) if self.config.restore == "network" else super().transfer(model)

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """The restored first view and its error, how likely the network thinks its turns, and likenesses across the batch."""
        import torch

        from napari_ssl_seg.methods.restoration import restored_views
        from napari_ssl_seg.methods.voco_losses import cosines
        from napari_ssl_seg.pretext.turning import TURNS

        with torch.no_grad():
            found = self.outputs(model, pretext)
        said = found.turns[0][0].float().softmax(dim=0).tolist()
        true = int(pretext.targets["turns"][0])
        rows = {f"{name} (true)" if n == true else name: p for n, (name, p) in enumerate(zip(TURNS, said, strict=True))}
        return (
            *restored_views(found.restored[0].float(), pretext),
            View("answer", "Turn of the first view, by the network", "table", rows),
            View(
                "alike",
                "Likeness of first views (rows) to second ones",
                "matrix",
                cosines(*found.embeddings),
                (-1.0, 1.0),
            ),
        )
