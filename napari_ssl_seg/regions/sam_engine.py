"""The networks of Segment Anything at work: slices to embeddings, points to masks at the decoder's low resolution.

Everything is done with the package's own modules. Differences from its predictor, none of which changes a number beyond
rounding: several slices go through the encoder together; what the decoder computes from the slice alone is computed once
for all points (its first block sees the same embedding for each); and the part of the decoder that makes masks runs only
for points with a mask whose predicted quality passes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

Precision = Literal["32", "bf16", "16"]

FAST_SHARE = 0.5
"""Side of the encoder's input in the fast setting, as a share of the full one."""
SLICES_ON_GPU = 4
_KEYS_ON_CPU = 2**24
"""Bytes of the decoder's keys in one pass on the CPU. Four points of vit_b: half the time of 64, whose tensors are so large
that each is fetched from the system anew and fits into no cache."""


@dataclass(frozen=True)
class Embedding:
    """What the encoder makes of one slice or crop.

    Attributes
    ----------
    features : Tensor
        (C, g, g), on the engine's device.
    input_size : tuple of int
        (h, w) of the resized slice inside the square input.
    size : tuple of int
        (H, W) of the slice.
    """

    features: torch.Tensor
    input_size: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class LowMasks:
    """Masks at the decoder's resolution, for those (point, mask) that passed.

    Attributes
    ----------
    logits : Tensor
        (N, 4g, 4g) float32.
    quality : Tensor
        (N,) float32, predicted IoU.
    point : Tensor
        (N,) int64, position of the point in the batch.
    """

    logits: torch.Tensor
    quality: torch.Tensor
    point: torch.Tensor


