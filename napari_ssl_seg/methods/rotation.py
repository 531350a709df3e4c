"""Rotation: by how many quarter turns was a patch turned?

Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018 (arXiv 1803.07728); a
baseline of LRC. In 3D patches are turned about the z axis, within the axial slices, in which voxels are mostly square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, MethodConfig, Pretext, View
from napari_ssl_seg.methods.labelling import Labelling

if TYPE_CHECKING:
    import torch
    from torch import nn


class RotationConfig(MethodConfig):
    """What of a patch is turned."""

    shape: Literal["square", "disc"] = Field(
        default="square",
        title="Turned part",
        description=(
            "The middle square of a slice, or the disc in it, whose edge looks the same at every turn; around it is the"
            " patch's lowest value. Paper: square images, turned as a whole."
        ),
        json_schema_extra={"basic": True},
    )


class Rotation(Labelling):
    """Turns a patch by 0 to 3 quarters; the network says by how many. Trains the encoder, the decoder stays random."""

    name = "rotation"
    title = "Rotation"
    paper = "Gidaris et al., predicting image rotations, ICLR 2018, arXiv 1803.07728"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = RotationConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """0°, 90°, 180°, 270°, counterclockwise."""
        from napari_ssl_seg.pretext.turning import TURNS

        return TURNS

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Turn the middle of each patch.

        Targets: ``label``, int64 (B,), the number of quarter turns; ``kept``, bool (B, *spatial), the voxels that are shown.
        """
        from napari_ssl_seg.pretext.turning import draw_turns, turned, uncover

        image = batch.image
        turns = draw_turns(len(image), generator)
        shown, kept = uncover(image, batch.origins, disc=self.config.shape == "disc")
        label = turns.to(image.device)
        inputs = turned(shown, label)
        return Pretext(
            inputs=inputs,
            targets={"label": label, "kept": kept},
            views=(
                View("scan", "Scan", "image", image),
                View("kept", "Part that is turned", "mask", kept),
                View("turned", "Turned patch (network input)", "image", inputs),
                View("turn", "Turn to be named", "table", {"degrees": 90.0 * float(turns[0])}),
            ),
            stats={"share_shown": float(kept.double().mean())},
        )

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """How likely the network thinks each turn, and the patch turned back by the likeliest."""
        from napari_ssl_seg.pretext.turning import turned

        probabilities = self.predicted(model, pretext)
        back = turned(pretext.inputs, -probabilities.argmax(dim=1))
        return (
            self.answer(probabilities, pretext),
            View("turned_back", "Turned back as the network says", "image", back),
        )
