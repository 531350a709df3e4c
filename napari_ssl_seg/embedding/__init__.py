"""What a run's encoder makes of slices or patches: one vector each, and a map of them in the plane.

Torch is imported when the first vector is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.embedding.places import Place, choose_places
    from napari_ssl_seg.embedding.projection import FlatMap, flatten, list_projections
    from napari_ssl_seg.embedding.vectors import Embedding, embed

_HOMES = {
    "Embedding": "vectors",
    "FlatMap": "projection",
    "Place": "places",
    "choose_places": "places",
    "embed": "vectors",
    "flatten": "projection",
    "list_projections": "projection",
}
__all__ = ["Embedding", "FlatMap", "Place", "choose_places", "embed", "flatten", "list_projections"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
