"""Predict a label that the sample itself gives: what the methods of that kind have in common.

A head on the encoder names a class, such as the turn of a patch; the loss is the cross-entropy. Only the encoder is
trained: a fine-tuning starts with a random decoder.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from napari_ssl_seg.methods.base import Losses, Method, MethodConfig, Prepared, Pretext, View

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, Self

    from torch import Tensor, nn

    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event


ENCODERS = ("unet", "unetr", "swin_unetr", "dynunet", "pctnet")
"""Networks with one encoder, the usual one first."""


class EncoderMethod(Method):
    """A method that trains the encoder alone, on patches of a size that suits the network."""

    networks = ENCODERS
    every_level: ClassVar[bool] = False
    """Whether all of the encoder's maps are trained, or what its coarsest one needs."""

    def __init__(
        self,
        config: MethodConfig | None = None,
        *,
        spec: NetworkSpec | None = None,
        scans: Sequence[int] | None = None,
    ) -> None:
        super().__init__(config)
        self.spec, self.scans = spec, scans
        """Network and usual shape of a scan (z, y, x), where they are known."""

    def on_network(self, spec: NetworkSpec) -> Self:
        """With patches of a size that this network takes."""
        return type(self)(self.config, spec=spec, scans=self.scans)

    def with_settings_of(self, trained: Method, names: Sequence[str]) -> Self:
        """With those settings of another."""
        update = {name: getattr(trained.config, name) for name in names}
        return type(self)(self.config.model_copy(update=update), spec=self.spec, scans=self.scans)

    # -- how large a sample is ------------------------------------------------------------------------------------
    def spans(self, dims: int) -> tuple[float, ...]:
        """How many of the patches that the network gets a sample spans along each axis: one, where none are cut out of it."""
        return (1.0,) * dims

    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Ask how large the scans are."""
        return Prepared(type(self)(self.config, spec=self.spec, scans=study.median_shape()))
        yield

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """Likewise."""
        return Prepared(type(self)(self.config, spec=self.spec, scans=study.median_shape()))

    def sampled(self, spec: NetworkSpec) -> NetworkSpec:
        """With a sample as large as the scans, where that is more than a patch of the network and less than all that are cut."""
        if self.scans is None:
            return spec
        axes = zip(spec.patch, self.spans(spec.dims), self.scans[-spec.dims :], strict=True)
        field = tuple(max(side, min(math.ceil(side * span), length)) for side, span, length in axes)
        return spec.model_copy(update={"patch": field})

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """The encoder; the decoder, which was not trained, stays random in a fine-tuning."""
        from napari_ssl_seg.networks.tokens import encoder_weights

        trained = encoder_weights(model.backbone, every_level=self.every_level)  # type: ignore[arg-type]
        return {name: tensor for name, tensor in super().transfer(model).items() if name in trained}


class Labelling(EncoderMethod):
    """A method whose `pretext` leaves the target ``label``, int64 (B,), one of `classes`."""

    patches_a_sample: ClassVar[int] = 1
    # Relative location on slices of 9 hippocampus scans, 240 steps of 16: 0.36 of the sides named right at this rate, 0.22 at
    # 0.005. Rotation is learnt at both.
    training: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """In words, by label."""

    def patches(self, pretext: Pretext) -> tuple[Tensor, ...]:
        """What the encoder sees of each sample, (B, C, *size) each: the inputs alone, or more patches beside them."""
        return (pretext.inputs,)

    def build(self, network: nn.Module) -> nn.Module:
        """The encoder, means of its coarsest map and two layers that name the class."""
        from napari_ssl_seg.methods.label_net import LabelNet

        return LabelNet(network, len(self.classes), self.patches_a_sample)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Cross-entropy; ``accuracy`` is the share of the batch that is named right."""
        from torch.nn import functional as F

        scores, label = model(*self.patches(pretext)).float(), pretext.targets["label"]
        error = F.cross_entropy(scores, label)
        right = (scores.detach().argmax(dim=1) == label).float().mean()
        return Losses(total=error, parts={"label": error, "accuracy": right})

    def predicted(self, model: nn.Module, pretext: Pretext) -> Tensor:
        """Probabilities, (B, classes)."""
        import torch

        with torch.no_grad():
            return model(*self.patches(pretext)).float().softmax(dim=1)

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """How likely the network thinks each class of the first sample, and whether it is right."""
        return (self.answer(self.predicted(model, pretext), pretext),)

    def answer(self, probabilities: Tensor, pretext: Pretext) -> View:
        """A table: the probability of each class, the true one marked."""
        label = int(pretext.targets["label"][0])
        rows = {
            f"{name} (true)" if number == label else name: float(probability)
            for number, (name, probability) in enumerate(zip(self.classes, probabilities[0].tolist(), strict=True))
        }
        return View("answer", "Probabilities by the network", "table", rows)
