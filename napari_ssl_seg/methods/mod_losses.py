"""The arithmetic of MOD: its terms, its schedules, and the paper's supervised loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

FOCAL_GAMMA = 2.0


def distillation(
    teacher: Tensor, student: Tensor, *, centre: Tensor, teacher_temperature: float, student_temperature: float
) -> Tensor:
    """Eq. 1 and 2 for each vector: cross-entropy of the student's distribution against the teacher's.

    The teacher's is centred and sharpened, ``softmax((t - c) / T_t)``, and gets no gradient (iBOT, arXiv 2111.07832).

    Parameters
    ----------
    teacher, student
        Scores, (..., K).
    centre
        (K,).

    Returns
    -------
    Tensor
        (...), at least the teacher's entropy; ln K for a student that is undecided.
    """
    wanted = sharpened(teacher, centre, teacher_temperature)
    return -(wanted * F.log_softmax(student.float() / student_temperature, dim=-1)).sum(dim=-1)


def sharpened(teacher: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """``softmax((t - c) / T)`` of scores (..., K), without a gradient."""
    return F.softmax((teacher.detach().float() - centre) / temperature, dim=-1)


def mean_of_hidden(values: Tensor, hidden: Tensor) -> Tensor:
    """Mean over each image's hidden tokens, then over the images; an image without any counts as 0.

    Parameters
    ----------
    values, hidden
        (B, N); ``hidden`` is boolean. What ``values`` hold elsewhere does not matter, not even NaN.
    """
    kept = torch.where(hidden, values, torch.zeros_like(values)).sum(dim=1)
    return (kept / hidden.sum(dim=1).clamp(min=1)).mean()


def ema_momentum(start: float, progress: float) -> float:
    """From ``start`` at ``progress`` 0 to 1 at 1: ``1 - (1 - m0) (1 + cos(pi t / T)) / 2``."""
    return 1.0 - (1.0 - start) * (1.0 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2.0


def warmed(first: float, last: float, warmup: float, progress: float) -> float:
    """From ``first`` to ``last`` in a straight line until ``progress`` is ``warmup``."""
    share = 1.0 if progress >= warmup else progress / warmup
    return first + (last - first) * share


@torch.no_grad()
def follow(teacher: Iterable[Tensor], student: Iterable[Tensor], momentum: float) -> None:
    """Each of the teacher's weights becomes ``m`` times itself plus ``1 - m`` times the student's."""
    torch._foreach_lerp_(list(teacher), [weight.detach() for weight in student], 1.0 - momentum)


def distribution_stats(distributions: Tensor) -> dict[str, Tensor]:
    """How a teacher spreads its tokens over the prototypes; by these a collapse shows.

    Parameters
    ----------
    distributions
        (N, K), each row summing to 1.

    Returns
    -------
    dict
        ``entropy``: mean of the rows' entropies, in nats. ``kl``: mean divergence of the rows from their mean; 0 where all
        tokens are the same. ``used``: number of prototypes that are some row's largest.
    """
    logarithms = distributions.clamp(min=1e-12).log()
    entropy = -(distributions * logarithms).sum(dim=1).mean()
    mean = distributions.mean(dim=0)
    kl = -(mean * mean.clamp(min=1e-12).log()).sum() - entropy
    used = distributions.argmax(dim=1).bincount(minlength=distributions.shape[1]).count_nonzero()
    return {"entropy": entropy, "kl": kl.clamp(min=0.0), "used": used.to(entropy.dtype)}


def focal(log_probability: Tensor) -> Tensor:
    """``-(1 - p)^2 ln p`` of what is right, p being its probability: of a class, or of a yes or no (Eq. 7, mended).

    As printed the equation has p and 1 - p changed over.
    """
    return -((1.0 - log_probability.exp()) ** FOCAL_GAMMA) * log_probability


def dice_loss(probability: Tensor, truth: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """``1 - 2 sum(g p) / (sum g + sum p)`` over ``dim`` (Eq. 6); 0 where both are empty."""
    overlap, sizes = (probability * truth).sum(dim=dim), (probability + truth).sum(dim=dim)
    ratio = 2.0 * overlap / torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    return torch.where(sizes > 0, 1.0 - ratio, torch.zeros_like(ratio))
