"""Intensities as a network takes them: by name, never in place, always float32, and what was done about odd values."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.intensity_map import IntensityMap, SlabValues, Values, WholeValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
        count, least = _not_finite(channel)
        ready = _mend(count, least)
        values = ready.finite(channel)
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the end of their type
            found, more = function(WholeValues(values), **options)
        found.apply(values, target)
        notes += _notes(
            number, len(channels), [_said(count, ready.least or 0.0, channel.size) if count else None, more]
        )
    return Normalised(out, "; ".join(notes) or None)


def normalisation_of(
    shape: tuple[int, int, int], slabs: Sequence[Callable[[], Iterable[np.ndarray]]], name: str
) -> tuple[tuple[IntensityMap, ...], str | None]:
    """What `normalise` does to a scan that is read slab by slab: a map for each channel, and the note.

    Parameters
    ----------
    shape
        (z, y, x).
    slabs
        For each channel: makes an iterator over arrays (n, y, x) that follow one another along z; asked several times.
    name
        One of `list_normalisations`.
    """
    maps, notes = [], []
    for number, of_channel in enumerate(slabs):
        kind = next(iter(of_channel())).dtype.kind
        odd = [_not_finite(slab) for slab in of_channel()] if kind == "f" else [(0, np.inf)]
        count = sum(of_slab for of_slab, _ in odd)
        ready = _mend(count, min(least for _, least in odd))

        def finite(
            of: Callable[[], Iterable[np.ndarray]] = of_channel, ready: IntensityMap = ready
        ) -> Iterable[np.ndarray]:
            return (ready.finite(slab) for slab in of())

        with np.errstate(over="ignore", invalid="ignore"):
            found, more = _NORMALISATIONS[name](SlabValues(shape, finite))
        maps.append(replace(found, least=ready.least))
        size = int(np.prod(shape, dtype=np.int64))
        notes += _notes(number, len(slabs), [_said(count, ready.least or 0.0, size) if count else None, more])
    return tuple(maps), "; ".join(notes) or None


def _mend(count: int, least: float) -> IntensityMap:
    """Voxels that are not finite take the least finite value, or 0 where there is none."""
    return IntensityMap(least=None if not count else least if np.isfinite(least) else 0.0)


def _notes(number: int, channels: int, said: Iterable[str | None]) -> list[str]:
    return [f"channel {number}: {text}" if channels > 1 else text for text in said if text]


def list_normalisations() -> dict[str, str]:
    """Names of the normalisations and one line of help for each."""
    return dict(_HELP)


# -- one function each: what to do with a channel of these values, and a note ------------------------------------------
Found = tuple[IntensityMap, str | None]


def _percentile(values: Values, *, low: float = 1.0, high: float = 99.0, clip: bool = True) -> Found:
    if not 0 <= low < high <= 100:
        raise VolumeError(f"percentiles {low:g} and {high:g} cannot be used; give 0 <= low < high <= 100")
    sample, note = values.sample()
    bottom, top = (float(v) for v in np.percentile(sample, [low, high]))
    if _flat(bottom, top):
        bottom, top = values.extremes()
        if _flat(bottom, top):
            return IntensityMap(constant=-1.0), f"every voxel has the value {bottom:g}, so all became -1"
        note = f"the percentiles {low:g} and {high:g} are equal, so minimum and maximum were taken"
    return _between(bottom, top, clip=clip), note


def _zscore(values: Values, *, foreground: bool = False) -> Found:
    mean, deviation = values.moments(foreground=foreground)
    if not (np.isfinite(deviation) and deviation > max(abs(mean), np.finfo(float).tiny) * 1e-12):
        return IntensityMap(constant=0.0), f"every voxel has the value {mean:g}, so all became 0"
    return IntensityMap(mean, 1.0 / deviation, 0.0), None


def _window(values: Values, *, centre: float = 40.0, width: float = 400.0) -> Found:
    if not (width > 0 and np.isfinite([centre, width]).all()):
        raise VolumeError(f"a window of {width:g} HU round {centre:g} HU cannot be used; the width must be positive")
    found = _between(centre - width / 2, centre + width / 2, clip=True)
    ends = found.apply(np.array(values.extremes()).reshape(2, 1, 1)).ravel()
    if ends[0] == ends[1]:
        return found, (
            f"every voxel lies {'below' if ends[0] < 0 else 'above'} the window; is this a CT in Hounsfield units?"
        )
    return found, None


def _none(values: Values) -> Found:
    return IntensityMap(), None


def _preset(centre: float, width: float) -> Callable[..., Found]:
    def window(values: Values, *, centre: float = centre, width: float = width) -> Found:
        return _window(values, centre=centre, width=width)

    return window


_NORMALISATIONS: dict[str, Callable[..., Found]] = {
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
def _not_finite(channel: np.ndarray) -> tuple[int, float]:
    """How many voxels are not finite, and the smallest finite value (infinity where there is none)."""
    if channel.dtype.kind != "f":
        return 0, np.inf
    with np.errstate(invalid="ignore"):  # a minimum over NaN is NaN, which is the question
        least = float(channel.min())
        if np.isfinite(least) and np.isfinite(channel.max()):
            return 0, least
    finite = np.isfinite(channel)
    count = int(channel.size - np.count_nonzero(finite))
    return count, float(channel[finite].min()) if count < channel.size else np.inf


def _said(count: int, least: float, size: int) -> str:
    return f"{count} of {size} voxels were not finite and took the value {least:g}"


def _flat(bottom: float, top: float) -> bool:
    """Whether two values are too close for float arithmetic to map them to -1 and 1."""
    with np.errstate(over="ignore"):
        return not (top - bottom > max(abs(bottom), abs(top)) * 1e-12 and np.isfinite(2.0 / (top - bottom)))


def _between(bottom: float, top: float, *, clip: bool) -> IntensityMap:
    """bottom -> -1, top -> 1."""
    half = top / 2 - bottom / 2  # halved first: the difference of two large numbers may overflow
    return IntensityMap(bottom, 1.0 / half, -1.0, clip)
