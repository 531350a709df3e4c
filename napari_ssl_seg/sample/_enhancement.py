"""How bright each tissue of the abdomen is in CT, before and after contrast medium.

Values are typical Hounsfield units; the moment of the scan, fatty livers and what was drunk before it differ by subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.sample._shapes import random_field

if TYPE_CHECKING:
    from napari_ssl_seg.sample._shapes import Array, Grid

TISSUES = (
    "air",
    "table",
    "fat",
    "muscle",
    "bone",
    "marrow",
    "canal",
    "lung",
    "liver",
    "liver vessel",
    "liver lesion",
    "spleen",
    "left kidney",
    "left medulla",
    "right kidney",
    "right medulla",
    "kidney pelvis",
    "cyst",
    "aorta",
    "calcium",
    "cava",
    "gut wall",
    "gut content",
    "gas",
    "pancreas",
    "gallbladder",
    "heart",
    "skin",
)

_PHASES = ("native", "arterial", "portal", "late")
# HU by phase, in this order
_ENHANCEMENT = {
    "liver": (56, 68, 108, 88),
    "liver vessel": (42, 62, 150, 104),
    "liver lesion": (38, 52, 66, 70),
    "spleen": (48, 128, 122, 92),
    "kidney": (33, 165, 180, 150),
    "medulla": (31, 75, 165, 155),
    "pelvis": (5, 5, 8, 260),
    "aorta": (42, 310, 155, 108),
    "cava": (40, 80, 142, 104),
    "pancreas": (40, 105, 90, 72),
    "heart": (42, 220, 140, 104),
    "gut wall": (36, 75, 88, 70),
}
_FIXED = {
    "air": -1000,
    "table": -150,
    "fat": -102,
    "muscle": 54,
    "bone": 480,
    "marrow": 190,
    "canal": 32,
    "lung": -830,
    "cyst": 8,
    "calcium": 520,
    "gas": -900,
    "gallbladder": 12,
    "skin": 20,
}


def attenuation_of(tissue: Array, grid: Grid, phase_name: str, rng: np.random.Generator) -> Array:
    """Noise-free Hounsfield units of each fine sample.

    Parameters
    ----------
    tissue : uint8 array, ``grid.fine_shape``
        Indices into `TISSUES`.
    phase_name : str
        ``native``, ``arterial``, ``portal`` or ``late``.
    """
    phase = _PHASES.index(phase_name)
    timing = rng.uniform(-0.25, 0.25)  # the bolus is never caught at quite the same moment
    levels = {name: float(value) for name, value in _FIXED.items()}
    for name, by_phase in _ENHANCEMENT.items():
        other = by_phase[(phase + (1 if timing > 0 else -1)) % 4] if phase else by_phase[0]
        levels[name] = by_phase[phase] + abs(timing) * (other - by_phase[phase]) + rng.normal(0, 5)
    levels["liver"] -= rng.choice([0.0, 0.0, rng.uniform(15, 55)])  # fatty livers are darker than their spleens
    for side in ("left", "right"):
        levels[f"{side} kidney"] = levels["kidney"] + rng.normal(0, 4)
        levels[f"{side} medulla"] = levels["medulla"]
    levels["kidney pelvis"] = levels["pelvis"]
    levels["gut content"] = float(rng.choice([rng.uniform(5, 30), rng.uniform(30, 70), rng.uniform(150, 320)]))
    table = np.array([levels[name] for name in TISSUES], np.float32)
    uneven = np.full(len(TISSUES), 3.0, np.float32)
    for name, amount in {
        "air": 0,
        "lung": 40,
        "bone": 90,
        "marrow": 45,
        "gut content": 16,
        "pancreas": 16,
        "fat": 7,
    }.items():
        uneven[TISSUES.index(name)] = amount
    return table[tissue] + uneven[tissue] * random_field(rng, grid.axes(), (12, 9, 9))
