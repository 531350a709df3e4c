"""What a case may be used for: the one rule that keeps test scans out of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.errors import LeakageError, StudyError
from napari_ssl_seg.study.records import PURPOSES, SPLITS

if TYPE_CHECKING:
    from napari_ssl_seg.study.records import Case, Purpose


def check_purpose(case: Case, purpose: Purpose) -> None:
    """Raise LeakageError, naming the case and its split, where it must not be used so; StudyError for another word."""
    if purpose not in PURPOSES:
        raise StudyError(f"{purpose!r} is no purpose; name one of {', '.join(PURPOSES)}")
    if purpose == "train" and case.split != "train":
        raise LeakageError(
            f"{case.id} is in the split {case.split} and must not be trained on; use cases of the split train"
        )
    if purpose == "choose" and case.split == "test":
        raise LeakageError(
            f"{case.id} is in the split test and must not be used to choose a checkpoint; use cases of the split validation"
        )


def check_split(split: str | None) -> str | None:
    """``split`` itself, or None; raises StudyError for a word that is no split."""
    if split is not None and split not in SPLITS:
        raise StudyError(f"{split!r} is no split; name one of {', '.join(SPLITS)}")
    return split
