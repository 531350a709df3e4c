"""One vector a spot: by a run's encoder, or of the scans themselves where there is no run yet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.suggestion.coverage import comparable, distances
from napari_ssl_seg.suggestion.records import Spot
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.suggestion.pool import Pool
    from napari_ssl_seg.training.runs import Run

THUMBNAIL = 12
"""Side in pixels of the small pictures that stand for slices where there is no run."""


@dataclass(frozen=True)
class Cloud:
    """Points of the candidates and of what is labelled, in one space."""

    spots: tuple[Spot, ...]
    """The candidates, then what is labelled."""
    points: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    barren: NDArray[np.bool_]
    """Those that are labelled and show no structure."""
    source: str | None
    """The run whose encoder was asked."""

    def resembles_barren(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether what is labelled and lies nearest shows no structure, for some of the spots."""
        taught = np.flatnonzero(self.labelled)
        if not len(taught):
            return np.zeros(len(indices), bool)
        return self.barren[taught[distances(self.points[indices], self.points[taught]).argmin(axis=1)]]


def place_spots(study: Study, pool: Pool, run: Run | None, *, device: str = "auto") -> Generator[Event, None, Cloud]:
    """Lay the spots of a pool out by how alike they are; a case lies at the mean of its slices."""
    found: dict[Spot, np.ndarray]
    if run is None:
        found = yield from _thumbnails(study, pool)
    else:
        found = yield from _by_encoder(study, pool, run, device)
    if pool.unit == "case":
        by_case: dict[str, list[np.ndarray]] = {}
        for spot, vector in found.items():
            by_case.setdefault(spot.case_id, []).append(vector)
        found = {Spot(case_id, None): np.mean(vectors, axis=0) for case_id, vectors in by_case.items()}
    spots = tuple(spot for spot in (*pool.candidates, *pool.labelled) if spot in found)
    known = set(pool.labelled)
    points = comparable(np.stack([found[spot] for spot in spots]))
    labelled = np.array([spot in known for spot in spots])
    barren = _barren(study, pool)
    empty = np.array([spot in barren for spot in spots])
    return Cloud(spots, points, labelled, empty, run.id if run is not None else None)


def _barren(study: Study, pool: Pool) -> set[Spot]:
    """Labelled slices that show nothing but background; whole cases always show something to learn."""
    found: set[Spot] = set()
    if pool.unit == "case":
        return found
    for case_id, slices in pool.taught.items():
        source = study.label_source(case_id, purpose="show")
        if source is not None:
            found |= {Spot(case_id, index) for index in slices if not np.asarray(source[index]).any()}
    return found


def _by_encoder(study: Study, pool: Pool, run: Run, device: str) -> Generator[Event, None, dict[Spot, np.ndarray]]:
    """Vectors of every slice of the pool's cases, from the cache where these weights were asked before."""
    from napari_ssl_seg.training.weights import describe_weights

    description = describe_weights(run)
    channels, step = int(description["network"]["in_channels"]), int(description.get("step", 0))
    cases = [case for case in pool.cases if case.channels == channels]
    if not cases:
        raise RunError(f"run {run.id} takes scans of {channels} channels, and there is none; name another run")
    path = study.cache_folder / "suggestion" / f"{run.id}-{step}-vectors.npz"
    kept, loaded, fresh = _load(path), None, False
    wanted = _wanted(pool)
    start = time.monotonic()
    found: dict[Spot, np.ndarray] = {}
    try:
        for done, case in enumerate(cases):
            key = f"{case.id} {case.fingerprint} {case.frame}"
            known = kept.setdefault(key, {})
            lacking = [index for index in wanted[case.id] if index not in known]
            if lacking:
                left = (time.monotonic() - start) / done * (len(cases) - done) if done else None
                data = {"what": "embedding", "done": done, "total": len(cases), "seconds_left": left}
                yield Event("progress", data, run.id)
                loaded = loaded or _load_encoder(run, device)
                known.update(zip(lacking, _encode(study, case, lacking, *loaded), strict=True))
                fresh = True
            found |= {Spot(case.id, index): known[index] for index in wanted[case.id]}
    finally:  # also where it is stopped: the next call goes on there
        if fresh:
            _save(path, kept)
    return found


