"""The arithmetic of Alice's two terms beside the restoration. Its l_s is the cosine distance ``2 - 2 cos`` (BYOL, eq. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def cosine_distance(student: Tensor, target: Tensor) -> Tensor:
    """``2 - 2 cos`` of each vector, (..., D) to (...); 0 where they point the same way. The target gets no gradient."""
    return 2.0 - 2.0 * F.cosine_similarity(student.float(), target.detach().float(), dim=-1)


def both_crops(values: Tensor) -> Tensor:
    """The mean of the first half of the crops plus that of the second, of (2B, ...)."""
    first, second = values.chunk(2)
    return first.mean() + second.mean()


def across_scans(student: Tensor, target: Tensor) -> Tensor:
    """l_dv: the summary of each crop against the target's of the other crop of its pair, of (2B, D) each."""
    return both_crops(cosine_distance(student, target.roll(len(target) // 2, dims=0)))
