"""Intensities as a network takes them: by name, never in place, always float32, and what was done about odd values."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Callable

SUBSAMPLE_ABOVE = 4_000_000
"""Voxels; percentiles of larger volumes are taken from an even share of about this many."""

WINDOWS = {
    "ct_soft_tissue": (40.0, 400.0),
    "ct_lung": (-600.0, 1500.0),
    "ct_bone": (400.0, 1800.0),
    "ct_wide": (0.0, 2000.0),
}
"""Centre and width in Hounsfield units."""


@dataclass(frozen=True, eq=False)
class Normalised:
    """``array`` is float32 and of the input's shape; ``note`` says what was out of the ordinary, None when nothing."""

    array: np.ndarray
    note: str | None


def normalise(array: np.ndarray, name: str = "percentile", **options: Any) -> Normalised:
    """Normalise a volume; each channel by itself.

    Voxels that are not finite take the smallest finite value of their channel first, and the note counts them.

    Parameters
    ----------
    array
        (z, y, x) or (c, z, y, x); not modified.
    name
        One of `list_normalisations`:
        "percentile" (options low=1, high=99, clip=True) maps these percentiles to -1 and 1; a constant volume gives -1;
        "zscore" (option foreground=False: statistics of the voxels above the minimum only) gives mean 0 and deviation 1;
        "ct_soft_tissue", "ct_lung", "ct_bone", "ct_wide" (options centre, width in HU) map a window to -1 and 1;
        "none" changes the type only.

    Raises
    ------
    VolumeError
        When there is no such normalisation or option.
    """
    if name not in _NORMALISATIONS:
        raise VolumeError(f"there is no normalisation {name!r}; choose one of {', '.join(_NORMALISATIONS)}")
    function = _NORMALISATIONS[name]
    allowed = {p: d.default for p, d in inspect.signature(function).parameters.items() if d.kind is d.KEYWORD_ONLY}
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        known = ", ".join(allowed) or "none"
        raise VolumeError(f"the normalisation {name!r} has no option {unknown[0]!r}; its options: {known}")
    array = np.asarray(array)
    if array.ndim not in (3, 4) or array.size == 0 or array.dtype.kind not in "biuf":
        raise VolumeError(f"only 3D volumes of numbers can be normalised, not {array.dtype} of shape {array.shape}")
    out = np.empty(array.shape, np.float32)
    channels = [(array, out)] if array.ndim == 3 else list(zip(array, out, strict=True))
    notes: list[str] = []
    for number, (channel, target) in enumerate(channels):
        values, note = _finite(channel)
        said = [note] if note else []
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is mended below
            more = function(values, target, **options)
        if not (np.isfinite(target.min()) and np.isfinite(target.max())):
            np.nan_to_num(target, copy=False)
        said += [more] if more else []
        notes += [f"channel {number}: {text}" if len(channels) > 1 else text for text in said]
    return Normalised(out, "; ".join(notes) or None)


def list_normalisations() -> dict[str, str]:
    """Names of the normalisations and one line of help for each."""
    return dict(_HELP)


# -- one function each: fills `out` (z, y, x) from finite `values`, returns a note ------------------------------------
def _percentile(
    values: np.ndarray, out: np.ndarray, *, low: float = 1.0, high: float = 99.0, clip: bool = True
) -> str | None:
    if not 0 <= low < high <= 100:
        raise VolumeError(f"percentiles {low:g} and {high:g} cannot be used; give 0 <= low < high <= 100")
    sample, note = _sample(values)
    bottom, top = (float(v) for v in np.percentile(sample, [low, high]))
    if _flat(bottom, top):
        bottom, top = float(values.min()), float(values.max())
        if _flat(bottom, top):
            out.fill(-1.0)
            return f"every voxel has the value {bottom:g}, so all became -1"
        note = f"the percentiles {low:g} and {high:g} are equal, so minimum and maximum were taken"
    _map(values, out, bottom, top, clip=clip)
    return note


