"""From tissue to image: what an MR or CT scanner adds, and how scanners differ.

MR: coil shading (a smooth multiplicative field), a finite k-space (partial volume along the slice by averaging, in plane by
cutting the spectrum, which also rings at sharp edges as real scans do), and noise of constant variance in both parts of the
complex signal, hence Rician in its magnitude (Gudbjartsson and Patz 1995).

CT: averaging over the voxel, a reconstruction kernel, noise as filtered back-projection shapes it (independent noise in
each projection, ramp-filtered, stronger along the long way through the body, so that it is streaky and its variance grows
towards the middle), cupping, and rounding to whole Hounsfield units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.sample._shapes import Array, Grid, block_mean, random_field

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class MRScanner:
    """One MR protocol on one machine.

    Attributes
    ----------
    vendor : str
        Invented name.
    shape, spacing
        Matrix and mm (z, y, x).
    contrast : mapping
        Signal of each tissue, blood near 1.
    noise : float
        Standard deviation in each part of the complex signal, relative to blood.
    shading : float
        Strength of the coil shading (standard deviation of its logarithm).
    flow : float
        Unevenness of the blood's signal.
    apodisation : float
        0 leaves the spectrum's edge sharp (ringing), 1 tapers it to nothing (smooth).
    gain : float
        Units of the file for a signal of 1.
    """

    vendor: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    contrast: Mapping[str, float]
    noise: float
    shading: float
    flow: float
    apodisation: float
    gain: float


_MR_VENDORS: dict[str, tuple[tuple[int, int], tuple[float, float], float, dict[str, float]]] = {
    # name: in-plane matrix, mm in plane and between slices, gain, signals
    "Aurelia 1.5T": (
        (96, 96),
        (1.6, 8.0),
        420.0,
        {"blood": 1.0, "myocardium": 0.36, "scar": 0.5, "fat": 0.92, "muscle": 0.3, "liver": 0.42, "bone": 0.55},
    ),
    "Borealis 3T": (
        (104, 96),
        (1.5, 9.0),
        1300.0,
        {"blood": 0.95, "myocardium": 0.45, "scar": 0.6, "fat": 0.6, "muscle": 0.45, "liver": 0.62, "bone": 0.42},
    ),
    "Cirrus 1.5T": (
        (88, 96),
        (1.75, 10.0),
        230.0,
        {"blood": 0.85, "myocardium": 0.44, "scar": 0.42, "fat": 1.05, "muscle": 0.4, "liver": 0.5, "bone": 0.8},
    ),
    "Dorado 3T": (
        (96, 104),
        (1.45, 8.0),
        760.0,
        {"blood": 0.85, "myocardium": 0.28, "scar": 0.8, "fat": 0.75, "muscle": 0.33, "liver": 0.5, "bone": 0.5},
    ),
}


def pick_mr_scanner(rng: np.random.Generator) -> MRScanner:
    """Draw a machine and the day's settings on it."""
    vendor = str(rng.choice(list(_MR_VENDORS)))
    matrix, (in_plane, between), gain, signals = _MR_VENDORS[vendor]
    contrast = {tissue: float(level * np.exp(rng.normal(0, 0.07))) for tissue, level in signals.items()}
    contrast |= {"air": 0.015, "lung": float(rng.uniform(0.05, 0.14)), "fluid": float(rng.uniform(0.5, 1.1))}
    fine = round(float(in_plane * rng.uniform(0.94, 1.06)), 3)
    return MRScanner(
        vendor=vendor,
        shape=(int(rng.integers(9, 12)), *matrix),
        spacing=(between, fine, fine),
        contrast=contrast,
        noise=float(rng.uniform(0.02, 0.05)),
        shading=float(rng.uniform(0.1, 0.26)),
        flow=float(rng.uniform(0.05, 0.16)),
        apodisation=float(rng.uniform(0.2, 0.9)),
        gain=float(gain * rng.uniform(0.8, 1.25)),
    )


def acquire_mr(signal: Array, grid: Grid, scanner: MRScanner, rng: np.random.Generator) -> Array:
    """Image a noise-free signal.

    Parameters
    ----------
    signal : float32 array, ``grid.fine_shape``
    grid : Grid
    scanner : MRScanner

    Returns
    -------
    int16 array, ``grid.shape``
        Magnitudes, never negative.
    """
    fz, fy, fx = grid.oversampling
    slices = block_mean(signal, (fz, 1, 1))
    seen = _cut_spectrum(slices, (fy, fx), scanner.apodisation)
    axes = tuple(axis.reshape(-1, f).mean(1) for axis, f in zip(grid.axes(), grid.oversampling, strict=True))
    shading = np.exp(scanner.shading * random_field(rng, axes, (160, 95, 95)))
    # each slice is prepared and received anew: its overall brightness wanders a little
    shading = shading * np.exp(rng.normal(0, 0.04, (grid.shape[0], 1, 1)))
    seen = seen * shading
    real = seen + rng.normal(0, scanner.noise, seen.shape)
    imaginary = rng.normal(0, scanner.noise, seen.shape)
    magnitude = np.hypot(real, imaginary) * scanner.gain
    return np.clip(np.rint(magnitude), 0, 32767).astype(np.int16)


def _cut_spectrum(slices: Array, factors: tuple[int, int], apodisation: float) -> Array:
    """Keep the low spatial frequencies that a matrix ``factors`` times coarser can hold; (Z, Y, X) -> (Z, Y/fy, X/fx)."""
    spectrum = np.fft.fft2(slices, axes=(1, 2))
    for axis, factor in zip((1, 2), factors, strict=True):
        fine = slices.shape[axis]
        coarse = fine // factor
        kept = np.fft.fftfreq(coarse, 1 / coarse)
        taper = 1 - apodisation * np.sin(np.pi * kept / coarse) ** 2
        # voxel centres lie (factor - 1) / 2 fine samples behind the first fine sample
        weights = taper * np.exp(2j * np.pi * kept * (factor - 1) / 2 / fine) / factor
        shape = [1, 1, 1]
        shape[axis] = coarse
        spectrum = np.take(spectrum, kept.astype(int) % fine, axis=axis) * weights.reshape(shape)
    return np.fft.ifft2(spectrum, axes=(1, 2)).real


