"""Whether the teacher still tells tokens apart: the collapse gauge of MOD.

Self-distillation has two easy ways out, both useless: the teacher puts every token on one prototype (entropy 0), or
spreads each evenly over all (entropy ln K). Then nothing is left to learn, and the cross-entropy stands still.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

WINDOW = 50
"""Steps over which entropy, divergence and cross-entropy are averaged before they are judged."""
NEAR = 0.02
"""Entropy within this share of ln K from 0 or from ln K, and tokens that differ by no more than this share of ln K."""
FLAT = 0.005
"""Cross-entropy that moves by no more than this share of ln K from one window to the next."""


class CollapseGauge:
    """Judges windows of `WINDOW` steps; speaks once.

    A collapse is: in one window the teacher's mean entropy is below `NEAR` ln K or above (1 - `NEAR`) ln K, its tokens
    diverge from their mean by less than `NEAR` ln K, and the mean cross-entropy of the tokens is within `FLAT` ln K of
    that of the window before. So no run is judged before its 100th step, and numbers are read from a GPU once a window.

    Parameters
    ----------
    prototypes
        K.
    """

    def __init__(self, prototypes: int) -> None:
        self.most = math.log(prototypes)
        self.prototypes = prototypes
        self.said = False
        self._sums: Tensor | None = None
        self._count = 0
        self._last_ce: float | None = None

    def add(self, entropy: Tensor, kl: Tensor, cross_entropy: Tensor) -> str | None:
        """Take one step's means over the tokens, in nats; a sentence at the step at which it is seen to have collapsed."""
        import torch

        values = torch.stack([value.detach().double() for value in (entropy, kl, cross_entropy)])
        self._sums = values if self._sums is None else self._sums + values
        self._count += 1
        if self._count < WINDOW:
            return None
        entropy_mean, kl_mean, ce_mean = (value / self._count / self.most for value in self._sums.tolist())
        self._sums, self._count = None, 0
        flat = self._last_ce is not None and abs(ce_mean - self._last_ce) <= FLAT
        self._last_ce = ce_mean
        if self.said or not flat or kl_mean > NEAR or NEAR < entropy_mean < 1.0 - NEAR:
            return None
        self.said = True
        what = "one prototype" if entropy_mean <= NEAR else f"all {self.prototypes} prototypes alike"
        return (
            f"MOD has collapsed: the teacher puts every token on {what} (entropy {entropy_mean * self.most:.2f} of at most"
            f" {self.most:.2f}) and the token loss stands still; change the teacher's temperatures or the centre's momentum,"
            " or train with more varied patches"
        )

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on as if it had not stopped; plain values."""
        sums = None if self._sums is None else self._sums.tolist()
        return {"said": self.said, "sums": sums, "count": self._count, "last_ce": self._last_ce}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        import torch

        self.said, self._count, self._last_ce = bool(state["said"]), int(state["count"]), state["last_ce"]
        self._sums = None if state["sums"] is None else torch.tensor(state["sums"], dtype=torch.float64)
