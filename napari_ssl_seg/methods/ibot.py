"""iBOT: DINO of whole patches whose tokens are partly hidden, and the same of each hidden token.

Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022, arXiv 2111.07832. What is hidden holds the
view's mean, as networks without a token for it have no other. Whole patches and tokens have a head each: pooled vectors are
longer than tokens (`contrast.pooled_parts`). As with DINO there are two views of the same size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.base import Batch, Losses, Pretext, View
from napari_ssl_seg.methods.dino import DINO, DINOConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.ibot_net import IBOTNet
    from napari_ssl_seg.networks.spec import NetworkSpec

UNIT = 8
"""Side of a token where the network is not known: that of the small U-Net."""
FEWEST_TOKENS = 2
"""Along each axis."""


class IBOTConfig(DINOConfig):
    """The paper's, with as many prototypes as small sets have use for."""

    prototypes: int = Field(
        default=1024,
        ge=2,
        le=65536,
        title="Prototypes",
        description="Shares of which are predicted. Paper: 8192, of a million images.",
        json_schema_extra={"basic": True},
    )
    mask_ratio: float = Field(
        default=0.3,
        ge=0.05,
        le=0.95,
        title="Share hidden",
        description="Of the tokens of a view of which some are hidden, on average. Paper: 0.3.",
        json_schema_extra={"basic": True},
    )
    mask_range: float = Field(
        default=0.2,
        ge=0.0,
        le=0.9,
        title="Range of the share",
        description="How far the share of a view may be from the average, either way. Paper: 0.2.",
    )
    mask_chance: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Chance of hiding",
        description="Share of the views of which tokens are hidden at all. Paper: 0.5.",
    )


class IBOT(DINO):
    """DINO of partly hidden patches; for each hidden token, too, it says what the teacher sees there."""

    name = "ibot"
    title = "iBOT"
    paper = "Zhou et al., iBOT, ICLR 2022, arXiv 2111.07832"
    Config: ClassVar[type[MethodConfig]] = IBOTConfig

    def on_network(self, spec: NetworkSpec) -> Self:
        """With tokens as large as those of the network's coarsest map.

        Raises
        ------
        UserError
            When its patch holds less than two along an axis.
        """
        made = super().on_network(spec)
        grid = made.grid(spec.patch)
        if min(grid) < FEWEST_TOKENS:
            raise UserError(
                f"{spec.name} {spec.preset} makes {'x'.join(map(str, grid))} tokens of a patch of"
                f" {'x'.join(map(str, spec.patch))} voxels, and iBOT needs at least {FEWEST_TOKENS} along each axis; choose a"
                " larger patch or a network with smaller tokens"
            )
        return made

    def unit(self, dims: int) -> tuple[int, ...]:
        """Sides of a token in voxels."""
        from napari_ssl_seg.networks.catalogue import total_stride

        return (UNIT,) * dims if self.spec is None else total_stride(self.spec)

    def grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Whole tokens along each axis; voxels beyond the last are never hidden."""
        return tuple(side // step for side, step in zip(shape, self.unit(len(shape)), strict=True))

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Two views of each patch, each with tokens of its own hidden, or none.

        Targets: ``first`` and ``second``, the views, and ``masked_second``, as the input is the masked first, (B, C, *spatial);
        ``hidden_first`` and ``hidden_second``, bool (B, *grid).
        """
        import torch

        from napari_ssl_seg.methods.siamese_views import pretext_stats, pretext_views
        from napari_ssl_seg.pretext.augment import two_views

        first, second = two_views(batch.image, generator, self.config)
        shape = tuple(batch.image.shape[2:])
        hidden = self._hidden(2 * len(batch.image), self.grid(shape), generator).to(batch.image.device)
        voxels = spread_tokens(hidden, self.unit(len(shape)), shape)
        views = torch.cat((first.image, second.image))
        mean = views.mean(dim=tuple(range(2, views.ndim)), keepdim=True)
        masked, masked_second = torch.where(voxels.unsqueeze(1), mean, views).chunk(2)
        (hidden_first, hidden_second), (voxels_first, voxels_second) = hidden.chunk(2), voxels.chunk(2)
        return Pretext(
            inputs=masked,
            targets={
                "first": first.image,
                "second": second.image,
                "masked_second": masked_second,
                "hidden_first": hidden_first,
                "hidden_second": hidden_second,
            },
            views=(
                *pretext_views(batch, first, second),
                View("hidden_first", "Hidden of the first view", "mask", voxels_first),
                View("hidden_second", "Hidden of the second view", "mask", voxels_second),
                View("masked_first", "Masked first view (network input)", "image", masked),
                View("masked_second", "Masked second view (network input)", "image", masked_second),
            ),
            stats={
                **pretext_stats(self.design(), batch, first, second),
                "tokens": float(hidden[0].numel()),
                "share_hidden": float(hidden.double().mean()),
            },
        )

    def _hidden(self, views: int, grid: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Bool (views, *grid): of some views none, of others at least one and not all."""
        import torch

        config, tokens = self.config, math.prod(grid)
        drawn = torch.rand(views, tokens + 2, generator=generator, device=generator.device)
        share = config.mask_ratio + config.mask_range * (2.0 * drawn[:, 0] - 1.0)
        count = (share * tokens).round().clamp(1, max(tokens - 1, 1)) * (drawn[:, 1] < config.mask_chance)
        rank = drawn[:, 2:].argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        return (rank < count.unsqueeze(1)).view(views, *grid)

    def build(self, network: nn.Module) -> nn.Module:
        """Student and teacher with two heads each; see `ibot_net.IBOTNet`."""
        from napari_ssl_seg.methods.ibot_net import IBOTNet

        return IBOTNet(network, self.design(), self.config)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """``cls``, of whole patches across the views, plus ``tokens``, of the hidden ones in the same view."""
        import torch

        net: IBOTNet = model  # type: ignore[assignment]
        targets = pretext.targets
        parts = net.compare_views(
            torch.cat((pretext.inputs, targets["masked_second"])),
            torch.cat((targets["first"], targets["second"])),
            torch.cat((targets["hidden_first"], targets["hidden_second"])),
        )
        return Losses(total=parts["cls"] + parts["tokens"], parts=parts)

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """As of other siamese methods; and the tokens of student and teacher, with the cross-entropy of the hidden ones."""
        from napari_ssl_seg.methods.ibot_net import token_views

        unit = self.unit(pretext.inputs.ndim - 2)
        return (*super().output_views(model, pretext), *token_views(model, pretext, unit))  # type: ignore[arg-type]


def spread_tokens(values: Tensor, unit: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """(..., *grid) to (..., *shape): each entry over the voxels of its token, 0 beyond the last."""
    import torch

    first = values.ndim - len(unit)
    for axis, step in enumerate(unit):
        values = values.repeat_interleave(step, dim=first + axis)
        rest = list(values.shape)
        rest[first + axis] = shape[axis] - values.shape[first + axis]
        values = torch.cat((values, values.new_zeros(rest)), dim=first + axis)
    return values
