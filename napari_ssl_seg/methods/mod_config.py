"""Hyper-parameters of MOD. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from napari_ssl_seg.methods.base import MethodConfig

BASIC: dict[str, Any] = {"basic": True}
JOINT: dict[str, Any] = {"joint": True}
"""Counts in joint training only: a pretraining's form leaves it out."""


class MODConfig(MethodConfig):
    """Values of the paper where it has them; where it is silent those of iBOT, on which it builds, for small data sets."""

    # Hippocampus scans, five labelled, three draws (benchmarks/results/mod_weight_hippocampus.json): Dice and ASSD 0.832 and
    # 0.67 mm at 1, 0.831 and 0.69 at 0.001, 0.831 and 0.73 without MOD.
    mod_weight: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of MOD",
        description=(
            "What the loss of MOD counts beside the supervised one; 0: exactly a fine-tuning without MOD."
            " Paper: 1; the authors' logs: 0.001."
        ),
        json_schema_extra=BASIC | JOINT,
    )
    mask_ratio: float = Field(
        default=0.6,
        ge=0.05,
        le=0.95,
        title="Share masked",
        description="Share of the tokens that are hidden, rounded down. Paper: 0.6.",
        json_schema_extra=BASIC,
    )
    alpha: float = Field(
        default=1.5,
        ge=0.0,
        le=100.0,
        title="Weight of token distillation",
        description="Of the hidden tokens, same view (efm). Paper: 1.5.",
        json_schema_extra=BASIC,
    )
    beta: float = Field(
        default=0.5,
        ge=0.0,
        le=100.0,
        title="Weight of scan distillation",
        description="Of the whole patch, other view (cls). Paper: 0.5.",
        json_schema_extra=BASIC,
    )
    dense: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Weight of restoration",
        description="Of the dense predictor (dp). Paper: 1.",
    )
    momentum: float = Field(
        default=0.996,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="With which the teacher follows the student at the start; 1 at the end, along a cosine. Paper: 0.996.",
    )
    supervised: Literal["dice_ce", "focal_dice"] = Field(
        default="dice_ce",
        title="Supervised loss",
        description="dice_ce: as every fine-tuning here, so that MOD is the only difference; focal_dice: the paper's.",
        json_schema_extra=JOINT,
    )
    unlabelled: bool = Field(
        default=False,
        title="Unlabelled scans, too",
        description="Extension, not in the paper: as many patches of the train split's other scans join, for MOD alone.",
        json_schema_extra=BASIC | JOINT,
    )
    fill: Literal["zero", "mean"] = Field(
        default="zero", title="Fill with", description="What hidden voxels hold: 0, or the mean of the patch."
    )
    scale: float = Field(
        default=0.1, ge=0.0, le=1.0, title="Intensity scale", description="Views are scaled by up to this. Paper: 0.1."
    )
    shift: float = Field(
        default=0.1, ge=0.0, le=1.0, title="Intensity shift", description="Views are shifted by up to this. Paper: 0.1."
    )
    contrast: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        title="Contrast",
        description="Views are stretched about their mean by up to this share.",
    )
    blur: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Blur",
        description="Largest share of a blurred copy (deviation of one voxel) in a view; 0: sharp.",
    )
    prototypes: int = Field(
        default=1024, ge=2, le=65536, title="Prototypes", description="Of the online tokenizer. iBOT: 8192."
    )
    hidden: int = Field(
        default=512, ge=8, le=8192, title="Hidden width", description="Of the tokenizer's head. iBOT: 2048."
    )
    bottleneck: int = Field(
        default=128, ge=4, le=2048, title="Token width", description="That is compared with the prototypes. iBOT: 256."
    )
    student_temperature: float = Field(
        default=0.1, ge=0.01, le=1.0, title="Student temperature", description="iBOT: 0.1."
    )
    cls_temperature: float = Field(
        default=0.04, ge=0.005, le=1.0, title="Teacher temperature, patch", description="Of the cls term. iBOT: 0.04."
    )
    first_temperature: float = Field(
        default=0.04,
        ge=0.005,
        le=1.0,
        title="Teacher temperature, tokens, at first",
        description="Of the efm term. iBOT: 0.04.",
    )
    last_temperature: float = Field(
        default=0.07,
        ge=0.005,
        le=1.0,
        title="Teacher temperature, tokens, later",
        description="Of the efm term, reached in a straight line. iBOT: 0.07.",
    )
    temperature_warmup: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        title="Temperature warm-up",
        description="Share of the steps in which the tokens' temperature rises. iBOT: 30 of 300 epochs.",
    )
    standardise: bool = Field(
        default=True,
        title="Standardise tokens",
        description=(
            "Tokens enter the head less their running mean, divided by their running deviation. Not in the paper: without"
            " it means over a patch are alike for all patches in networks with instance norm, and cls has nothing to tell."
        ),
    )
    centre_momentum: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        title="Centre momentum",
        description="With which centre, mean and deviation follow those of the teacher. iBOT: 0.9.",
    )
    frozen: float = Field(
        default=0.01,
        ge=0.0,
        le=1.0,
        title="Prototypes frozen",
        description="Share of the steps, at first, in which the prototypes stand still. iBOT: the first epoch.",
    )

    @model_validator(mode="after")
    def _something_is_learnt(self) -> MODConfig:
        if not self.alpha + self.beta + self.dense:
            raise ValueError("alpha, beta and dense are all 0, so there is nothing to learn; leave one above 0")
        return self
