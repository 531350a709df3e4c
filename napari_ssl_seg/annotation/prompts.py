"""Points and boxes to a mask, by Segment Anything: a slice is encoded once, then each question is answered at once.

Kirillov et al., ICCV 2023, section 3. The numbers are those of the package's own predictor; it needs neither torchvision
nor OpenCV here.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    import torch

    from napari_ssl_seg.regions.sam_engine import Embedding, SamEngine
    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.study import Study

CACHED_BYTES = 512 * 2**20
"""Of encoded slices: 128 of vit_b's, at 4 MiB each."""

Point = tuple[float, float, bool]
"""y, x in pixels of the slice, and whether it lies inside what is meant."""
BoxPrompt = tuple[float, float, float, float]
"""y0, x0, y1, x1 in pixels, both corners inside."""


@dataclass(frozen=True, eq=False)
class PromptAnswer:
    """The masks that a model offers for a question."""

    masks: np.ndarray
    """(N, y, x) bool."""
    scores: np.ndarray
    """(N,) float32: the IoU that the model itself expects of each."""
    chosen: int
    """The one with the highest score."""
    logits: np.ndarray
    """(N, l, l) float32 at the decoder's resolution; one of them can be passed on as ``previous``."""

    @property
    def mask(self) -> np.ndarray:
        """The chosen one, (y, x) bool."""
        return self.masks[self.chosen]


