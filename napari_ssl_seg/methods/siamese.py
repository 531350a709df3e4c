"""Methods that compare two views of a patch: what they have in common. A method is its settings and its `Design`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, Losses, MethodConfig, Needs, Pretext, View
from napari_ssl_seg.methods.labelling import EncoderMethod
from napari_ssl_seg.pretext.augment import AugmentationSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.methods.siamese_net import Design, SiameseNet

HeadNorm = Literal["none", "batch", "layer", "auto"]


class SiameseConfig(AugmentationSettings, MethodConfig):
    """Views, and the length of the vectors that are compared."""

    projection: int = Field(
        default=128,
        ge=2,
        le=8192,
        title="Length of the vectors",
        description="Numbers that a patch is reduced to before it is compared.",
    )


class NormedConfig(SiameseConfig):
    """Heads with a norm after each hidden layer."""

    head_norm: HeadNorm = Field(
        default="auto",
        title="Norm of the heads",
        description="batch: the paper's; layer: for small batches; auto: batch in 2D, layer in 3D; none: without.",
    )


class Siamese(EncoderMethod):
    """A method with two views of each patch and a `Design`.

    Other patches of the batch are the ones to tell from, so the inspector puts some beside the one that it shows.
    """

    Config: ClassVar[type[MethodConfig]] = SiameseConfig
    dims = frozenset({2, 3})
    needs = Needs(companions=3)
    # SimCLR on slices of hippocampus scans, 16 a step: after 120 steps at this rate 0.29 of 128 test slices are nearest to
    # their own other view, after 150 at the general 0.005 0.21 (before training 0.13).
    training: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}
    shaping: ClassVar[tuple[str, ...]] = ("projection",)
    """Settings that decide which weights the model has."""

    @abstractmethod
    def design(self) -> Design:
        """The switches, from the settings."""

    def fitted_to(self, trained: Method) -> Method:
        """With those settings of ``trained`` that shape its model."""
        return self.with_settings_of(trained, self.shaping)

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Two views of each patch. Target: ``second`` (B, C, *spatial), the other view of the input."""
        from napari_ssl_seg.methods.siamese_views import pretext_stats, pretext_views
        from napari_ssl_seg.pretext.augment import two_views

        first, second = two_views(batch.image, generator, self.config)
        return Pretext(
            inputs=first.image,
            targets={"second": second.image},
            views=pretext_views(batch, first, second),
            stats=pretext_stats(self.design(), batch, first, second),
        )

    def build(self, network: nn.Module) -> nn.Module:
        """The encoder with its heads; see `siamese_net.SiameseNet`."""
        from napari_ssl_seg.methods.siamese_net import SiameseNet

        return SiameseNet(network, self.design())  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """The design's objective; ``top1``, ``spread`` and ``rank``, no parts of the sum, tell whether it learns."""
        parts = model(pretext.inputs, pretext.targets["second"])
        return Losses(total=parts["loss"], parts={"contrast": parts.pop("loss"), **parts})

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """The key encoder follows, and the queue takes the last keys."""
        net: SiameseNet = model  # type: ignore[assignment]
        net.after_step(step, total)

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """That it has collapsed, or has nothing to tell a patch from."""
        net: SiameseNet = model  # type: ignore[assignment]
        return net.remarks()

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """How similar the first view of each patch is to the second of each; spread, rank, and how many are found again."""
        from napari_ssl_seg.methods.siamese_views import output_views

        net: SiameseNet = model  # type: ignore[assignment]
        return output_views(*net.embed(pretext.inputs, pretext.targets["second"]))
