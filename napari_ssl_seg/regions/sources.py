"""What makes regions of slices, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.settings import RegionSettings, source_title

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_ssl_seg.volumes import Geometry

Place = tuple[str, int]
"""Case id and axial index of a slice."""


class RegionSource(Protocol):
    """Anything that turns slices into label maps."""

    title: str

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[Place] = ()) -> list[np.ndarray]:
        """The regions of each slice.

        Parameters
        ----------
        slices
            Each (H, W) float32 in [0, 1].
        places
            Where each slice is from, for messages; a source that reads files needs them.

        Returns
        -------
        list of ndarray
            Each (H, W) int32: 0 = in no region, 1..M by descending visible area.

        Raises
        ------
        UserError
            When a slice has values that are not finite, or a file is missing or does not fit.
        """
        ...


def open_source(settings: RegionSettings, *, geometry_of: Callable[[str], Geometry] | None = None) -> RegionSource:
    """The source that resolved settings name; Segment Anything's weights are read here, once.

    Parameters
    ----------
    settings
        As `resolve_settings` returns them.
    geometry_of
        Gives the grid of a case's scan. With it, label maps made elsewhere are refused unless they lie on that grid;
        without it only their shape is compared.

    Raises
    ------
    UserError
        When the weights cannot be read, or the folder of masks is not there.
    """
    if settings.source == "sam":
        from napari_ssl_seg.regions.sam import SamSource

        return SamSource(settings)
    if settings.source == "masks":
        from napari_ssl_seg.regions.foreign import MaskFiles

        return MaskFiles(settings.masks, title=source_title(settings), geometry_of=geometry_of)
    if settings.source in ("felzenszwalb", "slic"):
        return Superpixels(settings)
    raise ValueError("resolve_settings first: open_source needs a definite source, not 'auto'")


class Superpixels:
    """The classical sources: Felzenszwalb's method and SLIC, which need no weights."""

    def __init__(self, settings: RegionSettings) -> None:
        self.settings = settings
        self.title = source_title(settings)

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[Place] = ()) -> list[np.ndarray]:
        """See `RegionSource.segment`."""
        results = []
        for position, image in enumerate(slices):
            try:
                results.append(self._regions(image))
            except UserError as error:
                if position < len(places):
                    case_id, index = places[position]
                    raise UserError(f"slice {index} of {case_id}: {error}") from error
                raise
        return results

    def _regions(self, image: np.ndarray) -> np.ndarray:
        from napari_ssl_seg.regions.superpixels import felzenszwalb_regions, slic_regions

        options = self.settings
        if options.source == "slic":
            return slic_regions(
                image,
                segments=options.segments,
                compactness=options.compactness,
                background_out=options.background_out,
            )
        return felzenszwalb_regions(
            image,
            scale=options.scale,
            sigma=options.sigma,
            min_size=options.min_size,
            background_out=options.background_out,
        )
