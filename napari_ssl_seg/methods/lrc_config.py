"""Settings of Localized Region Contrast."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from napari_ssl_seg.methods.base import MethodConfig
from napari_ssl_seg.regions.settings import RegionSettings, Source

CONTRASTS = ("moco", "simclr", "densecl")
"""Global contrasts that take LRC's length of the keys and temperature; the others have their own heads."""
_MOCO: dict[str, Any] = {"when": {"global_contrast": ["moco"]}}
_QUEUE: dict[str, Any] = {"when": {"global_contrast": ["moco", "densecl"]}}
_CONTRAST: dict[str, Any] = {"when": {"global_contrast": list(CONTRASTS)}}


class LRCConfig(RegionSettings, MethodConfig):
    """Where regions come from, the warp, the points, and the two contrasts. What the paper leaves open is said so."""

    source: Source = Field(
        default="felzenszwalb",
        title="Regions from",
        description="The paper's superpixels are Felzenszwalb's; auto: Segment Anything where its weights are found.",
        json_schema_extra={"basic": True},
    )

    # -- the second view ------------------------------------------------------------------------------------------
    displacement: float = Field(
        default=12 / 256,
        ge=0.0,
        le=0.5,
        title="Largest displacement",
        description="How far the elastic warp moves a pixel at most. The paper says none; 12 of 256 pixels fold nothing.",
        json_schema_extra={"basic": True, "unit": "share of the shorter side"},
    )
    smoothness: float = Field(
        default=16 / 256,
        ge=0.0,
        le=1.0,
        title="Smoothness of the warp",
        description="Width of the Gaussian that smooths the displacements. The paper says none; 16 of 256 pixels.",
        json_schema_extra={"basic": True, "unit": "share of the shorter side"},
    )
    jitter: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        title="Intensity jitter",
        description="Contrast and brightness of the warped view change by up to this. Paper: none.",
    )

    # -- local contrast -------------------------------------------------------------------------------------------
    points: int = Field(
        default=50,
        ge=0,
        le=10_000,
        title="Points a region (N)",
        description="Drawn at random in each region of each view; 0: all of its pixels. Paper: 50.",
        json_schema_extra={"basic": True},
    )
    max_regions: int = Field(
        default=128,
        ge=2,
        le=4096,
        title="Most regions",
        description="Of a slice with more, so many are drawn at random. Paper: no limit.",
    )
    features: int = Field(
        default=64,
        ge=1,
        le=1024,
        title="Features (D)",
        description="Channels in which each branch ends, at full resolution. Paper: 64.",
    )
    local_temperature: float = Field(
        default=0.1,
        ge=0.01,
        le=10.0,
        title="Local temperature",
        description="Divides the similarities of regions. The paper says none; 0.1.",
    )
    normalise: bool = Field(
        default=True,
        title="Normalise means",
        description="Compare cosines; off: the bare dot products of the printed formula, which learn far worse.",
    )
    include_self: bool = Field(
        default=False,
        title="Count itself as negative",
        description="The sum over negatives holds the region itself, as printed; the loss then cannot fall below log 2.",
    )
    reduction: Literal["mean", "sum"] = Field(
        default="mean",
        title="Over regions",
        description="mean: every slice counts the same; sum: slices with more regions count more, as printed.",
    )

    local_contrast: Literal["regions", "global"] = Field(
        default="regions",
        title="Local branch learns",
        description=(
            "regions: LRC; global: its encoder learns as the other branch's, by the global contrast, and its decoder stays"
            " random, which is the paper's control with as many weights."
        ),
    )

    # -- global contrast ------------------------------------------------------------------------------------------
    global_contrast: Literal["moco", "simclr", "byol", "simsiam", "moco_v3", "densecl", "dino", "none"] = Field(
        default="moco",
        title="Global contrast",
        description=(
            "Of whole slices, for the encoder of the other branch, with that method's own heads; none: that branch stays"
            " random."
        ),
        json_schema_extra={"basic": True},
    )
    global_encoder: Literal["unet", "resnet50"] = Field(
        default="unet",
        title="Global encoder",
        description="unet: as in the other branch; resnet50: the paper's, 32 million weights with its decoder.",
    )
    moco: Literal["v1", "v2"] = Field(
        default="v1",
        title="MoCo",
        description="v1: a linear head and temperature 0.07, as in the paper's formula; v2: two layers and 0.2.",
        json_schema_extra=_MOCO,
    )
    queue: int = Field(
        default=4096,
        ge=0,
        le=1_000_000,
        title="Queue",
        description=(
            "Keys of earlier slices to tell from, at most half as many as there are slices; 0: the other slices of"
            " the batch, as printed. MoCo: 65536 of a million images."
        ),
        json_schema_extra=_QUEUE,
    )
    momentum: float = Field(
        default=0.999,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="Share of itself that the key encoder keeps at each step. MoCo: 0.999.",
        json_schema_extra=_QUEUE,
    )
    projection: int = Field(
        default=128,
        ge=2,
        le=4096,
        title="Length of the keys",
        description="Numbers that a slice is reduced to. MoCo: 128.",
        json_schema_extra=_CONTRAST,
    )
    global_temperature: float = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        title="Global temperature",
        description="Divides the similarities of slices; 0: 0.07 with MoCo v1, 0.2 with v2 and DenseCL, 0.5 with SimCLR.",
        json_schema_extra=_CONTRAST,
    )

    @model_validator(mode="after")
    def _something_is_learnt(self) -> LRCConfig:
        if self.local_contrast == "global" and self.global_contrast == "none":
            raise ValueError(
                "the local branch is to learn as the global one does, which learns nothing; choose a global contrast"
            )
        return self
