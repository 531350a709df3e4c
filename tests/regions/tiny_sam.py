"""Small random Segment Anything networks that answer with many masks, and slices to ask them about.

A network as torch initialises it answers every point alike, with values near zero and low predicted quality. Here its
random weights are scaled, so that answers differ from point to point, about a tenth of the pixels are inside a mask, and
about half of the masks pass the stock threshold of quality.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_ssl_seg.regions.sam_engine import SamEngine
from napari_ssl_seg.regions.sam_layout import SamLayout, build_sam

TINY = SamLayout(
    image_size=128,
    patch=8,
    width=32,
    depth=2,
    heads=2,
    window=5,
    global_blocks=(1,),
    mlp_ratio=2.0,
    qkv_bias=True,
    embedding=32,
    mask_channels=8,
    decoder_depth=2,
    decoder_mlp=64,
    decoder_downsampling=2,
    iou_depth=3,
    iou_hidden=32,
    masks_per_point=3,
)
INSIDE = 0.1
SPREAD = 60.0


def tiny_sam(seed, layout=TINY, **changes):
    """A network with random weights of that seed."""
    layout = replace(layout, **changes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        sam = build_sam(layout)
        for name, parameter in sam.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(0, 0.3)
            elif parameter.ndim >= 2 and "mask_decoder.transformer" in name:
                parameter.mul_(8.0)
        for embedding in sam.prompt_encoder.point_embeddings:
            embedding.weight.mul_(0.1)  # else the part that is the same for all points drowns the position
        _calibrate(sam)
    return sam


def _calibrate(sam):
    decoder = sam.mask_decoder
    engine = SamEngine(sam)
    embedding = engine.embed([slice_of(0)])
    points = np.random.default_rng(0).uniform(0, 80, (24, 2))

    def ask():
        return engine.decode(embedding, np.zeros(len(points), dtype=int), points, 0.0)

    # the first channel of the upscaled image becomes a constant, by which the threshold is moved
    deconvolution = decoder.output_upscaling[3]
    deconvolution.weight[:, 0] = 0
    deconvolution.bias[0] = 1.0
    constant = torch.nn.functional.gelu(torch.ones(1)).item()
    last = [mlp.layers[-1] for mlp in decoder.output_hypernetworks_mlps]
    for layer in last:
        layer.weight[0] = 0
        layer.bias[0] = 0
    logits = ask().logits
    scale = SPREAD / logits.std()
    cut = logits.flatten()[::7].quantile(1 - INSIDE) * scale
    for layer in last:
        layer.weight.mul_(scale)
        layer.bias.mul_(scale)
        layer.bias[0] = -cut / constant
    head = decoder.iou_prediction_head.layers[-1]
    quality = ask().quality
    scale = 0.1 / quality.std()
    head.weight.mul_(scale)
    head.bias.mul_(scale)
    head.bias.add_(0.88 - quality.median() * scale)


def slice_of(seed, size=(84, 104)):
    """An (H, W) uint8 slice of blobs, texture and a dark border."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    blobs = gaussian_filter(random.normal(size=size), 7) * 14
    image = np.where(blobs > 0.3, 0.8, np.where(blobs > -0.2, 0.45, 0.25)) + 0.05 * random.normal(size=size)
    rows, columns = np.ogrid[: size[0], : size[1]]
    body = ((rows / size[0] - 0.5) ** 2 + (columns / size[1] - 0.5) ** 2) < 0.2
    image = np.clip(np.where(body, image, 0.03), 0, 1)
    return (image * 255).astype(np.uint8)
