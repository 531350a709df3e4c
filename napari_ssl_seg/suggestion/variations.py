"""Several answers of one network to one scan: changes of the image that are undone in the answer, or dropout.

What all passes agree on is sure; the mean of their probabilities is what is measured (`measures`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

Variation = Literal["none", "tta", "dropout"]
DROPOUT = 0.2
"""Share of the feature channels that is dropped before the head, where a network has no dropout of its own."""
DROPOUT_PASSES = 4
GAMMAS = (0.8, 1.25)
SHIFT = 3
"""Voxels along y and x: networks with strides see another grid then."""
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pass:
    """One way to ask: what is done to the scan (C, z, y, x), and what is undone in the answer (K, z, y, x)."""

    change: Change
    undo: Change
    seed: int | None = None
    """Of the dropout; None: the network as it predicts."""


def plan_passes(variation: str, *, flips: bool) -> tuple[Pass, ...]:
    """The passes of a variation, the network's plain prediction first where there is one.

    Parameters
    ----------
    variation
        ``none``: that alone; ``tta`` (test-time augmentation): two changes of contrast and a shift, or the mirror image
        where the network was trained with mirrored scans; ``dropout``: `DROPOUT_PASSES` with dropout (Gal and Ghahramani,
        2016).
    flips
        Whether left and right may be exchanged: never where the classes tell the sides apart.

    Raises
    ------
    UserError
        For another word.
    """
    plain = Pass(_same, _same)
    if variation == "none":
        return (plain,)
    if variation == "tta":
        last = Pass(_mirrored, _mirrored) if flips else Pass(_shifted, _shifted_back)
        return (plain, *(Pass(_bent(gamma), _same) for gamma in GAMMAS), last)
    if variation == "dropout":
        return tuple(Pass(_same, _same, seed) for seed in range(DROPOUT_PASSES))
    raise UserError(f"there is no variation {variation!r}; choose one of {', '.join(get_args(Variation))}")


@contextmanager
def dropping(network: nn.Module, seed: int | None) -> Iterator[None]:
    """Dropout in a network in eval mode while the block runs: its own, or of the channels before its head."""
    if seed is None:
        yield
        return
    import torch
    from torch.nn import Dropout, Dropout2d, Dropout3d, functional

    own = [part for part in network.modules() if isinstance(part, Dropout | Dropout2d | Dropout3d) and part.p > 0]
    head: Any = None if own else getattr(network, "head", None)
    hook = None

    def drop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (
            functional.dropout2d(inputs[0].flatten(3) if inputs[0].ndim == 5 else inputs[0], DROPOUT).view_as(
                inputs[0]
            ),
        )

    if head is not None:
        hook = head.register_forward_pre_hook(drop)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            for part in own:
                part.train()
            yield
        finally:
            for part in own:
                part.eval()
            if hook is not None:
                hook.remove()


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _mirrored(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array[..., ::-1])


def _shifted(array: np.ndarray) -> np.ndarray:
    return _moved(array, SHIFT)


def _shifted_back(array: np.ndarray) -> np.ndarray:
    return _moved(array, -SHIFT)


def _moved(array: np.ndarray, by: int) -> np.ndarray:
    """Moved along y and x; what comes in from outside repeats the border."""
    for axis in (-2, -1):
        at = np.clip(np.arange(array.shape[axis]) - by, 0, array.shape[axis] - 1)
        array = np.take(array, at, axis=axis)
    return array


def _bent(gamma: float) -> Change:
    def bend(array: np.ndarray) -> np.ndarray:
        low, high = float(array.min()), float(array.max())
        if high <= low:
            return array
        bent: np.ndarray = ((array - low) / (high - low)) ** np.float32(gamma) * (high - low) + low
        return bent.astype(np.float32)

    return bend