def _zscore(values: np.ndarray, out: np.ndarray, *, foreground: bool = False) -> str | None:
    chosen = values[values > values.min()] if foreground else values
    if chosen.size == 0:
        chosen = values
    mean, deviation = float(chosen.mean(dtype=np.float64)), float(chosen.std(dtype=np.float64))
    if not (np.isfinite(deviation) and deviation > max(abs(mean), np.finfo(float).tiny) * 1e-12):
        out.fill(0.0)
        return f"every voxel has the value {mean:g}, so all became 0"
    _affine(values, out, mean, 1.0 / deviation, 0.0)
    return None


def _window(values: np.ndarray, out: np.ndarray, *, centre: float = 40.0, width: float = 400.0) -> str | None:
    if not (width > 0 and np.isfinite([centre, width]).all()):
        raise VolumeError(f"a window of {width:g} HU round {centre:g} HU cannot be used; the width must be positive")
    _map(values, out, centre - width / 2, centre + width / 2, clip=True)
    if float(out.min()) == float(out.max()):
        return (
            f"every voxel lies {'below' if out.flat[0] < 0 else 'above'} the window; is this a CT in Hounsfield units?"
        )
    return None


def _none(values: np.ndarray, out: np.ndarray) -> None:
    out[...] = values


def _preset(centre: float, width: float) -> Callable[..., str | None]:
    def window(values: np.ndarray, out: np.ndarray, *, centre: float = centre, width: float = width) -> str | None:
        return _window(values, out, centre=centre, width=width)

    return window


_NORMALISATIONS: dict[str, Callable[..., str | None]] = {
    "percentile": _percentile,
    "zscore": _zscore,
    **{name: _preset(*window) for name, window in WINDOWS.items()},
    "none": _none,
}
_HELP = {
    "percentile": "1st and 99th percentile to -1 and 1, the rest cut off; for MR and anything else",
    "zscore": "mean 0 and standard deviation 1",
    **{name: f"CT window of {width:g} HU round {centre:g} HU to -1 and 1" for name, (centre, width) in WINDOWS.items()},
    "none": "as they are",
}


# -- helpers ----------------------------------------------------------------------------------------------------------
def _finite(channel: np.ndarray) -> tuple[np.ndarray, str | None]:
    """``channel`` with its non-finite voxels replaced by its minimum, and what is said about that."""
    if channel.dtype.kind == "b":
        return channel.view(np.uint8) if channel.flags.c_contiguous else channel.astype(np.uint8), None
    if channel.dtype.kind != "f":
        return channel, None
    if channel.dtype.itemsize < 4:
        channel = channel.astype(np.float32)
    with np.errstate(invalid="ignore"):  # a minimum over NaN is NaN, which is the question
        if np.isfinite(channel.min()) and np.isfinite(channel.max()):
            return channel, None
    finite = np.isfinite(channel)
    count = int(channel.size - np.count_nonzero(finite))
    least = float(channel[finite].min()) if count < channel.size else 0.0
    return (
        np.where(finite, channel, channel.dtype.type(least)),
        f"{count} of {channel.size} voxels were not finite and took the value {least:g}",
    )


def _sample(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    """The voxels that percentiles are taken from, flat."""
    step = values.size // SUBSAMPLE_ABOVE
    if step < 2:
        return values.reshape(-1), None
    while any(np.gcd(step, n) > 1 for n in values.shape):  # else whole rows or columns would be left out
        step += 1
    flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel(order="K")
    return flat[::step], f"percentiles were taken from every {step}th voxel"


def _flat(bottom: float, top: float) -> bool:
    """Whether two values are too close for float arithmetic to map them to -1 and 1."""
    with np.errstate(over="ignore"):
        return not (top - bottom > max(abs(bottom), abs(top)) * 1e-12 and np.isfinite(2.0 / (top - bottom)))


def _map(values: np.ndarray, out: np.ndarray, bottom: float, top: float, *, clip: bool) -> None:
    """bottom -> -1, top -> 1."""
    half = top / 2 - bottom / 2  # halved first: the difference of two large numbers may overflow
    _affine(values, out, bottom, 1.0 / half, -1.0, clip=clip)


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
