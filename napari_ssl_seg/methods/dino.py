"""DINO: say of one view what a slowly following encoder says of the other, in shares of learnt prototypes.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294. Two views of the
same size; the paper's further small crops are left out, as transformers here take patches of one size alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.siamese import Siamese, SiameseConfig

if TYPE_CHECKING:
    from torch import nn

    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design


class DINOConfig(SiameseConfig):
    """The paper's, with as many prototypes as small sets have use for."""

    projection: int = Field(
        default=256,
        ge=2,
        le=8192,
        title="Length of the vectors",
        description="That are compared with the prototypes. Paper: 256.",
    )
    hidden: int = Field(default=2048, ge=8, le=8192, title="Hidden width", description="Of the head. Paper: 2048.")
    prototypes: int = Field(
        default=1024,
        ge=2,
        le=65536,
        title="Prototypes",
        description="Shares of which are predicted. Paper: 65536, of a million images.",
        json_schema_extra={"basic": True},
    )
    momentum: float = Field(
        default=0.996,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="With which the teacher follows at the start; 1 at the end, along a cosine. Paper: 0.996.",
        json_schema_extra={"basic": True},
    )
    student_temperature: float = Field(
        default=0.1, ge=0.01, le=1.0, title="Student temperature", description="Paper: 0.1."
    )
    first_temperature: float = Field(
        default=0.04, ge=0.005, le=1.0, title="Teacher temperature, at first", description="Paper: 0.04."
    )
    last_temperature: float = Field(
        default=0.07,
        ge=0.005,
        le=1.0,
        title="Teacher temperature, later",
        description="Reached in a straight line. Paper: 0.07.",
    )
    temperature_warmup: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        title="Temperature warm-up",
        description="Share of the steps in which the teacher's temperature rises. Paper: 30 of 300 epochs.",
    )
    standardise: bool = Field(
        default=True,
        title="Standardise vectors",
        description=(
            "Vectors enter the head less their running mean, divided by their running deviation. Not in the paper: without it"
            " those of different patches are so alike in networks with instance norm that all shares become even."
        ),
    )
    centre_momentum: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        title="Centre momentum",
        description="With which the centre, and that mean and deviation, follow those of the teacher. Paper: 0.9.",
    )
    frozen: float = Field(
        default=0.01,
        ge=0.0,
        le=1.0,
        title="Prototypes frozen",
        description="Share of the steps, at first, in which the prototypes stand still. Paper: the first epoch.",
    )


class DINO(Siamese):
    """Says of one view what a slowly following teacher says of the other, in shares of learnt prototypes."""

    name = "dino"
    title = "DINO"
    paper = "Caron et al., DINO, ICCV 2021, arXiv 2104.14294"
    Config: ClassVar[type[MethodConfig]] = DINOConfig
    shaping = ("projection", "hidden", "prototypes")

    def design(self) -> Design:
        """An encoder that follows, scores of prototypes, cross-entropy with centred and sharpened targets, mean of both ways."""
        from napari_ssl_seg.methods.distillation_net import PrototypeHead
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        return Design(
            title=self.title,
            projector=PrototypeHead(config.hidden, config.projection, config.prototypes),
            objective="distillation",
            temperature=config.student_temperature,
            momentum=config.momentum,
            rising=True,
            both_ways=True,
            weight=0.5,
        )

    def build(self, network: nn.Module) -> nn.Module:
        """Student and teacher; see `distillation_net.DistillationNet`."""
        from napari_ssl_seg.methods.distillation_net import DistillationNet

        return DistillationNet(network, self.design(), self.config)  # type: ignore[arg-type]
