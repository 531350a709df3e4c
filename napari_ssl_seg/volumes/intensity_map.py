"""What a normalisation does to one channel, as a few numbers: found once from the whole scan, applied to any part of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SUBSAMPLE_ABOVE = 4_000_000
"""Voxels; percentiles of larger volumes are taken from an even share of about this many."""
LARGEST_SQUARED = 1e140
"""Squares of values beyond this, summed over a volume, may leave double precision."""


@dataclass(frozen=True)
class IntensityMap:
    """``(value - zero) * factor + add``, cut to -1 to 1 where ``clip``; float32."""

    zero: float = 0.0
    factor: float = 1.0
    add: float = 0.0
    clip: bool = False
    constant: float | None = None
    """What every voxel takes, for channels without contrast."""
    least: float | None = None
    """What voxels that are not finite take first; None where there are none."""

    def apply(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Map ``values`` (z, y, x) or any part of them; the parts of a scan give what the whole does, to the bit."""
        if out is None:
            out = np.empty(values.shape, np.float32)
        if self.constant is not None:
            out.fill(self.constant)
            return out
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is mended below
            values = self.finite(values)
            if self == IntensityMap(least=self.least):
                out[...] = values
            else:
                _affine(values, out, self.zero, self.factor, self.add, clip=self.clip)
        if out.size and not (np.isfinite(out.min()) and np.isfinite(out.max())):
            np.nan_to_num(out, copy=False)
        return out

    def finite(self, values: np.ndarray) -> np.ndarray:
        """``values`` as they are mapped: numbers of at least float32, without NaN and infinity."""
        if values.dtype.kind == "b":
            return values.view(np.uint8) if values.flags.c_contiguous else values.astype(np.uint8)
        if values.dtype.kind == "f" and values.dtype.itemsize < 4:
            values = values.astype(np.float32)
        if self.least is None:
            return values
        return np.where(np.isfinite(values), values, values.dtype.type(self.least))

    def as_data(self) -> dict[str, Any]:
        """Plain values, finite ones only, for JSON."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> IntensityMap:
        """The inverse of `as_data`; raises TypeError for anything else."""
        return cls(**data)


class Values(Protocol):
    """One channel, as its statistics are asked for."""

    def sample(self) -> tuple[np.ndarray, str | None]:
        """The voxels that percentiles are taken from, flat, and what is to be said about the choice."""

    def extremes(self) -> tuple[float, float]:
        """Minimum and maximum."""

    def moments(self, *, foreground: bool = False) -> tuple[float, float]:
        """Mean and standard deviation, of the voxels above the minimum only where ``foreground``."""


class WholeValues:
    """A channel in memory, finite."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def sample(self) -> tuple[np.ndarray, str | None]:
        values, step = self.values, sample_step(self.values.shape)
        flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel(order="K")
        return flat[::step], _said(step)

    def extremes(self) -> tuple[float, float]:
        return float(self.values.min()), float(self.values.max())

    def moments(self, *, foreground: bool = False) -> tuple[float, float]:
        values = self.values
        chosen = values[values > values.min()] if foreground else values
        if chosen.size == 0:
            chosen = values
        unit = _unit(self.extremes())
        if unit != 1.0:
            chosen = chosen / unit
        return unit * float(chosen.mean(dtype=np.float64)), unit * float(chosen.std(dtype=np.float64))


class SlabValues:
    """A channel that is read slab by slab, as often as asked; finite.

    Sample and extremes are those of the whole channel to the bit, moments to the rounding of double precision.

    Parameters
    ----------
    shape
        (z, y, x).
    slabs
        Makes an iterator over arrays (n, y, x) that follow one another along z.
    """

    def __init__(self, shape: tuple[int, int, int], slabs: Callable[[], Iterable[np.ndarray]]) -> None:
        self.shape, self.slabs = shape, slabs

    def sample(self) -> tuple[np.ndarray, str | None]:
        step, first, parts = sample_step(self.shape), 0, []
        for slab in self.slabs():
            parts.append(slab.reshape(-1)[-first % step :: step].copy())
            first += slab.size
        return np.concatenate(parts), _said(step)

    def extremes(self) -> tuple[float, float]:
        ends = [(float(slab.min()), float(slab.max())) for slab in self.slabs()]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def moments(self, *, foreground: bool = False) -> tuple[float, float]:
        low, high = self.extremes()
        floor = low if foreground and low < high else -np.inf
        unit = _unit((low, high))

        def chosen(slab: np.ndarray) -> np.ndarray:
            part = slab[slab > floor] if foreground else slab
            return part if unit == 1.0 else part / unit

        sums = [(float(part.sum(dtype=np.float64)), part.size) for part in map(chosen, self.slabs())]
        count = sum(size for _, size in sums)
        mean = sum(total for total, _ in sums) / count
        off = (np.subtract(chosen(slab), mean, dtype=np.float64) for slab in self.slabs())
        squares = sum(float(np.square(part, out=part).sum()) for part in off)
        return unit * mean, unit * float(np.sqrt(squares / count))


def _unit(extremes: tuple[float, float]) -> float:
    """What values are divided by before they are squared: 1 but where the square would leave double precision."""
    largest = max(abs(extremes[0]), abs(extremes[1]))
    return largest if largest > LARGEST_SQUARED else 1.0


def sample_step(shape: tuple[int, ...]) -> int:
    """Every how many voxels of a channel its percentiles look at."""
    step = int(np.prod(shape, dtype=np.int64)) // SUBSAMPLE_ABOVE
    if step < 2:
        return 1
    while any(np.gcd(step, n) > 1 for n in shape):  # else whole rows or columns would be left out
        step += 1
    return step


def _said(step: int) -> str | None:
    return None if step == 1 else f"percentiles were taken from every {step}th voxel"


def _affine(values: np.ndarray, out: np.ndarray, zero: float, factor: float, add: float, *, clip: bool = False) -> None:
    """out = (values - zero) * factor + add, in double precision where the input needs it.

    Slice by slice, so that every step but the first finds its numbers in the processor's cache.
    """
    precise = values.dtype.itemsize >= 4 and values.dtype != np.float32
    work = np.float64 if precise else np.float32
    for plane, target in zip(values, out, strict=True):
        scratch = np.empty(plane.shape, work) if precise else target
        np.subtract(plane, work(zero), out=scratch, dtype=work)
        scratch *= work(factor)
        if add:
            scratch += work(add)
        if clip:
            np.clip(scratch, -1.0, 1.0, out=scratch)
        if precise:
            target[...] = scratch
