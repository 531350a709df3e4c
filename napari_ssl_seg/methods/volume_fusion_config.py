"""Settings of Volume Fusion."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from napari_ssl_seg.methods.base import MethodConfig

BOXES: dict[str, Any] = {"when": {"generator": ["boxes"]}}
GRID: dict[str, Any] = {"when": {"generator": ["grid"]}}


class VolumeFusionConfig(MethodConfig):
    """Box sides are shares of the patch, so that they suit patches of any size."""

    levels: int = Field(
        default=4,
        ge=1,
        le=16,
        title="Fusion levels K",
        description="Blending weights beside 0: 1/K, 2/K ... 1; the network tells K + 1 classes apart. Paper: 4.",
        json_schema_extra={"basic": True},
    )
    generator: Literal["boxes", "grid"] = Field(
        default="boxes",
        title="Generator",
        description=(
            "boxes: the paper's, at random places over each other; grid: blocks side by side, as in the authors' later code"
            " (there with a donor from the same scan and changed contrast, which this option leaves out)."
        ),
    )
    min_boxes: int = Field(
        default=10,
        ge=0,
        le=200,
        title="Fewest boxes",
        description="Fewest boxes in a volume; a 2D patch is a slice through one and meets about a third. Paper: 10.",
        json_schema_extra=BOXES,
    )
    max_boxes: int = Field(
        default=40,
        ge=1,
        le=200,
        title="Most boxes",
        description="Most boxes in a volume; later ones cover earlier ones. Paper: 40.",
        json_schema_extra={"basic": True, **BOXES},
    )
    min_depth: float = Field(
        default=0.125,
        ge=0.0,
        le=1.0,
        title="Smallest box depth",
        description="Share of the patch's depth (in 2D, of 64 imagined slices). Paper: 8 of 64 voxels, 0.125.",
        json_schema_extra={"unit": "share of the patch", **BOXES},
    )
    max_depth: float = Field(
        default=0.625,
        ge=0.0,
        le=1.0,
        title="Largest box depth",
        description="Share of the patch's depth (in 2D, of 64 imagined slices). Paper: 40 of 64 voxels, 0.625.",
        json_schema_extra={"unit": "share of the patch", **BOXES},
    )
    min_side: float = Field(
        default=0.0625,
        ge=0.0,
        le=1.0,
        title="Smallest box side",
        description="Share of the patch's height and width. Paper: 8 of 128 voxels, 0.0625.",
        json_schema_extra={"unit": "share of the patch", **BOXES},
    )
    max_side: float = Field(
        default=0.625,
        ge=0.0,
        le=1.0,
        title="Largest box side",
        description="Share of the patch's height and width. Paper: 80 of 128 voxels, 0.625.",
        json_schema_extra={"unit": "share of the patch", "basic": True, **BOXES},
    )
    grid_foreground: float = Field(
        default=0.7,
        ge=0.0,
        le=1.0,
        title="Blocks of the donor",
        description="Share of the grid's blocks in which the donor shows through. Authors: 0.7.",
        json_schema_extra=GRID,
    )
    min_block: int = Field(
        default=8,
        ge=1,
        le=128,
        title="Smallest block side",
        description="Of the grid; at most a quarter of the patch. Authors: 8.",
        json_schema_extra={"unit": "voxels", **GRID},
    )
    max_block: int = Field(
        default=32,
        ge=1,
        le=128,
        title="Largest block side",
        description="Of the grid; at most half of the patch. Authors: 32.",
        json_schema_extra={"unit": "voxels", **GRID},
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> VolumeFusionConfig:
        for low, high in (
            ("min_boxes", "max_boxes"),
            ("min_depth", "max_depth"),
            ("min_side", "max_side"),
            ("min_block", "max_block"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is larger than {high} {getattr(self, high)}")
        return self
