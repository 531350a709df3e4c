"""A small Segment Anything network trained on the phantoms: its masks mean something, which random weights' do not.

python benchmarks/small_sam.py OUT.pth [STEPS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from napari_ssl_seg.regions.sam_engine import SamEngine
from napari_ssl_seg.regions.sam_layout import SamLayout, build_sam
from napari_ssl_seg.sample import make_abdomen, make_cardiac

LAYOUT = SamLayout(
    image_size=256,
    patch=16,
    width=64,
    depth=3,
    heads=2,
    window=8,
    global_blocks=(1,),
    mlp_ratio=2.0,
    qkv_bias=True,
    embedding=32,
    mask_channels=8,
    decoder_depth=2,
    decoder_mlp=128,
    decoder_downsampling=2,
    iou_depth=3,
    iou_hidden=32,
    masks_per_point=3,
)
POINTS = 12
SIDE = 128


def slices(seeds: range) -> list[tuple[np.ndarray, np.ndarray]]:
    """(image uint8, instances int) of phantom slices, 128 x 128; an instance is a connected part of a class."""
    found = []
    for seed in seeds:
        for make in (make_abdomen, make_cardiac):
            image, label, _ = make(seed)[:3]
            for index in range(2, len(image) - 2, 5):
                grey, classes = square(image[index]), square(label[index], order=0)
                if classes.any() and np.ptp(grey) > 0:
                    grey = (grey - grey.min()) / np.ptp(grey) * 255
                    found.append((grey.astype(np.uint8), instances(classes)))
    return found


def square(image: np.ndarray, order: int = 1) -> np.ndarray:
    scale = SIDE / max(image.shape)
    zoomed = ndimage.zoom(image.astype(np.float32), scale, order=order)[:SIDE, :SIDE]
    return np.pad(zoomed, [(0, SIDE - length) for length in zoomed.shape])


def instances(classes: np.ndarray) -> np.ndarray:
    result = np.zeros(classes.shape, dtype=int)
    for value in np.unique(classes):
        parts, count = ndimage.label(classes == value)
        for part in range(1, count + 1):
            if (parts == part).sum() >= 12:
                result[parts == part] = result.max() + 1
    return result


def train(steps: int, seed: int = 0) -> torch.nn.Module:
    """Masks by soft Dice and cross-entropy, the best of the three; predicted quality by its error against their IoU."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    sam = build_sam(LAYOUT).train().requires_grad_(True)
    with torch.no_grad():
        sam.image_encoder.pos_embed.normal_(0, 0.02)
    engine = SamEngine(sam)
    optimizer = torch.optim.AdamW(sam.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    data = slices(range(12))
    began = time.time()
    for step in range(steps):
        image, parts = data[random.integers(len(data))]
        if random.random() < 0.5:
            image, parts = image[:, ::-1].copy(), parts[:, ::-1].copy()
        chosen = random.integers(1, parts.max() + 1, POINTS)
        places = [np.argwhere(parts == value) for value in chosen]
        pixels = np.array([p[random.integers(len(p))][::-1] for p in places])
        points = torch.tensor((pixels + 0.5) * (LAYOUT.image_size / SIDE) - 0.5)
        target = torch.from_numpy(np.stack([parts == value for value in chosen])).float()
        logits, quality = forward(sam, engine.resize(image), points)
        with torch.no_grad():
            hard = (logits > 0).float()
            shared = (hard * target[:, None]).sum((2, 3))
            iou = shared / (hard.sum((2, 3)) + target.sum((1, 2))[:, None] - shared).clamp(min=1)
        soft = logits.sigmoid()
        dice = 1 - 2 * (soft * target[:, None]).sum((2, 3)) / (soft.sum((2, 3)) + target.sum((1, 2))[:, None] + 1)
        entropy = F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits), reduction="none")
        error = dice + 2 * entropy.mean((2, 3))
        loss = error.min(dim=1).values.mean() + 0.1 * error.mean() + F.mse_loss(quality, iou)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(
                f"{step} loss {loss.item():.3f} best IoU {iou.max(1).values.mean():.3f} {time.time() - began:.0f} s",
                flush=True,
            )
    return sam.eval().requires_grad_(False)


def forward(sam: torch.nn.Module, image: np.ndarray, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, 3, SIDE, SIDE) and predicted quality (B, 3)."""
    x = (torch.from_numpy(image)[None].expand(3, -1, -1) - sam.pixel_mean) / sam.pixel_std
    features = sam.image_encoder(x[None])
    labels = torch.ones((len(points), 1), dtype=torch.int)
    sparse, dense = sam.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    low, quality = sam.mask_decoder(
        image_embeddings=features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    return F.interpolate(low, (SIDE, SIDE), mode="bilinear", align_corners=False), quality


def main() -> None:
    target, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    torch.save(train(steps).state_dict(), target)


if __name__ == "__main__":
    main()