class SamEngine:
    """One model on one device.

    Parameters
    ----------
    model : modeling.Sam
        As `sam_checkpoint.load_sam` returns it; moved to the device.
    device : str
        As torch names it.
    fast : bool
        Encoder at `FAST_SHARE` of its resolution, with its absolute positions interpolated (the relative ones the
        package interpolates itself), decoder on the smaller embedding. Not the same masks: a small network trained on
        phantoms lost nearly all objects at half its 16 x 16 embedding (benchmarks/results/sam_speed.json), by the
        resolution and not by the thinned points. How published weights fare is for `sam_agreement.compare_fast` to say.
    precision : str
        ``bf16`` or ``16`` run encoder and decoder in autocast; prompts and everything after the decoder stay float32.

    Attributes
    ----------
    grid : int
        Side of the embedding.
    slices_at_once : int
        So many are best encoded together here.
    points_at_once : int or None
        More are not worth decoding together here; None: as many as the memory allows.
    """

    def __init__(self, model: Any, *, device: str = "cpu", fast: bool = False, precision: Precision = "32") -> None:
        self.model = model.to(device)
        self.device = device
        self.fast = fast
        self.precision = precision
        patch = model.image_encoder.patch_embed.proj.kernel_size[0]
        full = model.image_encoder.img_size // patch
        self.grid = max(2, round(full * FAST_SHARE)) if fast else full
        self.input_side = self.grid * patch
        self.positions = _positions(model.image_encoder.pos_embed, self.grid)
        self.slices_at_once = self._slices_that_fit() if device.startswith("cuda") else 1
        keys = self.grid**2 * model.mask_decoder.transformer_dim * 4
        self.points_at_once = max(1, _KEYS_ON_CPU // keys) if device == "cpu" else None

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Embeddings of (H, W) uint8 images, in one pass through the encoder; sizes may differ."""
        import torch

        scaled = [self.resize(image) for image in images]
        batch = torch.zeros((len(images), 3, self.input_side, self.input_side), device=self.device)
        mean, std = self.model.pixel_mean.to(self.device), self.model.pixel_std.to(self.device)
        for position, image in enumerate(scaled):
            height, width = image.shape
            grey = torch.from_numpy(image).to(self.device)
            batch[position, :, :height, :width] = (grey[None].expand(3, -1, -1) - mean) / std  # padding stays 0
        with torch.inference_mode(), self._autocast():
            features = self._encode(batch)
        return [
            Embedding(features[position], (scaled[position].shape[0], scaled[position].shape[1]), image.shape[:2])
            for position, image in enumerate(images)
        ]

    def resize(self, image: np.ndarray) -> np.ndarray:
        """The (H, W) uint8 image with its longer side as long as the encoder's input, by Pillow's bilinear filter."""
        from PIL import Image

        height, width = image.shape
        scale = self.input_side / max(height, width)
        target = (int(width * scale + 0.5), int(height * scale + 0.5))
        return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(target, Image.Resampling.BILINEAR))

    def decode(
        self, embeddings: Sequence[Embedding], which: np.ndarray, points: np.ndarray, threshold: float
    ) -> LowMasks:
        """Ask at each point for the model's masks; keep those with a predicted IoU above the threshold.

        Parameters
        ----------
        embeddings : sequence of Embedding
        which : ndarray
            (B,) position in ``embeddings`` of the slice that each point lies in.
        points : ndarray
            (B, 2) float64, (x, y) in pixels of that slice.
        threshold : float
            Not above 0: all are kept, as in the stock generator.
        """
        import torch

        decoder = self.model.mask_decoder
        with torch.inference_mode():
            prompts = self._prompts(embeddings, which, points)
            with self._autocast():
                hidden, keys = self._transform(embeddings, which, prompts)
                quality = decoder.iou_prediction_head(hidden[:, 0])[:, 1:].float()
            keep = quality > threshold if threshold > 0 else torch.ones_like(quality, dtype=torch.bool)
            asked = keep.any(dim=1)
            with self._autocast():
                logits = self._masks(hidden[asked], keys[asked])
            position = torch.arange(len(points), device=quality.device)[:, None].expand_as(keep)
            return LowMasks(logits[keep[asked]].float(), quality[keep], position[keep])

    def _slices_that_fit(self) -> int:
        """Attention over the whole embedding is what counts: about four matrices for each head and slice."""
        import torch

        heads = self.model.image_encoder.blocks[0].attn.num_heads
        needed = 4 * heads * self.grid**4 * (4 if self.precision == "32" else 2)
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(SLICES_ON_GPU, max(1, free // 2 // needed)))

    def _encode(self, batch: torch.Tensor) -> torch.Tensor:
        encoder = self.model.image_encoder
        x = encoder.patch_embed(batch) + self.positions.to(batch.device)
        for block in encoder.blocks:
            x = block(x)
        return encoder.neck(x.permute(0, 3, 1, 2))

    def _prompts(self, embeddings: Sequence[Embedding], which: np.ndarray, points: np.ndarray) -> torch.Tensor:
        """(B, 2, C): each point and the padding that the model was trained with."""
        import torch

        scale = np.array([(e.input_size[1] / e.size[1], e.input_size[0] / e.size[0]) for e in embeddings])
        scaled = points * scale[which]
        full = self.model.prompt_encoder.input_image_size[0]
        if (
            full != self.input_side
        ):  # the model's frame of coordinates is the full input; pixels have their centre at .5
            scaled = (scaled + 0.5) * (full / self.input_side) - 0.5
        # float64 up to the positional encoding, which makes float32 of it, as in the package; not every GPU has float64
        dtype = torch.float32 if self.device.startswith("mps") else torch.float64
        coordinates = torch.as_tensor(scaled, dtype=dtype, device=self.device)[:, None]
        labels = torch.ones((len(points), 1), dtype=torch.int, device=self.device)
        sparse, _ = self.model.prompt_encoder(points=(coordinates, labels), boxes=None, masks=None)
        return sparse

    def _transform(
        self, embeddings: Sequence[Embedding], which: np.ndarray, prompts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The two-way transformer: (B, tokens, C) and (B, g², C)."""
        import torch

        decoder, encoder = self.model.mask_decoder, self.model.prompt_encoder
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(prompts), -1, -1), prompts], dim=1)
        used = np.unique(which)
        if len(used) == 1:  # a batch of one broadcasts: the first block's projections are made once for all points
            features = embeddings[used[0]].features[None]
        else:
            features = torch.stack([embedding.features for embedding in embeddings])[torch.as_tensor(which)]
        source = features + encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        position = encoder.pe_layer((self.grid, self.grid))[None]
        return decoder.transformer(source, position, tokens)

    def _masks(self, hidden: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, masks, 4g, 4g) logits, without the first mask, which is meant for several prompts at once."""
        import torch

        decoder = self.model.mask_decoder
        count, _, channels = keys.shape
        image = decoder.output_upscaling(keys.transpose(1, 2).reshape(count, channels, self.grid, self.grid))
        weights = torch.stack(
            [decoder.output_hypernetworks_mlps[i](hidden[:, 1 + i]) for i in range(1, decoder.num_mask_tokens)], dim=1
        )
        return (weights @ image.flatten(2)).unflatten(2, image.shape[-2:])

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self.precision == "32":
            return nullcontext()
        return torch.autocast(
            self.device.partition(":")[0], torch.bfloat16 if self.precision == "bf16" else torch.float16
        )


def _positions(table: torch.Tensor, grid: int) -> torch.Tensor:
    """(1, grid, grid, C): the absolute positions, interpolated where the grid is another than the model's."""
    from torch.nn.functional import interpolate

    if table.shape[1] == grid:
        return table
    channels_first = table.permute(0, 3, 1, 2)
    scaled = interpolate(channels_first, (grid, grid), mode="bicubic", align_corners=False, antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous()
