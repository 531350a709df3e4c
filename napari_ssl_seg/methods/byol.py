"""BYOL: predict what a slowly following encoder says of the other view; no negatives.

Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, arXiv 2006.07733.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.siamese import NormedConfig, Siamese

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design


class BYOLConfig(NormedConfig):
    """The paper's heads and momentum."""

    momentum: float = Field(
        default=0.996,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="With which the second encoder follows at the start; 1 at the end, along a cosine. Paper: 0.996.",
        json_schema_extra={"basic": True},
    )
    projection: int = Field(
        default=256, ge=2, le=8192, title="Length of the vectors", description="That are compared. Paper: 256."
    )
    hidden: int = Field(
        default=4096, ge=0, le=16384, title="Hidden width", description="Of projector and predictor. Paper: 4096."
    )


class BYOL(Siamese):
    """Predicts from one view what a slowly following encoder says of the other; it needs no negatives."""

    name = "byol"
    title = "BYOL"
    paper = "Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv 2006.07733"
    Config: ClassVar[type[MethodConfig]] = BYOLConfig
    shaping = ("projection", "hidden", "head_norm")

    def design(self) -> Design:
        """An encoder that follows, a predictor, the squared distance of unit vectors, both ways added."""
        from napari_ssl_seg.methods.projection import Head
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        head = Head((config.hidden,), config.projection, config.head_norm)
        return Design(
            title=self.title,
            projector=head,
            predictor=head,
            objective="distance",
            momentum=config.momentum,
            rising=True,
            both_ways=True,
        )
