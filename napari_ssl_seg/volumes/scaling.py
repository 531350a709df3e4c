"""A header's slope and intercept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """value = stored * slope + intercept, and the type that holds the values.

    Whole slopes and intercepts (CT: 1 and -1024) keep whole numbers whole, in the smallest integer type that holds
    every value that the stored type can give.
    """

    slope: float
    intercept: float
    dtype: np.dtype

    @classmethod
    def of(cls, stored: np.dtype, slope: float, intercept: float) -> Scaling:
        """The scaling of a header. A slope of 0 or one that is not finite means none (nifti1.h)."""
        native = stored.newbyteorder("=")
        if not np.isfinite(slope) or slope == 0:
            return cls(1.0, 0.0, native)
        if not np.isfinite(intercept):
            intercept = 0.0
        if slope == 1 and intercept == 0:
            return cls(1.0, 0.0, native)
        if native.kind == "f":
            return cls(slope, intercept, native)
        if float(slope).is_integer() and float(intercept).is_integer():
            bounds = np.iinfo(native)
            ends = [int(bounds.min) * int(slope) + int(intercept), int(bounds.max) * int(slope) + int(intercept)]
            whole = smallest_integer(min(ends), max(ends))
            if whole is not None:
                return cls(slope, intercept, whole)
        return cls(slope, intercept, np.dtype("float32" if native.itemsize <= 2 else "float64"))

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """The values of ``stored``, as ``dtype``."""
        if self.slope == 1 and self.intercept == 0:
            return stored.astype(self.dtype, copy=False)
        if self.dtype.kind in "iu":
            return stored.astype(self.dtype) * self.dtype.type(int(self.slope)) + self.dtype.type(int(self.intercept))
        # In double precision, and rounded once: what nibabel gives, rounded to the type.
        out = np.empty(stored.shape, self.dtype, order="F" if stored.flags.f_contiguous else "C")
        for index in range(stored.shape[-1]):
            with np.errstate(all="ignore"):  # beyond what the type holds is infinite, and counted as not finite
                out[..., index] = stored[..., index].astype(np.float64) * self.slope + self.intercept
        return out


def smallest_integer(least: int, largest: int, *, unsigned: bool = False) -> np.dtype | None:
    """The smallest integer type that holds both; the unsigned one of a size first; None when there is none."""
    for size in (8, 16, 32, 64):
        names = (f"uint{size}",) if unsigned else (f"uint{size}", f"int{size}")
        for name in names:
            if np.iinfo(name).min <= least and largest <= np.iinfo(name).max:
                return np.dtype(name)
    return None
