"""An abdominal CT: liver, spleen, both kidneys and the aorta, among everything that looks like them.

The contrast phase changes from subject to subject (native, arterial, portal, late), so that no fixed window tells an organ:
the spleen is now brighter and now darker than the liver, the vena cava now equals the aorta and now the muscle. Stomach,
bowel (with gas or oral contrast medium), pancreas, gallbladder, muscles and heart are drawn and not labelled.
"""

from __future__ import annotations

import numpy as np

from napari_ssl_seg.sample._enhancement import TISSUES, attenuation_of
from napari_ssl_seg.sample._shapes import (
    Array,
    Grid,
    column,
    ellipsoid,
    majority_label,
    merge,
    random_field,
    tube,
    vessels,
)
from napari_ssl_seg.sample.scanner import acquire_ct, pick_ct_scanner

_T = {name: index for index, name in enumerate(TISSUES)}
LABELS = {
    1: ("liver", "liver vessel", "liver lesion"),
    2: ("spleen",),
    3: ("left kidney", "left medulla"),
    4: ("right kidney", "right medulla"),
    5: ("aorta", "calcium"),
}


def make_abdomen(
    seed: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> tuple[Array, Array, tuple[float, float, float]]:
    """Make one abdominal phantom; the same seed gives the same arrays.

    Parameters
    ----------
    seed : int
        One subject each, with a body, a contrast phase and a scanner of its own.
    shape : tuple of int, optional
        Voxels (z, y, x); about (32, 80, 96) by default.
    spacing : tuple of float, optional
        mm (z, y, x); the scanner's own by default, 4.5-5 mm between slices and about 4 mm in plane.

    Returns
    -------
    image : int16 array (z, y, x)
        Hounsfield units.
    label : uint8 array (z, y, x)
        Values as in ``CLASSES["abdomen"]``.
    spacing : tuple of float
        mm (z, y, x).
    """
    body_rng, organ_rng, scanner_rng, noise_rng = (np.random.default_rng([seed, 11, stream]) for stream in range(4))
    scanner = pick_ct_scanner(scanner_rng)
    grid = Grid(shape or scanner.shape, spacing or scanner.spacing, (2, 2, 2))
    tissue = _paint(grid, body_rng, organ_rng)
    fine = np.zeros_like(tissue)
    for value, members in LABELS.items():
        fine[np.isin(tissue, [_T[name] for name in members])] = value
    label = majority_label(fine, tuple(LABELS), grid.oversampling)
    attenuation = attenuation_of(tissue, grid, scanner.phase, scanner_rng)
    return acquire_ct(attenuation, grid, scanner, noise_rng), label, grid.spacing


def _paint(grid: Grid, body_rng: np.random.Generator, rng: np.random.Generator) -> Array:
    """Tissue of each fine sample, from the outside inwards; uint8 (Z, Y, X)."""
    axes = grid.axes()
    flat_z, flat_y, flat_x = grid.coordinates()
    tissue = np.full(grid.fine_shape, _T["air"], np.uint8)
    # the view is placed by hand: it starts higher or lower, and the patient does not lie in its middle
    z = flat_z + body_rng.uniform(-28, 8) + 3 * random_field(body_rng, axes, 90)
    y = flat_y + body_rng.uniform(-9, 9) + 3.5 * random_field(body_rng, axes, 80)
    x = flat_x + body_rng.uniform(-12, 12) + 3.5 * random_field(body_rng, axes, 80)
    size = body_rng.uniform(0.86, 1.1)  # of the whole body and of what is in it
    z, y, x = z / np.float32(size), y / np.float32(size), x / np.float32(size)
    wall = _body(tissue, z, y, x, axes, body_rng)
    _table(tissue, flat_y, flat_x, body_rng)
    inside = wall < -10
    spine = (60.0 + body_rng.uniform(-4, 4), body_rng.uniform(-4, 4))
    _bowel(tissue, z, y, x, axes, inside, rng)
    _spine(tissue, z, y, x, spine, body_rng)
    _upper_organs(tissue, z, y, x, axes, inside, rng)
    _kidneys(tissue, z, y, x, axes, spine, rng)
    _great_vessels(tissue, z, y, x, spine, rng)
    _lungs(tissue, z, y, x, axes, wall, spine, rng)
    _ribs(tissue, z, y, x, wall, body_rng)
    return tissue


def _body(tissue: Array, z: Array, y: Array, x: Array, axes: tuple[Array, ...], rng: np.random.Generator) -> Array:
    """Skin, fat and muscle wall; returns the distance to the outside of the muscle wall."""
    width, depth = rng.uniform(138, 156), rng.uniform(92, 108)
    k = (np.abs(y / np.float32(depth)) ** 2.4 + np.abs(x / np.float32(width)) ** 2.4) ** (1 / 2.4)
    wall = (k - 1) * np.float32((width + depth) / 2)
    fat = rng.uniform(5, 26) * (1 - 0.35 * y / np.float32(depth)) * (1 + 0.15 * random_field(rng, axes, 70))
    tissue[wall < fat + 2.5] = _T["skin"]
    tissue[wall < fat] = _T["fat"]
    muscle = 9 + 3 * random_field(rng, axes, 60)
    tissue[(wall < 0) & (wall > -muscle)] = _T["muscle"]
    tissue[wall <= -muscle] = _T["fat"]
    return wall


def _table(tissue: Array, y: Array, x: Array, rng: np.random.Generator) -> None:
    bed = y - rng.uniform(122, 136) + 0.0012 * x**2
    free = tissue == _T["air"]
    tissue[(np.abs(bed) < 4) & (np.abs(x) < 175) & free] = _T["table"]


def _spine(tissue: Array, z: Array, y: Array, x: Array, spine: tuple[float, float], rng: np.random.Generator) -> None:
    sy, sx = spine
    for side in (-1, 1):  # back muscles and psoas
        tissue[column(y, x, (sy + 30, sx + side * 32), (22, 30)) < 0] = _T["muscle"]
        psoas = tube(z, y, x, ((-130, sy - 2, sx + side * 46), (10, sy + 4, sx + side * 27)), (24, 9))
        tissue[psoas < 0] = _T["muscle"]
    body = column(y, x, (sy, sx), (17, 21))
    phase = rng.uniform(0, 34)
    disc = np.mod(z + phase, 34) < 6
    tissue[body < 0] = _T["bone"]
    tissue[body < -3.5] = _T["marrow"]
    tissue[(body < 0) & disc] = _T["muscle"]
    arch = column(y, x, (sy + 25, sx), (13, 16))
    tissue[(arch < 0) & ~disc] = _T["bone"]
    tissue[column(y, x, (sy + 23, sx), (7, 9)) < 0] = _T["canal"]
    process = tube(z * 0, y, x, ((0, sy + 35, sx), (0, sy + 52, sx + rng.uniform(-2, 2))), (4, 4))
    tissue[(process < 0) & (np.mod(z + phase, 34) > 12)] = _T["bone"]


def _upper_organs(
    tissue: Array,
    z: Array,
    y: Array,
    x: Array,
    axes: tuple[Array, ...],
    inside: Array,
    rng: np.random.Generator,
) -> None:
    lumps = random_field(rng, axes, 42)
    # spleen: a bent disc at the back left
    sz, sy, sx = rng.uniform(15, 45), rng.uniform(18, 45), rng.uniform(88, 104)
    turned = rng.uniform(20, 60)
    spleen = ellipsoid(z, y, x, (sz, sy, sx), (rng.uniform(34, 58), rng.uniform(34, 50), rng.uniform(17, 27)), turned)
    hollow = ellipsoid(z, y, x, (sz - 6, sy - 12, sx - 40), (60, 40, 24), turned)
    spleen = np.maximum(spleen, -hollow) + 3.0 * lumps
    # stomach: a bag in front of the spleen, under the left lobe
    gz, gy, gx = rng.uniform(10, 45), rng.uniform(-38, -5), rng.uniform(38, 66)
    stomach = merge(
        ellipsoid(z, y, x, (gz, gy, gx), (rng.uniform(26, 42), rng.uniform(24, 40), rng.uniform(24, 36)), -25),
        tube(z, y, x, ((gz - 15, gy - 8, gx - 5), (gz - 40, gy - 22, 8), (gz - 42, gy - 5, -22)), (22, 17, 12)),
        14,
    )
    stomach = stomach + 3 * random_field(rng, axes, 35)
    tissue[(stomach < 0) & inside] = _T["gut wall"]
    tissue[(stomach < -rng.uniform(4, 8)) & inside] = _T["gut content"]
    gas_level = gy - rng.uniform(-6, 22)
    tissue[(stomach < -6) & inside & (y < gas_level)] = _T["gas"]
    tissue[(spleen < 0) & inside] = _T["spleen"]
    # pancreas: across the middle, towards the spleen's hilum
    pz = rng.uniform(-22, 5)
    pancreas = tube(z, y, x, ((pz - 14, 2, -28), (pz, -4, 2), (pz + 10, 6, 34), (pz + 22, 16, 64)), (13, 9, 8, 7))
    tissue[pancreas + 3 * random_field(rng, axes, 12) < 0] = _T["pancreas"]
    # liver: a big right lobe, a left lobe of any length that may reach the spleen
    lz, right = rng.uniform(14, 38), rng.uniform(-74, -56)
    right_lobe = ellipsoid(
        z, y, x, (lz, rng.uniform(-8, 10), right), (rng.uniform(64, 96), rng.uniform(66, 84), rng.uniform(56, 72)), 15
    )
    reach = rng.uniform(-5, 78)
    left_lobe = tube(
        z,
        y,
        x,
        ((lz + 8, -28, -40), (lz + 18, rng.uniform(-52, -38), reach)),
        (rng.uniform(30, 42), rng.uniform(9, 24)),
    )
    fissure = ellipsoid(z, y, x, (lz - 48, 8, right + 52), (66, 42, 36), 20)
    bed = ellipsoid(z, y, x, (rng.uniform(-55, -30), 66, -52), (rng.uniform(62, 78), 46, 46))  # the right kidney's bed
    liver = np.maximum(np.maximum(merge(right_lobe, left_lobe, 24), -fissure), -bed) + 4.0 * random_field(rng, axes, 50)
    in_liver = (liver < 0) & inside
    tissue[in_liver] = _T["liver"]
    branches = vessels(random_field(rng, axes, 52), random_field(rng, axes, 52), 0.16)
    tissue[in_liver & (liver < -7) & branches] = _T["liver vessel"]
    for _ in range(int(rng.choice([0, 0, 0, 1, 2, 4]))):
        spot = ellipsoid(
            z, y, x, (lz + rng.uniform(-40, 40), rng.uniform(-45, 45), right + rng.uniform(-30, 30)), (1, 1, 1)
        )
        tissue[in_liver & (spot < rng.uniform(4, 15))] = _T["liver lesion"]
    bladder = ellipsoid(
        z, y, x, (lz - rng.uniform(35, 60), rng.uniform(-42, -22), right + rng.uniform(24, 42)), (21, 15, 13), 35
    )
    if rng.uniform() < 0.85:
        tissue[(bladder < 0) & inside] = _T["gallbladder"]


def _kidneys(
    tissue: Array,
    z: Array,
    y: Array,
    x: Array,
    axes: tuple[Array, ...],
    spine: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    for side, name in ((1, "left"), (-1, "right")):
        centre = (
            rng.uniform(-42, -8) - (10 if side < 0 else 0),
            spine[0] - rng.uniform(4, 22),
            spine[1] + side * rng.uniform(58, 70),
        )
        lean = rng.uniform(0.1, 0.35) * side  # upper poles lie closer to the spine
        sideways = x + lean * (z - centre[0])
        turned = side * rng.uniform(15, 50)
        radii = (rng.uniform(42, 60), rng.uniform(23, 32), rng.uniform(19, 27))
        bed = ellipsoid(z, y, sideways, centre, radii, turned)
        tissue[bed < rng.uniform(4, 12)] = _T["fat"]
        kidney = bed + 2.2 * random_field(rng, axes, 22)
        hilum = (centre[0], centre[1] - 8, centre[2] - side * rng.uniform(17, 24))
        sinus = ellipsoid(z, y, sideways, hilum, (radii[0] * 0.42, 11, 17), turned)
        tissue[kidney < 0] = _T[f"{name} kidney"]
        pyramids = random_field(rng, axes, 15) > 0
        tissue[(kidney < -6) & pyramids] = _T[f"{name} medulla"]
        tissue[(sinus < 0) & (bed < 4)] = _T["fat"]
        tissue[(sinus < -5) & (bed < 4)] = _T["kidney pelvis"]
        if rng.uniform() < 0.3:
            cyst = (centre[0] + rng.uniform(-35, 35), centre[1] + rng.uniform(-10, 10), centre[2] + side * 20)
            tissue[ellipsoid(z, y, sideways, cyst, (1, 1, 1)) < rng.uniform(6, 17)] = _T["cyst"]


def _great_vessels(
    tissue: Array, z: Array, y: Array, x: Array, spine: tuple[float, float], rng: np.random.Generator
) -> None:
    sy, sx = spine
    bend = rng.uniform(-9, 9, 4)
    radius = rng.uniform(8.5, 13)
    swelling = rng.choice([0.0, 0.0, 0.0, rng.uniform(4, 11)])
    aorta = tube(
        z,
        y,
        x,
        (
            (125, sy - 16, sx + 20 + bend[0]),
            (45, sy - 25, sx + 10 + bend[1]),
            (-25, sy - 28, sx + 6 + bend[2]),
            (-125, sy - 29, sx + 5 + bend[3]),
        ),
        (radius + 1.5, radius + 0.5, radius + swelling, radius - 2),
    )
    cava = tube(
        z,
        y,
        x,
        ((125, sy - 45, sx - 24), (55, sy - 38, sx - 27), (-20, sy - 27, sx - 23), (-125, sy - 26, sx - 20)),
        (12, 12, rng.uniform(7, 12), 10),
    )
    root = rng.uniform(0, 25)
    mesenteric = tube(
        z, y, x, ((root, sy - 34, sx + 6), (root - 22, sy - 50, sx + 5), (-110, sy - 62, sx - 2)), (4.5, 4, 4)
    )
    vein = tube(z, y, x, ((root - 8, sy - 52, sx - 8), (root + 20, sy - 50, sx - 40)), (6, 6))
    crus = tube(z, y, x, ((110, sy - 12, sx + 34), (-10, sy - 20, sx + 20)), (5, 4))
    tissue[crus < 0] = _T["muscle"]
    tissue[mesenteric < 0] = _T["cava"]
    tissue[vein < 0] = _T["cava"]
    tissue[cava < 0] = _T["cava"]
    tissue[aorta < 0] = _T["aorta"]
    if rng.uniform() < 0.4:
        rim = (np.abs(aorta + 1) < 1) & (y > sy - 27) & (np.mod(z, 23) < 9)
        tissue[rim] = _T["calcium"]


def _bowel(
    tissue: Array,
    z: Array,
    y: Array,
    x: Array,
    axes: tuple[Array, ...],
    inside: Array,
    rng: np.random.Generator,
) -> None:
    top = rng.uniform(-5, 20)
    loops = random_field(rng, axes, (48, 38, 38)) + 0.35
    room = inside & (z < top) & (y < 32)
    tissue[room & (loops > 0.1)] = _T["gut wall"]
    filling = random_field(rng, axes, 45)
    tissue[room & (loops > 0.45)] = _T["gut content"]
    tissue[room & (loops > 0.55) & (filling > 0.9)] = _T["gas"]
    strands = vessels(random_field(rng, axes, 24), random_field(rng, axes, 24), 0.22)
    tissue[inside & strands & (tissue == _T["fat"])] = _T["cava"]
    for side in (-1, 1):  # the colon's upright parts
        colon = tube(z, y, x, ((-130, 15, side * 104), (rng.uniform(-25, 20), 0, side * 98)), (20, 18))
        colon = colon + 3 * random_field(rng, axes, 20)
        tissue[(colon < 0) & inside] = _T["gut wall"]
        tissue[(colon < -4) & inside] = _T["gut content"]
        tissue[(colon < -5) & inside & (filling > 0)] = _T["gas"]


def _lungs(
    tissue: Array,
    z: Array,
    y: Array,
    x: Array,
    axes: tuple[Array, ...],
    wall: Array,
    spine: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """What lies above the diaphragm: lung bases around the domes, and the heart's underside."""
    height = rng.uniform(62, 88)
    ripple = 4 * random_field(rng, axes, 60)
    right = height - 0.0105 * ((y + 5) ** 2 + (x + 68) ** 2) + ripple
    left = height - rng.uniform(2, 16) - 0.0105 * ((y + 2) ** 2 + (x - 70) ** 2) + ripple
    dome = np.maximum(right, left)
    middle = column(y, x, (spine[0] - 8, spine[1]), (46, 40))
    above = (wall < -12) & (z > dome) & (z > 12)
    soft = np.isin(tissue, [_T[name] for name in ("bone", "marrow", "canal", "aorta", "calcium", "cava")], invert=True)
    tissue[above & (middle <= 0) & soft & (y < spine[0])] = _T["fat"]
    tissue[above & (middle > 0)] = _T["lung"]
    heart = ellipsoid(z, y, x, (height + 42, -32, rng.uniform(10, 30)), (50, 44, 58), -20)
    chest_inside = (wall < -12) & (z > dome + 3)
    tissue[(heart < 5) & chest_inside] = _T["fat"]
    tissue[(heart < 0) & chest_inside] = _T["heart"]


def _ribs(tissue: Array, z: Array, y: Array, x: Array, wall: Array, rng: np.random.Generator) -> None:
    pitch = rng.uniform(24, 30)
    slope = rng.uniform(0.45, 0.75)
    lift = np.mod(z - slope * y + rng.uniform(0, 30), pitch)
    rib = (lift < 11) & (wall < -1) & (wall > -8) & (z > -35 + 0.35 * y) & (np.abs(x) > 25)
    tissue[rib] = _T["bone"]
    core = (lift > 3) & (lift < 8) & (wall < -3) & (wall > -6) & (z > -35 + 0.35 * y) & (np.abs(x) > 25)
    tissue[core] = _T["marrow"]
