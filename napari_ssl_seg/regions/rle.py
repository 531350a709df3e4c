"""Run-length encoded masks as COCO has them: runs of 0 and 1 in turn, column by column, as numbers or as a string."""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST_SIDE = 65_536
LONGEST_NUMBER = 8
"""Characters of one number in a string, five bits each: 2^40, more than any slice has pixels."""


class RleError(ValueError):
    """A mask is not what it says; the message completes "mask 3 of FILE ..."."""


def mask_size(record: Any) -> tuple[int, int]:
    """``size`` of one encoded mask: (height, width).

    Raises
    ------
    RleError
        When it is not two whole numbers from 1 to 65,536.
    """
    size = record.get("size") if isinstance(record, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and 1 <= n <= LARGEST_SIDE for n in size)):
        raise RleError(f"has the size {_short(size)}, which should be [height, width] from 1 to {LARGEST_SIDE}")
    return size[0], size[1]


def decode_mask(record: Any, shape: tuple[int, int]) -> np.ndarray:
    """One encoded mask, ``{"size": [h, w], "counts": [...] or "..."}``, as (H, W) bool.

    Every number is judged before memory is taken for pixels.

    Raises
    ------
    RleError
        When its size is not ``shape``, or its runs do not add up to height times width.
    """
    height, width = mask_size(record)
    if (height, width) != tuple(shape):
        raise RleError(f"is {height} x {width} pixels, but the slice is {shape[0]} x {shape[1]} (height x width)")
    counts = record.get("counts")
    if isinstance(counts, str):
        counts = _numbers(counts)
    total = height * width
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n <= total for n in counts):
        raise RleError(f"has counts that are no whole numbers from 0 to {total}")
    if sum(counts) != total:
        raise RleError(f"has counts that add up to {sum(counts)}, not to {height} x {width} = {total}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, np.asarray(counts, np.int64)).reshape(width, height).T


def _numbers(text: str) -> list[int]:
    """The runs in COCO's string: five bits a character, lowest first; from the fourth on, the change from two before."""
    numbers: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            code = ord(text[position]) - 48 if position < len(text) else -1
            if not 0 <= code < 64:
                what = "breaks off inside a number" if code == -1 else f"holds the character {text[position]!r}"
                raise RleError(f"has a string of counts that {what}")
            if shift >= 5 * LONGEST_NUMBER:
                raise RleError("has a string of counts with a number that is far too large")
            value |= (code & 0x1F) << shift
            shift += 5
            more = bool(code & 0x20)
            position += 1
            if not more and code & 0x10:
                value -= 1 << shift
        numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
    return numbers


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