@dataclass(frozen=True)
class CTScanner:
    """One CT protocol on one machine.

    Attributes
    ----------
    vendor : str
        Invented name.
    shape, spacing
        Matrix and mm (z, y, x).
    phase : str
        ``native``, ``arterial``, ``portal`` or ``late``: when after the injection of contrast medium.
    noise : float
        Standard deviation in the middle of the body, HU.
    kernel : float
        Blur of the reconstruction in plane, mm (standard deviation).
    streaks : float
        How much stronger noise is along the long way through the body.
    cupping : float
        HU by which the middle is too dark.
    """

    vendor: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    phase: str
    noise: float
    kernel: float
    streaks: float
    cupping: float


_CT_VENDORS: dict[str, tuple[tuple[int, int], float, float, float]] = {
    # name: in-plane matrix, mm in plane, mm between slices, kernel mm
    "Eos 64": ((80, 96), 4.0, 5.0, 1.6),
    "Fjord Spiral": ((84, 104), 3.7, 5.0, 1.0),
    "Gale 128": ((88, 104), 3.6, 4.5, 1.3),
    "Halo Dual": ((80, 92), 4.1, 5.0, 2.1),
}
PHASES = ("native", "arterial", "portal", "late")


def pick_ct_scanner(rng: np.random.Generator) -> CTScanner:
    """Draw a machine, a contrast phase and a dose."""
    vendor = str(rng.choice(list(_CT_VENDORS)))
    matrix, in_plane, between, kernel = _CT_VENDORS[vendor]
    fine = round(float(in_plane * rng.uniform(0.95, 1.05)), 3)
    return CTScanner(
        vendor=vendor,
        shape=(32, *matrix),
        spacing=(between, fine, fine),
        phase=str(rng.choice(PHASES, p=(0.1, 0.15, 0.55, 0.2))),
        noise=float(rng.uniform(8, 18)),
        kernel=float(kernel * rng.uniform(0.8, 1.2)),
        streaks=float(rng.uniform(0.8, 2.5)),
        cupping=float(rng.uniform(0, 9)),
    )


def acquire_ct(attenuation: Array, grid: Grid, scanner: CTScanner, rng: np.random.Generator) -> Array:
    """Image a noise-free map of Hounsfield units.

    Parameters
    ----------
    attenuation : float32 array, ``grid.fine_shape``
        HU of each fine sample.

    Returns
    -------
    int16 array, ``grid.shape``
        HU, at least -1024.
    """
    from scipy.ndimage import gaussian_filter1d

    image = block_mean(attenuation, grid.oversampling)
    for axis in (1, 2):
        image = gaussian_filter1d(image, scanner.kernel / grid.spacing[axis], axis=axis, mode="nearest")
    water = np.clip(image / 1000 + 1, 0, 2)  # attenuation relative to water
    through = np.stack([water.sum(axis=1).max(axis=1), water.sum(axis=2).max(axis=1)])  # down, across: relative length
    through = through * np.array([[grid.spacing[1]], [grid.spacing[2]]]) / 10  # cm of water
    middle = _middle(grid)
    noise = np.stack([_projection_noise(grid, through[:, k], scanner, rng) for k in range(grid.shape[0])])
    inside = 0.45 + 0.55 * middle
    image = image + scanner.noise * inside * noise - scanner.cupping * middle * (image > -300)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _middle(grid: Grid) -> Array:
    """1 in the middle of the view, falling to 0 at its edge; (1, Y, X)."""
    _, ny, nx = grid.shape
    y, x = np.linspace(-1, 1, ny)[:, None], np.linspace(-1, 1, nx)
    return np.clip(1 - (y**2 + x**2), 0, 1)[None].astype(np.float32)


def _projection_noise(
    grid: Grid, through: Array, scanner: CTScanner, rng: np.random.Generator, views: int = 48
) -> Array:
    """Noise of one slice, variance 1 on average: white noise in each projection, ramp-filtered, back-projected."""
    _, ny, nx = grid.shape
    y = ((np.arange(ny) - (ny - 1) / 2) * grid.spacing[1])[:, None]
    x = (np.arange(nx) - (nx - 1) / 2) * grid.spacing[2]
    step = min(grid.spacing[1:])
    reach = float(np.hypot(y[-1, 0], x[-1])) + 2 * step
    bins = np.arange(-reach, reach + step, step)
    frequency = np.abs(np.fft.rfftfreq(len(bins)))
    window = frequency * np.exp(-2 * (np.pi * frequency * scanner.kernel / step) ** 2 * 0.5)
    angles = (np.arange(views) + rng.uniform()) * np.pi / views
    image = np.zeros((ny, nx))
    for angle in angles:
        # rays along x see the width of the body, rays along y its depth: fewer photons, more noise on the longer way
        way = through[1] * np.sin(angle) ** 2 + through[0] * np.cos(angle) ** 2
        strength = np.exp(0.5 * scanner.streaks * (way - through.mean()) / 10)
        filtered = np.fft.irfft(np.fft.rfft(rng.normal(0, strength, len(bins))) * window, len(bins))
        image += np.interp((x * np.cos(angle) + y * np.sin(angle)).ravel(), bins, filtered).reshape(ny, nx)
    return (image / image.std()).astype(np.float32)
