"""How many labels a fine-tuning may use. Smaller budgets are always contained in larger ones of the same seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.study import Case


def choose_cases(order: Sequence[str], budget: int | str | None) -> list[str]:
    """The first cases of ``order``: a number, a share such as ``"10%"`` (rounded up), or None for all.

    Raises
    ------
    RunError
        When the budget cannot be read, is not positive, or asks for more than there are.
    """
    if not order:
        raise RunError("the train split has no labelled scan; add labels or let more scans be trained on")
    if budget is None:
        return list(order)
    text = str(budget).strip()
    try:
        count = math.ceil(float(text[:-1]) / 100 * len(order) - 1e-9) if text.endswith("%") else int(text)
    except (ValueError, OverflowError) as error:
        raise RunError(f"the budget {text!r} is neither a number of scans nor a percentage; write 5 or 10%") from error
    if count < 1:
        raise RunError(f"the budget {text} leaves no scan to train on; ask for at least 1")
    if count > len(order):
        raise RunError(
            f"the budget {text} asks for more than the {len(order)} labelled scans to train on; ask for fewer"
        )
    return list(order[:count])


def choose_slices(
    candidates: Mapping[str, tuple[Sequence[int], Sequence[int]]], count: int, seed: int
) -> dict[str, list[int]]:
    """Draw ``count`` slices, spread over the cases: one of each case, then a second of each, and so on.

    Parameters
    ----------
    candidates
        By case: its labelled slices that show a structure, and the other labelled ones, which come last.
    count
        In all.
    seed
        Of the draw.

    Raises
    ------
    RunError
        When there are not that many.
    """
    available = sum(len(showing) + len(others) for showing, others in candidates.values())
    if not 1 <= count <= available:
        raise RunError(
            f"{count} slices were asked for and there are {available} labelled ones; ask for 1 to {available}"
        )
    queues = {}
    for number, (case_id, (showing, others)) in enumerate(candidates.items()):
        rng = np.random.default_rng((seed, number))
        queues[case_id] = [int(index) for part in (showing, others) for index in rng.permutation(np.asarray(part, int))]
    chosen: dict[str, list[int]] = {case_id: [] for case_id in candidates}
    while count:
        for case_id, queue in queues.items():
            if queue and count:
                chosen[case_id].append(queue.pop(0))
                count -= 1
    return {case_id: sorted(indices) for case_id, indices in chosen.items() if indices}


def check_slices(slices: Mapping[str, Sequence[int]], cases: Mapping[str, Case]) -> None:
    """Raise RunError unless every slice named lies in a case to train on and is labelled there, and there is one."""
    if not any(len(indices) for indices in slices.values()):
        raise RunError("no slice was named to train on; name at least one")
    for case_id, indices in slices.items():
        case = cases.get(case_id)
        if case is None or not case.labelled:
            raise RunError(f"{case_id} is no labelled scan of the train split; name slices of those only")
        known = set(range(case.shape[0]) if case.labelled_slices is None else case.labelled_slices)
        unknown = sorted({int(index) for index in indices} - known)
        if unknown:
            raise RunError(f"slice {unknown[0]} of {case_id} is not labelled; label it or leave it out")
