"""A study's label store as it is opened, and a case as it is labelled now: read in a worker. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.workbench import labelling_states as states_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_ssl_seg.annotation import LabelStore, Writer
    from napari_ssl_seg.study import Study

FLUSH_SECONDS = 20.0
NARROW = 255


@dataclass(frozen=True)
class OpenStore:
    """The label store of a study, opened in a worker."""

    study: Study
    store: LabelStore
    writer: Writer | None
    """None: it may only be read."""


@dataclass
class LabelledCase:
    """A case as it is labelled now."""

    case_id: str
    labels: NDArray[Any]
    """(z, y, x) uint8 or uint16; the layer's own array once there is a layer."""
    states: NDArray[np.uint8]
    counts: NDArray[np.int64]
    """(slices, values): voxels of each value on each slice."""
    placement: Mapping[str, Any]
    """Keywords of a napari layer."""
    spacing: tuple[float, float, float]
    """mm along z, y, x."""
    generation: int = 0
    stale: set[int] = field(default_factory=set)
    """Slices of which `counts` is to be made anew."""

    def voxels(self, value: int, index: int | None = None) -> int:
        """Voxels of a class, on one slice or in all."""
        if self.stale:
            for z in self.stale:
                self.counts[z] = _count(self.labels[z], self.counts.shape[1])
            self.stale.clear()
        if not 0 <= value < self.counts.shape[1]:
            return 0
        return int(self.counts[:, value].sum() if index is None else self.counts[index, value])


def open_store(study: Study, *, write: bool = True) -> OpenStore:
    """Open a study's label store (in a worker); raises UserError where it is damaged or not one."""
    from napari_ssl_seg.annotation import Writer, open_labels

    store = open_labels(study, write=write)
    return OpenStore(study, store, Writer(store) if store.writable else None)


def read_labels(opened: OpenStore, case_id: str) -> LabelledCase:
    """A case for the window (in a worker). What the study has as the case's own label file enters the store's history."""
    from napari_ssl_seg.volumes import layer_kwargs, read_header

    study, store = opened.study, opened.store
    case = study.case(case_id)
    if opened.writer is not None:
        opened.writer.flush(FLUSH_SECONDS)
    labels = np.ascontiguousarray(store.labels(case_id))
    highest = max([NARROW, int(labels.max(initial=0)), *(item.value for item in study.classes)])
    labels = np.array(labels, dtype=np.uint8 if highest <= NARROW else np.uint16)
    states = np.array(store.states(case_id), dtype=np.uint8)
    states[states == states_.PROPOSED] = states_.UNLABELLED  # by a window that was killed: what it proposed is gone
    values = max(2, highest + 1) if highest > NARROW else NARROW + 1
    counts = np.stack([_count(layer, values) for layer in labels])
    geometry = (
        read_header(case.images[0]).geometry if case.frame is None else study.image(case_id, purpose="show").geometry
    )
    return LabelledCase(case_id, labels, states, counts, layer_kwargs(geometry), case.spacing)


def _count(values: NDArray[Any], length: int) -> NDArray[np.int64]:
    return np.bincount(values.ravel(), minlength=length)[:length].astype(np.int64)
