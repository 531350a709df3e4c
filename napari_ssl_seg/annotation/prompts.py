"""Points and boxes to a mask, by Segment Anything: a slice is encoded once, then each question is answered at once.

Kirillov et al., ICCV 2023, section 3. The numbers are those of the package's own predictor; it needs neither torchvision
nor OpenCV here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.annotation.encoding import Encoded, SliceEncoder

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    import torch

    from napari_ssl_seg.regions.sam_engine import SamEngine
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
        from napari_ssl_seg.annotation.decoding import LeanDecoder

        self.engine = _open(model, model_type, device) if isinstance(model, str | Path) else model
        self._slices = SliceEncoder(self.engine, image_of, limit)
        self._decoder = LeanDecoder(self.engine.model, self.engine.grid)

    @property
    def nbytes(self) -> int:
        """Of encoded slices that are kept now."""
        return self._slices.nbytes

    def ready(self, key: Hashable) -> bool:
        """Whether a slice is encoded, so that a question is answered at once; never waits."""
        return self._slices.peek(key) is not None

    def encode(self, key: Hashable, image: np.ndarray | None = None) -> None:
        """Encode a slice if it is not, in a worker: seconds on a CPU. What is encoded ahead pauses meanwhile.

        Parameters
        ----------
        key
            Names the slice: case and index.
        image
            (y, x) finite numbers, stretched to grey levels from the smallest to the largest; None: what ``image_of`` gives.

        Raises
        ------
        UserError
            When the image is no slice of finite numbers, or memory runs out.
        """
        self._slices.get(key, image)

    def encode_ahead(self, keys: Iterable[Hashable], *, stop: threading.Event | None = None) -> Iterator[Hashable]:
        """Encode slices one after the other, in a worker: yields each key when it is ready.

        Set ``stop`` to end it within a fraction of a slice; closing it ends it between two slices. Whoever asks for
        another slice meanwhile goes first, and what was begun goes on afterwards.
        """
        return self._slices.ahead(keys, stop)

    def clear(self) -> None:
        """Forget all encoded slices."""
        self._slices.clear()

    def mask(
        self,
        key: Hashable,
        points: Sequence[Point] = (),
        box: BoxPrompt | None = None,
        *,
        previous: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best mask (y, x) bool for points and a box, and the scores of all that were offered; see `ask`."""
        logits, scores, encoded = self._answers(key, points, box, None, previous)
        best = int(scores.argmax())
        return self._to_slice(logits[best : best + 1], encoded)[0], scores

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
        logits, scores, encoded = self._answers(key, points, box, several, previous)
        return PromptAnswer(self._to_slice(logits, encoded), scores, int(scores.argmax()), logits.cpu().numpy())

    def _answers(
        self,
        key: Hashable,
        points: Sequence[Point],
        box: BoxPrompt | None,
        several: bool | None,
        previous: np.ndarray | None,
    ) -> tuple[torch.Tensor, np.ndarray, Encoded]:
        """Logits (N, l, l) and scores (N,) of what is offered."""
        import torch

        if not points and box is None:
            raise ValueError("a prompt is at least one point or a box")
        encoded = self._slices.get(key)
        if encoded.rows is None:
            return torch.zeros((1, 1, 1)), np.zeros(1, np.float32), encoded
        if several is None:
            several = len(points) == 1 and box is None
        with torch.inference_mode():
            logits, quality = self._decode(encoded, points, box, previous)
        offered = slice(1, None) if several else slice(0, 1)
        return logits[offered], quality[offered].cpu().numpy(), encoded

    def _decode(
        self, encoded: Encoded, points: Sequence[Point], box: BoxPrompt | None, previous: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(4, 4g, 4g) logits and (4,) predicted IoU; the first is meant for questions of several prompts."""
        import torch

        engine, prompts = self.engine, self.engine.model.prompt_encoder
        asked_points = asked_box = None
        if points:
            places = self._frame(np.array([(x, y) for y, x, _ in points], np.float64), encoded)
            kinds = torch.tensor([[int(positive) for _, _, positive in points]], dtype=torch.int, device=engine.device)
            asked_points = (places[None], kinds)
        if box is not None:
            y0, x0, y1, x1 = box
            corners = np.array([(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))], np.float64)
            asked_box = self._frame(corners, encoded).reshape(1, 4)
        sparse, _ = prompts(points=asked_points, boxes=asked_box, masks=None)
        if previous is None:
            dense = prompts.no_mask_embed.weight
        else:
            low = torch.as_tensor(previous, device=engine.device)[None, None]
            dense = prompts.mask_downscaling(low)[0].flatten(1).T
        assert encoded.rows is not None
        return self._decoder(encoded.rows, dense, sparse[0].float())

    def _frame(self, places: np.ndarray, encoded: Encoded) -> torch.Tensor:
        """(N, 2) x, y in pixels of the slice to those of the model's square input."""
        import torch

        scale = np.array(encoded.input_size[::-1]) / np.array(encoded.size[::-1])
        moved = places * scale
        full = self.engine.model.prompt_encoder.input_image_size[0]
        if full != self.engine.input_side:  # the fast setting; pixels have their centre at .5
            moved = (moved + 0.5) * (full / self.engine.input_side) - 0.5
        dtype = torch.float32 if self.engine.device.startswith("mps") else torch.float64
        return torch.as_tensor(moved, dtype=dtype, device=self.engine.device)

    def _to_slice(self, logits: torch.Tensor, encoded: Encoded) -> np.ndarray:
        """(N, y, x) bool."""
        import torch

        from napari_ssl_seg.regions.sam_masks import upsample

        if encoded.rows is None:
            return np.zeros((len(logits), *encoded.size), bool)
        with torch.inference_mode():
            large = upsample(logits, side=self.engine.input_side, input_size=encoded.input_size, size=encoded.size)
            return (large > 0).cpu().numpy()


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


def _open(path: str | Path, model_type: str | None, device: str) -> SamEngine:
    from napari_ssl_seg.regions.sam_checkpoint import load_sam
    from napari_ssl_seg.regions.sam_engine import SamEngine
    from napari_ssl_seg.training import pick_device

    return SamEngine(load_sam(path, model_type), device=pick_device(device).name)
