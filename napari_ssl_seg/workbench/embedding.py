"""What the map of an embedding asks for, and what it is given. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_ssl_seg.embedding import Embedding, FlatMap
    from napari_ssl_seg.embedding.places import What
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event


@dataclass(frozen=True)
class MapRequest:
    """Whose vectors of what, and how they are laid out."""

    run: str
    what: What = "slices"
    projection: str = "pca"


@dataclass(frozen=True)
class MadeMap:
    """Vectors with their map."""

    request: MapRequest
    embedding: Embedding
    flat: FlatMap


def make_map(study: Study, request: MapRequest) -> Generator[Event, None, MadeMap]:
    """Embed, from the cache where it has it, and lay out; progress events on the way.

    Raises
    ------
    UserError
        When the run has left no weights, or the projection is not installed.
    """
    from napari_ssl_seg.embedding import embed, flatten

    made = yield from embed(study, study.run(request.run), request.what)
    return MadeMap(request, made, flatten(made.vectors, request.projection))
