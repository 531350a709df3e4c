"""MoCo v3: contrast within the batch, both ways, between a predictor and a slowly following encoder; no queue.

Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.02057.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.siamese import NormedConfig, Siamese

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design


class MoCoV3Config(NormedConfig):
    """The paper's heads, temperature and momentum."""

    temperature: float = Field(
        default=0.2,
        ge=0.01,
        le=10.0,
        title="Temperature",
        description="Divides the cosines. Paper: 0.2.",
        json_schema_extra={"basic": True},
    )
    momentum: float = Field(
        default=0.99,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="With which the second encoder follows at the start; 1 at the end, along a cosine. Paper: 0.99.",
        json_schema_extra={"basic": True},
    )
    projection: int = Field(
        default=256, ge=2, le=8192, title="Length of the vectors", description="That are compared. Paper: 256."
    )
    hidden: int = Field(
        default=4096, ge=0, le=16384, title="Hidden width", description="Of projector and predictor. Paper: 4096."
    )


class MoCoV3(Siamese):
    """Finds the other view of a patch in the batch, as a slowly following encoder sees it, both ways; it has no queue."""

    name = "moco_v3"
    title = "MoCo v3"
    paper = "Chen et al., MoCo v3, ICCV 2021, arXiv 2104.02057"
    Config: ClassVar[type[MethodConfig]] = MoCoV3Config
    shaping = ("projection", "hidden", "head_norm")

    def design(self) -> Design:
        """An encoder that follows, a predictor, InfoNCE within the batch times twice the temperature, both ways added."""
        from napari_ssl_seg.methods.projection import Head
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        wide, out, norm = config.hidden, config.projection, config.head_norm
        return Design(
            title=self.title,
            projector=Head((wide, wide), out, norm, last_norm=True),
            predictor=Head((wide,), out, norm, last_norm=True),
            objective="info_nce",
            temperature=config.temperature,
            momentum=config.momentum,
            rising=True,
            both_ways=True,
            weight=2.0 * config.temperature,
        )
