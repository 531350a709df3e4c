"""SimSiam: predict from one view the vector of the other, taken as it is; neither negatives nor a second encoder.

Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.siamese import NormedConfig, Siamese

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design


class SimSiamConfig(NormedConfig):
    """The paper's heads."""

    projection: int = Field(
        default=2048,
        ge=2,
        le=8192,
        title="Length of the vectors",
        description="That are compared, and width of the projector's hidden layers. Paper: 2048.",
        json_schema_extra={"basic": True},
    )
    bottleneck: int = Field(
        default=512, ge=1, le=8192, title="Bottleneck", description="Hidden width of the predictor. Paper: 512."
    )
    stop_gradient: bool = Field(
        default=True,
        title="Stop gradient",
        description="The vector that is predicted is taken as it is; off: the paper's ablation, which collapses.",
    )


class SimSiam(Siamese):
    """Predicts from one view the vector of the other, which gets no gradient; without negatives or a second encoder."""

    name = "simsiam"
    title = "SimSiam"
    paper = "Chen and He, SimSiam, CVPR 2021, arXiv 2011.10566"
    Config: ClassVar[type[MethodConfig]] = SimSiamConfig
    shaping = ("projection", "bottleneck", "head_norm")

    def design(self) -> Design:
        """One encoder, a projector of three layers, a predictor with a bottleneck, half the negative cosine each way."""
        from napari_ssl_seg.methods.projection import Head
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        width = config.projection
        return Design(
            title=self.title,
            projector=Head((width, width), width, config.head_norm, last_norm=True),
            predictor=Head((config.bottleneck,), width, config.head_norm),
            objective="cosine",
            stop_gradient=config.stop_gradient,
            both_ways=True,
            weight=0.5,
        )
