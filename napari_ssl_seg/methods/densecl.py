"""DenseCL: MoCo of whole patches, and beside it of places: each finds the most similar place of the other view.

Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021, arXiv 2011.09157.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_ssl_seg.methods.moco import MoCo
from napari_ssl_seg.methods.siamese import SiameseConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import MethodConfig, Pretext, View
    from napari_ssl_seg.methods.projection import Head
    from napari_ssl_seg.methods.siamese_net import Design


class DenseCLConfig(SiameseConfig):
    """The paper's, but for the length of the queues."""

    dense: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Share of places",
        description="What the contrast of places counts; that of whole patches counts the rest. Paper: 0.5.",
        json_schema_extra={"basic": True},
    )
    queue: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        title="Queue",
        description=(
            "Keys of earlier patches to tell from, at most half as many as the scans have room for. Paper: 65536 of a"
            " million images."
        ),
        json_schema_extra={"basic": True},
    )
    momentum: float = Field(
        default=0.999,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="Share of itself that the key encoder keeps at each step. Paper: 0.999.",
    )
    temperature: float = Field(
        default=0.2, ge=0.01, le=10.0, title="Temperature", description="Divides the cosines. Paper: 0.2."
    )


class DenseCL(MoCo):
    """MoCo of whole patches and of places: each place of a view finds the most similar one of the other view."""

    name = "densecl"
    title = "DenseCL"
    paper = "Wang et al., DenseCL, CVPR 2021, arXiv 2011.09157"
    Config: ClassVar[type[MethodConfig]] = DenseCLConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    shaping = ("projection", "queue")

    def design(self) -> Design:
        """MoCo v2's; the places come beside it in `build`."""
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        return Design(
            title=self.title,
            projector=self._head(),
            objective="info_nce",
            temperature=config.temperature,
            momentum=config.momentum,
            queue=config.queue,
        )

    def build(self, network: nn.Module) -> nn.Module:
        """Two heads and two queues; see `dense_net.DenseContrastNet`."""
        from napari_ssl_seg.methods.dense_net import DenseContrastNet

        return DenseContrastNet(network, self.design(), self._head(), self.config.dense)  # type: ignore[arg-type]

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """As of other contrasts; and the places of the first view with those of the second that they are matched with."""
        from napari_ssl_seg.methods.dense_net import match_views

        second: Tensor = pretext.targets["second"]
        return (*super().output_views(model, pretext), *match_views(model, pretext.inputs, second))  # type: ignore[arg-type]

    def _head(self) -> Head:
        from napari_ssl_seg.methods.projection import Head

        return Head((0,), self.config.projection)

    def _queue(self, shapes: Iterable[Sequence[int]]) -> int:
        return max(1, super()._queue(shapes))