def _wanted(pool: Pool) -> dict[str, list[int]]:
    """The slices of each case that need a vector: candidates and labelled ones; of labelled cases all that count."""
    found: dict[str, set[int]] = {case.id: set(pool.planes.get(case.id, ())) for case in pool.cases}
    for spot in pool.labelled:
        case = found[spot.case_id]
        case |= set(pool.taught[spot.case_id]) if spot.slice_index is None else {spot.slice_index}
    return {case_id: sorted(slices) for case_id, slices in found.items()}


def _load_encoder(run: Run, device: str) -> tuple[Any, Any, str]:
    from napari_ssl_seg.training.hardware import pick_device
    from napari_ssl_seg.training.weights import load_backbone

    backbone, spec = load_backbone(run)
    name = pick_device(device).name
    return backbone.to(name), spec, name


def _encode(study: Study, case: Case, slices: Sequence[int], backbone: Any, spec: Any, device: str) -> list[np.ndarray]:
    from napari_ssl_seg.embedding import choose_places
    from napari_ssl_seg.embedding.vectors import BATCH, encode_places

    every = choose_places([case], spec, "slices", most=case.shape[0])
    places = [every[index] for index in slices]
    parts = [places[first : first + BATCH] for first in range(0, len(places), BATCH)]
    return [vector for part in parts for vector in encode_places(study, backbone, spec, part, device)]


def _load(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """Vectors by case and slice; nothing where the file is absent or damaged."""
    found: dict[str, dict[int, np.ndarray]] = {}
    if not path.exists():
        return found
    try:
        with np.load(path, allow_pickle=False) as data:
            keys, owners, slices, vectors = (data[name] for name in ("keys", "owners", "slices", "vectors"))
        for owner, index, vector in zip(owners.tolist(), slices.tolist(), vectors, strict=True):
            found.setdefault(str(keys[owner]), {})[index] = vector
    except Exception:  # whatever a damaged zip raises: the vectors are made anew
        return {}
    return found


def _save(path: Path, kept: dict[str, dict[int, np.ndarray]]) -> None:
    keys = [key for key, vectors in kept.items() if vectors]
    owners = [number for number, key in enumerate(keys) for _ in kept[key]]
    slices = [index for key in keys for index in kept[key]]
    vectors = np.stack([vector for key in keys for vector in kept[key].values()])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, keys=np.array(keys), owners=np.array(owners), slices=np.array(slices), vectors=vectors)


def _thumbnails(study: Study, pool: Pool) -> Generator[Event, None, dict[Spot, np.ndarray]]:
    """Slices made small, contrast and all, and how high they lie in their scan."""
    found: dict[Spot, np.ndarray] = {}
    wanted = _wanted(pool)
    for done, case in enumerate(pool.cases):
        yield Event("progress", {"what": "looking", "done": done, "total": len(pool.cases), "seconds_left": None})
        array = study.patches_source(case.id, purpose="show").array
        for index in wanted[case.id]:
            plane = np.asarray(array[0, index], np.float64)
            small = _shrunk(plane)
            height = np.full(THUMBNAIL, index / max(case.shape[0] - 1, 1))
            found[Spot(case.id, index)] = np.concatenate([small.ravel(), height])
    return found


def _shrunk(plane: np.ndarray) -> np.ndarray:
    """Means over `THUMBNAIL` x `THUMBNAIL` tiles (fewer where the slice is smaller than that)."""
    for axis in (0, 1):
        edges = np.linspace(0, plane.shape[axis], THUMBNAIL + 1).astype(int)
        starts = np.minimum(edges[:-1], plane.shape[axis] - 1)
        counts = np.maximum(np.diff(edges), 1)
        sums = np.stack(
            [plane.take(range(at, at + n), axis=axis).sum(axis=axis) for at, n in zip(starts, counts, strict=True)],
            axis,
        )
        plane = sums / counts.reshape((-1, 1) if axis == 0 else (1, -1))
    return plane
