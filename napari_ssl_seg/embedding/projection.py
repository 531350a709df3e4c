"""From vectors to points in the plane: principal components, or UMAP where it is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRINCIPAL, UMAP = "pca", "umap"
SEED = 0


@dataclass(frozen=True)
class FlatMap:
    """Points in the plane."""

    name: str
    points: NDArray[np.float64]
    """(N, 2)."""
    axes: tuple[str, str]
    """What the two axes are, in words."""


def list_projections() -> dict[str, str]:
    """Name -> what it shows; UMAP only where it is installed."""
    found = {PRINCIPAL: "principal components: distances are as far as two axes can show them"}
    if importlib.util.find_spec("umap") is not None:
        found[UMAP] = "UMAP: neighbours stay neighbours, distances between groups mean little"
    return found


def flatten(vectors: NDArray[np.floating], name: str = PRINCIPAL) -> FlatMap:
    """Lay vectors (N, D) out in the plane.

    Each axis of `pca` points so that its largest weight is positive: the same vectors always give the same map.

    Raises
    ------
    UserError
        For an unknown name, or UMAP where it is not installed.
    """
    if name == PRINCIPAL:
        return _principal(np.asarray(vectors, dtype=np.float64))
    if name == UMAP and UMAP in list_projections():
        return _umap(vectors)
    if name == UMAP:
        raise UserError("UMAP is not installed; install umap-learn, or take pca")
    raise UserError(f"there is no map {name!r}; choose one of: {', '.join(list_projections())}")


def _principal(vectors: NDArray[np.float64]) -> FlatMap:
    points = np.zeros((len(vectors), 2))
    shares = [0.0, 0.0]
    if len(vectors) > 1:
        centred = vectors - vectors.mean(axis=0)
        # The smaller of the two Gram matrices has the same eigenvalues, and is far cheaper than a decomposition of both.
        tall = centred.shape[0] > centred.shape[1]
        gram = centred.T @ centred if tall else centred @ centred.T
        values, basis = np.linalg.eigh(gram)
        values = np.maximum(values[::-1], 0.0)
        total = float(values.sum())
        for axis in range(min(2, len(values))):
            direction = basis[:, -1 - axis] if tall else centred.T @ basis[:, -1 - axis]
            length = float(np.linalg.norm(direction))
            if total <= 0 or length <= 1e-12 * np.sqrt(total):
                continue
            direction = direction / length
            direction = direction * np.sign(direction[np.abs(direction).argmax()])
            points[:, axis] = centred @ direction
            shares[axis] = float(values[axis]) / total
    return FlatMap(
        PRINCIPAL,
        points,
        (f"first principal component ({shares[0]:.0%} of the variance)", f"second ({shares[1]:.0%})"),
    )


def _umap(vectors: NDArray[np.floating]) -> FlatMap:
    import umap

    neighbours = min(15, max(2, len(vectors) - 1))
    points = umap.UMAP(n_neighbors=neighbours, random_state=SEED, n_jobs=1).fit_transform(np.asarray(vectors))
    return FlatMap(UMAP, np.asarray(points, dtype=np.float64), ("UMAP 1", "UMAP 2"))
