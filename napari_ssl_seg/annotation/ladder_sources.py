"""Where the finest regions of a ladder come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.annotation.hierarchy import connected_parts
from napari_ssl_seg.annotation.region_ladder import RegionLadder, from_levels, ladder_of
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.foreground import foreground_mask
from napari_ssl_seg.regions.superpixels import felzenszwalb_regions, slic_regions

if TYPE_CHECKING:
    from napari_ssl_seg.annotation.region_ladder import LadderSource
    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

SIGMA = 0.5
"""Pixels; of the Gaussian before the gradient. Wider ones lose thin structures."""
FULL_DETAIL = 200 * 200
"""Pixels; the finest regions of larger slices grow in proportion: else noise makes tens of thousands of them."""
FELZENSZWALB_SCALE, FELZENSZWALB_PIXELS = 5.0, 4
SLIC_PIXELS = 8
"""Area of the finest superpixels."""
CLASSICAL = {
    "watershed": "Basins of the gradient, merged",
    "felzenszwalb": "Felzenszwalb superpixels, merged",
    "slic": "SLIC superpixels, merged",
}


@dataclass(frozen=True)
class Chosen:
    """A definite source; ``key`` names exactly what its regions depend on besides the scan."""

    source: str
    title: str
    key: tuple[Any, ...]
    settings: RegionSettings | None = None
    run: Run | None = None
    channel: int = 0


def choose_source(
    study: Study, case_id: str, z: int, source: LadderSource, run: str | Run | None, settings: RegionSettings | None
) -> Chosen:
    """What was asked for, made definite; see `build_ladder`."""
    channel = 0 if settings is None else settings.channel
    if source in CLASSICAL:
        return Chosen(source, CLASSICAL[source], (source, channel), channel=channel)
    if source == "embedding":
        return _embedding(study, run)
    if source == "sam":
        found = _prepared(study, case_id, z, settings)
        if found is None:
            raise UserError(
                f"slice {z} of {case_id} has no sub-masks of Segment Anything yet; prepare the regions first, or choose the"
                " source watershed"
            )
        return found
    if source == "auto":
        found = _prepared(study, case_id, z, settings)
        return found or Chosen("watershed", CLASSICAL["watershed"], ("watershed", channel), channel=channel)
    raise UserError(f"regions come from {', '.join(CLASSICAL)}, sam, embedding or auto, not from {source!r}")


def make_ladder(study: Study, case_id: str, z: int, chosen: Chosen, levels: int) -> RegionLadder:
    """Build it; see `build_ladder`."""
    if chosen.source == "embedding":
        from napari_ssl_seg.annotation.clusters import nested_clusters
        from napari_ssl_seg.annotation.features import decoder_features

        assert chosen.run is not None
        features = decoder_features(study, chosen.run, case_id, z)
        return from_levels(nested_clusters(features, levels), chosen.title)
    from napari_ssl_seg.regions import slice_image

    image = slice_image(study, case_id, z, channel=chosen.channel)
    if chosen.source != "sam":
        return ladder_of(image, finest(image, chosen.source), levels=levels, title=chosen.title)
    from napari_ssl_seg.regions import slice_regions

    assert chosen.settings is not None
    masks = _completed(slice_regions(study, chosen.settings, case_id, z))
    basins = watershed_regions(image, body=np.ones(image.shape, bool))
    masks = connected_parts(masks)
    codes = basins.astype(np.int64) * (int(masks.max()) + 1) + masks
    pieces = np.unique(codes, return_inverse=True)[1].reshape(masks.shape) + 1
    return ladder_of(image, connected_parts(pieces), levels=levels, title=chosen.title, groups=masks)


def finest(image: np.ndarray, source: str) -> np.ndarray:
    """(y, x) the finest regions of a classical source, 0 = in none (air around the body)."""
    growth = max(1.0, image.size / FULL_DETAIL)
    if source == "felzenszwalb":
        return felzenszwalb_regions(image, scale=FELZENSZWALB_SCALE, min_size=round(FELZENSZWALB_PIXELS * growth))
    if source == "slic":
        return slic_regions(image, segments=max(1, round(image.size / (SLIC_PIXELS * growth))))
    return watershed_regions(image)


def watershed_regions(image: np.ndarray, *, sigma: float = SIGMA, body: np.ndarray | None = None) -> np.ndarray:
    """Catchment basins of the gradient's magnitude: (y, x) int32, 0 = outside the body, else 1.. .

    Meyer, Signal Processing 1994, in scikit-image's implementation: each local minimum of the gradient is a basin, so that
    regions end on edges however faint they are.

    Parameters
    ----------
    image
        (y, x), in [0, 1].
    body
        bool (y, x); None: what `foreground_mask` says.
    """
    from scipy.ndimage import gaussian_gradient_magnitude
    from skimage.segmentation import watershed

    body = foreground_mask(image) if body is None else body
    if not body.any():
        return np.zeros(image.shape, np.int32)
    sigma *= max(1.0, image.size / FULL_DETAIL) ** 0.5
    steps = gaussian_gradient_magnitude(np.asarray(image, np.float32), sigma)
    return watershed(steps, mask=body).astype(np.int32)


def _completed(masks: np.ndarray) -> np.ndarray:
    """Sub-masks with each connected part of what they leave out as one more region."""
    from scipy.ndimage import label

    rest, _ = label(masks == 0)
    return np.where(masks > 0, masks, rest + int(masks.max(initial=0))).astype(np.int32)


def _prepared(study: Study, case_id: str, z: int, settings: RegionSettings | None) -> Chosen | None:
    """Segment Anything as a source, if that slice is in the cache."""
    from napari_ssl_seg.regions import RegionSettings, region_key, resolve_settings, source_title
    from napari_ssl_seg.regions.prepare import case_files

    asked = (settings or RegionSettings()).model_copy(update={"source": "sam"})
    try:
        resolved = resolve_settings(asked)
    except UserError:
        return None
    if not case_files(study, resolved, [case_id])[case_id].has(z):
        return None
    title = f"Sub-masks of {source_title(resolved)}"
    return Chosen("sam", title, ("sam", region_key(resolved)), resolved, channel=resolved.channel)


def _embedding(study: Study, run: str | Run | None) -> Chosen:
    from napari_ssl_seg.training.weights import describe_weights

    if run is None:
        raise UserError("regions from an embedding need a run; choose one that has weights")
    found = study.run(run) if isinstance(run, str) else run
    step = int(describe_weights(found).get("step", 0))
    return Chosen("embedding", f"Clusters of {found.id}'s features", ("embedding", found.id, step), run=found)
