"""What is said about each method on each slice, from tables that were computed before: to be shown while a slider moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.workbench.compared_case import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ssl_seg.workbench.compared_case import CaseComparison

BEST = "★"
"""Stands before the name of the method that is best on a slice."""
EQUAL = 1e-9


@dataclass(frozen=True)
class SliceNumbers:
    """Numbers of one class, or of the mean over classes. Arrays are (methods, slices); NaN where not defined."""

    titles: tuple[str, ...]
    dice: NDArray[np.float64]
    assd: NDArray[np.float64]
    volume: tuple[tuple[float, float], ...]
    """By method: Dice and ASSD of the volume."""
    ranks: NDArray[np.int64]
    """1 the best, equal values share a rank; 0 where not defined, or where all are equal."""
    scored: bool = True
    """Whether there is a reference."""

    @classmethod
    def of(cls, case: CaseComparison, metric: str = "dice", label: int | None = None) -> SliceNumbers:
        """The numbers of a case; ``metric`` is what methods are ranked by."""
        number = len(case.methods)
        table = {
            name: np.array([case.by_slice(method, name, label) for method in range(number)]).reshape(
                number, case.n_slices
            )
            for name in METRICS
        }
        return cls(
            titles=tuple(method.entry.title for method in case.methods),
            dice=table["dice"],
            assd=table["assd"],
            volume=tuple(
                (case.of_volume(method, "dice", label), case.of_volume(method, "assd", label))
                for method in range(number)
            ),
            ranks=ranks(table[metric], larger_is_better=metric == "dice"),
            scored=case.reference is not None,
        )

    def mark(self, method: int, index: int) -> str:
        """``★`` for the best, ``2nd`` and so on; nothing where there is nothing to tell apart."""
        rank = int(self.ranks[method, index])
        return "" if rank == 0 else BEST if rank == 1 else {2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")

    def text(self, method: int, index: int) -> str:
        """Name with its rank, this slice, the volume: three lines."""
        mark = self.mark(method, index)
        head = f"{mark}{' ' if mark == BEST else ' · ' if mark else ''}{self.titles[method]}"
        if not self.scored:
            return f"{head}\nno reference"
        whole = numbers(*self.volume[method]).replace("Dice ", "").replace("ASSD ", "")
        return f"{head}\n{numbers(self.dice[method, index], self.assd[method, index])}\nvolume {whole}"


def ranks(table: NDArray[np.float64], *, larger_is_better: bool) -> NDArray[np.int64]:
    """(methods, slices): 1 the best of each slice; 0 where not defined, and where no two defined values differ."""
    if table.size == 0:
        return np.zeros(table.shape, np.int64)
    worth = np.where(np.isfinite(table), table if larger_is_better else -table, -np.inf)
    better = (worth[None] > worth[:, None] + EQUAL).sum(axis=1)
    known = np.isfinite(worth)
    differ = (better * known).max(axis=0) > 0
    return np.where(known & differ, better + 1, 0)


def numbers(dice: float, assd: float) -> str:
    """``Dice 0.831  ASSD 1.24 mm``; a dash where it is not defined."""
    parts = ["Dice –" if not np.isfinite(dice) else f"Dice {dice:.3f}"]
    parts.append("ASSD –" if not np.isfinite(assd) else f"ASSD {assd:.2f} mm")
    return "  ".join(parts)
