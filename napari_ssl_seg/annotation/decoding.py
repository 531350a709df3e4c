"""Segment Anything's mask decoder for one question about one slice, with less arithmetic than the package's own.

A question has a dozen tokens, the slice has 4096. The decoder projects all of the slice's tokens to keys and values before
it lets the few others look at them; here the projections are moved to the side of the few, which is the same by the
associative law: ``(X W_k) q = X (W_k q)`` and ``P (X W_v) = (P X) W_v``. The transposed convolutions, whose windows do not
overlap, are products of matrices, and only the masks' logits are put in the order of an image, not 32 channels of them.
Half the time of the package's decoder, and its numbers up to rounding (benchmarks/prompt_latency.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class LeanDecoder:
    """The decoder of a model, prepared once.

    Parameters
    ----------
    model
        ``modeling.Sam``.
    grid
        Side of the embedding.
    """

    def __init__(self, model: Any, grid: int) -> None:
        self.decoder, self.grid = model.mask_decoder, grid
        with torch.inference_mode():
            self.position = _rows(model.prompt_encoder.pe_layer((grid, grid)))
            self.output = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
            first, second = self.decoder.output_upscaling[0], self.decoder.output_upscaling[3]
            self._steps = [_as_matrix(first), _as_matrix(second)]

    def __call__(self, image: Tensor, dense: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and predicted IoU of every mask.

        Parameters
        ----------
        image
            (g², C) float32: the slice's embedding, row by row.
        dense
            (1, C) or (g², C): what the mask before says, or that there is none.
        sparse
            (T, C): points and corners.

        Returns
        -------
        logits, quality
            (M, 4g, 4g) and (M,).
        """
        tokens = torch.cat([self.output, sparse])
        hidden, keys = self._transform(image + dense, tokens)
        masks = self.decoder.num_mask_tokens
        mlps = self.decoder.output_hypernetworks_mlps
        weights = torch.cat([mlps[number](hidden[1 + number : 2 + number]) for number in range(masks)])
        return self._upscaled(keys, weights), self.decoder.iou_prediction_head(hidden[:1])[0]

    def _transform(self, keys: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer: (T, C) and (g², C)."""
        transformer, queries = self.decoder.transformer, tokens
        placed = keys + self.position
        for layer in transformer.layers:
            if layer.skip_first_layer_pe:
                queries = _plain(layer.self_attn, queries, queries, queries)
            else:
                asked = queries + tokens
                queries = queries + _plain(layer.self_attn, asked, asked, queries)
            queries = layer.norm1(queries)
            queries = layer.norm2(queries + _few_look(layer.cross_attn_token_to_image, queries + tokens, placed, keys))
            queries = layer.norm3(queries + layer.mlp(queries))
            keys = layer.norm4(keys + _many_look(layer.cross_attn_image_to_token, placed, queries + tokens, queries))
            placed = keys + self.position
        last = _few_look(transformer.final_attn_token_to_image, queries + tokens, placed, keys)
        return transformer.norm_final_attn(queries + last), keys

    def _upscaled(self, keys: Tensor, weights: Tensor) -> Tensor:
        """(M, 4g, 4g) logits of (g², C) keys."""
        norm, g = self.decoder.output_upscaling[1], self.grid
        (matrix, bias), (matrix_2, bias_2) = self._steps
        fine = torch.addmm(bias, keys, matrix).view(4 * g * g, -1)
        fine = functional.layer_norm(fine, fine.shape[1:], norm.weight, norm.bias, norm.eps)
        fine = torch.addmm(bias_2, functional.gelu(fine), matrix_2).view(16 * g * g, -1)
        logits = functional.gelu(fine) @ weights.T
        # rows and columns of the grid, then of the first and of the second doubling
        return logits.view(g, g, 2, 2, 2, 2, -1).permute(6, 0, 2, 4, 1, 3, 5).reshape(-1, 4 * g, 4 * g)


def _few_look(attention: Any, few: Tensor, placed: Tensor, many: Tensor) -> Tensor:
    """Tokens attend to the image: (T, C)."""
    heads, inner = attention.num_heads, attention.internal_dim
    if heads * len(few) > inner:  # so many points that the package's order of products is the cheaper one
        return _plain(attention, few, placed, many)
    side = inner // heads
    asked = attention.q_proj(few).view(-1, heads, side).transpose(0, 1)  # (h, T, d)
    keys = attention.k_proj.weight.view(heads, side, -1)
    folded = (asked @ keys).flatten(0, 1) * side**-0.5  # (hT, C); the bias adds the same to all places, and drops out
    shares = torch.softmax(folded @ placed.T, dim=-1)
    seen = (shares @ many).view(heads, len(few), -1)
    values = seen @ attention.v_proj.weight.view(heads, side, -1).transpose(1, 2)
    return attention.out_proj((values + attention.v_proj.bias.view(heads, 1, side)).transpose(0, 1).flatten(1))


def _many_look(attention: Any, placed: Tensor, few: Tensor, values: Tensor) -> Tensor:
    """The image attends to tokens: (g², C)."""
    heads, inner = attention.num_heads, attention.internal_dim
    if heads * len(few) > inner:
        return _plain(attention, placed, few, values)
    side = inner // heads
    keys = attention.k_proj(few).view(-1, heads, side).transpose(0, 1) * side**-0.5  # (h, T, d)
    folded = (keys @ attention.q_proj.weight.view(heads, side, -1)).flatten(0, 1)  # (hT, C)
    offset = (keys @ attention.q_proj.bias.view(heads, side, 1)).flatten()
    scores = torch.addmm(offset, placed, folded.T).view(len(placed), heads, -1)
    given = attention.v_proj(values).view(-1, heads, side).transpose(0, 1)
    put = given @ attention.out_proj.weight.view(-1, heads, side).permute(1, 2, 0)  # (h, T, C)
    return torch.addmm(attention.out_proj.bias, torch.softmax(scores, dim=-1).flatten(1), put.flatten(0, 1))


def _plain(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attention(q=queries[None], k=keys[None], v=values[None])[0]


def _rows(maps: Tensor) -> Tensor:
    """(C, g, g) to (g², C)."""
    return maps.flatten(1).T.contiguous()


def _as_matrix(convolution: Any) -> tuple[Tensor, Tensor]:
    """A transposed convolution with windows of 2 x 2 side by side: (C, 4 D) and (4 D,)."""
    weight = convolution.weight.permute(0, 2, 3, 1)
    return weight.reshape(len(weight), -1).contiguous(), convolution.bias.repeat(4)
