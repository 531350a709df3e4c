"""Whether embeddings still tell images apart: the collapse gauge of every method that makes one vector of an image.

Two ways out lead a siamese network nowhere: every image gets the same vector (spread 0, Chen and He, "Exploring Simple
Siamese Representation Learning", CVPR 2021, section 4), or all vectors lie on a line or a plane (effective rank 1 or 2,
Garrido et al., "RankMe", ICML 2023, eq. 1). Both numbers are curves of the run; a remark is made when one stays down.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 128
"""Embeddings that are judged together: single batches are too small, in 3D usually two patches."""
EVERY = 10
"""Steps from one judgement to the next; singular values are not asked for at each."""
LOW_SPREAD = 0.1
LOW_RANK = 1.5
PATIENCE = 10
"""So many low judgements in a row are a collapse: a network at random, which has not learnt yet, may begin there."""
FEWEST = 8
"""Embeddings of which a spread says something."""


def spread(embeddings: Tensor) -> Tensor:
    """Mean over the features of the deviation of ``z / |z|``, relative to ``1 / sqrt(d)``.

    About 1 for directions that are drawn evenly from the sphere, 0 where all vectors point the same way.

    Parameters
    ----------
    embeddings
        (N, d); of any length. One alone has a spread of 0.
    """
    unit = F.normalize(embeddings.detach().float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(unit.shape[1])


def effective_rank(embeddings: Tensor) -> Tensor:
    """``exp(-sum_k p_k ln p_k)`` with the singular values' shares ``p_k = s_k / sum_j s_j`` of the vectors ``z / |z|``.

    1 where all lie on one line through the origin, at most min(N, d). RankMe has the vectors as they are; ours are set to
    length 1 before, so that a few long ones do not count for many. 1 where all vectors are zero.

    Parameters
    ----------
    embeddings
        (N, d).
    """
    unit = F.normalize(embeddings.detach().cpu().double(), dim=1)  # small; and not every device has doubles
    # The smaller of the two Gram matrices has the same singular values, squared.
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    values = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    values = torch.where(values > values.amax() * 1e-12, values, torch.zeros_like(values)).sqrt()
    shares = values / values.sum().clamp(min=1e-12)
    return torch.exp(-torch.special.xlogy(shares, shares).sum()).float().to(embeddings.device)


class EmbeddingGauge(nn.Module):
    """Spread and effective rank of the last `KEPT` embeddings, judged at every `EVERY`-th step; speaks once.

    A part of the model without weights: what it remembers is in its checkpoints, so that a run that goes on judges as if
    it had not stopped. It may be missing from a checkpoint, and then begins anew.

    Parameters
    ----------
    features
        d.
    what
        Whose embeddings they are, for the remark; such as "BYOL".
    """

    kept: Tensor
    judged: Tensor

    def __init__(self, features: int, what: str) -> None:
        super().__init__()
        self.what = what
        self.register_buffer("kept", torch.zeros(KEPT, features))
        self.register_buffer("judged", torch.zeros(2))
        self._seen = self._steps = self._low = 0
        self._said = False
        self._remark: str | None = None

    @torch.no_grad()
    def observe(self, embeddings: Tensor) -> dict[str, Tensor]:
        """Take the embeddings of a step, (B, d), and return ``spread`` and ``rank``, as last judged.

        In eval mode nothing is remembered, and the numbers are those of the embeddings given.
        """
        if not self.training:
            return {"spread": spread(embeddings), "rank": effective_rank(embeddings)}
        places = (self._seen + torch.arange(len(embeddings), device=self.kept.device)) % KEPT
        self.kept[places[-KEPT:]] = embeddings.detach()[-KEPT:].to(self.kept.dtype)
        self._seen += len(embeddings)
        if self._steps % EVERY == 0:
            known = self.kept[: min(self._seen, KEPT)]
            self.judged.copy_(torch.stack((spread(known), effective_rank(known))))
            if len(known) >= FEWEST:
                self._judge(*self.judged.tolist())
        self._steps += 1
        return {"spread": self.judged[0].clone(), "rank": self.judged[1].clone()}

    def _judge(self, now: float, rank: float) -> None:
        self._low = self._low + 1 if now < LOW_SPREAD or rank < LOW_RANK else 0
        if self._low < PATIENCE or self._said:
            return
        how = "point the same way" if now < LOW_SPREAD else "lie on one line"
        self._said = True
        self._remark = (
            f"{self.what} has collapsed: the embeddings of different patches {how} (spread {now:.2f} of about 1,"
            f" effective rank {rank:.1f}); a lower learning rate, larger batches or stronger augmentations may help"
        )

    def remarks(self) -> tuple[str, ...]:
        """The sentence to say, once it has been seen to collapse."""
        return (self._remark,) if self._remark else ()

    # -- what a checkpoint holds besides the buffers --------------------------------------------------------------
    def get_extra_state(self) -> dict[str, Any]:
        return {"seen": self._seen, "steps": self._steps, "low": self._low, "said": self._said}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._seen, self._steps, self._low = int(state["seen"]), int(state["steps"]), int(state["low"])
        self._said = bool(state["said"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        for name, value in self.state_dict(prefix=prefix).items():
            state_dict.setdefault(name, value)
        super()._load_from_state_dict(state_dict, prefix, *more)
