"""What the loop trains: pretraining and fine-tuning are two tasks for the same loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_ssl_seg.training.ranks import ALONE

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import torch
    from torch import nn

    from napari_ssl_seg.methods.base import Losses
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.ranks import Ranks

D = TypeVar("D")


@dataclass(frozen=True)
class Evaluation:
    """The outcome of a validation."""

    mean_dice: float
    dice: Mapping[str, float]
    """By class name; NaN where no case has the class."""
    what: str | None = None
    """None: a segmentation of scans with labels; ``pretext``: what a pretraining learns, on samples that it made itself."""


class Task(ABC, Generic[D]):
    """A model, its batches and its loss. ``D`` is the type of a batch.

    Batches are functions of ``(seed, step)``, so that a run that was stopped goes on as if it had not been.
    """

    model: nn.Module
    """There after `prepare`, on the CPU at first; the loop moves it."""
    ranks: Ranks = ALONE
    """Which of the processes that train together this is: each draws its own share of a batch."""

    def prepare(self) -> Generator[Event, None, None]:
        """What must be made before the first step and takes long (regions ...); progress events on the way."""
        return
        yield

    @abstractmethod
    def sample(self, step: int) -> D:
        """A batch on the CPU. Called off the training thread, in the order of the steps."""

    @abstractmethod
    def transform(self, batch: D, step: int, device: torch.device) -> D:
        """The batch on ``device``, made ready (pretext, augmentation); off the training thread where that is the CPU."""

    @abstractmethod
    def loss(self, batch: D) -> Losses:
        """Run the model and compare."""

    @abstractmethod
    def case_ids(self, batch: D) -> tuple[str, ...]:
        """Which scans are in the batch, for messages."""

    def after_step(self, step: int, total: int) -> None:
        """Update what is not trained by gradients."""

    def remarks(self) -> tuple[str, ...]:
        """Warnings after a step, a sentence each; each is said once."""
        return ()

    def start_events(self) -> list[Event]:
        """What is said once, before the first step: weights taken over, warnings."""
        return []

    def evaluation_due(self, step: int, total: int) -> bool:
        """Whether to evaluate after ``step`` steps."""
        return False

    def evaluate(self) -> Generator[Event, None, Evaluation | None]:
        """Validate; progress events on the way."""
        return None
        yield

    def should_stop(self) -> str | None:
        """A reason to end early, asked for after each evaluation."""
        return None

    def preview(self, step: int) -> Event | None:
        """Show what the network makes of a fixed scan, in a file of the run folder."""
        return None

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on: plain values only."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""

    def take_evaluation(self, step: int, outcome: Evaluation) -> bool:
        """Remember the outcome; return whether it is the best so far."""
        return False

    @abstractmethod
    def export(self, *, best: bool) -> None:
        """Write the weights for use: at the best evaluation (``best``), at a stop and at the end."""
