"""What is suggested, and by which strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Unit = Literal["slice", "case"]
Purpose = Literal["label", "validation"]

STRATEGIES = {
    "mixed": "diversity for the first labels, then diversity and uncertainty together (the default)",
    "diversity": "what looks typical first, then what looks unlike everything labelled, in a run's embedding",
    "uncertainty": "where a fine-tuned run is least sure: mean entropy where a structure may be",
    "disagreement": "where fine-tuned runs differ most from one another",
    "expected_error": "where a fine-tuned run's own probabilities predict the lowest Dice",
    "random": "drawn evenly: the baseline that the others must beat",
}


def list_strategies() -> dict[str, str]:
    """Name -> one line of what it looks for; the default first."""
    return dict(STRATEGIES)


class Spot(NamedTuple):
    """What may be labelled: an axial slice of a case, or with no slice the whole case."""

    case_id: str
    slice_index: int | None


@dataclass(frozen=True)
class Suggestion:
    """One thing to label next."""

    case_id: str
    slice_index: int | None
    """Axial; None where whole cases were asked for."""
    score: float
    """Higher is more urgent; comparable within one strategy and one call."""
    reason: str
    """In words, with the number that decided."""
    strategy: str
    run: str | None
    """The run that was asked, None where none was; a fine-tuning where there is one, whose prediction is the proposal."""

    @property
    def spot(self) -> Spot:
        return Spot(self.case_id, self.slice_index)


@dataclass(frozen=True)
class Ranked:
    """A spot with what a strategy says of it."""

    spot: Spot
    score: float
    reason: str
    run: str | None = None
