"""The local contrast of LRC: a region's mean against the same region of the warped view, and all others of the slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import dot_products

if TYPE_CHECKING:
    from torch import Tensor


def local_contrast(
    queries: Tensor,
    keys: Tensor,
    valid: Tensor,
    *,
    temperature: float,
    include_self: bool = False,
    normalise: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """``-log exp(q_k.p_k / t) / sum_j (exp(q_k.q_j / t) + exp(q_k.p_j / t))`` over the regions of each image.

    The formula's sum over ``q_k.q_j`` has j = k among its terms, its text takes negatives from the other regions only:
    `include_self` is the formula. Whether the means are of length 1 is not said: `normalise`. An image of one region
    contributes exactly 0 without `include_self`, and does not count in the mean over images; nor does one without any.

    Parameters
    ----------
    queries, keys
        Means of the regions in the scan and in its warped view, (B, K, D).
    valid
        Boolean, (B, K): False where an image has fewer than K regions.
    reduction
        Over the regions of an image; over images it is the mean.
    """
    if queries.shape[1] == 0:
        return queries.sum() * 0.0
    if normalise:
        queries, keys = F.normalize(queries, dim=2), F.normalize(keys, dim=2)
    mine, theirs = dot_products(queries, queries), dot_products(queries, keys)
    hidden = ~valid.unsqueeze(1).expand_as(mine)
    itself = torch.eye(mine.shape[1], dtype=torch.bool, device=mine.device)
    left_out = hidden if include_self else hidden | itself
    logits = torch.cat((mine.masked_fill(left_out, -torch.inf), theirs.masked_fill(hidden, -torch.inf)), dim=2)
    # Rows of no region would be all -inf, whose gradient is not a number.
    logits = (logits / temperature).masked_fill(~valid.unsqueeze(2), 0.0)
    positives = torch.diagonal(theirs, dim1=1, dim2=2) / temperature
    terms = (logits.logsumexp(dim=2) - positives).masked_fill(~valid, 0.0)
    counts = valid.sum(dim=1)
    of_image = terms.sum(dim=1)
    if reduction == "mean":
        of_image = of_image / counts.clamp(min=1)
    counted = counts >= (1 if include_self else 2)
    return (of_image * counted).sum() / counted.sum().clamp(min=1)


def similarity(queries: Tensor, keys: Tensor, *, normalise: bool = True) -> Tensor:
    """``q_i.p_j``: (..., K, D) twice to (..., K, K), rows for the scan, columns for its warped view."""
    if normalise:
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    return dot_products(queries, keys)


def retrieval(similarities: Tensor, valid: Tensor) -> Tensor:
    """Share of the regions whose most similar one in the warped view is the same region; 0 where there is none.

    ``similarities`` is (B, K, K), ``valid`` (B, K).
    """
    if similarities.shape[-1] == 0:
        return similarities.new_zeros(())
    best = similarities.masked_fill(~valid.unsqueeze(1), -torch.inf).argmax(dim=2)
    right = (best == torch.arange(best.shape[1], device=best.device)) & valid
    return right.sum() / valid.sum().clamp(min=1)
