"""Settings of FDAS."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from napari_ssl_seg.methods.base import MethodConfig
from napari_ssl_seg.regions.settings import RegionSettings


class FDASConfig(RegionSettings, MethodConfig):
    """Where regions come from, what becomes of them, and the three losses; defaults of the paper."""

    alpha: float = Field(
        default=0.95,
        ge=0.05,
        le=1.0,
        title="Share covered (alpha)",
        description="As many of the largest regions are kept apart as cover this share of the area (Eq. 1). Paper: 0.95.",
        json_schema_extra={"basic": True},
    )
    mask_ratio: float = Field(
        default=0.7,
        ge=0.0,
        le=0.95,
        title="Share masked (r)",
        description="Share of a slice's regions that another scan replaces. Paper: 0.7, its best of 0.5 to 0.9.",
        json_schema_extra={"basic": True},
    )
    channels: int | None = Field(
        default=None,
        ge=1,
        le=256,
        title="Regions a slice (K)",
        description="The others join the nearest; none: the mean of Eq. 1 over the scans pretrained on, rounded up.",
    )
    max_channels: int = Field(
        default=64,
        ge=1,
        le=256,
        title="Most regions",
        description="Bounds what Eq. 1 gives: superpixels are many, and memory grows with K. Released code: 10 at a time.",
    )
    assign: Literal["submask", "pixel"] = Field(
        default="submask",
        title="Small regions join",
        description="The nearest large one as a whole (submask: the paper), or pixel by pixel (the released code).",
    )
    uncovered: Literal["region", "fill"] = Field(
        default="region",
        title="What no region covers",
        description="Counts as one more region (as in the paper's figure), or is always replaced (fill: Eq. 3 as printed).",
    )
    fuse: bool = Field(
        default=True,
        title="Fuse",
        description="Another scan of the batch fills what is masked; off: it is set to 0 (the paper's ablation).",
        json_schema_extra={"basic": True},
    )
    use_skd: bool = Field(
        default=True,
        title="Distil regions",
        description="The network segments the regions, too (L_SKD, Eq. 8).",
    )
    skd_target: Literal["kept", "all"] = Field(
        default="kept",
        title="Regions to segment",
        description="Those kept (the paper), or all of them, those replaced included (the released code).",
        json_schema_extra={"when": {"use_skd": [True]}},
    )
    use_fcl: bool = Field(
        default=True,
        title="Contrast",
        description="A fused scan is to resemble its original more than the batch's others (L_FCL, Eq. 9).",
    )
    lambda_fcl: float = Field(
        default=0.5,
        ge=0.0,
        le=10.0,
        title="Weight of the contrast (lambda)",
        description="Lambda in L_IFR + L_SKD + lambda L_FCL. Paper: 0.5.",
        json_schema_extra={"when": {"use_fcl": [True]}},
    )
    temperature: float = Field(
        default=0.1,
        ge=0.01,
        le=10.0,
        title="Temperature (tau)",
        description="Divides the similarities of the contrast. Paper: 0.1.",
        json_schema_extra={"when": {"use_fcl": [True]}},
    )
    fcl: Literal["pooled", "dense"] = Field(
        default="pooled",
        title="Compare",
        description="Means of the bottleneck (the paper's vectors), or place by place (dense: the released code).",
        json_schema_extra={"when": {"use_fcl": [True]}},
    )

    @field_validator("channels", mode="before")
    @classmethod
    def _empty_is_by_the_study(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("", "none", "auto") else value
