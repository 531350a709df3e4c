"""Names and values of what is labelled in the phantoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cardiac", "abdomen"]
KINDS: tuple[Kind, ...] = ("cardiac", "abdomen")


@dataclass(frozen=True)
class PhantomClass:
    """One labelled structure: the value in the label files and its name."""

    value: int
    name: str


CLASSES: dict[str, tuple[PhantomClass, ...]] = {
    "cardiac": (
        PhantomClass(1, "left ventricle"),
        PhantomClass(2, "myocardium"),
        PhantomClass(3, "right ventricle"),
    ),
    "abdomen": (
        PhantomClass(1, "liver"),
        PhantomClass(2, "spleen"),
        PhantomClass(3, "left kidney"),
        PhantomClass(4, "right kidney"),
        PhantomClass(5, "aorta"),
    ),
}
"""Kind of phantom -> its classes, without the background (0)."""
