"""SimCLR: of all views in the batch, find the other view of the same patch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv 2002.05709.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.siamese import Siamese, SiameseConfig

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design


class SimCLRConfig(SiameseConfig):
    """The paper's head and loss."""

    temperature: float = Field(
        default=0.5,
        ge=0.01,
        le=10.0,
        title="Temperature",
        description="Divides the cosines; smaller ones look at the most similar patches alone. Paper: 0.1 to 0.5.",
        json_schema_extra={"basic": True},
    )
    hidden: int = Field(
        default=0,
        ge=0,
        le=16384,
        title="Hidden width",
        description="Of the projector; 0: as wide as the encoder's coarsest map, as in the paper.",
    )


class SimCLR(Siamese):
    """Finds, among all views of the batch, the other view of the same patch."""

    name = "simclr"
    title = "SimCLR"
    paper = "Chen et al., SimCLR, ICML 2020, arXiv 2002.05709"
    Config: ClassVar[type[MethodConfig]] = SimCLRConfig
    shaping = ("projection", "hidden")

    def design(self) -> Design:
        """One encoder, a projector of two layers, NT-Xent within the batch."""
        from napari_ssl_seg.methods.projection import Head
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        return Design(
            title=self.title,
            projector=Head((config.hidden,), config.projection),
            objective="nt_xent",
            temperature=config.temperature,
        )
