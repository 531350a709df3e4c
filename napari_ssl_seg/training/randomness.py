"""The random numbers of a step: a function of the run's seed and the step, so that a stopped run goes on as if it had not been."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def step_seed(seed: int, step: int) -> int:
    """A seed for each step, far from those of its neighbours."""
    return (seed * 0x9E3779B97F4A7C15 + (step + 1) * 0xBF58476D1CE4E5B9) & (2**63 - 1)


def seed_step(seed: int, step: int, device: torch.device) -> None:
    """Dropout's randomness, on this device alone: ``torch.manual_seed`` takes 1.5 ms where there is no GPU, and queues a call
    with its stack for each kind of device that was never started, at each step."""
    import torch

    value = step_seed(seed, step)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
