"""Matching by the trained embedding: the most similar place of the other scan, and the way back as a check."""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from napari_ssl_seg.anatomy.matching import Match, Point, check_point, fraction_of, inside_of
from napari_ssl_seg.anatomy.net import FINE, joined, padded_length
from napari_ssl_seg.anatomy.robust import Consensus, fit_consensus
from napari_ssl_seg.anatomy.store import load_tensors, save_tensors
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study.cache import ByteCache
from napari_ssl_seg.training.hardware import limited_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_ssl_seg.anatomy.grid import Grid, Grids
    from napari_ssl_seg.anatomy.net import EmbeddingNet

HELD_BYTES = 2**30
KEPT_SECONDS = 0.5
"""Vectors of a scan that took longer are kept on disk, in half precision."""
HELD_MAPS = 64 * 2**20
"""Bytes of maps between two scans; a map of two takes about 40,000."""
PROBES = 800
"""Cells of one scan that are matched for the affine map."""
ENOUGH_PROBES = 100
"""Of so many cells some must agree on a map, if the scans share anatomy; tiny scans have fewer, and are given the doubt."""
AGREEING_CELLS = 2.0
"""A match agrees with the affine map when it is so near to it, in cells."""
MUTUAL_CELLS = 2.0
"""A match is mutual when the way back ends so near, in cells."""
FAR_CELLS = 4.0
"""A place so much further from where all matches put the point is not the same anatomy, in cells."""
PRODUCT_ROWS = 256


