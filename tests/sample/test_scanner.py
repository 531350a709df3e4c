"""What the scanners add, against the textbook."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_ssl_seg.sample import scanner as s
from napari_ssl_seg.sample._shapes import Grid


@pytest.fixture
def mr():
    return replace(s.pick_mr_scanner(np.random.default_rng(0)), noise=0.05, shading=0.0, apodisation=0.0, gain=10_000.0)


def test_noise_in_air_is_rayleigh_and_in_tissue_nearly_normal(mr):
    grid = Grid((4, 64, 64), (8, 1.5, 1.5), (1, 1, 1))
    air = s.acquire_mr(np.zeros(grid.shape, np.float32), grid, mr, np.random.default_rng(1)).astype(float)
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)
    flat = s.acquire_mr(np.ones(grid.shape, np.float32), grid, mr, np.random.default_rng(1)).astype(float)
    within_slices = (flat - flat.mean((1, 2), keepdims=True)).std() / mr.gain
    assert within_slices == pytest.approx(0.05, rel=0.05)


def test_cutting_the_spectrum_keeps_what_a_coarse_matrix_can_hold():
    grid = Grid((1, 16, 24), (1, 1, 1), (1, 2, 2))
    _, y, x = grid.coordinates()

    def smooth(y, x):
        return 2 + np.cos(2 * np.pi * 3 * y / 16) + np.sin(2 * np.pi * 5 * x / 24)

    seen = s._cut_spectrum(smooth(y, x), (2, 2), 0.0)
    _, y, x = Grid((1, 16, 24), (1, 1, 1), (1, 1, 1)).coordinates()
    np.testing.assert_allclose(seen, smooth(y, x), atol=1e-5)


def test_a_sharp_edge_rings_and_tapering_calms_it():
    edge = np.zeros((1, 8, 64), np.float32)
    edge[..., 15:48] = 1  # not symmetric about a voxel's centre
    sharp, calm = (s._cut_spectrum(edge, (1, 2), apodisation) for apodisation in (0.0, 1.0))
    assert sharp.max() > 1.05
    assert calm.max() < 1.02


def test_ct_keeps_hounsfield_units_and_its_noise_is_as_told():
    scanner = replace(s.pick_ct_scanner(np.random.default_rng(0)), noise=12.0, cupping=0.0)
    grid = Grid((6, 64, 64), (5, 4, 4), (1, 1, 1))
    image = s.acquire_ct(np.full(grid.shape, 40, np.float32), grid, scanner, np.random.default_rng(2)).astype(float)
    assert image.mean() == pytest.approx(40, abs=1)
    middle = image[:, 24:40, 24:40]
    assert 6 < middle.std() < 18
    assert middle.std() > image[:, :8, :8].std()


def test_ct_values_stay_within_what_scanners_store():
    scanner = s.pick_ct_scanner(np.random.default_rng(3))
    grid = Grid((2, 32, 32), (5, 4, 4), (1, 1, 1))
    for value, bound in ((-1024, -1024), (9000, 3071)):
        image = s.acquire_ct(np.full(grid.shape, value, np.float32), grid, scanner, np.random.default_rng(2))
        assert image.dtype == np.int16
        assert (image.min() if value < 0 else image.max()) == bound


def test_scanners_differ():
    machines = [s.pick_mr_scanner(np.random.default_rng(i)) for i in range(30)]
    assert len({m.vendor for m in machines}) == 4
    assert len({m.spacing for m in machines}) > 20
    assert {s.pick_ct_scanner(np.random.default_rng(i)).phase for i in range(40)} == set(s.PHASES)
