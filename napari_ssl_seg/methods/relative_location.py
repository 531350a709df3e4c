"""Relative location: on which side of one patch does another one lie?

Doersch et al., "Unsupervised Visual Representation Learning by Context Prediction", ICCV 2015 (arXiv 1505.05192); a
baseline of LRC. In 3D the neighbours lie in the same slices, or, as in Taleb et al., "3D Self-Supervised Methods for
Medical Imaging", NeurIPS 2020, above and below them, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Batch, MethodConfig, Pretext, View
from napari_ssl_seg.methods.labelling import Labelling

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import Method


class RelativeLocationConfig(MethodConfig):
    """The grid of neighbours, in shares of the sizes at hand."""

    neighbours: Literal["slice", "volume"] = Field(
        default="slice",
        title="Neighbours",
        description="In 3D: the 8 in the same slices, which both patches hold whole, or all 26. Paper: 8, in pictures.",
    )
    gap: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Gap",
        description="Between two patches, so that edges that go on from one to the other tell nothing. Paper: half a patch.",
        json_schema_extra={"basic": True, "unit": "share of a patch"},
    )
    jitter: float = Field(
        default=7 / 96,
        ge=0.0,
        le=0.25,
        title="Jitter",
        description="Each of the two is shifted by up to this along each axis. Paper: 7 of 96 pixels.",
        json_schema_extra={"basic": True, "unit": "share of a patch"},
    )
    extent: float = Field(
        default=0.75,
        ge=0.25,
        le=1.0,
        title="Extent of the grid",
        description=(
            "How much of the sample the 3x3 grid spans; it lies anywhere in it, so that the neighbour alone does not tell"
            " the answer. Paper: large pictures, of which the grid takes a part."
        ),
        json_schema_extra={"basic": True, "unit": "share of the sample"},
    )


class RelativeLocation(Labelling):
    """Shows two patches; the network says on which side of the first the second lies. Trains the encoder, the decoder stays random."""

    name = "relative_location"
    title = "Relative location"
    paper = "Doersch et al., context prediction, ICCV 2015, arXiv 1505.05192"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = RelativeLocationConfig
    patches_a_sample = 2

    def gridded(self, dims: int) -> int:
        """Axes along which neighbours lie."""
        return 3 if dims == 3 and self.config.neighbours == "volume" else 2

    def spans(self, dims: int) -> tuple[float, ...]:
        """Three patches and the gaps between them, where the scans are as large."""
        from napari_ssl_seg.pretext.neighbours import CELLS

        cut = (CELLS + (CELLS - 1) * self.config.gap + 2 * self.config.jitter) / self.config.extent
        return tuple(cut if axis >= dims - self.gridded(dims) else 1.0 for axis in range(dims))

    @property
    def classes(self) -> tuple[str, ...]:
        """The sides, in words; those of a volume where neighbours are taken there."""
        from napari_ssl_seg.pretext.neighbours import in_words, offsets

        dims = 3 if self.spec is None else self.spec.dims
        return tuple(in_words(step) for step in offsets(self.gridded(dims)))

    def fitted_to(self, trained: Method) -> Method:
        """With as many classes as the other's model."""
        return self.with_settings_of(trained, ("neighbours",))

    def patches(self, pretext: Pretext) -> tuple[Tensor, ...]:
        """The middle patch and the neighbour."""
        return pretext.inputs, pretext.targets["neighbour"]

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Cut out a patch and one of its neighbours.

        Targets: ``neighbour``, of the shape of the inputs, (B, C, *size); ``label``, int64 (B,), its place in
        `pretext.neighbours.offsets`; ``boxes``, (B, 2, 2 * dims), both as voxels of the sample; ``places``,
        (B, classes, 2 * dims), where the neighbour of each label would be without its shift.
        """

        from napari_ssl_seg.pretext.cutting import boxes_of, cut_patches, size_for
        from napari_ssl_seg.pretext.neighbours import NeighbourGrid, in_words, offsets

        image, shape, config = batch.image, tuple(batch.image.shape[2:]), self.config
        gridded = self.gridded(len(shape))
        grid = NeighbourGrid.fit(shape, gridded, extent=config.extent, gap=config.gap, jitter=config.jitter)
        drawn = grid.draw(len(image), generator)
        starts, places, label = (part.to(image.device) for part in (drawn.starts, drawn.places, drawn.label))
        network_patch = shape if self.spec is None else self.spec.patch
        cut = cut_patches(image, starts, grid.side, size_for(self.spec, grid.side, network_patch))
        boxes = boxes_of(starts, grid.side)
        answer = int(drawn.label[0])
        return Pretext(
            inputs=cut[:, 0],
            targets={
                "neighbour": cut[:, 1],
                "label": label,
                "boxes": boxes,
                "places": boxes_of(places, grid.side),
            },
            views=(
                View("scan", "Scan", "image", image),
                View("boxes", "First patch and its neighbour", "boxes", boxes),
                View("places", "All places of a neighbour", "boxes", boxes_of(places, grid.side)),
                View(
                    "side", "Side to be named", "table", {f"label: {in_words(offsets(gridded)[answer])}": float(answer)}
                ),
            ),
            stats={
                "classes": float(places.shape[1]),
                **{f"patch_{axis}": float(side) for axis, side in zip("zyx"[-len(shape) :], grid.side, strict=True)},
                **{
                    f"input_{axis}": float(side) for axis, side in zip("zyx"[-len(shape) :], cut.shape[3:], strict=True)
                },
            },
        )

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """How likely the network thinks each side, as numbers and in their places, and the likeliest one on the scan."""
        import torch

        probabilities = self.predicted(model, pretext)
        boxes, places = pretext.targets["boxes"], pretext.targets["places"]
        likeliest = places[torch.arange(len(places), device=places.device), probabilities.argmax(dim=1)]
        around = probabilities[0]
        middle = around.new_full((1,), float("nan"))
        in_place = torch.cat((around[: len(around) // 2], middle, around[len(around) // 2 :])).view(-1, 3)
        return (
            self.answer(probabilities, pretext),
            View("answer_places", "Probabilities, each in its place", "matrix", in_place, (0.0, 1.0)),
            View("said", "Where the network puts the neighbour", "boxes", torch.stack((boxes[:, 0], likeliest), dim=1)),
        )