@dataclass(frozen=True)
class Embedded:
    """One scan's vectors."""

    grid: Grid
    vectors: Tensor
    """(64, d, h, w) of unit length; cells of two voxels of the grid."""

    @property
    def shape(self) -> tuple[int, int, int]:
        d, h, w = self.vectors.shape[1:]
        return d, h, w

    def cell_of(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) voxels of the scan -> the cell (N, 3) that holds each."""
        cells = np.floor((self.grid.from_scan(points) + 0.5) / FINE).astype(int)
        return np.clip(cells, 0, np.array(self.shape) - 1)

    def middle_of(self, cells: np.ndarray) -> np.ndarray:
        """(N, 3) cells -> voxels of the scan."""
        return self.grid.to_scan((np.asarray(cells, float) + 0.5) * FINE - 0.5)

    def at(self, cells: np.ndarray) -> Tensor:
        """(N, 64)."""
        index = torch.from_numpy(np.ascontiguousarray(cells))
        return self.vectors[:, index[:, 0], index[:, 1], index[:, 2]].T

    def nearest(self, queries: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """For each (N, 64) the most similar cell (N, 3) and its similarity (N,)."""
        flat = self.vectors.flatten(1)
        best, places = [], []
        for rows in queries.split(PRODUCT_ROWS):
            score, place = (rows @ flat).max(dim=1)
            best.append(score)
            places.append(place)
        cells = np.stack(np.unravel_index(torch.cat(places).numpy(), self.shape), axis=1)
        return cells, torch.cat(best).numpy()


class EmbeddingMatcher:
    """Finds the most similar cell, and rejects it where the way back ends elsewhere.

    Parameters
    ----------
    largest_cycle
        In cells.
    least_score
        Similarity.
    consensus
        Whether an accepted match is moved from the most similar place to where the mutual matches around it put it.
    folder
        Where the vectors of scans that take long are kept.
    """

    name = "Self-supervised Anatomical eMbedding"

    def __init__(
        self,
        net: EmbeddingNet,
        grids: Grids,
        *,
        largest_cycle: float = 2.0,
        least_score: float = 0.0,
        consensus: bool = True,
        folder: Path | None = None,
    ) -> None:
        self.net, self.grids = net.eval(), grids
        self.largest_cycle, self.least_score, self.consensus = largest_cycle, least_score, consensus
        self.folder = folder
        self._embedded: ByteCache[Embedded] = ByteCache(HELD_BYTES, lambda held: held.vectors.nbytes)
        self._maps: ByteCache[tuple[Consensus | None, int]] = ByteCache(
            HELD_MAPS, lambda held: 100 + (held[0].nbytes if held[0] is not None else 0)
        )

    @property
    def cell_mm(self) -> float:
        """Side of a cell."""
        return FINE * self.grids.spacing

    def embedded(self, case_id: str) -> Embedded:
        """The vectors of a scan; computed once and kept while there is room."""
        grid = self.grids.get(case_id)
        return self._embedded.get((case_id, id(grid)), lambda: self._embed(grid))

    def match(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        inside = self._check(case_id, point)
        own, other = self.embedded(case_id), self.embedded(other_id)
        start = own.cell_of(np.array([inside]))
        there, scores = other.nearest(own.at(start))
        back, _ = own.nearest(other.at(there))
        cycle = float(np.linalg.norm(back[0] - start[0]))
        # Within its cell the point keeps its place, so that a scan matched to itself gives the very same point.
        rest = own.grid.from_scan(np.array(inside)) - own.grid.from_scan(own.middle_of(start)[0])
        raw = other.grid.to_scan(other.grid.from_scan(other.middle_of(there)[0]) + rest)
        expected = self._expected(own.grid, inside, other.grid)
        reason = self._reason(case_id, other_id, float(scores[0]), cycle)
        if not reason and expected is None and self._probes(own) >= ENOUGH_PROBES:
            reason = self._strangers(case_id, other_id)
        elif not reason and expected is not None:
            reason = self._unlikely(raw, expected, other.grid)
        if self.consensus and expected is not None and not reason:
            raw = expected
        return Match(
            inside_of(raw, other.grid.scan_shape),
            score=float(scores[0]),
            cycle_error=cycle * self.cell_mm,
            how="embedding",
            accepted=not reason,
            reason=reason,
        )

    def fallback(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        """By the affine map that most mutual matches of both scans agree with; never accepted, but often right.

        Where no map fits, the same fraction of the field of view.
        """
        inside = self._check(case_id, point)
        both, matches = self.map_between(case_id, other_id)
        if both is None:
            why = (
                f"{case_id} and {other_id} seem to share no anatomy: no affine map fits their {matches} mutual matches"
            )
            shapes = (self.grids.study.case(name).shape for name in (case_id, other_id))
            return Match(fraction_of(inside, *shapes), math.nan, math.nan, "fraction", False, why)
        own, other, found = self.grids.get(case_id), self.grids.get(other_id), both.affine
        raw = found(np.array(inside) * own.scan_spacing) / other.scan_spacing
        point_there = inside_of(raw, other.scan_shape)
        share = f"{found.inliers} of {found.matches} mutual matches"
        reason = f"predicted by the affine map of {share} of {case_id} and {other_id}"
        if not outside(raw, other.scan_shape):
            return Match(
                point_there, self.similarity(case_id, inside, other_id, point_there), math.nan, "affine", False, reason
            )
        return Match(point_there, math.nan, math.nan, "affine", False, f"it lies outside {other_id}, as {reason}")

    def map_between(self, case_id: str, other_id: str) -> tuple[Consensus | None, int]:
        """From one scan to another in mm (voxels times spacing), and how many mutual matches there were; None: none fits."""
        return self._maps.get((case_id, other_id), lambda: self._fit(case_id, other_id))

    def similarity_map(self, case_id: str, point: Sequence[float], other_id: str) -> np.ndarray:
        """How similar each voxel of the other scan is to the point: float32 (z, y, x) in the other scan's voxels."""
        inside = self._check(case_id, point)
        own, other = self.embedded(case_id), self.embedded(other_id)
        query = own.at(own.cell_of(np.array([inside])))[0]
        similar = torch.tensordot(query, other.vectors, dims=1)
        axes = [
            other.grid.from_scan(np.stack([np.arange(n)] * 3, axis=1))[:, axis]
            for axis, n in enumerate(other.grid.scan_shape)
        ]
        result = similar.numpy()
        for axis, positions in enumerate(axes):
            result = _read_along(result, (positions + 0.5) / FINE - 0.5, axis)
        return result.astype(np.float32)

    def similarity(self, case_id: str, point: Sequence[float], other_id: str, other_point: Point) -> float:
        """Of two places."""
        own, other = self.embedded(case_id), self.embedded(other_id)
        first = own.at(own.cell_of(np.array([point])))[0]
        return float(first @ other.at(other.cell_of(np.array([other_point])))[0])

    def _check(self, case_id: str, point: Sequence[float]) -> Point:
        return check_point(point, self.grids.study.case(case_id).shape, case_id)

    def _reason(self, case_id: str, other_id: str, score: float, cycle: float) -> str:
        if cycle > self.largest_cycle:
            away, most = cycle * self.cell_mm, self.largest_cycle * self.cell_mm
            return (
                f"the way back from {other_id} ends {away:.3g} mm from the point in {case_id}, more than {most:.3g} mm:"
                f" {other_id} may not show this place"
            )
        if score < self.least_score:
            return f"the most similar place of {other_id} has a similarity of {score:.2f}, below {self.least_score:g}"
        return ""

    def _expected(self, own: Grid, point: Point, other: Grid) -> np.ndarray | None:
        """Where all mutual matches put a point, in voxels of the other scan; None where no map fits them."""
        found, _ = self.map_between(own.case_id, other.case_id)
        return None if found is None else found(np.array(point) * own.scan_spacing) / other.scan_spacing

    def _strangers(self, case_id: str, other_id: str) -> str:
        matches = self.map_between(case_id, other_id)[1]
        return f"{case_id} and {other_id} seem to share no anatomy: no affine map fits their {matches} mutual matches"

    def _unlikely(self, raw: np.ndarray, expected: np.ndarray, other: Grid) -> str:
        """Why not, where all mutual matches together say otherwise than the most similar place."""
        beyond = expected - np.clip(expected, -0.5, np.array(other.scan_shape) - 0.5)
        away = float(np.linalg.norm(beyond * other.scan_spacing))
        if away > self.cell_mm / 2:
            return f"all mutual matches together put it {away:.3g} mm outside {other.case_id}"
        off = float(np.linalg.norm((raw - expected) * other.scan_spacing))
        if off > FAR_CELLS * self.cell_mm:
            return f"the most similar place of {other.case_id} is {off:.3g} mm from where all mutual matches put it"
        return ""

    def _embed(self, grid: Grid) -> Embedded:
        path = None if self.folder is None else self.folder / f"{self._content(grid.case_id)}.safetensors"
        cells = [-(-n // FINE) for n in grid.image.shape]
        kept = load_tensors(path) if path is not None else None
        if kept is not None and list(kept.get("vectors", torch.empty(0)).shape[1:]) == cells:
            return Embedded(grid, _widened(kept["vectors"]))
        begun = time.monotonic()
        image = torch.from_numpy(np.array(grid.image))[None, None]
        padding = [part for n in reversed(grid.image.shape) for part in (0, padded_length(n) - n)]
        with torch.inference_mode(), limited_threads(0):
            fine, coarse = self.net(F.pad(image, padding, mode="replicate"))
            vectors = joined(fine, coarse)[0, :, : cells[0], : cells[1], : cells[2]].half()
        if path is not None and time.monotonic() - begun > KEPT_SECONDS:
            with suppress(UserError):  # a full disk costs time, and nothing else
                save_tensors(path, {"vectors": vectors})
        return Embedded(grid, _widened(vectors))

    @staticmethod
    def _probes(own: Embedded) -> int:
        return min(PROBES, math.prod(own.shape))

    def _content(self, case_id: str) -> str:
        case = self.grids.study.case(case_id)
        return hashlib.sha256(f"{case.fingerprint} {case.frame}".encode()).hexdigest()[:24]

    def _fit(self, case_id: str, other_id: str) -> tuple[Consensus | None, int]:
        own, other = self.embedded(case_id), self.embedded(other_id)
        # A regular thinning, the same each time.
        chosen = np.unique(np.linspace(0, math.prod(own.shape) - 1, self._probes(own)).astype(int))
        start = np.stack(np.unravel_index(chosen, own.shape), axis=1)
        there, _ = other.nearest(own.at(start))
        back, _ = own.nearest(other.at(there))
        mutual = np.linalg.norm(back - start, axis=1) <= MUTUAL_CELLS
        points = own.middle_of(start[mutual]) * own.grid.scan_spacing
        others = other.middle_of(there[mutual]) * other.grid.scan_spacing
        return fit_consensus(points, others, AGREEING_CELLS * self.cell_mm), int(mutual.sum())


def _widened(vectors: Tensor) -> Tensor:
    """Of unit length again. Vectors go through half precision wherever they come from, so that matches are the same."""
    return F.normalize(vectors.float(), dim=0)


def outside(point: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether a point lies in no voxel of a scan of ``shape``."""
    return bool(np.any(point < -0.5) or np.any(point > np.array(shape) - 0.5))


def _read_along(array: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis, the end's value beyond it."""
    last = array.shape[axis] - 1
    positions = np.clip(positions, 0, last)
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, last)
    shape = [1] * array.ndim
    shape[axis] = -1
    share = (positions - low).reshape(shape)
    return array.take(low, axis) * (1 - share) + array.take(high, axis) * share
