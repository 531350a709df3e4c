"""Weights of Segment Anything: with code in them, damaged, of another network."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bad_files.entry import entry
from tests.bad_files.spoiling import PLACE, Payload, flip_in_archive, huge, rename, reshape, spoil_weight, zip_bomb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile

FILES: list[BadFile] = []


def _sam(name: str, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(entry(f"{name}.pth", "sam", "refuse", words, why, make))


def _sam_state() -> dict[str, Any]:
    from tests.regions.tiny_sam import tiny_sam

    return dict(tiny_sam(0).state_dict())


def _saved(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import torch

        state = _sam_state()
        changed = change(state)
        torch.save(state if changed is None else changed, path)

    return make


def _flipped_sam(path: Path) -> None:
    _saved(lambda state: None)(path)
    flip_in_archive(path)


def _bomb_sam(path: Path) -> None:
    _saved(lambda state: None)(path)
    zip_bomb(path)


_sam(
    "sam_code",
    "more than tensors",
    "code that would run when it is opened",
    _saved(lambda state: state.update(extra=Payload(PLACE[0]))),
)
_sam(
    "sam_old_pickle",
    "damaged",
    "the same as a plain pickle",
    lambda path: path.write_bytes(pickle.dumps(Payload(PLACE[0]))),
)
_sam(
    "sam_page",
    "web page",
    "the web page of a failed download",
    lambda path: path.write_text("<!doctype html><html>404</html>"),
)
_sam("sam_empty", "empty", "no bytes at all", lambda path: path.write_bytes(b""))
_sam("sam_flipped", "damaged", "one bit of a weight is flipped", _flipped_sam)
_sam("sam_bomb", "claims", "packed, so that it unpacks to gigabytes", _bomb_sam)
_sam("sam_nan", "not finite", "a weight that is NaN", _saved(spoil_weight(np.nan)))
_sam("sam_other_names", "Segment Anything", "tensors with other names", _saved(rename))
_sam("sam_other_shape", "does not fit", "a tensor of another shape", _saved(reshape))
_sam("sam_huge_tensor", "claims a size", "four bytes that claim a tensor of 400 GB", _saved(huge))
