"""What takes part in a comparison, written in one word: ``START[@NETWORK][+JOINT]``.

``scratch``, ``simmim``, ``fdas:skd:alpha=0.9``, ``scratch+mod`` (fine-tuned jointly with MOD), ``scratch@unetr`` (on another
network than the others: the fair opponent of a method that works on that one alone).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCRATCH = "scratch"
JOINTLY = re.compile(r"\+(?=\s*[a-z_])")
"""Between what a method starts from and the method that it is fine-tuned jointly with; not in a number such as 1e+3."""


@dataclass(frozen=True)
class Contender:
    """One row of a comparison."""

    text: str
    """As it was written; the name of the row."""
    start: str
    """``scratch``, or a method with its variant and settings."""
    network: str | None = None
    """The network, with its options; None: the comparison's, or what the method takes by default."""
    joint: str | None = None
    """Method that it is fine-tuned jointly with."""

    @property
    def pretraining(self) -> str | None:
        """The pretraining that it starts from, as it was written; None for scratch."""
        if self.start == SCRATCH:
            return None
        return self.start if self.network is None else f"{self.start}@{self.network}"


def parse_contender(text: str) -> Contender:
    """Take a contender apart.

    Raises
    ------
    UserError
        Where a part is missing, or there is no such method, variant or network.
    """
    from napari_ssl_seg.methods.variants import get_variant
    from napari_ssl_seg.networks import parse_network

    first, *joint = (part.strip() for part in JOINTLY.split(text, maxsplit=1))
    start, at, network = (part.strip() for part in first.partition("@"))
    if not start or (at and not network):
        raise UserError(f"{text!r} is no method of a comparison; write START, START@NETWORK or START+mod")
    if start != SCRATCH:
        get_variant(start)
    if network:
        parse_network(network)
    return Contender(text=text.strip(), start=start, network=network or None, joint=joint[0] if joint else None)


def parse_contenders(texts: Iterable[str]) -> tuple[Contender, ...]:
    """Each once; ``fdas:ablation`` stands for every variant of FDAS and FDAS itself. Errors as `parse_contender`'s."""
    from napari_ssl_seg.methods.variants import expand_ablations

    return tuple(parse_contender(text) for text in expand_ablations(texts))


def joint_options(contender: Contender, method_settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Arguments of `training.finetune` for a contender that is fine-tuned jointly; none for one that is fine-tuned alone.

    Raises
    ------
    UserError
        When the joint method does not exist, or cannot be trained so.
    """
    from napari_ssl_seg.methods.variants import split_variant
    from napari_ssl_seg.training.joint_planning import joint_method

    if contender.joint is None:
        return {}
    name, own = split_variant(contender.joint)
    settings = {**method_settings.get(name, {}), **own}
    joint_method(name, settings)
    return {"joint": name, "settings": settings}
