"""Hyper-parameters of Alice. No torch here."""

from __future__ import annotations

from copy import copy
from typing import Any, Literal

from pydantic import Field, model_validator

from napari_ssl_seg.anatomy.settings import MatcherSettings
from napari_ssl_seg.methods.base import MethodConfig
from napari_ssl_seg.pretext.augment import AugmentationSettings

UNIT = 16
"""Voxels a side of a patch that is one token, of both networks."""
AUGMENTED = ("turn", "gamma", "gain", "shift", "noise", "blur", "chance")
"""Fields that are as in `AugmentationSettings`; Alice's views are neither cut out of the crop nor mirrored."""
_BASIC: dict[str, Any] = {"basic": True}


def _as_there(name: str) -> Any:
    return copy(AugmentationSettings.model_fields[name])


class AliceConfig(MatcherSettings, MethodConfig):
    """Values of the paper where it has them; where it is silent those of MAE, DINO and BYOL, on which it builds."""

    pairs: Literal["matched", "random"] = Field(
        default="matched",
        title="Second crop",
        description="matched: the same part of the body in another scan; random: any part, to see what matching is worth."
        " Paper: matched.",
        json_schema_extra=_BASIC,
    )
    mask_ratio: float = Field(
        default=0.75,
        ge=0.05,
        le=0.95,
        title="Share hidden",
        description="Share of the patches of each crop that the encoder does not get. Paper: 0.75.",
        json_schema_extra=_BASIC,
    )
    volume_weight: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight across scans",
        description="Of the term that asks both crops for the same summary (l_dv). Paper: 1; 0: without it.",
        json_schema_extra=_BASIC,
    )
    alignment_weight: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of the alignment",
        description="Of the conditional anatomical semantic alignment (l_st). Paper: 1; 0: without it.",
        json_schema_extra=_BASIC,
    )
    restoration_weight: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of restoration",
        description="Of the hidden patches (l_r). Paper: 1; the authors' code: 10.",
    )
    normalise_target: bool = Field(
        default=True,
        title="Normalise target",
        description="Restore each patch with its mean removed and its deviation set to 1. Paper: yes.",
    )
    momentum: float = Field(
        default=0.996,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="With which the target encoder follows at the start; 1 at the end, along a cosine. Authors' code: 0.996.",
    )
    predictor: bool = Field(
        default=True,
        title="Predictor",
        description="Two layers on the student's side before each cosine, as in BYOL and SimSiam, whose loss the paper takes"
        " without saying whether it takes this, too. Off: one and the same vector for everything soon wins both terms.",
    )
    decoder_width: int = Field(
        default=192,
        ge=48,
        le=768,
        multiple_of=48,
        title="Decoder width",
        description="Channels of the decoder, a multiple of 48. Paper: a light one, no number.",
    )
    decoder_layers: int = Field(
        default=2,
        ge=1,
        le=12,
        title="Decoder layers",
        description="Transformer layers of the decoder. Paper: no number.",
    )
    hidden: int = Field(
        default=2048,
        ge=8,
        le=8192,
        title="Hidden width",
        description="Of the two hidden layers of the heads. DINO: 2048.",
    )
    features: int = Field(
        default=256,
        ge=4,
        le=2048,
        title="Feature width",
        description="In which crops and tokens are compared. DINO: 256.",
    )

    # -- the target encoder's view ----------------------------------------------------------------------------------
    turn: float = _as_there("turn")
    gamma: float = _as_there("gamma")
    gain: float = _as_there("gain")
    shift: float = _as_there("shift")
    noise: float = _as_there("noise")
    blur: float = _as_there("blur")
    chance: float = _as_there("chance")

    shown_token: int = Field(
        default=-1,
        ge=-1,
        le=100_000,
        title="Attention shown of",
        description="Number of the visible patch whose attention the inspector shows; -1: the one nearest the middle.",
    )

    @model_validator(mode="after")
    def _something_is_learnt(self) -> AliceConfig:
        if not self.volume_weight + self.alignment_weight + self.restoration_weight:
            raise ValueError("all three weights are 0, so there is nothing to learn; leave one above 0")
        return self

    @property
    def augmentation(self) -> AugmentationSettings:
        """What the target encoder's views are made with: the whole crop, not mirrored."""
        return AugmentationSettings(crop=1.0, mirror=False, **{name: getattr(self, name) for name in AUGMENTED})
