"""Every setting of a training, with default, bounds and one line of help: forms and flags are made from these.

``json_schema_extra={"basic": True}`` marks what a form shows at once; the others are folded away. Where 0 stands for
"choose for me", `napari_ssl_seg.training` puts the number chosen into the run's record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

BASIC: dict[str, Any] = {"basic": True}


class TrainSettings(BaseModel):
    """What pretraining and fine-tuning have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(
        1000, ge=1, le=10_000_000, title="Steps", description="batches to train on", json_schema_extra=BASIC
    )
    batch_size: int = Field(
        0, ge=0, le=1024, title="Batch size", description="patches a step; 0: 16 slices or 2 volume patches"
    )
    # Networks with instance norm and few channels learn slowly below this: their logits grow by no more than the rate a
    # step. Hippocampus, 3 labelled scans, 100 steps, small 2D U-Net: loss 1.00 at 0.002, 0.38 at 0.005, 0.25 at 0.01, and
    # validation Dice 0.81, 0.82, 0.80.
    learning_rate: float = Field(5e-3, gt=0, le=1, title="Learning rate", description="the highest, after warm-up")
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay", description="pull of the weights towards zero")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", title="Optimiser", description="adamw suits few steps; sgd has momentum 0.99, as in nnU-Net"
    )
    beta2: float = Field(
        0.999,
        ge=0.5,
        lt=1,
        title="Second beta",
        description="how slowly the mean of squared gradients follows in adamw and adam; methods on transformers have 0.95",
    )
    schedule: Literal["cosine", "poly", "halving", "constant"] = Field(
        "cosine",
        title="Schedule",
        description="how the learning rate falls after warm-up; halving: to a half, a quarter and an eighth in equal parts",
    )
    warmup: float = Field(
        0.05, ge=0, le=0.5, title="Warm-up", description="share of the steps in which the learning rate rises from zero"
    )
    clip_norm: float = Field(
        1.0, ge=0, le=1000, title="Gradient norm", description="longer gradients are shortened to this; 0: never"
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:1 or mps", json_schema_extra=BASIC)
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", title="Precision", description="bf16 helps on recent NVIDIA GPUs and slows most CPUs; auto knows"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="the same seed gives the same batches")
    threads: int = Field(
        0, ge=0, le=1024, title="CPU threads", description="for the arithmetic; 0: one core is left to the window"
    )
    checkpoint_seconds: float = Field(
        60.0,
        ge=0,
        le=86400,
        title="Save every",
        description="at most this much work is lost",
        json_schema_extra={"unit": "s"},
    )
    preview_seconds: float = Field(
        10.0, ge=0, le=86400, title="Preview every", description="0: no live preview", json_schema_extra={"unit": "s"}
    )


class PretrainSettings(TrainSettings):
    """Pretraining: little more than the loop needs; the rest is the method's Config."""

    evaluate_every: int = Field(
        0,
        ge=-1,
        le=10_000_000,
        title="Score every",
        description="steps between scores of the pretext, for methods that have one; 0: ten times a run; -1: never",
    )


class FinetuneSettings(TrainSettings):
    """Fine-tuning on labels."""

    iterations: int = Field(
        500, ge=1, le=10_000_000, title="Steps", description="batches to train on", json_schema_extra=BASIC
    )
    evaluate_every: int = Field(
        0, ge=0, le=10_000_000, title="Validate every", description="steps between validations; 0: ten times a run"
    )
    patience: int = Field(
        0, ge=0, le=10_000, title="Patience", description="stop after this many validations without a gain; 0: never"
    )
    validation_cases: int = Field(
        8, ge=0, le=100_000, title="Validation scans", description="at most so many, always the same; 0: all"
    )
    foreground: float = Field(
        0.5, ge=0, le=1, title="Foreground share", description="share of the patches centred on a labelled structure"
    )
    augment: bool = Field(
        True, title="Augment", description="small rotations, scalings, and changes of contrast, brightness and noise"
    )
    flips: bool = Field(
        False, title="Flip", description="mirror left and right: only where the classes do not tell the sides apart"
    )
    overlap: float = Field(
        0.5, ge=0, le=0.9, title="Window overlap", description="of the sliding windows in prediction"
    )
    preview_case: str = Field("", title="Preview scan", description="its id; empty: the first validation scan")
    preview_slice: int = Field(-1, ge=-1, title="Preview slice", description="axial index; -1: the middle")


S = TypeVar("S", bound=BaseModel)


def make_settings(kind: type[S], given: Mapping[str, Any] | None) -> S:
    """``kind(**given)``, where what is None keeps its default.

    Raises
    ------
    UserError
        Naming the first field that is unknown or out of bounds.
    """
    values = {name: value for name, value in (given or {}).items() if value is not None}
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"there is no training setting {name!r}; known are {', '.join(kind.model_fields)}"
            ) from error
        raise UserError(f"training setting {name!r} is {first.get('input')!r}: {first['msg'].lower()}") from error
