"""A study in memory, with the little that sampling and inspection ask of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.anatomy.matching import SameFieldMatcher
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext.crop import WholeMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.methods import Method


@dataclass(frozen=True)
class FakeScan:
    case_id: str
    array: np.ndarray


@dataclass(frozen=True)
class FakeCase:
    id: str
    shape: tuple[int, int, int]
    split: str = "train"


class FakeStudy:
    """Scans by id, as float32 (C, z, y, x); remembers for which purposes it was asked."""

    def __init__(self, scans: Mapping[str, np.ndarray]) -> None:
        self.scans = dict(scans)
        self.purposes: set[str] = set()

    def patches_source(self, case_id: str, *, purpose: str) -> FakeScan:
        self.purposes.add(purpose)
        return FakeScan(case_id, self.scans[case_id])

    def case(self, case_id: str) -> FakeCase:
        return FakeCase(case_id, self.scans[case_id].shape[1:])

    def median_shape(self) -> tuple[int, int, int]:
        z, y, x = (int(np.median(lengths)) for lengths in zip(*(case.shape for case in self.cases()), strict=True))
        return z, y, x

    def cases(self, split: str | None = None) -> list[FakeCase]:
        return [self.case(case_id) for case_id in self.scans]


def blobs(seed: int, shape: tuple[int, int, int] = (20, 40, 36), channels: int = 1) -> np.ndarray:
    """A smooth scan in [-1, 1] with some structure everywhere."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(0, 3, length) for length in shape), indexing="ij")
    layers = [
        np.sin(grid[0] * rng.uniform(1, 3))
        * np.cos(grid[1] * rng.uniform(1, 3))
        * np.sin(1 + grid[2] * rng.uniform(1, 3))
        for _ in range(channels)
    ]
    noise = rng.normal(0, 0.05, (channels, *shape))
    return np.clip(np.stack(layers) + noise, -1, 1).astype(np.float32)


def small_study(cases: int = 4, **options: Any) -> FakeStudy:
    return FakeStudy({f"case{number}": blobs(number, **options) for number in range(cases)})


def small_spec(dims: int, channels: int = 1, method: Method | None = None) -> NetworkSpec:
    """A small network for slices or volumes: a U-Net, or what the method pretrains where that is none."""
    patch = (32, 32) if dims == 2 else (16, 32, 32)
    networks = method.networks if method is not None else ()
    name = "unet" if "unet" in networks else (*networks, "unet")[0]
    return NetworkSpec(name=name, dims=2 if dims == 2 else 3, in_channels=channels, preset="small", patch=patch)


SETTLED: dict[str, dict[str, Any]] = {
    "fdas": {"channels": 5},
    "lrc": {"queue": 0},
    "voco": {"features": 64},
    "moco": {"queue": 0},
    "densecl": {"queue": 8, "momentum": 1.0},
    "ibot": {
        "frozen": 0.0,
        "standardise": False,
        "momentum": 1.0,
        "centre_momentum": 1.0,
        "last_temperature": 0.04,
        "hidden": 64,
        "projection": 16,
        "mask_chance": 1.0,
    },
    # Batch norm of two patches jumps, and so would the loss.
    "moco_v3": {"momentum": 1.0, "head_norm": "none", "temperature": 0.05, "hidden": 64, "projection": 16},
    "dino": {
        "frozen": 0.0,
        "standardise": False,
        "momentum": 1.0,
        "centre_momentum": 1.0,
        "last_temperature": 0.04,
        "hidden": 64,
        "projection": 16,
    },
    # A teacher that stands still and matters less than the restoration: what it says changes faster than 8 steps can follow.
    "mod": {
        "frozen": 0.0,
        "momentum": 1.0,
        "centre_momentum": 1.0,
        "last_temperature": 0.04,
        "alpha": 0.1,
        "beta": 0.1,
    },
}
"""What `Method.prepare` would settle for studies as small as these; and what lets a few steps show that a method learns."""


def settled(name: str) -> Method:
    """A method of which nothing is left open."""
    return get_method(name, SETTLED.get(name))


def grid_regions(shape: tuple[int, int, int]) -> np.ndarray:
    """The same 20 regions in each slice: blocks of unequal size, by descending area; a margin of 2 belongs to none."""
    _, height, width = shape
    rows = np.searchsorted(np.array([0.30, 0.54, 0.74, 0.90]) * height, np.arange(height), side="right")
    columns = np.searchsorted(np.array([0.36, 0.64, 0.85]) * width, np.arange(width), side="right")
    blocks = rows[:, None] * 4 + columns
    areas = np.bincount(blocks.ravel(), minlength=20)
    rank = np.empty(20, dtype=np.int32)
    rank[np.argsort(-areas, kind="stable")] = np.arange(1, 21)
    plane = rank[blocks]
    plane[:2] = plane[-2:] = 0
    plane[:, :2] = plane[:, -2:] = 0
    return np.broadcast_to(plane, shape)


def fake_prepared(method: Method, study: FakeStudy) -> Prepared:
    """What `Method.prepare` would return, with `grid_regions` for methods that need regions, and points matched by their
    place in the field of view."""
    if method.needs.matched:
        return Prepared(method, matcher=SameFieldMatcher(study))  # type: ignore[arg-type]
    if not method.needs.regions:
        return Prepared(method)

    def regions_of(case_id: str) -> WholeMap:
        return WholeMap(grid_regions(study.case(case_id).shape))

    return Prepared(method, regions_of=regions_of, submasks_of=regions_of)