class PromptSession:
    """One model that is asked about slices; safe to use from several threads.

    Parameters
    ----------
    model
        A file of weights, or an engine.
    image_of
        Gives the slice of a key, (y, x) float, for `encode` without an image and `encode_ahead`.
    model_type, device
        As in `RegionSettings`, for a file.
    limit
        Bytes of encoded slices kept; those used last stay.

    Raises
    ------
    UserError
        When the weights cannot be read, or the device is not there.
    """

    def __init__(
        self,
        model: SamEngine | str | Path,
        *,
        image_of: Callable[[Any], np.ndarray] | None = None,
        model_type: str | None = None,
        device: str = "auto",
        limit: int = CACHED_BYTES,
    ) -> None:
        self.engine = _open(model, model_type, device) if isinstance(model, str | Path) else model
        self._image_of = image_of
        self._cache: ByteCache[_Encoded] = ByteCache(limit, lambda encoded: encoded.nbytes)
        self._engine_lock = threading.Lock()
        self._state = threading.Condition()
        self._waiting = 0
        self._ahead: Hashable = None
        self._yields = threading.local()
        for block in self.engine.model.image_encoder.blocks:
            block.register_forward_pre_hook(self._between_blocks)

    @property
    def nbytes(self) -> int:
        """Of encoded slices that are kept now."""
        return self._cache.nbytes

    def ready(self, key: Hashable) -> bool:
        """Whether a slice is encoded."""
        return self._known(key) is not None

    def encode(self, key: Hashable, image: np.ndarray | None = None) -> None:
        """Encode a slice (y, x) if it is not; an `encode_ahead` in another thread lets it pass at once.

        Parameters
        ----------
        key
            Names the slice: case and index.
        image
            Finite numbers, stretched to grey levels from the smallest to the largest; None: what ``image_of`` gives.

        Raises
        ------
        UserError
            When the image is no slice of finite numbers, or memory runs out.
        """
        self._encoded(key, image)

    def encode_ahead(self, keys: Iterable[Hashable], *, stop: threading.Event | None = None) -> Iterator[Hashable]:
        """Encode slices one after the other, in a worker: yields each key when it is ready.

        Set ``stop`` to end it within a fraction of a slice; closing it between two slices ends it, too. Whoever asks for
        another slice meanwhile goes first.
        """
        for key in keys:
            while not self.ready(key):
                with self._state:
                    while self._waiting and not (stop is not None and stop.is_set()):
                        self._state.wait(0.1)
                if stop is not None and stop.is_set():
                    return
                try:
                    with self._yielding(key, stop):
                        self._encoded(key, None, ahead=True)
                except _Interrupted:
                    continue
                break
            if stop is not None and stop.is_set():
                return
            yield key

    def mask(
        self,
        key: Hashable,
        points: Sequence[Point] = (),
        box: BoxPrompt | None = None,
        *,
        previous: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best mask (y, x) bool for points and a box, and the scores of all that were offered; see `ask`."""
        answer = self.ask(key, points, box, previous=previous)
        return answer.mask, answer.scores

    def ask(
        self,
        key: Hashable,
        points: Sequence[Point] = (),
        box: BoxPrompt | None = None,
        *,
        several: bool | None = None,
        previous: np.ndarray | None = None,
    ) -> PromptAnswer:
        """The masks for points and a box in a slice; encodes it first if need be.

        Parameters
        ----------
        several
            Whether the model offers three masks (a part, the whole, what it is part of) or one. None: three for a single
            point, which may mean any of them; one for more, as the model was trained.
        previous
            (l, l) logits of an answer to the question before, which this one refines.

        Raises
        ------
        ValueError
            When nothing is asked.
        """
        import torch

        if not points and box is None:
            raise ValueError("a prompt is at least one point or a box")
        encoded = self._encoded(key, None)
        if encoded.embedding is None:
            return PromptAnswer(
                np.zeros((1, *encoded.size), bool), np.zeros(1, np.float32), 0, np.zeros((1, 1, 1), np.float32)
            )
        three = several if several is not None else (len(points) == 1 and box is None)
        with torch.inference_mode():
            logits, quality = self._decode(encoded.embedding, points, box, previous)
            offered = slice(1, None) if three else slice(0, 1)
            logits, quality = logits[offered], quality[offered]
            masks = self._to_slice(logits, encoded.embedding) > 0
        scores = quality.cpu().numpy()
        return PromptAnswer(masks.cpu().numpy(), scores, int(scores.argmax()), logits.cpu().numpy())

    def _decode(
        self, embedding: Embedding, points: Sequence[Point], box: BoxPrompt | None, previous: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(4, 4g, 4g) logits and (4,) predicted IoU; the first is meant for questions of several prompts."""
        import torch

        engine, decoder, prompts = self.engine, self.engine.model.mask_decoder, self.engine.model.prompt_encoder
        asked_points = asked_box = None
        if points:
            places = self._frame(np.array([(x, y) for y, x, _ in points], np.float64), embedding)
            kinds = torch.tensor([[int(positive) for _, _, positive in points]], dtype=torch.int, device=engine.device)
            asked_points = (places[None], kinds)
        if box is not None:
            y0, x0, y1, x1 = box
            corners = np.array([(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))], np.float64)
            asked_box = self._frame(corners, embedding).reshape(1, 4)
        sparse, _ = prompts(points=asked_points, boxes=asked_box, masks=None)
        if previous is None:
            dense = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        else:
            dense = prompts.mask_downscaling(torch.as_tensor(previous, device=engine.device)[None, None])
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output[None], sparse.to(output.dtype)], dim=1)
        position = prompts.pe_layer((engine.grid, engine.grid))[None]
        hidden, keys = decoder.transformer(embedding.features.float()[None] + dense, position, tokens)
        image = decoder.output_upscaling(keys.transpose(1, 2).reshape(1, -1, engine.grid, engine.grid))
        weights = torch.stack(
            [mlp(hidden[:, 1 + number]) for number, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
        )
        logits = (weights @ image.flatten(2)).unflatten(2, image.shape[-2:])
        return logits[0].float(), decoder.iou_prediction_head(hidden[:, 0])[0].float()

    def _frame(self, places: np.ndarray, embedding: Embedding) -> torch.Tensor:
        """(N, 2) x, y in pixels of the slice to those of the model's square input."""
        import torch

        scale = np.array(embedding.input_size[::-1]) / np.array(embedding.size[::-1])
        moved = places * scale
        full = self.engine.model.prompt_encoder.input_image_size[0]
        if full != self.engine.input_side:  # the fast setting; pixels have their centre at .5
            moved = (moved + 0.5) * (full / self.engine.input_side) - 0.5
        dtype = torch.float32 if self.engine.device.startswith("mps") else torch.float64
        return torch.as_tensor(moved, dtype=dtype, device=self.engine.device)

    def _to_slice(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        from napari_ssl_seg.regions.sam_masks import upsample

        return upsample(logits, side=self.engine.input_side, input_size=embedding.input_size, size=embedding.size)

    # -- encoding -----------------------------------------------------------------------------------------------------
    def _known(self, key: Hashable) -> _Encoded | None:
        def missing() -> _Encoded:
            raise _Missing

        if self._ahead == key and key is not None:
            return None
        try:
            return self._cache.get(key, missing)
        except _Missing:
            return None

    def _encoded(self, key: Hashable, image: np.ndarray | None, *, ahead: bool = False) -> _Encoded:
        known = self._known(key)
        if known is not None:
            return known

        def make() -> _Encoded:
            found = image if image is not None else self._image(key)
            with self._engine_lock:
                return self._embed(np.asarray(found))

        if ahead or self._ahead == key:
            return self._cache.get(key, make)
        with self._going_first():
            return self._cache.get(key, make)

    def _image(self, key: Hashable) -> np.ndarray:
        if self._image_of is None:
            raise UserError(f"the slice {key} has not been encoded; encode it with its image first")
        return self._image_of(key)

    def _embed(self, image: np.ndarray) -> _Encoded:
        import torch

        from napari_ssl_seg.regions.sam import to_grey_levels

        if image.ndim != 2 or not np.isfinite(image).all():
            raise UserError("Segment Anything is asked about a slice (y, x) of finite numbers; check the scan")
        grey = to_grey_levels(image)
        size = (image.shape[0], image.shape[1])
        if grey is None:
            return _Encoded(None, size)
        try:
            return _Encoded(self.engine.embed([grey])[0], size)
        except torch.OutOfMemoryError as error:
            raise UserError("Segment Anything does not fit into the memory of the device; choose the CPU") from error

    @contextmanager
    def _going_first(self) -> Iterator[None]:
        with self._state:
            self._waiting += 1
        try:
            yield
        finally:
            with self._state:
                self._waiting -= 1
                self._state.notify_all()

    @contextmanager
    def _yielding(self, key: Hashable, stop: threading.Event | None) -> Iterator[None]:
        """While it lasts, this thread's encoding gives way to others."""
        self._yields.stop, self._yields.on, self._ahead = stop, True, key
        try:
            yield
        finally:
            self._yields.on, self._ahead = False, None

    def _between_blocks(self, module: Any, inputs: Any) -> None:
        if not getattr(self._yields, "on", False):
            return
        stop = self._yields.stop
        if self._waiting or (stop is not None and stop.is_set()):
            raise _Interrupted


def open_prompts(study: Study, settings: RegionSettings | None = None, *, limit: int = CACHED_BYTES) -> PromptSession:
    """A session about the slices of a study; keys are (case id, axial index).

    Parameters
    ----------
    settings
        Which weights, channel and device; None: those that are found.

    Raises
    ------
    UserError
        When there are no weights of Segment Anything, or they cannot be read.
    """
    from napari_ssl_seg.regions import RegionSettings, resolve_settings, slice_image
    from napari_ssl_seg.regions.sam import SamSource

    resolved = resolve_settings((settings or RegionSettings()).model_copy(update={"source": "sam"}))

    def image_of(key: tuple[str, int]) -> np.ndarray:
        return slice_image(study, key[0], key[1], channel=resolved.channel)

    return PromptSession(SamSource(resolved).engine, image_of=image_of, limit=limit)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """A slice; without an embedding where it is near-constant and nothing is to be found."""

    embedding: Embedding | None
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        features = None if self.embedding is None else self.embedding.features
        return 256 + (0 if features is None else features.element_size() * features.nelement())


class _Missing(Exception):
    """Not in the cache."""


class _Interrupted(Exception):
    """An encoding ahead gave way."""


def _open(path: str | Path, model_type: str | None, device: str) -> SamEngine:
    from napari_ssl_seg.regions.sam_checkpoint import load_sam
    from napari_ssl_seg.regions.sam_engine import SamEngine
    from napari_ssl_seg.training import pick_device

    return SamEngine(load_sam(path, model_type), device=pick_device(device).name)
