"""What may be asked of a training by name; `planning` says what each means and what it is where it is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.methods.base import Method


class TrainingOptions(TypedDict, total=False):
    """Of both kinds of training."""

    network: str | None
    preset: str | None
    dims: int | None
    iterations: int | None
    batch_size: int | None
    device: str | None
    seed: int | None
    train: Mapping[str, Any] | None
    """Any other of the `TrainSettings`, by name."""


class PretrainOptions(TrainingOptions, total=False):
    """Of a pretraining."""

    settings: Mapping[str, Any] | None
    """Hyper-parameters of the method, by name."""


class FinetuneOptions(TrainingOptions, total=False):
    """Of a fine-tuning."""

    cases: int | str | None
    slices: int | Mapping[str, Sequence[int]] | None
    joint: str | Method | None
    settings: Mapping[str, Any] | None
    """Hyper-parameters of the joint method, by name."""
