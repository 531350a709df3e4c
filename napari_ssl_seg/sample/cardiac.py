"""A short-axis cardiac MR stack: both ventricles, the myocardium, and the chest around them.

The left ventricle is a blunt half ellipsoid that tapers from a tilted valve plane to the apex; its wall varies around the
circle and may carry a scar; papillary muscles stand in its blood (and belong to the left ventricle's label, the usual
convention). The right ventricle is a crescent laid against the septum. What makes it hard is what makes real ones hard:
atria, great vessels, the descending aorta and lung vessels hold the same blood, liver, stomach wall and chest muscle look
like myocardium, fat is as bright as blood in many sequences, and the last slices are half atrium.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_ssl_seg.sample._shapes import (
    Array,
    Grid,
    column,
    ellipsoid,
    majority_label,
    merge,
    random_field,
    turn,
    vessels,
)
from napari_ssl_seg.sample.scanner import MRScanner, acquire_mr, pick_mr_scanner

AIR, LUNG, FAT, MUSCLE, BLOOD, MYOCARDIUM, SCAR, LIVER, FLUID, BONE, LV, PAPILLARY, RV, DARK = range(14)
LABELS = {1: (LV, PAPILLARY), 2: (MYOCARDIUM, SCAR), 3: (RV,)}
TISSUES = {
    AIR: "air",
    LUNG: "lung",
    FAT: "fat",
    MUSCLE: "muscle",
    BLOOD: "blood",
    MYOCARDIUM: "myocardium",
    SCAR: "scar",
    LIVER: "liver",
    FLUID: "fluid",
    BONE: "bone",
    LV: "blood",
    PAPILLARY: "myocardium",
    RV: "blood",
    DARK: "air",
}


@dataclass(frozen=True)
class HeartShape:
    """The numbers in which one heart differs from another; lengths in mm, angles in degrees."""

    centre: tuple[float, float]
    turned: float
    tilt: tuple[float, float]
    base: float
    base_tilt: tuple[float, float]
    length: float
    radius: float
    oval: float
    blunt: float
    wall: float
    wall_swing: float
    wall_side: float
    harmonics: tuple[tuple[float, float], ...]
    rv_size: tuple[float, float, float]
    rv_offset: float
    rv_wall: float
    fat: float
    scar_side: float
    scar_width: float
    scar_depth: float


def sample_heart(rng: np.random.Generator) -> HeartShape:
    """Draw one heart: from small and thick-walled to dilated and thin-walled, anywhere near the middle of the view."""
    radius = rng.uniform(29, 40)
    return HeartShape(
        centre=(rng.uniform(-10, 8), rng.uniform(-8, 14)),
        turned=rng.uniform(-20, 20),
        tilt=(rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)),
        base=rng.uniform(22, 40),
        base_tilt=(rng.uniform(-0.2, 0.06), rng.uniform(-0.12, 0.12)),
        length=rng.uniform(66, 94),
        radius=radius,
        oval=rng.uniform(0.88, 1.12),
        blunt=rng.uniform(1.9, 3.2),
        wall=rng.uniform(6, 9) + rng.choice([0.0, 0.0, rng.uniform(2, 6)]),
        wall_swing=rng.uniform(0.05, 0.35),
        wall_side=rng.uniform(0, 360),
        harmonics=tuple((rng.normal(0, 0.03), rng.uniform(0, 360)) for _ in range(3)),
        rv_size=(rng.uniform(0.36, 0.47), rng.uniform(28, 42), rng.uniform(18, 32)),
        rv_offset=rng.uniform(0.55, 0.85),
        rv_wall=rng.uniform(2.0, 4.5),
        fat=rng.uniform(1.0, 9.0),
        scar_side=rng.uniform(0, 360),
        scar_width=rng.choice([0.0, rng.uniform(35, 90)]),
        scar_depth=rng.uniform(0.4, 1.0),
    )


def make_cardiac(
    seed: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> tuple[Array, Array, tuple[float, float, float]]:
    """Make one cardiac phantom; the same seed gives the same arrays.

    Parameters
    ----------
    seed : int
        One subject each, with a heart, a chest and a scanner of its own.
    shape : tuple of int, optional
        Voxels (z, y, x); the scanner's own matrix by default, about (10, 96, 96).
    spacing : tuple of float, optional
        mm (z, y, x); the scanner's own by default, 8-10 mm between slices and 1.4-1.8 mm in plane.

    Returns
    -------
    image : int16 array (z, y, x)
        Arbitrary units, as MR has them.
    label : uint8 array (z, y, x)
        Values as in ``CLASSES["cardiac"]``.
    spacing : tuple of float
        mm (z, y, x).
    """
    heart_rng, chest_rng, scanner_rng, noise_rng = (np.random.default_rng([seed, 7, stream]) for stream in range(4))
    scanner = pick_mr_scanner(scanner_rng)
    grid = Grid(shape or scanner.shape, spacing or scanner.spacing, (4, 2, 2))
    tissue = _paint(grid, sample_heart(heart_rng), heart_rng, chest_rng)
    label = _labels(tissue, grid)
    image = acquire_mr(_signal(tissue, grid, scanner, chest_rng), grid, scanner, noise_rng)
    return image, label, grid.spacing


def _paint(grid: Grid, heart: HeartShape, heart_rng: np.random.Generator, chest_rng: np.random.Generator) -> Array:
    """Tissue of each fine sample, painted from the outside inwards; uint8 (Z, Y, X)."""
    z, y, x = grid.coordinates()
    axes = grid.axes()
    z = z + 2 * random_field(chest_rng, axes, 70)
    shift_y, shift_x = (3.0 * random_field(heart_rng, axes, 45) for _ in range(2))
    # each slice is its own breath-hold: the chest lies a little elsewhere in each, as in real stacks
    breath = np.repeat(chest_rng.normal(0, 1.3, (grid.shape[0], 2)), grid.oversampling[0], axis=0).astype(np.float32)
    y = y + shift_y + breath[:, 0, None, None]
    x = x + shift_x + breath[:, 1, None, None]
    tissue = np.full(grid.fine_shape, AIR, np.uint8)
    _chest(tissue, z, y, x, axes, chest_rng)
    _heart(tissue, z, y, x, axes, heart, heart_rng)
    return tissue


def _chest(tissue: Array, z: Array, y: Array, x: Array, axes: tuple[Array, ...], rng: np.random.Generator) -> None:
    front = rng.uniform(-66, -46)
    depth, width, side = rng.uniform(105, 125), rng.uniform(105, 140), rng.uniform(-40, -5)
    cavity = ellipsoid(z, y, x, (0, front + depth, side), (400, depth, width))
    muscle, skin = rng.uniform(8, 16), rng.uniform(4, 22)
    tissue[cavity < muscle + skin] = FAT
    tissue[cavity < muscle] = MUSCLE
    ribs = random_field(rng, axes, (14, 30, 30))
    tissue[(np.abs(cavity - muscle / 2) < muscle * 0.28) & (ribs > 0.35)] = BONE
    tissue[cavity < 0] = LUNG
    width = rng.uniform(0.13, 0.2)
    branches = vessels(random_field(rng, axes, 28), random_field(rng, axes, 28), width)
    tissue[branches & (cavity < -4)] = BLOOD
    # behind the heart: the mediastinum with the descending aorta, the oesophagus and the spine
    spine = (front + rng.uniform(125, 150), rng.uniform(-25, 0))
    tissue[(column(y, x, (spine[0] - 22, spine[1] + 8), (30, 34)) < 0) & (cavity < 0)] = FAT
    tissue[column(y, x, spine, (34, 44)) < 0] = MUSCLE
    tissue[column(y, x, spine, (19, 23)) < 0] = BONE
    lean = rng.uniform(-0.15, 0.15)
    aorta = column(y, x, (spine[0] - rng.uniform(26, 36), spine[1] + rng.uniform(14, 28) + lean * z), (1, 1)) + 1
    size = rng.uniform(9, 14)
    tissue[aorta < size + 2.2] = MUSCLE
    tissue[aorta < size] = BLOOD
    gullet = column(y, x, (spine[0] - rng.uniform(36, 46), spine[1] + rng.uniform(-2, 8)), (6, 8))
    tissue[gullet < 0] = MUSCLE
    # under the diaphragm: liver on the patient's right, stomach on the left, both as grey as myocardium
    dome = rng.uniform(-42, -18) + 9 * random_field(rng, axes, 90)
    belly = z - dome + 0.004 * ((y - 10) ** 2 + (x + 25) ** 2)
    tissue[(belly < 0) & (cavity < 0)] = FAT
    liver = ellipsoid(z, y, x, (rng.uniform(-85, -60), rng.uniform(-15, 25), rng.uniform(-75, -45)), (52, 80, 82))
    liver = np.maximum(liver, belly + 3)
    tissue[(liver < 0) & (cavity < -2)] = LIVER
    tissue[(liver < -4) & vessels(random_field(rng, axes, 30), random_field(rng, axes, 30), 0.17)] = BLOOD
    stomach = ellipsoid(
        z, y, x, (rng.uniform(-75, -50), rng.uniform(5, 40), rng.uniform(35, 65)), (30, rng.uniform(22, 36), 30), 30
    )
    stomach = np.maximum(stomach, belly + 3)
    tissue[(stomach < 0) & (cavity < -2)] = MUSCLE
    tissue[stomach < -rng.uniform(3, 7)] = rng.choice([FLUID, FLUID, DARK, FAT])


def _heart(
    tissue: Array,
    z: Array,
    y: Array,
    x: Array,
    axes: tuple[Array, ...],
    heart: HeartShape,
    rng: np.random.Generator,
) -> None:
    v, u = turn(  # v: towards the back, u: towards the lateral wall, in the heart's own frame
        y - heart.centre[0] - heart.tilt[0] * z, x - heart.centre[1] - heart.tilt[1] * z, heart.turned
    )
    base = np.float32(heart.base) + heart.base_tilt[0] * u + heart.base_tilt[1] * v
    theta = np.arctan2(v * np.float32(heart.oval), u)
    rho = np.sqrt((v * np.float32(heart.oval)) ** 2 + u**2)
    level = np.clip((base - z) / np.float32(heart.length), 0, 1.2)  # 0 at the valve plane, 1 at the apex
    taper = 1 - level ** np.float32(heart.blunt)
    outline = np.sign(taper) * np.sqrt(np.abs(taper))
    wave = sum(a * np.cos(k * theta + np.deg2rad(phase)) for k, (a, phase) in enumerate(heart.harmonics, start=2))
    outer = np.float32(heart.radius) * outline * (1 + wave)
    around = np.cos(theta - np.deg2rad(heart.wall_side))
    wall = np.float32(heart.wall) * (1 + heart.wall_swing * around) * (1 - 0.35 * level)
    roughness = random_field(rng, axes, (18, 7, 7))
    epicardium = rho - outer
    endocardium = rho - (outer - wall) + 0.7 * roughness
    below_valves = z - base

    size_z, size_v, size_u = heart.rv_size
    rv_centre = (heart.base - 0.42 * heart.length, rng.uniform(-16, 2), -heart.radius * heart.rv_offset - 4)
    rv = ellipsoid(z, v, u, rv_centre, (size_z * heart.length, size_v, size_u), rng.uniform(-25, 15))
    outflow = ellipsoid(z, v, u, (heart.base, -heart.radius * 0.75, -heart.radius * 0.55), (26, 17, 20))
    rv = merge(rv, outflow, 10) + 1.2 * random_field(rng, axes, 14)
    rv_outer = rv - np.float32(heart.rv_wall)
    sheath = merge(np.where(below_valves < 12, epicardium, 50), rv_outer, 12)

    bag = sheath - heart.fat * (1 + 0.6 * random_field(rng, axes, 35))
    tissue[(bag < 1.6) & (z - heart.base < 45)] = DARK  # the pericardium, a dark line
    tissue[(bag < 0) & (z - heart.base < 45)] = FAT
    _above_the_valves(tissue, z, v, u, heart, rng)

    free = epicardium > 0
    tricuspid = below_valves < rng.uniform(-2, 2)
    tissue[(rv_outer < 0) & free & (below_valves < 2)] = MUSCLE
    in_rv = (rv < 0) & (epicardium > 0.3)
    tissue[in_rv] = BLOOD
    tissue[in_rv & tricuspid] = RV
    strands = vessels(random_field(rng, axes, (20, 12, 12)), random_field(rng, axes, (20, 12, 12)), 0.3)
    tissue[in_rv & tricuspid & strands & (rv > -9)] = MUSCLE

    valve_fibres = below_valves < 0
    tissue[(epicardium <= 0) & valve_fibres] = MYOCARDIUM
    if heart.scar_width > 0:
        facing = np.cos(theta - np.deg2rad(heart.scar_side)) > np.cos(np.deg2rad(heart.scar_width / 2))
        subendocardial = endocardium < heart.scar_depth * wall
        reach = (level > rng.uniform(0, 0.4)) & (level < rng.uniform(0.6, 1.1))
        tissue[(epicardium <= 0) & valve_fibres & facing & subendocardial & reach] = SCAR
    cavity = (endocardium < 0) & valve_fibres & (outer - wall > 0)
    tissue[cavity] = LV
    for side in (rng.uniform(-70, -30), rng.uniform(60, 115)):
        where = np.deg2rad(side)
        inner = np.maximum(outer - wall, 1)
        reach = rng.uniform(0.62, 0.78)
        size = rng.uniform(3, 6.5)
        gap = np.sqrt(
            (v * np.float32(heart.oval) - reach * inner * np.sin(where)) ** 2 + (u - reach * inner * np.cos(where)) ** 2
        )
        muscle = (gap < size) & (level > rng.uniform(0.2, 0.4)) & (level < rng.uniform(0.65, 0.85))
        tissue[cavity & muscle] = PAPILLARY


def _above_the_valves(tissue: Array, z: Array, v: Array, u: Array, heart: HeartShape, rng: np.random.Generator) -> None:
    """Atria, aortic root and pulmonary trunk: blood like the ventricles', and not labelled."""
    r = heart.radius
    top = heart.base
    chambers = (
        ellipsoid(z, v, u, (top + 18, 0.45 * r, 0.1 * r), (24, 0.75 * r, 0.95 * r)),
        ellipsoid(z, v, u, (top + 16, 0.2 * r, -1.2 * r), (26, 0.85 * r, 0.65 * r)),
        column(v, u, (-0.15 * r, -0.25 * r), (1, 1)) + 1 - rng.uniform(10, 14),
        column(v, u, (-0.85 * r, -0.35 * r), (1, 1)) + 1 - rng.uniform(9, 13),
    )
    above = (z - (top + heart.base_tilt[0] * u + heart.base_tilt[1] * v)) >= -2
    for chamber in chambers:
        tissue[(chamber < 2.5) & above] = MUSCLE
    for chamber in chambers:
        tissue[(chamber < 0) & above] = BLOOD


def _labels(tissue: Array, grid: Grid) -> Array:
    fine = np.zeros_like(tissue)
    for value, members in LABELS.items():
        fine[np.isin(tissue, members)] = value
    return majority_label(fine, tuple(LABELS), grid.oversampling)


def _signal(tissue: Array, grid: Grid, scanner: MRScanner, rng: np.random.Generator) -> Array:
    """Noise-free signal of each fine sample: the tissue's own, a little uneven within it."""
    levels = np.array([scanner.contrast[TISSUES[t]] for t in range(len(TISSUES))], np.float32)
    uneven = np.array([0.05 if TISSUES[t] == "air" else 0.07 for t in range(len(TISSUES))], np.float32)
    uneven[[BLOOD, LV, RV]] = scanner.flow
    field = random_field(rng, grid.axes(), (20, 9, 9))
    fine_grain = random_field(rng, grid.axes(), (8, 3, 3))
    return levels[tissue] * np.maximum(1 + uneven[tissue] * (0.8 * field + 0.6 * fine_grain), 0.05)
