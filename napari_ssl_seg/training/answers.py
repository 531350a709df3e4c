"""What the channels of a segmentation network mean: classes of which every voxel has one, or targets that may overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.study.records import Target
from napari_ssl_seg.training.segmentation_loss import dice_bce, dice_ce

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_ssl_seg.methods.base import Losses
    from napari_ssl_seg.training.labelled import LabelMap


@dataclass(frozen=True)
class Answer:
    """The classes of a run, and its targets where they overlap.

    Without targets a network has a channel for the background and one for each class, and a voxel belongs to the largest.
    With targets it has a channel for each, and a voxel belongs to those above 0 (a probability above a half).
    """

    classes: Mapping[int, str]
    """Label value -> name; labels are held as their numbers 1, 2, ... in this order."""
    targets: tuple[Target, ...] = ()

    @classmethod
    def from_data(cls, classes: Mapping[Any, Any], targets: Sequence[Any] = ()) -> Answer:
        """From plain values, as ``model.json`` has them."""
        return cls(
            {int(value): str(name) for value, name in classes.items()},
            tuple(Target.model_validate(target) for target in targets),
        )

    @property
    def channels(self) -> int:
        """Of the logits."""
        return len(self.targets) if self.targets else len(self.classes) + 1

    @property
    def overlapping(self) -> bool:
        return bool(self.targets)

    @property
    def named(self) -> dict[int, str]:
        """What is scored: the value that it has in predicted label maps -> name."""
        return {target.written: target.name for target in self.targets} if self.targets else dict(self.classes)

    @property
    def written(self) -> np.ndarray:
        """The label values of the numbers 0, 1, ... that `training.sliding.segment` gives."""
        values = [0, *self.named]
        return np.array(values, dtype=np.uint8 if max(values) < 256 else np.uint16)

    @property
    def membership(self) -> np.ndarray:
        """Whether the class of a number is in what is scored: bool (classes + 1, scored)."""
        values = np.array([0, *self.classes])
        if not self.targets:
            return values[:, None] == values[None, 1:]
        return np.stack([np.isin(values, target.values) for target in self.targets], axis=1)

    def check(self) -> Answer:
        """Itself; raises RunError where a target has a value that is no class."""
        for target in self.targets:
            lacking = [value for value in target.values if value not in self.classes]
            if lacking:
                raise RunError(
                    f"the target {target.name} has the value {lacking[0]}, which is no class of the study; add the class"
                )
        return self

    def loss(self, logits: Tensor, target: Tensor) -> Losses:
        """Dice and cross-entropy of ``logits`` (B, channels, ...) against class numbers (B, ...)."""
        if not self.targets:
            return dice_ce(logits, target)
        import torch

        return dice_bce(logits, target, torch.from_numpy(self.membership).to(logits.device))

    def numbers(self, scores: np.ndarray) -> np.ndarray:
        """The numbers 0, 1, ... of what is painted, from probabilities (channels, z, y, x)."""
        if not self.targets:
            return scores.argmax(axis=0)
        numbers = np.zeros(scores.shape[1:], np.uint8 if len(self.targets) < 256 else np.uint16)
        for channel, of_target in enumerate(scores, start=1):
            numbers[of_target > 0.5] = channel
        return numbers

    def dice(self, numbers: np.ndarray, reference: LabelMap) -> list[float]:
        """2 |A and B| / (|A| + |B|) of what is scored, over the labelled voxels; NaN where both are empty.

        ``numbers`` (z, y, x) are a prediction's (`numbers`, `training.sliding.segment`).
        """
        return dice_by_channel(numbers, reference.slabs(), self._painted(), self.membership)

    def _painted(self) -> np.ndarray:
        """The class number of each number that is painted."""
        places = {value: number for number, value in enumerate(self.classes, start=1)}
        return np.array([0, *(places[value] for value in self.named)])


def dice_by_channel(
    numbers: np.ndarray, reference: Iterator[tuple[int, np.ndarray]], painted: np.ndarray, membership: np.ndarray
) -> list[float]:
    """Dice from a table of how often each pair of class numbers meets, added up slab by slab."""
    from napari_ssl_seg.training.labelled import UNLABELLED

    count = len(membership)
    met = np.zeros((count, count), np.int64)
    for first, truth in reference:
        guess = painted[numbers[first : first + len(truth)]]
        known = truth != UNLABELLED
        met += np.bincount(guess[known] * count + truth[known], minlength=count * count).reshape(count, count)
    inside = membership.astype(np.int64)
    both = np.einsum("gk,gt,tk->k", inside, met, inside)
    sizes = inside.T @ met.sum(axis=1) + inside.T @ met.sum(axis=0)
    return np.divide(2.0 * both, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0).tolist()
