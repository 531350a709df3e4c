"""Slices encoded for prompts: kept up to a number of bytes, made ahead in the background, and whoever waits goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    import torch

    from napari_ssl_seg.regions.sam_engine import SamEngine

LOOK_SECONDS = 0.1
"""How often a paused encoding looks whether it was stopped."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the encoder makes of a slice."""

    rows: torch.Tensor | None
    """(g², C) float32, row by row; None where the slice is near-constant, so that nothing is to be found in it."""
    input_size: tuple[int, int]
    """(h, w) of the resized slice inside the model's square input."""
    size: tuple[int, int]
    """(y, x) of the slice."""

    @property
    def nbytes(self) -> int:
        return 256 + (0 if self.rows is None else self.rows.element_size() * self.rows.nelement())


class SliceEncoder:
    """One engine's encoded slices; safe to use from several threads, of which one encodes at a time.

    Parameters
    ----------
    engine
    image_of
        Gives the slice of a key, (y, x) float, where `get` is not given one.
    limit
        Bytes kept; the slices used last stay.
    """

    def __init__(self, engine: SamEngine, image_of: Callable[[Any], np.ndarray] | None, limit: int) -> None:
        self.engine, self.limit, self.nbytes = engine, limit, 0
        self._image_of = image_of
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()
        self._keeping = threading.Lock()
        self._turn = threading.Lock()
        self._passed = threading.Condition()
        self._waiting = 0
        self._ahead: Hashable = None
        self._mine = threading.local()
        for block in engine.model.image_encoder.blocks:
            block.register_forward_pre_hook(self._give_way)

    def peek(self, key: Hashable) -> Encoded | None:
        """What is kept of a slice; never waits."""
        with self._keeping:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: Hashable, image: np.ndarray | None = None) -> Encoded:
        """What is kept of a slice, else encoded now, before what is being encoded ahead."""
        found = self.peek(key)
        if found is not None:
            return found
        with self._going_first(key):
            return self._make(key, image)

    def ahead(self, keys: Iterable[Hashable], stop: threading.Event | None = None) -> Iterator[Hashable]:
        """Encode slices one after the other, giving way to `get`; yields each key when it is ready."""
        for key in keys:
            if stop is not None and stop.is_set():
                return
            if self.peek(key) is None:
                self._mine.stop, self._mine.ahead, self._ahead = stop, True, key
                try:
                    self._make(key, None)
                except Stopped:
                    return
                finally:
                    self._mine.ahead, self._ahead = False, None
            yield key

    def clear(self) -> None:
        """Forget all slices: the scan, or how it is normalised, has changed."""
        with self._keeping:
            self._kept.clear()
            self.nbytes = 0

    def _make(self, key: Hashable, image: np.ndarray | None) -> Encoded:
        if image is None:
            if self._image_of is None:
                raise UserError(f"the slice {key} has not been encoded; encode it with its image first")
            image = self._image_of(key)
        with self._turn:
            found = self.peek(key)  # another thread may have made it meanwhile
            if found is None:
                found = self._embed(np.asarray(image))
                self._keep(key, found)
            return found

    def _embed(self, image: np.ndarray) -> Encoded:
        import torch

        from napari_ssl_seg.regions.sam import to_grey_levels

        if image.ndim != 2 or not np.isfinite(image).all():
            raise UserError("Segment Anything is asked about a slice (y, x) of finite numbers; check the scan")
        size = (image.shape[0], image.shape[1])
        grey = to_grey_levels(image)
        if grey is None:
            return Encoded(None, size, size)
        try:
            made = self.engine.embed([grey])[0]
            return Encoded(made.features.float().flatten(1).T.contiguous(), made.input_size, size)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"Segment Anything does not fit into the memory of {self.engine.device}; set 'sam_device' to cpu, or"
                " 'fast' on"
            ) from error

    def _keep(self, key: Hashable, made: Encoded) -> None:
        with self._keeping:
            if made.nbytes > self.limit:
                return
            self._kept[key] = made
            self.nbytes += made.nbytes
            while self.nbytes > self.limit:
                self.nbytes -= self._kept.popitem(last=False)[1].nbytes

    @contextmanager
    def _going_first(self, key: Hashable) -> Iterator[None]:
        """What is encoded ahead pauses, unless it is the very slice."""
        counted = self._ahead != key
        with self._passed:
            self._waiting += counted
        try:
            yield
        finally:
            with self._passed:
                self._waiting -= counted
                self._passed.notify_all()

    def _give_way(self, module: Any, inputs: Any) -> None:
        """Between two blocks of the encoder: a thread that encodes ahead lets others pass, or ends."""
        if not getattr(self._mine, "ahead", False):
            return
        stop = self._mine.stop
        if self._waiting:
            self._turn.release()
            try:
                with self._passed:
                    while self._waiting and not (stop is not None and stop.is_set()):
                        self._passed.wait(LOOK_SECONDS)
            finally:
                self._turn.acquire()
        if stop is not None and stop.is_set():
            raise Stopped


class Stopped(Exception):
    """An encoding ahead was to end."""
